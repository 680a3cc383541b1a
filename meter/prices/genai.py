"""Turn the price list that travels with genai-prices into rate cards, exactly.

Its data are used and its name matching; never its price calculation, its updates or its global
state. A model that has a price in a unit which we cannot tell apart, or a price that depends on
what a call does not show, gets no card: unpriced is right where a price could be wrong.
The package is imported at the first lookup, because it brings pydantic and httpx2 with it.
"""

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING

from meter.core.rates import STANDARD, Rate, RateCard, RateWindow, microseconds_of
from meter.prices.quotes import Quote, exact_rate, quote_of

if TYPE_CHECKING:
    from genai_prices.types import (
        ModelInfo,
        ModelPrice,
        PriceVariant,
        Provider,
        TieredPrices,
        TimeOfDateConstraint,
    )

Prices = Mapping[str, "Decimal | TieredPrices"]
"""The prices of one model at one moment in one tier, by genai-prices' price key."""

_PROVIDERS = {
    "anthropic": "anthropic", "aws": "aws", "azure": "azure", "baseten": "baseten",
    "cerebras": "cerebras", "cloudflare": "cloudflare", "cohere": "cohere",
    "databricks": "databricks", "deepseek": "deepseek", "fireworks": "fireworks",
    "google": "google", "groq": "groq", "minimax": "minimax", "mistral": "mistral",
    "moonshot": "moonshotai", "novita": "novita", "openai": "openai",
    "openrouter": "openrouter", "perplexity": "perplexity", "together": "together",
    "vertex": "google", "voyage": "voyageai", "xai": "x-ai", "zai": "zai", "zhipu": "zhipuai",
}  # fmt: skip
"""The meter's provider name -> that of genai-prices. Its looser matching is not used: it would
take any name that contains "openai" for OpenAI."""

_TIERS = {
    ("processing", "batch"): "batch",
    ("service_tier", "fast"): "fast",
    ("service_tier", "flex"): "flex",
    ("service_tier", "priority"): "priority",
    ("speed", "fast"): "fast",
}
_SAME_AS_STANDARD = ("service_tier", "default")

_UNITS = {
    "audio_hours": ("audio_seconds", 3600),
    "cache_audio_read_mtok": ("cache_audio_read_tokens", 1_000_000),
    "cache_image_read_mtok": ("cache_image_read_tokens", 1_000_000),
    "cache_read_mtok": ("cache_read_tokens", 1_000_000),
    "cache_write_1h_mtok": ("cache_write_1h_tokens", 1_000_000),
    "cache_write_5m_mtok": ("cache_write_5m_tokens", 1_000_000),
    "cache_write_mtok": ("cache_write_tokens", 1_000_000),
    "input_audio_hours": ("audio_seconds", 3600),
    "input_audio_mtok": ("input_audio_tokens", 1_000_000),
    "input_document_kpages": ("pages", 1_000),
    "input_image_mtok": ("input_image_tokens", 1_000_000),
    "input_mchars": ("characters", 1_000_000),
    "input_mtok": ("input_tokens", 1_000_000),
    "input_video_mtok": ("input_video_tokens", 1_000_000),
    "output_audio_mtok": ("output_audio_tokens", 1_000_000),
    "output_image_mtok": ("output_image_tokens", 1_000_000),
    "output_mtok": ("output_tokens", 1_000_000),
    "output_reasoning_mtok": ("reasoning_tokens", 1_000_000),
    "requests_kcount": ("requests", 1_000),
    "rerank_searches_kcount": ("searches", 1_000),
    "web_searches_kcount": ("searches", 1_000),
}
# File searches are counted among all hosted tool calls, which are not told apart.
_LEFT_OUT = frozenset({"storage_searches_kcount"})
# A cache write that is kept longer costs more, so it must not be billed as an ordinary one.
_LONG_WRITES = frozenset({"cache_write_1h_tokens", "cache_write_12h_tokens"})

_FREE: Mapping[str, tuple[Rate, ...]] = {
    STANDARD: (Rate("input_tokens", 0), Rate("output_tokens", 0))
}
_CHECKED = re.compile(r"(?:verified|checked|as of)\D{0,24}(20\d\d-\d\d-\d\d)", re.IGNORECASE)
_MIDNIGHT_MINUTE = 24 * 60


class _Inexpressible(Exception):
    """The price of a model cannot be said with our units, tiers and windows."""


