"""Hold published or agreed prices as dated rate cards.

A rate is an absolute price: service tiers, context thresholds and cache lifetimes are priced on
their own, never as a multiplier of another (providers' ratios differ from model to model).
A card is valid for a half-open interval of time and is never edited: a new price is a new card.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from meter.core.units import unit
from meter.errors import RateCardError

STANDARD = "standard"
"""The service tier of a call that asked for none."""


@dataclass(frozen=True, slots=True)
class Rate:
    """The price of one unit: `nanos` for `per` units, in the card's currency.

    `above_input_tokens`: the rate holds for calls whose whole input is above this many tokens
    (a cliff: the whole call is rated at it, not just the excess); of several, the highest
    exceeded threshold wins. `traits` narrows the rate to calls with these traits, such as
    ("size", "1024x1024"); the rate that names the most matching traits wins. `minimum` is the
    least quantity that is billed once any of the unit was used (a clip of 3 s billed as 10 s).
    """

    unit: str
    nanos: int
    per: int = 1_000_000
    above_input_tokens: int = 0
    traits: tuple[tuple[str, str], ...] = ()
    minimum: int = 0

    def __post_init__(self) -> None:
        """Check the fields. Raises: UnitError, RateCardError."""
        unit(self.unit)
        if self.nanos < 0 or self.per < 1 or self.above_input_tokens < 0 or self.minimum < 0:
            raise RateCardError(
                f"found {self.nanos} nanos per {self.per} {self.unit} above "
                f"{self.above_input_tokens} tokens, expected a price >= 0 per at least one unit"
            )


@dataclass(frozen=True, slots=True)
class RateWindow:
    """Rates that replace a card's own at certain times of day.

    `weekdays` are ISO numbers (Monday 1 … Sunday 7); the window is the half-open interval of
    minutes since midnight [start, end) in the zone `tz`, and does not hold on `holidays`.
    """

    start_minute: int
    end_minute: int
    rates: Mapping[str, tuple[Rate, ...]]
    weekdays: frozenset[int] = frozenset(range(1, 8))
    tz: str = "UTC"
    holidays: frozenset[date] = frozenset()

    def __post_init__(self) -> None:
        """Check the fields. Raises: RateCardError."""
        if not 0 <= self.start_minute < self.end_minute <= 24 * 60:
            raise RateCardError(
                f"found minutes {self.start_minute} to {self.end_minute}, expected a span of a day"
            )

    def holds_at(self, at_us: int) -> bool:
        """Whether the moment (microseconds UTC) lies in the window."""
        moment = datetime_of(at_us).astimezone(ZoneInfo(self.tz))
        if moment.isoweekday() not in self.weekdays or moment.date() in self.holidays:
            return False
        return self.start_minute <= moment.hour * 60 + moment.minute < self.end_minute


@dataclass(frozen=True, slots=True)
class RateCard:
    """The dated rates of one model at one provider in one price book.

    `rates` maps a service tier ("standard", "batch", "flex", "priority", …) to its rates; a tier
    that is missing is not priced by this card, and never silently standard. The card holds from
    `effective_from_us` (inclusive) to `effective_to_us` (exclusive, None: until further notice),
    microseconds UTC. `source` says where the prices came from, `checked` when (ISO date).
    `unpriced_units` are units whose price is known to differ from that of the bucket around them
    but is not known itself: a call that used one is unpriced where its tier has no rate for it.
    `minimum_nanos` is the least that a call costs that used anything.
    """

    provider: str
    model: str
    currency: str
    rates: Mapping[str, tuple[Rate, ...]]
    effective_from_us: int = 0
    effective_to_us: int | None = None
    windows: tuple[RateWindow, ...] = ()
    max_output_tokens: int | None = None
    context_tokens: int | None = None
    book: str = "list"
    source: str = ""
    checked: str = ""
    id: str = field(default="", compare=False)
    unpriced_units: frozenset[str] = frozenset()
    minimum_nanos: int = 0

    def __post_init__(self) -> None:
        """Give the card its content hash as id. Raises: RateCardError when it has no rate,
        UnitError for an unpriced unit outside the registry.
        """
        if not any(self.rates.values()):
            raise RateCardError(f"found no rate for {self.provider}/{self.model}, expected one")
        for name in self.unpriced_units:
            unit(name)
        if self.minimum_nanos < 0:
            raise RateCardError(f"found a minimum of {self.minimum_nanos} nanos, expected >= 0")
        if not self.id:
            object.__setattr__(self, "id", _content_hash(self))

    def holds_at(self, at_us: int) -> bool:
        """Whether the card is in force at the moment (microseconds UTC)."""
        return self.effective_from_us <= at_us and (
            self.effective_to_us is None or at_us < self.effective_to_us
        )

    def rates_for(
        self, tier: str, at_us: int, input_tokens: int, traits: Mapping[str, str]
    ) -> dict[str, Rate] | None:
        """Return the rate of each priced unit for one call, None when the tier is not priced.

        `input_tokens` is the call's whole input, which picks the context threshold.
        """
        rates = self.rates_at(at_us).get(tier)
        if rates is None:
            return None
        chosen: dict[str, Rate] = {}
        for rate in rates:
            if rate.above_input_tokens and input_tokens <= rate.above_input_tokens:
                continue
            if rate.traits and any(traits.get(name) != value for name, value in rate.traits):
                continue
            best = chosen.get(rate.unit)
            if best is None or _precedence(rate) > _precedence(best):
                chosen[rate.unit] = rate
        return chosen

    def rates_at(self, at_us: int) -> Mapping[str, tuple[Rate, ...]]:
        """Return the rates by tier at the moment: those of a window that holds, or the card's."""
        if not self.windows:
            return self.rates
        return next((w.rates for w in self.windows if w.holds_at(at_us)), self.rates)


