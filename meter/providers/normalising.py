"""Turn a provider's usage object into inclusive buckets of the registry's units. Pure.

In: the raw object, merged from all reports of one answer; every value may be of any JSON type.
Out: a `Normalised`. A quantity that cannot be believed (negative, a fraction, text, above 10¹⁵)
is left out; when it is one that everything hangs on, there is no usage at all. Both say why.
Called by the endpoints. Shapes and inclusion rules: each function's `Source`.
"""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from meter.core.money import Quantity
from meter.core.units import UNITS
from meter.core.usage import MAX_QUANTITY, Usage
from meter.providers.endpoint import Normalised
from meter.providers.foreign import JSONObject, mapping, objects

_SPLITS: Final = ("cache_write_5m_tokens", "cache_write_30m_tokens", "cache_write_1h_tokens",
                  "cache_write_12h_tokens")  # fmt: skip


class _Report:
    """Reads quantities of one usage object and collects what is wrong with it."""

    def __init__(self, raw: JSONObject) -> None:
        self.raw = raw
        self.defects: list[str] = []
        self.usable = True

    def root(self, *names: str) -> int | None:
        """Return the first of these members; one that cannot be believed spoils the report."""
        return self.first(self.raw, names, spoils=True)

    def part(self, inside: JSONObject, *names: str) -> int | None:
        """Return the first of these members of an object; an odd one is left out."""
        return self.first(inside, names, spoils=False)

    def details(self, *names: str) -> JSONObject:
        """Return the first of these members that is an object, an empty one when none is."""
        return next((mapping(self.raw[n]) for n in names if mapping(self.raw.get(n))), {})

    def first(self, inside: JSONObject, names: tuple[str, ...], *, spoils: bool) -> int | None:
        if not inside:
            return None
        for name in names:
            value = inside.get(name)
            if value is None:
                continue
            quantity = _quantity(value)
            if quantity is None:
                self.defects.append(f"found {_shown(value)} as {name}, expected a whole number")
                self.usable = self.usable and not spoils
            return quantity
        return None

    def normalised(self, quantities: Mapping[str, Quantity | None]) -> Normalised:
        """Return the quantities that are known, contained ones not above their containers."""
        defects = tuple(self.defects)
        known = {unit: quantity for unit, quantity in quantities.items() if quantity is not None}
        too_large = [unit for unit, quantity in known.items() if quantity > MAX_QUANTITY]
        if not self.usable or too_large:
            return Normalised(None, (*defects, *(f"found too many {u}" for u in too_large)))
        usage = Usage(_contained(known))
        return Normalised(None if usage.is_all_zero else usage, defects)


def _quantity(value: Any) -> int | None:
    if type(value) is int:
        return value if 0 <= value <= MAX_QUANTITY else None
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        return None
    if not 0 <= value <= MAX_QUANTITY or value % 1 != 0:
        return None
    return int(value)


def _shown(value: Any) -> str:
    """Return a short form of a foreign value that repeats no text of it."""
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        return f"a {type(value).__name__}"
    return f"{value:.3g}" if isinstance(value, (float, Decimal)) else _shown_whole(value)


def _shown_whole(value: int) -> str:
    return str(value) if abs(value) <= 10 * MAX_QUANTITY else "a number above 10^15"


def _contained(known: dict[str, Quantity]) -> dict[str, Quantity]:
    """Cut what claims to be more than its container, alone or together with its siblings.

    Containers come before what they contain.
    """
    fixed = dict(known)
    for unit in fixed:
        for container in UNITS[unit].inside:
            if container in fixed:
                fixed[unit] = min(fixed[unit], fixed[container])
    if "input_tokens" in fixed and "cache_write_tokens" in fixed:
        free = fixed["input_tokens"] - fixed.get("cache_read_tokens", 0)
        fixed["cache_write_tokens"] = min(fixed["cache_write_tokens"], free)
    free = fixed.get("cache_write_tokens", 0)
    for split in _SPLITS:
        if split in fixed:
            fixed[split] = min(fixed[split], free)
            free -= fixed[split]
    return fixed


