"""Read LiteLLM's price map: the JSON file `model_prices_and_context_window.json`.

A model whose entry has a price that we cannot tell apart is left out and named: unpriced is right
where a price could be wrong. The map has no dates, so its cards hold for all time; lay a dated
rate file over it where a price has changed. Called by `formats` and `meter prices import`.

Source: https://docs.litellm.ai/docs/provider_registration/add_model_pricing and
https://docs.litellm.ai/docs/proxy/off_peak_pricing (2026-10-10).
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from meter.errors import InputError
from meter.prices.names import provider_named
from meter.prices.tables import DECIMAL

_TOKENS: Final = {
    "cache_creation_input_token_cost": "cache_write_tokens",
    "cache_creation_input_token_cost_above_1hr": "cache_write_1h_tokens",
    "cache_read_input_audio_token_cost": "cache_audio_read_tokens",
    "cache_read_input_image_token_cost": "cache_image_read_tokens",
    "cache_read_input_token_cost": "cache_read_tokens",
    "input_cost_per_audio_token": "input_audio_tokens",
    "input_cost_per_image_token": "input_image_tokens",
    "input_cost_per_token": "input_tokens",
    "input_cost_per_token_cache_hit": "cache_read_tokens",
    "input_cost_per_video_token": "input_video_tokens",
    "output_cost_per_audio_token": "output_audio_tokens",
    "output_cost_per_image_token": "output_image_tokens",
    "output_cost_per_reasoning_token": "reasoning_tokens",
    "output_cost_per_token": "output_tokens",
}
"""The fields that price one token; each also with a context threshold and a service tier."""

_PIECES: Final = {
    "code_interpreter_cost_per_session": "sessions",
    "input_cost_per_character": "characters",
    "input_cost_per_query": "searches",
    "ocr_cost_per_page": "pages",
    "output_cost_per_image": "images",
    "output_cost_per_video_per_second": "video_seconds",
}
_BESIDE: Final = frozenset({
    "annotation_cost_per_page", "computer_use_input_cost_per_1k_tokens",
    "computer_use_output_cost_per_1k_tokens", "file_search_cost_per_1k_calls",
    "file_search_cost_per_gb_per_day", "vector_store_cost_per_gb_per_day",
})  # fmt: skip
"""Prices of what is not counted with a call."""

_TIERS: Final = {
    "batches": "batch", "flex": "flex", "priority": "priority", "ultrafast": "ultrafast",
}  # fmt: skip
_FIELD: Final = re.compile(
    r"(?P<field>.+?)(?:_above_(?P<thousands>\d+)k_tokens)?"
    r"(?:_(?P<tier>batches|flex|priority|ultrafast))?"
)
_SIZED: Final = re.compile(r"(?:(?P<quality>[a-z]+)/)?(?P<wide>\d+)-x-(?P<high>\d+)/(?P<model>.+)")
_PROVIDERS: Final = {
    "azure_text": "azure",
    "bedrock_converse": "aws",
    "cohere_chat": "cohere",
    "dashscope": "dashscope",
    "text-completion-codestral": "mistral",
    "text-completion-openai": "openai",
}
_WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_MILLION: Final = 1_000_000


class _Unclear(Exception):
    """Why an entry is left out."""


@dataclass(frozen=True, slots=True)
class PriceMap:
    """What a price map says: the content of a rate file, and why other models are left out."""

    content: Mapping[str, Any]
    left_out: Mapping[str, str]


def content_of_litellm(text: str, where: str) -> Mapping[str, Any]:
    """Return what a TOML rate file with the same prices would hold. Raises: InputError."""
    return read_price_map(text, where).content


def read_price_map(text: str, where: str) -> PriceMap:
    """Return the models of a price map that can be priced. Raises: InputError."""
    try:
        listed = json.loads(text, parse_float=Decimal, parse_int=Decimal)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where} is not JSON: {error}") from None
    if not isinstance(listed, dict):
        raise InputError(f"{where} is a JSON {type(listed).__name__}, expected an object")
    cards: dict[tuple[str, str], dict[str, Any]] = {}
    left_out: dict[str, str] = {}
    for key, entry in listed.items():
        if key == "sample_spec" or not isinstance(entry, dict):
            continue
        try:
            provider, model, traits = _named(key, entry)
            card = _card(entry, provider, model, traits)
        except _Unclear as reason:
            left_out[key] = str(reason)
            continue
        known = cards.setdefault((provider, model.lower()), card)
        if known is not card and not (traits and _joined(known, card)):
            left_out[key] = f"{provider} {model} is listed twice"
    return PriceMap({"card": list(cards.values())}, left_out)


def _named(key: str, entry: Mapping[str, Any]) -> tuple[str, str, dict[str, str]]:
    """Return provider, model and the traits that stand in an image model's name."""
    stated = entry.get("litellm_provider")
    if not isinstance(stated, str):
        raise _Unclear("it names no provider")
    family = "vertex_ai" if stated.startswith("vertex_ai") else stated
    if "*" in key or not key.strip() or not family.strip():
        raise _Unclear("it is the name of no single model")
    provider = provider_named(_PROVIDERS.get(family, family))
    head, slash, tail = key.partition("/")
    model = tail if slash and provider_named(_PROVIDERS.get(head, head)) == provider else key
    sized = _SIZED.fullmatch(model)
    if sized is None:
        return provider, model, {}
    traits = {"size": f"{sized['wide']}x{sized['high']}"}
    if sized["quality"]:
        traits["quality"] = sized["quality"]
    return provider, sized["model"], traits


