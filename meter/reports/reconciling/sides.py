"""Set a bill beside our calls: what it says of usage or of money, and our sums cut alike.

Made from the bill's rows by `comparing`, which then counts our calls in.
"""

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass

from meter.core.money import Quantity
from meter.reports.reconciling.bill import Bill, BillRow, Interval
from meter.reports.reconciling.differences import Total
from meter.reports.reconciling.recorded import Clock, Intervals, Place, Recorded, Sum


@dataclass(frozen=True, slots=True)
class Side:
    """What the bill says of usage, or of money, with our sums cut in the same way.

    `told` are the intervals for which it has a row.
    """

    theirs: Mapping[Place, Sum]
    told: Set[Interval]
    recorded: Recorded

    def has_all_of(self, place: Place, ours: Sum) -> bool:
        """Whether it speaks of all our calls there, and of all that time."""
        (start_us, end_us), _ = place
        listed = self.recorded.intervals.listed
        kinds = self.recorded.kinds
        inside = listed[0][0] <= start_us and end_us <= listed[-1][1]
        return inside and (kinds is None or ours.kinds <= kinds)


def sides_of(bill: Bill, rows: Iterable[BillRow]) -> tuple[Side | None, Side | None]:
    """Return the sides of usage and of money of a bill's rows, None where it has no such rows.

    Raises: InputError for rows of intervals that overlap.
    """
    rows = list(rows)
    usage = [row for row in rows if (row.quantities and row.unit is None) or row.calls]
    money = [row for row in rows if row.amount_nanos is not None]
    edges = [at for row in rows for at in (row.start_us, row.end_us)]
    counted = _side(bill, usage, bill.counted, edges, _kinds(usage)) if usage else None
    charged = _side(bill, money, bill.charged, edges, None) if money else None
    return counted, charged


def _side(
    bill: Bill,
    rows: list[BillRow],
    listed: Iterable[Interval],
    edges: Iterable[int],
    kinds: frozenset[str] | None,
) -> Side:
    by_model = any(row.model is not None for row in rows)
    theirs: dict[Place, Sum] = {}
    for row in rows:
        place = ((row.start_us, row.end_us), row.model if by_model else None)
        _add_row(theirs.setdefault(place, Sum()), row)
    told = {interval for interval, _ in theirs}
    intervals = Intervals({*told, *listed}, (bill.since_us, bill.until_us), edges)
    return Side(theirs, told, Recorded(intervals, by_model=by_model, kinds=kinds))


def _kinds(rows: Iterable[BillRow]) -> frozenset[str] | None:
    """Return the kinds of calls that rows of usage count, None for all."""
    kinds = {row.kind for row in rows}
    return None if None in kinds else frozenset(kind for kind in kinds if kind)


def _add_row(total: Sum, row: BillRow) -> None:
    total.rows += 1
    if row.calls is None:
        total.calls = total.calls or None
    else:
        total.calls = (total.calls or 0) + row.calls
        if row.tier is not None:
            total.tiers[row.tier] = total.tiers.get(row.tier, 0) + row.calls
    if row.unit is None:
        total.add_quantities(row.quantities)
    if row.amount_nanos is None or row.currency is None:
        return
    total.nanos[row.currency] = total.nanos.get(row.currency, 0) + row.amount_nanos
    if row.unit is not None:
        quantity, nanos = total.units.get(row.unit, (0, 0))
        more = row.quantities.get(row.unit, 0)
        total.units[row.unit] = (quantity + more, nanos + row.amount_nanos)


def totals_of(counted: Side | None, charged: Side | None, clock: Clock) -> tuple[Total, ...]:
    """Return both sides' sums, ours as an issuer with that clock would have them."""
    totals: list[Total] = []
    if counted:
        ours = list(counted.recorded.sums(clock).values())
        calls = [each.calls for each in counted.theirs.values()]
        known = None if any(c is None for c in calls) else sum(c for c in calls if c)
        totals.append(Total("calls", known, sum(each.calls or 0 for each in ours)))
        units = dict.fromkeys(u for each in counted.theirs.values() for u in each.quantities)
        for unit in units:
            theirs: Quantity = sum(
                (each.quantities.get(unit, 0) for each in counted.theirs.values()), start=0
            )
            mine: Quantity = sum((each.quantities.get(unit, 0) for each in ours), start=0)
            totals.append(Total(unit, theirs, mine))
    if charged:
        ours = list(charged.recorded.sums(clock).values())
        both = [*charged.theirs.values(), *ours]
        for currency in sorted({c for each in both for c in each.nanos}):
            totals.append(
                Total(
                    currency,
                    sum(each.nanos.get(currency, 0) for each in charged.theirs.values()),
                    sum(each.nanos.get(currency, 0) for each in ours),
                    is_money=True,
                )
            )
    return tuple(totals)