def from_openai(
    raw: JSONObject, *, generates: bool = True, reasoning_apart: bool = False
) -> Normalised:
    """Return OpenAI's chat, completions, responses, images or embeddings usage, and relatives.

    Cached, cache-write, audio and image tokens are inside the input; reasoning and rejected
    predictions inside the output. Where the total is larger than input plus output, what is
    missing is: reasoning that stands apart (xAI, Gemini's compatible endpoint), or, if it is
    exactly that many, audio input (Mistral). `generates` is False for embeddings, whose total is
    input. `reasoning_apart` adds reasoning where no total tells.

    Source: SDKs of openai 3.54, mistralai 3.7 and groq 1.7;
    https://github.com/Wei-Shaw/sub2api/issues/5771 (xAI) and
    https://github.com/Clarifai/clarifai-python/pull/978 (Gemini); 2026-11.
    """
    if raw.get("type") == "duration":
        return _from_duration(raw)
    if mapping(raw.get("billed_units")):
        return _from_billed_units(raw)
    report = _Report(raw)
    inner = report.details("prompt_tokens_details", "input_tokens_details",
                           "input_token_details", "prompt_token_details")  # fmt: skip
    outer = report.details("completion_tokens_details", "output_tokens_details",
                           "output_token_details", "completion_token_details")  # fmt: skip
    cached = mapping(inner.get("cached_tokens_details"))
    written = mapping(inner.get("cache_write_tokens_details"))
    audio = report.part(inner, "audio_tokens")
    reasoning = report.part(outer, "reasoning_tokens")
    if reasoning is None:
        reasoning = report.part(raw, "reasoning_tokens")
    taken, given = _roots(report, audio, reasoning, generates, reasoning_apart)
    cache_read = report.part(inner, "cached_tokens")
    if cache_read is None:
        cache_read = report.part(raw, "prompt_cache_hit_tokens", "cached_tokens",
                                 "num_cached_tokens", "cache_read_input_tokens")  # fmt: skip
    cache_write = report.part(inner, "cache_write_tokens")
    if cache_write is None:
        cache_write = report.part(raw, "cache_creation_input_tokens")
    return report.normalised({
        "input_tokens": taken,
        "cache_read_tokens": cache_read,
        "cache_write_tokens": cache_write,
        "cache_write_30m_tokens": report.part(written, "ttl_30m_tokens"),
        "cache_write_12h_tokens": report.part(written, "ttl_12h_tokens"),
        "input_audio_tokens": audio,
        "input_image_tokens": report.part(inner, "image_tokens"),
        "input_video_tokens": report.part(inner, "video_tokens"),
        "cache_audio_read_tokens": report.part(cached, "audio_tokens"),
        "cache_image_read_tokens": report.part(cached, "image_tokens", "cached_image_tokens"),
        "output_tokens": given,
        "reasoning_tokens": reasoning,
        "output_audio_tokens": report.part(outer, "audio_tokens"),
        "output_image_tokens": report.part(outer, "image_tokens"),
        "rejected_prediction_tokens": report.part(outer, "rejected_prediction_tokens"),
        "searches": _searches(report),
        "tool_calls": report.part(raw, "num_server_side_tools_used"),
    })  # fmt: skip


def _roots(
    report: _Report,
    audio: int | None,
    reasoning: int | None,
    generates: bool,
    reasoning_apart: bool,
) -> tuple[int | None, int | None]:
    """Return input and output tokens so that together they are the total."""
    taken = report.root("prompt_tokens", "input_tokens")
    given = report.root("completion_tokens", "output_tokens")
    total = report.root("total_tokens")
    if taken is None and report.raw.get("prompt_cache_miss_tokens") is not None:
        hit = report.root("prompt_cache_hit_tokens") or 0
        taken = hit + (report.root("prompt_cache_miss_tokens") or 0)
    if not generates:
        return (total if taken is None else taken), given
    if taken is None and given is None:
        if total is not None:
            report.defects.append("found a total without input or output tokens, expected both")
        report.usable = False
        return None, None
    if total is None:
        apart = reasoning and given is not None and (reasoning_apart or reasoning > given)
        return taken, given + reasoning if apart and given is not None and reasoning else given
    if taken is None:
        return max(total - (given or 0), 0), given
    if given is None:
        return taken, max(total - taken, 0)
    missing = total - taken - given
    if missing <= 0:
        return taken, given
    if missing == audio and missing != reasoning:
        return taken + missing, given
    return taken, given + missing


