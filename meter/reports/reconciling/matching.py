"""Match a bill that names single calls with our records of them, by the answer's id.

Such a bill leaves nothing to guess: each row is a call of ours, a call billed twice, or one that
we know nothing of; what we left unsettled is found by its model and time. Called by `comparing`.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from meter.core.money import Quantity
from meter.core.usage import Usage
from meter.reports.reconciling.bill import BillRow, Interval
from meter.reports.reconciling.differences import SENTENCES, Difference, Reason, Total
from meter.reports.reconciling.recorded import Seen

_SLACK_US = 60_000_000


@dataclass(slots=True)
class Matched:
    """What came of it: sums of both sides, and the differences."""

    totals: tuple[Total, ...]
    differences: list[Difference]


def matched(
    rows: list[BillRow], calls: Iterable[Seen], smallest_nanos: int, within: Interval
) -> Matched:
    """Return how the rows and our calls in the interval match. Holds the rows, not the calls."""
    left: dict[str, list[BillRow]] = {}
    for row in rows:
        left.setdefault(row.call_id or "", []).append(row)
    differences: list[Difference] = []
    lost: list[Seen] = []
    ours_calls = 0
    ours_nanos: dict[str, int] = {}
    for seen in calls:
        found = left.pop(seen.response_id, None) if seen.response_id else None
        inside = within[0] <= seen.started_us < within[1] or found is not None
        if not inside:
            continue
        if seen.usage is None:
            lost.append(seen)
            continue
        if found is None and not seen.is_consumption:
            continue
        ours_calls += 1
        if seen.currency is not None:
            ours_nanos[seen.currency] = ours_nanos.get(seen.currency, 0) + (seen.cost_nanos or 0)
        if found is None:
            differences.append(_missing(seen))
        else:
            differences += _of_one(seen, found, smallest_nanos)
    for unmatched in left.values():
        differences += [_unknown(row, lost) for row in unmatched]
    theirs_nanos: dict[str, int] = {}
    for row in rows:
        if row.currency is not None:
            theirs_nanos[row.currency] = theirs_nanos.get(row.currency, 0) + (row.amount_nanos or 0)
    money = [
        Total(currency, theirs_nanos.get(currency, 0), ours_nanos.get(currency, 0), is_money=True)
        for currency in sorted(theirs_nanos)
    ]
    return Matched((Total("calls", len(rows), ours_calls), *money), differences)


def _of_one(seen: Seen, rows: list[BillRow], smallest_nanos: int) -> list[Difference]:
    first, again = rows[0], rows[1:]
    found = [
        _said(Reason.BILLED_TWICE, row, seen, row.amount_nanos, dict(row.quantities))
        for row in again
    ]
    excess = {
        unit: quantity - (seen.usage.get(unit, 0) if seen.usage else 0)
        for unit, quantity in first.quantities.items()
    }
    excess = {unit: quantity for unit, quantity in excess.items() if quantity}
    more = None
    if first.amount_nanos is not None and seen.cost_nanos is not None:
        more = first.amount_nanos - seen.cost_nanos if first.currency == seen.currency else None
    if excess:
        reason = Reason.TOKENS
        if seen.is_estimated:
            reason = Reason.ESTIMATED
        elif set(excess) == {"cache_read_tokens"}:
            reason = Reason.CACHED_TOKENS
        found.append(_said(reason, first, seen, more, excess, settles=seen.is_estimated))
    elif more is not None and abs(more) > smallest_nanos // 2:
        found.append(_said(Reason.WRONG_PRICE, first, seen, more, {}))
    elif more:
        found.append(_said(Reason.ROUNDING, first, seen, more, {}))
    elif first.amount_nanos and seen.cost_nanos is None:
        found.append(_said(Reason.UNPRICED, first, seen, first.amount_nanos, {}))
    return found


def _missing(seen: Seen) -> Difference:
    cost = None if seen.cost_nanos is None else -seen.cost_nanos
    quantities: dict[str, Quantity] = {u: -q for u, q in (seen.usage or {}).items() if q}
    return Difference(
        Reason.NOT_BILLED, seen.started_us, seen.ended_us + 1, seen.model,
        SENTENCES[Reason.NOT_BILLED], -1, quantities, cost, seen.currency, (seen.id,),
    )  # fmt: skip


def _unknown(row: BillRow, lost: list[Seen]) -> Difference:
    """Return the difference of a row without a settled call of ours."""
    near = [
        seen
        for seen in lost
        if seen.model == row.model
        and seen.started_us - _SLACK_US <= row.start_us <= seen.ended_us + _SLACK_US
    ]
    if not near:
        return _said(Reason.NOT_SEEN, row, None, row.amount_nanos, dict(row.quantities))
    seen = min(near, key=lambda each: abs(each.started_us - row.start_us))
    lost.remove(seen)
    return _said(Reason.UNSETTLED, row, seen, row.amount_nanos, dict(row.quantities), settles=True)


def _said(
    reason: Reason,
    row: BillRow,
    seen: Seen | None,
    amount_nanos: int | None,
    quantities: dict[str, Quantity],
    *,
    settles: bool = False,
) -> Difference:
    more = 1 if reason in (Reason.BILLED_TWICE, Reason.NOT_SEEN, Reason.UNSETTLED) else 0
    used = Usage(dict(row.quantities)) if settles and row.quantities else None
    return Difference(
        reason, row.start_us, max(row.end_us, row.start_us + 1), row.model, SENTENCES[reason],
        more, quantities, amount_nanos, row.currency if amount_nanos is not None else None,
        (seen.id,) if seen else (),
        (seen.id, used) if seen and used else None,
    )  # fmt: skip
