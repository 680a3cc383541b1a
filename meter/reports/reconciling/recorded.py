"""Sum up what we recorded, cut as a bill is cut: by its intervals, its models and its tiers.

Calls near the edge of an interval are kept one by one, so that `clocks` can ask what the sums
would be if the issuer's clock ran otherwise. Called by `comparing`.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from meter.core.money import Quantity
from meter.core.rates import datetime_of
from meter.core.rating import ChargeLine
from meter.core.usage import Usage
from meter.errors import InputError
from meter.reports.reconciling.bill import Interval
from meter.reports.usage_kinds import usage_kind
from meter.store.reads import CallRow

NEAR_US = 15 * 60_000_000
"""How near the edge of an interval a call must be to be kept by itself: the largest skew told."""
MOST_NEAR = 300_000
"""How many such calls are kept; with more, the clocks are not compared."""

_NOT_OF_ALL = frozenset({"audio_seconds", "characters", "images"})

Place = tuple[Interval, str | None]
"""An interval and a model (None: all models)."""


@dataclass(slots=True)
class Sum:
    """What was counted in one place: calls, quantities by unit, money by currency and by unit.

    `kinds` are those of our calls, `rows` is how many lines of the bill speak of it.
    """

    calls: int | None = 0
    quantities: dict[str, Quantity] = field(default_factory=dict)
    nanos: dict[str, int] = field(default_factory=dict)
    units: dict[str, tuple[Quantity, int]] = field(default_factory=dict)
    tiers: dict[str, int] = field(default_factory=dict)
    kinds: frozenset[str] = frozenset()
    rows: int = 0
    estimated: int = 0
    unsettled: int = 0
    unpriced: int = 0

    @property
    def cost(self) -> tuple[int, str] | None:
        """Return nanos and currency, None unless everything has a price, in one currency."""
        if len(self.nanos) != 1 or self.unpriced:
            return None
        ((currency, nanos),) = self.nanos.items()
        return nanos, currency

    def add_quantities(self, more: Mapping[str, Quantity]) -> None:
        """Add quantities by unit."""
        for unit, quantity in more.items():
            self.quantities[unit] = self.quantities.get(unit, 0) + quantity


@dataclass(frozen=True, slots=True)
class Seen:
    """One of our calls, as far as a bill can speak of it. `model` is the bill's name for it."""

    id: UUID
    started_us: int
    ended_us: int
    model: str | None
    kind: str
    tier: str
    usage: Usage | None
    is_estimated: bool
    cost_nanos: int | None
    currency: str | None
    lines: tuple[ChargeLine, ...]
    response_id: str | None
    corrections: int

    @property
    def is_consumption(self) -> bool:
        """Whether the issuer would count it: something was used."""
        return bool(self.usage) and any(self.usage.values() if self.usage else ())


def excess(theirs: Sum, ours: Sum) -> dict[str, Quantity]:
    """Return theirs less ours by unit, where they differ; units that they do not say are left out.

    Sound is billed in whole seconds of each call, so that less than a second a call is no
    difference; and sound, images and characters are not compared with calls that we have in
    tokens alone.
    """
    found = {}
    for unit, quantity in theirs.quantities.items():
        more = quantity - ours.quantities.get(unit, 0)
        if not more or (unit in _NOT_OF_ALL and ours.calls and unit not in ours.quantities):
            continue
        calls = ours.calls or 0
        if unit == "audio_seconds" and -calls < more < calls:
            continue
        found[unit] = more
    return found


class Intervals:
    """The intervals of a bill: sorted, half open, not overlapping, without a gap."""

    def __init__(
        self,
        intervals: Iterable[Interval],
        span: tuple[int | None, int | None] = (None, None),
        edges: Iterable[int] = (),
    ) -> None:
        """Take them in any order, each any number of times.

        What lies between two of them is one more, and so is what lies between the ends of `span`
        and the first or the last; each is cut where one of `edges` lies inside. Raises:
        InputError for two that overlap.
        """
        told = sorted(set(intervals))
        since_us, until_us = span
        cuts = sorted(set(edges))
        self.listed: list[Interval] = []
        end_us = told[0][0] if since_us is None else min(since_us, told[0][0])
        for interval in told:
            if interval[0] < end_us:
                raise InputError(_overlapping(self.listed[-1], interval))
            self.listed += _cut(end_us, interval[0], cuts)
            self.listed.append(interval)
            end_us = interval[1]
        if until_us is not None:
            self.listed += _cut(end_us, until_us, cuts)
        self._starts = [start for start, _ in self.listed]

    def of(self, at_us: int) -> Interval | None:
        """Return the interval that holds the moment, None between them."""
        place = bisect_right(self._starts, at_us) - 1
        if place < 0:
            return None
        found = self.listed[place]
        return found if at_us < found[1] else None

    def is_near_edge(self, at_us: int) -> bool:
        """Whether the moment lies within `NEAR_US` of an edge, inside an interval or out."""
        found = self.of(at_us)
        if found is None:
            return True
        return at_us - found[0] < NEAR_US or found[1] - at_us <= NEAR_US