def _card(
    entry: Mapping[str, Any], provider: str, model: str, traits: dict[str, str]
) -> dict[str, Any]:
    rates: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for name, value in entry.items():
        if "cost" in name and value is not None and name not in _BESIDE:
            for tier, unit, rate in _rates(name, value, entry, traits):
                listed = rates.setdefault(tier, {}).setdefault(unit, [])
                if rate not in listed:
                    listed.append(rate)
    if not rates:
        raise _Unclear("it has no price")
    source = entry.get("source")
    card: dict[str, Any] = {
        "providers": [provider],
        "models": [model],
        "currency": "USD",
        "source": f"LiteLLM price map ({source})" if isinstance(source, str) else
                  "LiteLLM price map",
        "rates": rates,
        "windows": list(_off_peak(entry.get("off_peak_pricing"), rates)),
    }  # fmt: skip
    for limit, names in (("max_output_tokens", ("max_output_tokens",)),
                         ("context_tokens", ("max_input_tokens",))):  # fmt: skip
        number = next((entry[n] for n in names if isinstance(entry.get(n), Decimal)), None)
        if number is not None and number == int(number) and 0 < number < 10**12:
            card[limit] = int(number)
    return card


def _rates(
    name: str, value: Any, entry: Mapping[str, Any], traits: dict[str, str]
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield (tier, unit, rate) of one field. Raises: _Unclear."""
    if name == "search_context_cost_per_query":
        yield from _searches(value)
        return
    if not isinstance(value, Decimal) or not value.is_finite() or value < 0:
        raise _Unclear(f"{name} is {value!r:.40}, not a price")
    parts = _FIELD.fullmatch(name)
    assert parts is not None
    field, tier = parts["field"], _TIERS.get(parts["tier"] or "", "standard")
    if field in _TOKENS:
        rate: dict[str, Any] = {"price": _text(value * _MILLION), "per": _MILLION}
        if parts["thousands"]:
            rate["above_input_tokens"] = int(parts["thousands"]) * 1000
        yield tier, _TOKENS[field], rate
        return
    if parts["thousands"]:
        raise _Unclear(f"{name} is not read")
    unit, price = _piece(field, value, entry, traits)
    if unit is not None:
        yield tier, unit, {"price": _text(price), "per": 1, "traits": dict(traits)}


def _piece(
    field: str, value: Decimal, entry: Mapping[str, Any], traits: Mapping[str, str]
) -> tuple[str | None, Decimal]:
    mode = entry.get("mode")
    if field in _PIECES:
        return _PIECES[field], value
    if field == "input_cost_per_pixel" and "size" in traits:
        wide, _, high = traits["size"].partition("x")
        return "images", value * int(wide) * int(high)
    if field == "input_cost_per_image" and mode == "image_generation":
        return "images", value
    if field == "input_cost_per_second" and mode == "audio_transcription":
        return "audio_seconds", value
    if field == "output_cost_per_second":
        if mode == "video_generation":
            return "video_seconds", value
        # The map repeats the input's price there, or says zero: a second is billed once.
        if mode == "audio_transcription":
            return None, value
    raise _Unclear(f"{field} is not read")


def _searches(value: Any) -> Iterator[tuple[str, str, dict[str, Any]]]:
    if not isinstance(value, dict):
        raise _Unclear("search_context_cost_per_query is no table")
    prices = {price for price in value.values() if isinstance(price, Decimal)}
    if len(prices) != 1:
        raise _Unclear("a search has several prices, and a call does not show which")
    yield "standard", "searches", {"price": _text(prices.pop()), "per": 1}


def _off_peak(block: Any, rates: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the windows in which other prices hold. Raises: _Unclear."""
    if block is None:
        return
    if not isinstance(block, dict):
        raise _Unclear("off_peak_pricing is no table")
    within: dict[str, dict[str, list[dict[str, Any]]]] = {
        tier: dict(units) for tier, units in rates.items()
    }
    changed: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for name, value in block.items():
        if "cost" in name and value is not None:
            for tier, unit, rate in _rates(name, value, {}, {}):
                changed.setdefault(tier, {}).setdefault(unit, []).append(rate)
    for tier, units in changed.items():
        within[tier] = within.get(tier, {}) | units
    for window in block.get("windows") or [block]:
        days = _weekdays(window.get("weekdays"))
        hours = window.get("hours_utc")
        for text in hours if isinstance(hours, list) else [hours]:
            for start, end in _hours(text, every_day=days is None):
                made = {"start": start, "end": end, "tz": "UTC", "rates": within}
                yield made if days is None else made | {"weekdays": days}


def _weekdays(days: Any) -> list[int] | None:
    if days is None:
        return None
    if isinstance(days, list) and all(str(day).lower()[:3] in _WEEKDAYS for day in days):
        return sorted({_WEEKDAYS.index(str(day).lower()[:3]) + 1 for day in days})
    raise _Unclear("the weekdays of off_peak_pricing are not read")


def _hours(text: Any, *, every_day: bool) -> list[tuple[str, str]]:
    """Return the spans of a day, as HH:MM; one past midnight is two."""
    found = re.fullmatch(r"(\d\d:\d\d)-(\d\d:\d\d)", text) if isinstance(text, str) else None
    if found is None:
        raise _Unclear("the hours of off_peak_pricing are not read")
    start, end = found[1], found[2]
    if start < end:
        return [(start, end)]
    if not every_day:
        raise _Unclear("off_peak_pricing goes past midnight on some weekdays only")
    if start == end:
        return [("00:00", "00:00")]
    return [(start, "00:00"), *([("00:00", end)] if end != "00:00" else [])]


def _joined(known: dict[str, Any], more: Mapping[str, Any]) -> bool:
    """Add the sizes of one image model together; whether that could be done."""
    for tier, units in more["rates"].items():
        for unit, rates in units.items():
            listed = known["rates"].setdefault(tier, {}).setdefault(unit, [])
            if any(rate["traits"] == other.get("traits") for rate in rates for other in listed):
                return False
            listed.extend(rates)
    return True


def _text(price: Decimal) -> str:
    """Return a price as a rate file writes it. Raises: _Unclear for one finer or larger."""
    text = f"{price.normalize():f}"
    if not DECIMAL.fullmatch(text):
        raise _Unclear(f"the price {text:.40} has more digits than a price can have")
    return text
