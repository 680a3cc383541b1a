"""The order of one reconciliation: a bill and our calls go in, differences with reasons come out.

    names       their name for each of our models
    matched     rows that name a call by its id: one by one
    recorded    our sums, cut as the bill is cut
    clock       whether their clock runs as ours
    usage       place by place: what they count, what we count, why it differs
    money       place by place: what is left when the usage is explained

Reads our calls through a function it is given, in two passes at most, and never holds more of
them than lie near an edge. Called by the façade.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

from meter.core.money import Quantity
from meter.core.ports import PriceSource
from meter.core.windows import Span, Window
from meter.reports.reconciling.bill import Bill, BillRow
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
    Interval,
    Intervals,
    Place,
    Recorded,
    Seen,
    Sum,
    seen_of,
)
from meter.reports.reconciling.spelling import their_names
from meter.store.reads import CallRow

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
        named = [row for row in ours if row.call_id is not None]
        if named:
            return self._by_call(named, outside)
        rows = [self._as_day(row) for row in ours]
        usage = [row for row in rows if (row.quantities and row.unit is None) or row.calls]
        money = [row for row in rows if row.amount_nanos is not None]
        differences = [*outside]
        of_usage: list[Difference] = []
        counted = self._side(usage)
        charged = self._side(money)
        self._record([side for side in (counted, charged) if side])
        self._clock = self._found_clock(counted, charged)
        if self._clock != Clock():
            differences.append(self._told_clock())
        if counted:
            of_usage = self._usage_differences(counted)
        if charged:
            differences += self._money_differences(charged, of_usage, has_usage=counted is not None)
        differences += of_usage
        totals = _totals(counted, charged, self._clock)
        return self._concluded(totals, differences)

    # Sides

    def _side(self, rows: list[BillRow]) -> "_Side | None":
        if not rows:
            return None
        by_model = any(row.model is not None for row in rows)
        theirs: dict[Place, Sum] = {}
        for row in rows:
            place = ((row.start_us, row.end_us), row.model if by_model else None)
            _add_row(theirs.setdefault(place, Sum()), row)
        intervals = Intervals(interval for interval, _ in theirs)
        return _Side(theirs, Recorded(intervals, by_model=by_model))

    def _record(self, sides: list["_Side"]) -> None:
        for seen in self._seen(self._bill.start_us, self._bill.end_us):
            for side in sides:
                side.recorded.add(seen)

    def _seen(self, since_us: int, until_us: int) -> Iterator[Seen]:
        for call in self._calls_in(since_us - NEAR_US, until_us + NEAR_US):
            yield seen_of(call, self._names)

    def _found_clock(self, counted: "_Side | None", charged: "_Side | None") -> Clock:
        side = counted or charged
        if side is None or self._bill.is_of_balances:
            return Clock()
        step = self._bill.smallest_nanos

        def agrees(theirs: Sum, ours: Sum) -> bool:
            if side is counted:
                same = all(ours.quantities.get(u, 0) == q for u, q in theirs.quantities.items())
                return (
                    same
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

    def _usage_differences(self, side: "_Side") -> list[Difference]:
        ours = side.recorded.sums(self._clock)
        units = {unit for total in side.theirs.values() for unit in total.quantities}
        counts_calls = any(total.calls is not None for total in side.theirs.values())
        places = sorted(side.theirs.keys() | ours.keys(), key=_in_order)
        nothing = Sum(calls=0 if counts_calls else None, quantities=dict.fromkeys(units, 0))
        apart: list[tuple[Place, Sum, Sum]] = []
        for place in places:
            theirs = side.theirs.get(place, nothing)
            mine = ours.get(place, Sum())
            if _differs(theirs, mine):
                apart.append((place, theirs, mine))
        boundary, rest = _at_boundaries(apart)
        found = [self._boundary(*pair) for pair in boundary]
        for place, theirs, mine in rest:
            difference = self._explaining.usage(
                place, theirs, mine, self._calls_of(side.recorded, place)
            )
            if difference is not None:
                found.append(difference)
        return found

    def _money_differences(
        self, side: "_Side", of_usage: list[Difference], *, has_usage: bool
    ) -> list[Difference]:
        ours = side.recorded.sums(self._clock)
        found = []
        rounding: dict[str, list[Difference]] = {}
        for place in sorted(side.theirs.keys() | ours.keys(), key=_in_order):
            theirs, mine = side.theirs.get(place, Sum()), ours.get(place, Sum())
            for currency in sorted(theirs.nanos.keys() | mine.nanos.keys()):
                known = [each for each in of_usage if _is_within(each, place)]
                difference = self._explaining.money(
                    place, theirs, mine, currency,
                    sum(each.amount_nanos or 0 for each in known if each.currency == currency),
                    partial(self._calls_of, side.recorded, place),
                    usage_agrees=has_usage,
                )  # fmt: skip
                if difference is None:
                    continue
                if any(each.reason is Reason.TIER for each in known):
                    difference = replace(
                        difference, reason=Reason.TIER, sentence=SENTENCES[Reason.TIER]
                    )
                if difference.reason is Reason.ROUNDING:
                    rounding.setdefault(currency, []).append(difference)
                else:
                    found.append(difference)
        return _merged(found) + [self._rounding(*each) for each in rounding.items()]

    def _calls_of(self, recorded: Recorded, place: Place) -> list[Seen]:
        (start_us, end_us), _ = place
        since_us, until_us = start_us - self._clock.ahead_us, end_us - self._clock.ahead_us
        return [
            seen
            for seen in self._seen(since_us, until_us)
            if recorded.place(seen, self._clock) == place
        ]

    def _by_call(self, named: list[BillRow], outside: list[Difference]) -> Reconciliation:
        sides = matched(
            named, self._seen(self._bill.start_us, self._bill.end_us), self._bill.smallest_nanos,
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


@dataclass(frozen=True, slots=True)
class _Side:
    """What the bill says of usage, or of money, with our sums cut in the same way."""

    theirs: Mapping[Place, Sum]
    recorded: Recorded


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


def _differs(theirs: Sum, ours: Sum) -> bool:
    if theirs.calls is not None and theirs.calls != (ours.calls or 0):
        return True
    if any(ours.quantities.get(unit, 0) != q for unit, q in theirs.quantities.items()):
        return True
    return bool(theirs.tiers) and theirs.tiers != ours.tiers


def _at_boundaries(
    apart: list[tuple[Place, Sum, Sum]],
) -> tuple[list[tuple[Difference, Difference]], list[tuple[Place, Sum, Sum]]]:
    """Split off neighbours whose differences cancel: the same calls on the other side."""
    by_place = {place: (theirs, ours) for place, theirs, ours in apart}
    paired: set[Place] = set()
    found = []
    for place, theirs, ours in apart:
        (_, end_us), model = place
        after = next(
            (p for p in by_place if p[0][0] == end_us and p[1] == model and p not in paired), None
        )
        if place in paired or after is None:
            continue
        here, there = _excess(theirs, ours), _excess(*by_place[after])
        cancels = all(there.get(unit, 0) == -excess for unit, excess in here.items())
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
    units = {u: q - ours.quantities.get(u, 0) for u, q in theirs.quantities.items()}
    calls = {} if theirs.calls is None else {"": theirs.calls - (ours.calls or 0)}
    return {**units, **calls}


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


def _totals(counted: "_Side | None", charged: "_Side | None", clock: Clock) -> tuple[Total, ...]:
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