@dataclass(frozen=True, slots=True)
class Clock:
    """How an issuer dates a call: by its end or its start, and `ahead_us` later than we do."""

    ahead_us: int = 0
    by_end: bool = False

    def moment(self, seen: Seen) -> int:
        """Return when the issuer takes the call to have been."""
        return (seen.ended_us if self.by_end else seen.started_us) + self.ahead_us


class Recorded:
    """Our sums for one set of intervals, for any clock."""

    def __init__(
        self, intervals: Intervals, *, by_model: bool, kinds: frozenset[str] | None = None
    ) -> None:
        """`by_model` False: one sum an interval, for bills that name no model.

        `kinds` are the kinds of calls that the bill counts, None for all.
        """
        self.intervals = intervals
        self.kinds = kinds
        self._by_model = by_model
        self._inner: dict[Place, Sum] = {}
        self.near: list[Seen] = []
        self.is_complete = True

    def add(self, seen: Seen) -> None:
        """Count a call, if the bill counts its kind."""
        if self.kinds is not None and seen.kind not in self.kinds:
            return
        moments = (seen.started_us, seen.ended_us)
        same = self.intervals.of(moments[0]) == self.intervals.of(moments[1])
        if not same or any(self.intervals.is_near_edge(at) for at in moments):
            if len(self.near) < MOST_NEAR:
                self.near.append(seen)
                return
            self.is_complete = False
        _count(self._inner, self.place(seen, Clock()), seen)

    def place(self, seen: Seen, clock: Clock) -> Place | None:
        """Return where an issuer with that clock counts the call, None outside the bill."""
        interval = self.intervals.of(clock.moment(seen))
        if interval is None or (self.kinds is not None and seen.kind not in self.kinds):
            return None
        return interval, seen.model if self._by_model else None

    def sums(self, clock: Clock) -> dict[Place, Sum]:
        """Return our sums as an issuer with that clock would have them."""
        made = {place: _copy(total) for place, total in self._inner.items()}
        for seen in self.near:
            _count(made, self.place(seen, clock), seen)
        return made

    def counts(self, clock: Clock) -> Iterator[tuple[Place | None, Seen]]:
        """Yield the calls near an edge with their places: what a clock can move."""
        for seen in self.near:
            yield self.place(seen, clock), seen

    def inner(self) -> Mapping[Place, Sum]:
        """Return the sums that no clock moves."""
        return self._inner


def seen_of(call: CallRow, names: Mapping[str, str | None]) -> Seen:
    """Return a call as a bill can speak of it; `names` leads from our model names to the bill's."""
    model = call.model_served or call.model_requested
    tier = call.service_tier or "standard"
    return Seen(
        id=call.id,
        started_us=call.started_us,
        ended_us=call.ended_us or call.started_us,
        model=names.get(model or "", model),
        kind=usage_kind(call.endpoint),
        tier="standard" if tier in ("default", "auto") else tier,
        usage=call.usage,
        is_estimated=call.basis is not None and call.basis.value == "estimated",
        cost_nanos=call.cost_nanos,
        currency=call.currency,
        lines=call.lines,
        response_id=call.response_id,
        corrections=call.corrections,
    )


def _cut(start_us: int, end_us: int, edges: Sequence[int]) -> Iterator[Interval]:
    """Yield [start, end), cut at the sorted edges inside it; nothing where it is empty."""
    inside = edges[bisect_right(edges, start_us) : bisect_left(edges, end_us)]
    for at in (*inside, end_us):
        if start_us < at:
            yield start_us, at
        start_us = at


def _overlapping(one: Interval, other: Interval) -> str:
    shown = [
        "to".join(f" {datetime_of(at):%Y-%m-%d %H:%M:%S} " for at in interval).strip()
        for interval in (one, other)
    ]
    return f"found intervals that overlap, {' and '.join(shown)}, expected buckets of one width"


def _count(sums: dict[Place, Sum], place: Place | None, seen: Seen) -> None:
    if place is None:
        return
    total = sums.get(place)
    if total is None:
        total = sums[place] = Sum()
    if seen.usage is None:
        total.unsettled += 1
        return
    if not seen.is_consumption:
        return
    assert total.calls is not None
    total.calls += 1
    total.kinds |= {seen.kind}
    total.estimated += seen.is_estimated
    total.tiers[seen.tier] = total.tiers.get(seen.tier, 0) + 1
    total.add_quantities(seen.usage)
    if seen.cost_nanos is None or seen.currency is None:
        total.unpriced += 1
        return
    total.nanos[seen.currency] = total.nanos.get(seen.currency, 0) + seen.cost_nanos
    for line in seen.lines:
        quantity, nanos = total.units.get(line.unit, (0, 0))
        total.units[line.unit] = (quantity + line.quantity, nanos + line.amount_nanos)


def _copy(total: Sum) -> Sum:
    return Sum(
        total.calls, dict(total.quantities), dict(total.nanos), dict(total.units),
        dict(total.tiers), total.kinds, total.rows, total.estimated, total.unsettled,
        total.unpriced,
    )  # fmt: skip