class GenaiPrices:
    """Quotes from the snapshot inside the installed genai-prices package. Thread-safe."""

    def __init__(self, listed: "Sequence[Provider] | None" = None) -> None:
        """Take genai-prices' providers, None for those of the installed package.

        Nothing is imported or converted before the first lookup.
        """
        self._given = listed
        self._converted: dict[tuple[str, str, str], tuple[Quote, ...]] = {}

    def quotes_for(self, provider: str, model: str) -> tuple[Quote, ...]:
        """Return the cards of a model in order of time, () when none is known for it."""
        wanted = _PROVIDERS.get(provider)
        if wanted is None:
            return ()
        everyone = list(_bundled_providers() if self._given is None else self._given)
        listed = next((one for one in everyone if one.id == wanted), None)
        found = None if listed is None else listed.find_model(model, all_providers=everyone)
        if listed is None or found is None:
            return ()
        # A fallback (Azure serving OpenAI's models) is the maker's price. Tiers are the maker's
        # own offers and are not carried over.
        own = any(found is info for info in listed.models)
        key = (provider, listed.id if own else f"{listed.id} (other)", found.id)
        quotes = self._converted.get(key)
        if quotes is None:
            quotes = self._converted[key] = tuple(
                quote_of(card) for card in _cards(provider, listed, found, own)
            )
        return quotes


def _bundled_providers() -> "Sequence[Provider]":
    from genai_prices.data import providers

    return providers


@cache
def _source() -> str:
    return f"genai-prices {version('genai-prices')}"


def _cards(provider: str, listed: "Provider", info: "ModelInfo", own: bool) -> list[RateCard]:
    try:
        return list(_dated_cards(provider, listed, info, own))
    except _Inexpressible:
        return []


def _dated_cards(
    provider: str, listed: "Provider", info: "ModelInfo", own: bool
) -> Iterator[RateCard]:
    """Yield a card for each stretch of days with one set of prices, in order of time."""
    offers = _Offers(info, own)
    starts = [0, *(_start_us(day) for day in offers.start_days())]
    previous: RateCard | None = None
    for at, (from_us, to_us) in enumerate(zip(starts, [*starts[1:], None], strict=True)):
        day = offers.start_days()[at - 1] if at else date.min
        card = _card_of_day(offers, day)
        if card is None:
            continue
        card = replace(
            card,
            provider=provider,
            model=info.id,
            effective_from_us=from_us,
            effective_to_us=to_us,
            context_tokens=info.context_window,
            source=_source(),
            checked=_checked(info.price_comments, listed.price_comments),
            id="",
        )
        if previous is not None and _same_prices(previous, card):
            previous = replace(previous, effective_to_us=to_us, id="")
            continue
        if previous is not None:
            yield previous
        previous = card
    if previous is not None:
        yield previous


def _card_of_day(offers: "_Offers", day: date) -> RateCard | None:
    """Return an undated card with the prices of a day, None when that day had none."""
    always = offers.rates(day, None)
    if always is None:
        if not offers.is_free:
            return None
        always = _FREE
    windows = []
    for start_minute, end_minute in offers.spans():
        if offers.has_window_at(start_minute):
            rates = offers.rates(day, start_minute)
            if rates is not None and rates != always:
                windows.append(RateWindow(start_minute, end_minute, rates))
    priced = {rate.unit for rate in always[STANDARD]}
    unpriced = _LONG_WRITES - priced if "cache_write_tokens" in priced else frozenset()
    return RateCard("", "", "USD", always, windows=tuple(windows), unpriced_units=unpriced)