def _searches(report: _Report) -> int | None:
    """Return the billed searches: OpenRouter's, Perplexity's or xAI's count."""
    for name in ("server_tool_use_details", "server_tool_use"):
        found = report.part(mapping(report.raw.get(name)), "web_search_requests")
        if found is not None:
            return found
    calls = mapping(report.raw.get("server_side_tool_usage_details"))
    kinds = [report.part(calls, kind) for kind in ("web_search_calls", "x_search_calls")]
    if any(number is not None for number in kinds):
        return sum(number for number in kinds if number is not None)
    return report.part(report.raw, "num_search_queries")


def _from_duration(raw: JSONObject) -> Normalised:
    value = raw.get("seconds")
    odd = isinstance(value, bool) or not isinstance(value, (int, float, Decimal))
    seconds = None if odd else Decimal(str(value))
    if seconds is None or not seconds.is_finite() or not 0 <= seconds <= MAX_QUANTITY:
        return Normalised(None, (f"found {_shown(value)} as seconds, expected a duration",))
    return Normalised(Usage(audio_seconds=int(seconds) if seconds % 1 == 0 else seconds))


def _from_billed_units(raw: JSONObject) -> Normalised:
    """Return Cohere's billed units, which its bill is made of; `tokens` beside them is not.

    Source: SDK cohere 7.3 (`ApiMetaBilledUnits`, floats), 2026-11.
    """
    report = _Report(mapping(raw.get("billed_units")))
    return report.normalised({
        "input_tokens": report.root("input_tokens"),
        "cache_read_tokens": report.part(raw, "cached_tokens"),
        "input_image_tokens": report.part(report.raw, "image_tokens"),
        "output_tokens": report.root("output_tokens"),
        "searches": report.root("search_units"),
    })  # fmt: skip


def from_anthropic(raw: JSONObject) -> Normalised:
    """Return Anthropic's usage, whose input excludes what was read from or written to the cache.

    Output includes thinking. The tokens of a compaction are in no other member and are added;
    those of other models at work (an advisor) are told as a defect: their price is not this
    model's.

    Source: SDK anthropic 2.12 (`Usage`, `BetaUsage.iterations`), 2026-11.
    """
    report = _Report(raw)
    sums: dict[str, int | None] = {}
    _add_message(report, raw, sums, spoils=True)
    for iteration in objects(raw.get("iterations")):
        kind = iteration.get("type")
        if kind == "compaction":
            _add_message(report, iteration, sums, spoils=False)
        elif kind == "advisor_message":
            report.defects.append("another model advised: its tokens are not in this record")
    if sums.get("input_tokens") is None and sums.get("output_tokens") is None:
        report.usable = False
    output_details = report.details("output_tokens_details")
    tools = mapping(raw.get("server_tool_use"))
    return report.normalised({
        **sums,
        "reasoning_tokens": report.part(output_details, "thinking_tokens"),
        "searches": report.part(tools, "web_search_requests"),
    })  # fmt: skip


def _add_message(
    report: _Report, message: JSONObject, sums: dict[str, int | None], *, spoils: bool
) -> None:
    """Add the tokens of a message, or of one iteration of it, to the sums."""

    def read(*names: str) -> int | None:
        return report.first(message, names, spoils=spoils)

    split = mapping(message.get("cache_creation"))
    short = report.part(split, "ephemeral_5m_input_tokens")
    long = report.part(split, "ephemeral_1h_input_tokens")
    written = read("cache_creation_input_tokens")
    if written is None and (short is not None or long is not None):
        written = (short or 0) + (long or 0)
    cached = read("cache_read_input_tokens")
    plain = read("input_tokens")
    parts = [number for number in (plain, written, cached) if number is not None]
    found = {
        "input_tokens": sum(parts) if parts else None,
        "cache_read_tokens": cached,
        "cache_write_tokens": written,
        "cache_write_5m_tokens": short,
        "cache_write_1h_tokens": long,
        "output_tokens": read("output_tokens"),
    }
    for unit, number in found.items():
        if number is not None:
            sums[unit] = (sums.get(unit) or 0) + number


