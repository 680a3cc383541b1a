"""Collect what an answer says of itself, wherever a provider puts it.

In: parsed payloads in order. Usage stands at one of many places, sometimes in every chunk,
sometimes twice: reports are merged field by field, the last one that says something wins, and
nothing is ever added. Knows no bytes and no endpoint; called by `observing.py`.
"""

from collections.abc import Iterator
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, Final

from meter.core.money import NANOS, divide_half_even
from meter.providers.foreign import JSONObject, label, mapping, objects, text, whole
from meter.providers.tiers import tier_of

MOST_DEFECTS: Final = 8
_MOST_DEPTH: Final = 3
_MOST_MEMBERS: Final = 64
_MOST_TEXT: Final = 256
# The lists that normalising reads; others may be long, and are not kept.
_LISTS: Final = frozenset(
    {"iterations", "promptTokensDetails", "toolUsePromptTokensDetails", "cacheTokensDetails",
     "candidatesTokensDetails", "responseTokensDetails"}
)  # fmt: skip
# xAI's `cost_in_usd_ticks`. Source: https://github.com/Wei-Shaw/sub2api/issues/5771 (2026-11).
_TICKS_OF_A_NANO: Final = 10
_MOST_COST: Final = 10**9
_LATEST_S: Final = 2**33
# Members of an answer that has something to say, and so is no bare error.
_SUBSTANCE: Final = ("choices", "candidates", "content", "data", "output", "usage")


class Sightings:
    """What was seen so far. `usage` is the merged raw report, empty before the first."""

    __slots__ = ("cost_nanos", "created_s", "defects", "error", "model", "response_id",
                 "service_tier", "traits", "usage")  # fmt: skip

    def __init__(self) -> None:
        self.usage: dict[str, Any] = {}
        self.model: str | None = None
        self.created_s: int | None = None
        self.response_id: str | None = None
        self.service_tier: str | None = None
        self.cost_nanos: int | None = None
        self.error: str | None = None
        self.traits: dict[str, str] = {}
        self.defects: list[str] = []

    def take(self, payload: JSONObject) -> bool:
        """Look at one payload; return whether it carried a usage report."""
        self._identify(payload)
        self._note_error(payload)
        reported = False
        for report in _reports(payload):
            if isinstance(report, dict):
                if report:
                    reported = True
                    merge(self.usage, report)
                    self._read_extras(report)
            elif report is not None:
                self.note(f"found a {type(report).__name__} as usage, expected an object")
        return reported

    def note(self, defect: str) -> None:
        """Keep a sentence on what was malformed, the first few of them."""
        if defect not in self.defects and len(self.defects) < MOST_DEFECTS:
            self.defects.append(defect)

    def _identify(self, payload: JSONObject) -> None:
        self._identify_in(payload)
        for name in ("response", "message"):
            holder = payload.get(name)
            if isinstance(holder, dict):
                self._identify_in(holder)

    def _identify_in(self, holder: JSONObject) -> None:
        model = label(holder.get("model")) or label(holder.get("modelVersion"))
        self.model = model.removeprefix("models/") if model else self.model
        response_id = label(holder.get("id")) or label(holder.get("responseId"))
        self.response_id = response_id or self.response_id
        if self.created_s is None:
            self.created_s = whole(holder.get("created"), 1, _LATEST_S)
        self.service_tier = tier_of(holder.get("service_tier")) or self.service_tier

    def _note_error(self, payload: JSONObject) -> None:
        response = mapping(payload.get("response"))
        error = payload.get("error") or response.get("error")
        if not error and payload.get("type") == "error":
            error = payload
        if error:
            self.error = _error_code(error)
        elif not any(key in payload for key in _SUBSTANCE):
            # Resellers wrap their errors as {"code": …, "msg": …} with status 200.
            code = payload.get("code")
            if whole(code, -(10**9), 10**9) and ("msg" in payload or "message" in payload):
                self.error = f"code {code}"

    def _read_extras(self, report: JSONObject) -> None:
        tier = tier_of(report.get("service_tier") or report.get("serviceTier"))
        tier = tier or tier_of(report.get("trafficType"))
        self.service_tier = tier or self.service_tier
        if report.get("speed") == "fast":
            self.service_tier = "fast"
        for trait in ("inference_geo", "search_context_size"):
            value = label(report.get(trait), 64)
            if value is not None and value != "not_available":
                self.traits[trait] = value
        cost_nanos = _cost_nanos(report)
        self.cost_nanos = self.cost_nanos if cost_nanos is None else cost_nanos


def merge(into: dict[str, Any], report: JSONObject, depth: int = 0) -> None:
    """Merge a later report into an earlier one: per member, the last that says something wins.

    Null and empty say nothing. Counts only grow, so a zero after a count says nothing either.
    Objects are merged by member, lists replaced.
    """
    for key, value in report.items():
        if value is None or value == {} or (key not in into and len(into) >= _MOST_MEMBERS):
            continue
        if isinstance(value, list) and key not in _LISTS:
            continue
        if isinstance(value, str) and len(value) > _MOST_TEXT:
            value = value[:_MOST_TEXT]
        before = into.get(key)
        if isinstance(value, dict):
            if depth < _MOST_DEPTH:
                inner = dict(before) if isinstance(before, dict) else {}
                merge(inner, value, depth + 1)
                into[key] = inner
        elif not (_is_zero(value) and before is not None):
            into[key] = value


def _is_zero(value: Any) -> bool:
    return not isinstance(value, bool) and isinstance(value, (int, float, Decimal)) and value == 0


def _reports(payload: JSONObject) -> Iterator[Any]:
    """Yield whatever stands where some provider puts its usage."""
    for choice in objects(payload.get("choices")):
        yield choice.get("usage")
    yield mapping(payload.get("x_groq")).get("usage")
    for holder in ("response", "message", "delta"):
        yield mapping(payload.get(holder)).get("usage")
    for key in ("usage_info", "usageMetadata", "usage"):
        yield payload.get(key)


def _error_code(error: Any) -> str:
    """Return the kind of an error, never its message: that may repeat a prompt."""
    fields = mapping(error)
    for key in ("type", "code", "status"):
        value = label(fields.get(key), 64)
        if value is not None and value != "error":
            return value
        number = whole(fields.get(key), -(10**9), 10**9)
        if number is not None:
            return f"code {number}"
    return "unnamed" if not text(fields.get("type")) else "error"


def _cost_nanos(report: JSONObject) -> int | None:
    """Return what the issuer says the call cost, in nanos of a US dollar."""
    ticks = whole(report.get("cost_in_usd_ticks"), 0, _MOST_COST * NANOS)
    if ticks is not None:
        return divide_half_even(ticks, _TICKS_OF_A_NANO)
    cost = report.get("cost")
    if isinstance(cost, dict):
        cost = cost.get("total_cost")
    if isinstance(cost, bool) or not isinstance(cost, (int, Decimal)):
        return None
    if not 0 <= cost <= _MOST_COST:
        return None
    return int((Decimal(cost) * NANOS).to_integral_value(ROUND_HALF_EVEN))