def _precedence(rate: Rate) -> tuple[int, int]:
    return len(rate.traits), rate.above_input_tokens


def _content_hash(card: RateCard) -> str:
    def lines(rates: Mapping[str, tuple[Rate, ...]]) -> list[object]:
        return [
            (
                tier,
                sorted(
                    (r.unit, r.nanos, r.per, r.above_input_tokens, r.traits, r.minimum)
                    for r in listed
                ),
            )
            for tier, listed in sorted(rates.items())
        ]

    windows = [
        (w.start_minute, w.end_minute, sorted(w.weekdays), w.tz,
         sorted(day.isoformat() for day in w.holidays), lines(w.rates))
        for w in card.windows
    ]  # fmt: skip
    content: tuple[object, ...] = (
        card.book, card.provider, card.model, card.currency, card.effective_from_us,
        card.effective_to_us, lines(card.rates), windows, sorted(card.unpriced_units),
    )  # fmt: skip
    if card.minimum_nanos:
        content = (*content, card.minimum_nanos)
    return hashlib.sha256(repr(content).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Missing:
    """Why a price book has no card for a call, in one sentence."""

    reason: str


@dataclass(frozen=True, slots=True)
class Pricing:
    """What one call is rated with, in each price book.

    `cost` is what its issuer bills us by (contract, else list). `listed` is the published price
    and `billed` what its subject is billed by (resale); None there means: the same as `cost`.
    """

    cost: RateCard | Missing | None
    listed: RateCard | Missing | None = None
    billed: RateCard | Missing | None = None

    @property
    def cost_card(self) -> RateCard | None:
        """Return the card of the cost, None when there is none."""
        return self.cost if isinstance(self.cost, RateCard) else None

    @property
    def other_cards(self) -> tuple[RateCard, ...]:
        """Return the cards beside that of the cost."""
        return tuple(c for c in (self.listed, self.billed) if isinstance(c, RateCard))

    @property
    def cards(self) -> tuple[RateCard, ...]:
        """Return every card."""
        own = () if self.cost_card is None else (self.cost_card,)
        return (*own, *self.other_cards)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def datetime_of(at_us: int) -> datetime:
    """Return microseconds since 1970-01-01 UTC as an aware datetime, exactly."""
    return _EPOCH + timedelta(microseconds=at_us)


def microseconds_of(moment: datetime) -> int:
    """Return an aware datetime as microseconds since 1970-01-01 UTC, exactly."""
    return (moment - _EPOCH) // timedelta(microseconds=1)
