"""Read `POST …/interactions`.

Source: https://ai.google.dev/api/interactions-api (SDK google-genai 3.4, 2026-11). A stream tells
its usage in `interaction.completed`; steps carry the output.
"""

import re
from typing import Any

from meter.core.call import Attribution
from meter.core.ports import OutputSink
from meter.core.reading import Reading
from meter.providers.bounds import limit, odd_numbers
from meter.providers.endpoint import Normalised, Progress, Request
from meter.providers.foreign import JSONObject, label, mapping, objects, text
from meter.providers.hints import tags
from meter.providers.native import Native, hand_out, hand_out_call, whole_number
from meter.providers.normalising import from_gemini
from meter.providers.provider import Provider
from meter.providers.tiers import tier_of

_PATH = re.compile(r"/interactions$", re.IGNORECASE)
_RUNNING = ("in_progress", "queued")
_ENDED = ("completed", "failed", "cancelled", "incomplete", "requires_action")
_WORDS = {
    "total_input_tokens": "promptTokenCount",
    "total_cached_tokens": "cachedContentTokenCount",
    "total_tool_use_tokens": "toolUsePromptTokenCount",
    "total_thought_tokens": "thoughtsTokenCount",
    "total_tokens": "totalTokenCount",
}
_LISTS = {
    "input_tokens_by_modality": "promptTokensDetails",
    "cached_tokens_by_modality": "cacheTokensDetails",
    "output_tokens_by_modality": "candidatesTokensDetails",
    "tool_use_tokens_by_modality": "toolUsePromptTokensDetails",
}


class InteractionsOutput:
    """Read one answer's output: from the deltas, or from the steps where there were none."""

    __slots__ = ("_streamed",)

    def __init__(self) -> None:
        self._streamed = False

    def deliver(self, payload: JSONObject, sink: OutputSink) -> None:
        """Hand every piece of output in this payload to the sink."""
        kind = text(payload.get("event_type"))
        if kind == "step.delta":
            self._streamed = True
            _part(mapping(payload.get("delta")), sink)
        elif kind == "step.start":
            self._streamed = True
            step = mapping(payload.get("step"))
            if step.get("type") == "function_call":
                hand_out_call(sink, 0, step.get("name"), step.get("arguments"))
        elif not self._streamed:
            answer = mapping(payload.get("interaction")) or payload
            for step in objects(answer.get("steps")):
                _step(step, sink)
            for part in objects(answer.get("outputs")):
                _step({**part, "content": [part]}, sink)


class Interactions(Native):
    """The interactions endpoint, streamed or not."""

    name = "interactions"
    shape = "google"
    telling = re.compile(rb'"interaction\.(?:created|completed)"|"event_type"\s*:\s*"error"')

    def claims(self, path: str) -> str | None:
        """Return "" for this endpoint's paths."""
        return "" if _PATH.search(path) else None

    def read(self, request: Request) -> Reading:
        """Read a request, to a model or to an agent, whose work nothing bounds."""
        fields = request.fields
        settings = mapping(fields.get("generation_config"))
        return Reading(
            provider=request.provider.name,
            endpoint=self.name,
            model=label(fields.get("model")) or label(fields.get("agent")),
            streaming=fields.get("stream") is True,
            max_output_tokens=limit(settings, "max_output_tokens"),
            service_tier=tier_of(fields.get("service_tier")),
            hint=Attribution(tags=tags(fields.get("labels"))),
            request=fields,
            defects=request.defects + odd_numbers(settings, "max_output_tokens"),
        )

    def usual(self, payload: JSONObject) -> JSONObject:
        """Return usage in the words of `usageMetadata`, and how far the interaction is."""
        answer = mapping(payload.get("interaction")) or payload
        words: dict[str, Any] = {
            name: answer.get(name) for name in ("id", "model", "service_tier", "status")
        }
        words["event_type"] = payload.get("event_type")
        words["error"] = payload.get("error")
        usage = answer.get("usage")
        if usage is not None:
            words["usage"] = _words(usage) if isinstance(usage, dict) else usage
            words["searches"] = _searches(mapping(usage))
        return words

    def progress(self, payload: JSONObject) -> Progress:
        """Find the end. An interaction in the background is not at its end."""
        kind, status = payload["event_type"], payload["status"]
        if kind is None and status in _RUNNING:
            return Progress(runs_on=True)
        ends = kind == "interaction.completed"
        done = ends or (kind is None and status in _ENDED)
        searches = payload.get("searches")
        billed = {"searches": searches} if searches is not None else {}
        return Progress(ends=ends, finished=frozenset({0} if done else ()), billed=billed)

    def normalise(self, raw: JSONObject, provider: Provider) -> Normalised:
        """Return the usage in the registry's units."""
        return from_gemini(raw)

    def output(self) -> InteractionsOutput:
        """Return a fresh reader of one answer's output."""
        return InteractionsOutput()


def _words(usage: JSONObject) -> JSONObject:
    """Rename the members; the total decides whether thoughts are inside the output."""
    found = {usual: usage[name] for name, usual in _WORDS.items() if usage.get(name) is not None}
    for name, usual in _LISTS.items():
        items = objects(usage.get(name))
        found[usual] = [{**item, "tokenCount": item.get("tokens")} for item in items]
    given = usage.get("total_output_tokens")
    numbers = [whole_number(usage.get(name) or 0) for name in (
        "total_input_tokens", "total_tool_use_tokens", "total_thought_tokens",
        "total_output_tokens", "total_tokens")]  # fmt: skip
    if all(number is not None for number in numbers):
        taken, tool_use, thoughts, made, total = (number or 0 for number in numbers)
        if total and total == taken + tool_use + made and thoughts <= made:
            given = made - thoughts
    found["candidatesTokenCount"] = given
    return found


def _searches(usage: JSONObject) -> int | None:
    counts = [
        number
        for tool in objects(usage.get("grounding_tool_count"))
        if tool.get("type") == "google_search"
        and (number := whole_number(tool.get("count"))) is not None
    ]
    return sum(counts) if counts else None


def _step(step: JSONObject, sink: OutputSink) -> None:
    kind = step.get("type")
    if kind == "function_call":
        hand_out_call(sink, 0, step.get("name"), step.get("arguments"))
    elif kind == "thought":
        for part in objects(step.get("summary")):
            hand_out(sink, 0, "reasoning", part.get("text"))
    elif kind != "user_input":
        for part in objects(step.get("content")):
            hand_out(sink, 0, "content", part.get("text"))


def _part(delta: JSONObject, sink: OutputSink) -> None:
    kind = text(delta.get("type"))
    if kind.startswith("thought"):
        hand_out(sink, 0, "reasoning", mapping(delta.get("content")).get("text"))
        hand_out(sink, 0, "reasoning", delta.get("text"))
    elif "arguments" in kind or kind == "function_call":
        hand_out(sink, 0, "tool_arguments", delta.get("arguments"))
    else:
        hand_out(sink, 0, "content", delta.get("text"))
