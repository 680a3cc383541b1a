"""The order of one reconciliation: a bill and our calls go in, differences with reasons come out.

    names       their name for each of our models
    matched     rows that name a call by its id: one by one
    sides       what they say of usage and of money
    recorded    our sums, cut as the bill is cut
    clock       whether their clock runs as ours
    usage       place by place: what they count, what we count, why it differs
    money       place by place: what is left when the usage is explained

Reads our calls through a function it is given, in two passes at most, and never holds more of
them than lie near an edge. Called by the façade.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from meter.core.money import Quantity
from meter.core.ports import PriceSource
from meter.core.windows import Span, Window
from meter.reports.reconciling.bill import Bill, BillRow, Interval
from meter.reports.reconciling.clocks import clock_of
from meter.reports.reconciling.differences import (
    HARMLESS,
    SENTENCES,
    Difference,
    Reason,
    Reconciliation,
    Total,
)
from meter.reports.reconciling.explaining import Explaining
from meter.reports.reconciling.matching import matched
from meter.reports.reconciling.recorded import (
    NEAR_US,
    Clock,
    Place,
    Recorded,
    Seen,
    Sum,
    excess,
    seen_of,
)
from meter.reports.reconciling.sides import Side, sides_of, totals_of
from meter.reports.reconciling.spelling import their_names
from meter.store.reads import CallRow

_MOST_NAMED = 100

CallsIn = Callable[[int, int], Iterable[CallRow]]
"""Yields our ended calls at the issuer that started in [since, until), microseconds UTC."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How to compare: who billed, in which days, how much may differ.

    `keys` are the bill's names for keys that are ours (empty: all). `tz` is the zone in which
    rows of single calls are summed by day.
    """

    provider: str
    tolerance_nanos: int = 10_000_000
    keys: frozenset[str] = frozenset()
    tz: str = "UTC"


def reconcile(bill: Bill, calls_in: CallsIn, prices: PriceSource, terms: Terms) -> Reconciliation:
    """Hold a bill against our calls. Reads; writes nothing."""
    return _Comparing(bill, calls_in, prices, terms).result()


class _Comparing:
    def __init__(self, bill: Bill, calls_in: CallsIn, prices: PriceSource, terms: Terms) -> None:
        self._bill = bill
        self._calls_in = calls_in
        self._terms = terms
        self._explaining = Explaining(terms.provider, prices, bill.smallest_nanos)
        self._names = their_names(
            {row.model for row in bill.rows if row.model},
            lambda: calls_in(bill.start_us, bill.end_us),
        )
        self._clock = Clock()

    def result(self) -> Reconciliation:
        ours = [row for row in self._bill.rows if self._is_ours(row)]
        outside = [_outside(row) for row in self._bill.rows if not self._is_ours(row)]
        if any(row.call_id is not None for row in ours):
            return self._by_call(ours, outside)
        rows = [self._as_day(row) for row in ours]
        differences = [*outside]
        of_usage: list[Difference] = []
        counted, charged = sides_of(self._bill, rows)
        self._record([side for side in (counted, charged) if side])
        self._clock = self._found_clock(counted, charged)
        if self._clock != Clock():
            differences.append(self._told_clock())
        if counted:
            of_usage = self._usage_differences(counted)
        if charged:
            differences += self._money_differences(charged, of_usage, counted)
        differences += of_usage
        totals = totals_of(counted, charged, self._clock)
        return self._concluded(totals, differences)

    # Sides

    def _record(self, sides: list[Side]) -> None:
        for seen in self._seen(self._bill.start_us, self._bill.end_us):
            for side in sides:
                side.recorded.add(seen)

    def _seen(self, since_us: int, until_us: int) -> Iterator[Seen]:
        for call in self._calls_in(since_us - NEAR_US, until_us + NEAR_US):
            yield seen_of(call, self._names)

    def _found_clock(self, counted: Side | None, charged: Side | None) -> Clock:
        side = counted or charged
        if side is None or self._bill.is_of_balances:
            return Clock()
        step = self._bill.smallest_nanos

        def agrees(theirs: Sum, ours: Sum) -> bool:
            if side is counted:
                return (
                    not excess(theirs, ours)
                    and (theirs.calls is None or theirs.calls == ours.calls)
                    and (bool(theirs.rows) or not ours.calls)
                )
            currencies = theirs.nanos.keys() | ours.nanos.keys()
            return all(
                abs(theirs.nanos.get(c, 0) - ours.nanos.get(c, 0)) <= step * max(theirs.rows, 1)
                for c in currencies
            )

        return clock_of(side.recorded, side.theirs, agrees)

    # Differences

    def _usage_differences(self, side: Side) -> list[Difference]:
        ours = side.recorded.sums(self._clock)
        units = {unit for total in side.theirs.values() for unit in total.quantities}
        counts_calls = any(total.calls is not None for total in side.theirs.values())
        places = sorted(side.theirs.keys() | ours.keys(), key=_in_order)
        nothing = Sum(calls=0 if counts_calls else None, quantities=dict.fromkeys(units, 0))
        apart: list[tuple[Place, Sum, Sum]] = []
        found: list[Difference] = []
        for place in places:
            theirs = side.theirs.get(place, nothing)
            mine = ours.get(place, Sum())
            if not _differs(theirs, mine):
                continue
            if _is_many(side, place, mine):
                found.append(_nothing_told(place, mine))
            else:
                apart.append((place, theirs, mine))
        boundary, rest = _at_boundaries(apart)
        found += [self._boundary(*pair) for pair in boundary]
        for place, theirs, mine in rest:
            difference = self._explaining.usage(
                place, theirs, mine, self._calls_of(side.recorded, place)
            )
            if difference is not None:
                found.append(difference)
        return found

    def _money_differences(
        self, side: Side, of_usage: list[Difference], counted: Side | None
    ) -> list[Difference]:
        """Return the differences of money; one of usage that lacks its money gets it here."""
        ours = side.recorded.sums(self._clock)
        found = []
        rounding: dict[str, list[Difference]] = {}
        for place in sorted(side.theirs.keys() | ours.keys(), key=_in_order):
            theirs, mine = side.theirs.get(place, Sum()), ours.get(place, Sum())
            places = [n for n, each in enumerate(of_usage) if _is_within(each, place)]
            for currency in sorted(theirs.nanos.keys() | mine.nanos.keys()):
                known = [of_usage[n] for n in places]
                explained = sum(e.amount_nanos or 0 for e in known if e.currency == currency)
                if _is_many(side, place, mine):
                    if not explained:
                        found.append(_nothing_told(place, mine, currency))
                    continue
                difference = self._explaining.money(
                    place, theirs, mine, currency, explained,
                    partial(self._calls_of, side.recorded, place),
                    usage_agrees=counted is not None and counted.has_all_of(place, mine),
                )  # fmt: skip
                if difference is None:
                    continue
                untold = [n for n in places if _is_untold(of_usage[n])]
                if difference.reason is Reason.ROUNDING:
                    rounding.setdefault(currency, []).append(difference)
                elif len(untold) == 1:
                    of_usage[untold[0]] = replace(
                        of_usage[untold[0]],
                        amount_nanos=difference.amount_nanos,
                        currency=currency,
                    )
                else:
                    found.append(_with_reason_of(known, difference))
        return _merged(found) + [self._rounding(*each) for each in rounding.items()]

    def _calls_of(self, recorded: Recorded, place: Place) -> list[Seen]:
        (start_us, end_us), _ = place
        since_us, until_us = start_us - self._clock.ahead_us, end_us - self._clock.ahead_us
        return [
            seen
            for seen in self._seen(since_us, until_us)
            if recorded.place(seen, self._clock) == place
        ]

    def _by_call(self, rows: list[BillRow], outside: list[Difference]) -> Reconciliation:
        sides = matched(
            rows, self._seen(self._bill.start_us, self._bill.end_us), self._bill.smallest_nanos,
            (self._bill.start_us, self._bill.end_us),
        )  # fmt: skip
        return self._concluded(sides.totals, [*outside, *sides.differences])

    def _boundary(self, before: Difference, after: Difference) -> Difference:
        return replace(before, end_us=after.end_us)

    def _told_clock(self) -> Difference:
        ahead_s, by_end = self._clock.ahead_us // 1_000_000, self._clock.by_end
        told = [f"theirs is {abs(ahead_s)} s {'ahead of' if ahead_s > 0 else 'behind'} ours"]
        parts = told if ahead_s else []
        if by_end:
            parts = [*parts, "they count a call when it ends"]
        sentence = f"{SENTENCES[Reason.CLOCK]}: {'; '.join(parts)}"
        return Difference(Reason.CLOCK, self._bill.start_us, self._bill.end_us, None, sentence)

    def _rounding(self, currency: str, parts: list[Difference]) -> Difference:
        nanos = sum(part.amount_nanos or 0 for part in parts)
        sentence = f"{SENTENCES[Reason.ROUNDING]} ({len(parts)} rows)"
        return Difference(
            Reason.ROUNDING, self._bill.start_us, self._bill.end_us, None, sentence,
            amount_nanos=nanos, currency=currency,
        )  # fmt: skip

    # Edges

    def _is_ours(self, row: BillRow) -> bool:
        return not self._terms.keys or row.key is None or row.key in self._terms.keys

    def _as_day(self, row: BillRow) -> BillRow:
        """Return a row of a single call as part of its day."""
        if row.end_us > row.start_us:
            return row
        start_us, end_us = Window(Span.DAY, self._terms.tz).bounds(row.start_us)
        assert end_us is not None
        return replace(row, start_us=start_us, end_us=end_us)

    def _concluded(
        self, totals: tuple[Total, ...], differences: list[Difference]
    ) -> Reconciliation:
        tolerance = self._terms.tolerance_nanos
        moved: dict[str, int] = {}
        untold = False
        for each in differences:
            if each.reason in HARMLESS:
                continue
            if each.amount_nanos is None or each.currency is None:
                untold = untold or each.reason is not Reason.TIER
            else:
                moved[each.currency] = moved.get(each.currency, 0) + abs(each.amount_nanos)
        apart = [int(t.difference) for t in totals if t.is_money and t.difference is not None]
        agrees = (
            not untold
            and all(nanos <= tolerance for nanos in moved.values())
            and all(abs(nanos) <= tolerance for nanos in apart)
        )
        ordered = sorted(differences, key=lambda each: (each.start_us, each.model or ""))
        return Reconciliation(
            self._bill.name, self._bill.start_us, self._bill.end_us, totals, tuple(ordered), agrees
        )


def _is_many(side: Side, place: Place, ours: Sum) -> bool:
    """Whether the bill has no row for the interval, and we have more calls than can be named."""
    return place[0] not in side.told and (ours.calls or 0) > _MOST_NAMED


def _nothing_told(place: Place, ours: Sum, currency: str | None = None) -> Difference:
    """Return the difference of many calls in an interval without a row.

    `currency` is of the money in question; None stands for usage, with the money if it is of one.
    """
    (start_us, end_us), model = place
    if currency is None and ours.cost is not None:
        _, currency = ours.cost
    units: dict[str, Quantity] = {unit: -q for unit, q in ours.quantities.items() if q}
    return Difference(
        Reason.NOT_BILLED, start_us, end_us, model, SENTENCES[Reason.NOT_BILLED],
        -(ours.calls or 0), units, -ours.nanos[currency] if currency else None, currency,
    )  # fmt: skip


def _is_untold(difference: Difference) -> bool:
    """Whether a difference of usage moves money that its usage does not tell."""
    quiet = HARMLESS | {Reason.TIER}
    return difference.amount_nanos is None and difference.reason not in quiet


def _with_reason_of(known: Sequence[Difference], money: Difference) -> Difference:
    """Return a difference of money with the reason that its usage has, if that says it."""
    for each in known:
        if _is_untold(each):
            return replace(money, reason=each.reason, sentence=each.sentence)
    if any(each.reason is Reason.TIER for each in known):
        return replace(money, reason=Reason.TIER, sentence=SENTENCES[Reason.TIER])
    return money


def _differs(theirs: Sum, ours: Sum) -> bool:
    if theirs.calls is not None and theirs.calls != (ours.calls or 0):
        return True
    if excess(theirs, ours):
        return True
    return bool(theirs.tiers) and theirs.tiers != ours.tiers


def _at_boundaries(
    apart: list[tuple[Place, Sum, Sum]],
) -> tuple[list[tuple[Difference, Difference]], list[tuple[Place, Sum, Sum]]]:
    """Split off neighbours whose differences cancel: the same calls on the other side."""
    by_start = {(place[0][0], place[1]): (place, theirs, ours) for place, theirs, ours in apart}
    paired: set[Place] = set()
    found = []
    for place, theirs, ours in apart:
        (_, end_us), model = place
        follows = by_start.get((end_us, model))
        if place in paired or follows is None or follows[0] in paired:
            continue
        after, *sums = follows
        here, there = _excess(theirs, ours), _excess(*sums)
        cancels = all(there.get(unit, 0) == -more for unit, more in here.items())
        if any(here.values()) and cancels and set(there) <= set(here):
            paired |= {place, after}
            found.append((_bounded(place, here), _bounded(after, there)))
    return found, [each for each in apart if each[0] not in paired]


def _merged(differences: list[Difference]) -> list[Difference]:
    """Return one difference for each model that has the same other price all along."""
    found: dict[tuple[str | None, str | None, str], Difference] = {}
    rest = []
    for each in differences:
        if each.reason is not Reason.WRONG_PRICE:
            rest.append(each)
            continue
        key = each.model, each.currency, each.sentence
        before = found.get(key)
        if before is not None:
            amount = (before.amount_nanos or 0) + (each.amount_nanos or 0)
            each = replace(each, start_us=before.start_us, amount_nanos=amount)
        found[key] = each
    return [*found.values(), *rest]


def _excess(theirs: Sum, ours: Sum) -> dict[str, Quantity]:
    calls = {} if theirs.calls is None else {"": theirs.calls - (ours.calls or 0)}
    return {**excess(theirs, ours), **calls}


def _bounded(place: Place, excess: Mapping[str, Quantity]) -> Difference:
    (start_us, end_us), model = place
    units = {unit: quantity for unit, quantity in excess.items() if unit and quantity}
    calls = excess.get("")
    return Difference(
        Reason.BOUNDARY, start_us, end_us, model, SENTENCES[Reason.BOUNDARY],
        None if calls is None else int(calls), units,
    )  # fmt: skip


def _outside(row: BillRow) -> Difference:
    return Difference(
        Reason.OUTSIDE, row.start_us, max(row.end_us, row.start_us + 1), row.model,
        f"{SENTENCES[Reason.OUTSIDE]} ({row.key})", row.calls, row.quantities, row.amount_nanos,
        row.currency,
    )  # fmt: skip


def _is_within(difference: Difference, place: Place) -> bool:
    (start_us, end_us), model = place
    inside = start_us <= difference.start_us and difference.end_us <= end_us
    return inside and (model is None or model == difference.model)


def _in_order(place: Place) -> tuple[Interval, str]:
    return place[0], place[1] or ""