def from_gemini(raw: JSONObject) -> Normalised:
    """Return Gemini's usageMetadata: input is prompt and tool use, output includes thoughts.

    Zeros are left out of the wire format, so a missing member beside a total is a zero. Where
    the total is larger than the parts, the rest is output.

    Source: SDK google-genai 3.4 (`GenerateContentResponseUsageMetadata`), 2026-11.
    """
    report = _Report(raw)
    prompt = report.root("promptTokenCount")
    tool_use = report.root("toolUsePromptTokenCount")
    candidates = report.root("candidatesTokenCount", "responseTokenCount")
    thoughts = report.root("thoughtsTokenCount")
    total = report.root("totalTokenCount")
    if prompt is None and candidates is None and total is None:
        report.usable = False
    taken = (prompt or 0) + (tool_use or 0)
    given = None if candidates is None and thoughts is None else (candidates or 0) + (thoughts or 0)
    if total is not None and prompt is None:
        taken = max(taken, total - (given or 0))
    elif total is not None:
        given = max(given or 0, total - taken)
    read = _by_modality(report, "promptTokensDetails", "toolUsePromptTokensDetails")
    cached = _by_modality(report, "cacheTokensDetails")
    made = _by_modality(report, "candidatesTokensDetails", "responseTokensDetails")
    return report.normalised({
        "input_tokens": taken,
        "cache_read_tokens": report.part(raw, "cachedContentTokenCount"),
        "input_audio_tokens": read.get("AUDIO"),
        "input_image_tokens": read.get("IMAGE"),
        "input_video_tokens": read.get("VIDEO"),
        "cache_audio_read_tokens": cached.get("AUDIO"),
        "cache_image_read_tokens": cached.get("IMAGE"),
        "tool_use_input_tokens": tool_use,
        "output_tokens": given,
        "reasoning_tokens": thoughts,
        "output_audio_tokens": made.get("AUDIO"),
        "output_image_tokens": made.get("IMAGE"),
    })  # fmt: skip


def _by_modality(report: _Report, *names: str) -> dict[str, int]:
    """Sum the tokens of each modality over these lists."""
    sums: dict[str, int] = {}
    for name in names:
        for item in objects(report.raw.get(name)):
            modality = item.get("modality")
            tokens = report.part(item, "tokenCount")
            if isinstance(modality, str) and tokens is not None:
                sums[modality.upper()] = sums.get(modality.upper(), 0) + tokens
    return sums


_GEMINI_NAMES: Final = ("promptTokenCount", "candidatesTokenCount", "totalTokenCount")
_AMAZON_CACHE: Final = (
    ("cacheReadInputTokens", "cacheReadInputTokenCount"),
    ("cacheWriteInputTokens", "cacheWriteInputTokenCount"),
)
_BIG_LETTER: Final = re.compile("(?<=[a-z])[A-Z]")


def in_any_shape(raw: JSONObject) -> Normalised:
    """Return a usage object that is in none of its endpoint's words, told by its members.

    Gateways answer in one provider's words at another one's paths. Counts may be texts, names in
    camel case, and each count an object with a `total` (Vercel's AI gateway). Nothing that could
    be a count of tokens is no usage, and no defect.

    Source: https://vercel.com/docs/ai-gateway and the AI SDK's `LanguageModelV3Usage` (2026-11).
    """
    if any(name in raw for name in _GEMINI_NAMES):
        return from_gemini(raw)
    if mapping(raw.get("billed_units")):
        return _from_billed_units(raw)
    words = {_BIG_LETTER.sub(_in_small, name): _number_in(value) for name, value in raw.items()}
    if not any(words.get(name) for name in _ROOTS):
        return Normalised(None)
    if any(name in raw for names in _AMAZON_CACHE for name in names):
        read, written = (_first_of(raw, names) for names in _AMAZON_CACHE)
        words |= {"cache_read_input_tokens": read, "cache_creation_input_tokens": written}
        return from_anthropic(words)
    total = _quantity(words.get("total_tokens"))
    if total is None and "cache_creation_input_tokens" in words and "input_tokens" in words:
        return from_anthropic(words)
    if "cached_input_tokens" in words:
        words["cached_tokens"] = words["cached_input_tokens"]
    return from_openai(words)


_ROOTS: Final = ("prompt_tokens", "completion_tokens", "input_tokens", "output_tokens",
                 "total_tokens")  # fmt: skip


def _in_small(letter: re.Match[str]) -> str:
    return f"_{letter[0].lower()}"


def _first_of(raw: JSONObject, names: tuple[str, ...]) -> Any:
    return next((raw[name] for name in names if raw.get(name) is not None), None)


def _number_in(value: Any) -> Any:
    """Return the number that a text or an object with a `total` holds, else the value itself."""
    if isinstance(value, dict) and "total" in value:
        value = value["total"]
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 16:
        return int(value)
    return value