class _Offers:
    """The conditional prices and variants of one model, asked for one day and minute."""

    def __init__(self, info: "ModelInfo", own: bool) -> None:
        from genai_prices.types import ConditionalPrice

        prices = info.prices
        self.prices = prices if isinstance(prices, list) else [ConditionalPrice(prices=prices)]
        self.variants = list(info.price_variants or ()) if own else []
        self.constraints = [offer.constraint for offer in self.prices]
        self.constraints += [variant.constraint for variant in self.variants]
        self.ambiguous = _ambiguous_keys(info.price_variants or ())
        self.is_free = info.id.endswith(":free") and not any(
            _stated(offer.prices) for offer in self.prices
        )

    def start_days(self) -> list[date]:
        """Return the days on which something begins to hold."""
        from genai_prices.types import StartDateConstraint

        return sorted(
            {c.start_date for c in self.constraints if isinstance(c, StartDateConstraint)}
        )

    def spans(self) -> list[tuple[int, int]]:
        """Return the stretches of a day (minutes UTC) within which no daily window changes."""
        edges = {0, _MIDNIGHT_MINUTE}
        for constraint in self._windows():
            edges |= {_minute(constraint.start_time), _minute(constraint.end_time)}
        ordered = sorted(edges)
        return list(itertools.pairwise(ordered))

    def has_window_at(self, minute: int) -> bool:
        """Whether any daily window is open at the minute."""
        return any(_is_open(constraint, minute) for constraint in self._windows())

    def rates(self, day: date, minute: int | None) -> Mapping[str, tuple[Rate, ...]] | None:
        """Return the rates by tier, None when no price holds.

        `minute` None is a moment at which every daily window is shut.
        """
        holding = [offer for offer in self.prices if _holds(offer.constraint, day, minute)]
        if not holding:
            return None
        standard = self._clear(_stated(holding[-1].prices))
        if not standard:
            return None
        stated: dict[str, dict[str, Decimal | TieredPrices]] = {STANDARD: {}}
        for variant in self.variants:
            tier = _TIERS.get(_condition(variant))
            if tier is not None and _holds(variant.constraint, day, minute):
                # The first variant that states a price wins; what none states is as standard.
                stated[tier] = {**self._clear(_stated(variant.prices)), **stated.get(tier, {})}
        return {tier: tuple(_rates({**standard, **own})) for tier, own in stated.items()}

    def _clear(self, prices: Prices) -> Prices:
        return {key: price for key, price in prices.items() if key not in self.ambiguous}

    def _windows(self) -> Iterator["TimeOfDateConstraint"]:
        from genai_prices.types import TimeOfDateConstraint

        return (c for c in self.constraints if isinstance(c, TimeOfDateConstraint))


def _stated(prices: "ModelPrice") -> Prices:
    return {key: price for key, price in vars(prices).items() if price is not None}


def _condition(variant: "PriceVariant") -> tuple[str, str]:
    """Return the one condition of a variant; a combination of several is no tier."""
    conditions = list(variant.when.items())
    return conditions[0] if len(conditions) == 1 else ("", "")


def _ambiguous_keys(variants: Iterable["PriceVariant"]) -> frozenset[str]:
    """Return the prices that depend on something which a call does not show (a route)."""
    return frozenset(
        key
        for variant in variants
        if _condition(variant) not in _TIERS and _condition(variant) != _SAME_AS_STANDARD
        for key in _stated(variant.prices)
    )


def _holds(constraint: object, day: date, minute: int | None) -> bool:
    from genai_prices.types import StartDateConstraint, TimeOfDateConstraint

    if constraint is None:
        return True
    if isinstance(constraint, StartDateConstraint):
        return day >= constraint.start_date
    if isinstance(constraint, TimeOfDateConstraint):
        return minute is not None and _is_open(constraint, minute)
    raise _Inexpressible


def _is_open(constraint: "TimeOfDateConstraint", minute: int) -> bool:
    start, end = _minute(constraint.start_time), _minute(constraint.end_time)
    return start <= minute < end if start <= end else minute >= start or minute < end


def _minute(moment: time) -> int:
    """Return a time of day as minutes since midnight UTC. Raises: _Inexpressible for seconds."""
    zone = moment.tzinfo or UTC
    utc = datetime.combine(date(1970, 1, 2), moment, tzinfo=zone).astimezone(UTC)
    if utc.second or utc.microsecond:
        raise _Inexpressible
    return utc.hour * 60 + utc.minute


def _start_us(day: date) -> int:
    return microseconds_of(datetime.combine(day, time(), tzinfo=UTC))


def _rates(prices: Prices) -> Iterator[Rate]:
    """Yield the rates of one tier. Raises: _Inexpressible for a unit that we do not have."""
    seen: dict[tuple[str, int], Rate] = {}
    for key, price in prices.items():
        if key in _LEFT_OUT:
            continue
        if key not in _UNITS:
            raise _Inexpressible
        for rate in _rates_of(*_UNITS[key], price):
            # Two keys of one unit (hours of audio, hours of audio input) must agree.
            if seen.setdefault((rate.unit, rate.above_input_tokens), rate) != rate:
                raise _Inexpressible
    yield from seen.values()


def _rates_of(unit: str, per: int, price: "Decimal | TieredPrices") -> Iterator[Rate]:
    if isinstance(price, Decimal):
        yield exact_rate(unit, price, per)
        return
    yield exact_rate(unit, price.base, per)
    for tier in price.tiers:
        yield exact_rate(unit, tier.price, per, above_input_tokens=tier.start)


def _same_prices(one: RateCard, other: RateCard) -> bool:
    return (one.rates, one.windows, one.unpriced_units) == (
        other.rates, other.windows, other.unpriced_units
    )  # fmt: skip


def _checked(*comments: str | None) -> str:
    """Return the latest day on which the list says that these prices were looked at, else ""."""
    return max((day for text in comments for day in _CHECKED.findall(text or "")), default="")
