"""Read Mistral's `POST /v1/conversations` and what continues one.

Elsewhere a conversation is a record that costs nothing to make.

Source: SDK mistralai 3.7 (`ConversationResponse`, `ConversationUsageInfo`,
`conversation.response.done`), 2026-11. `connector_tokens` are what hosted tools fed to the model:
they are in the total, but in neither of the other counts.
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
from meter.providers.native import Native, hand_out, hand_out_call, in_units, whole_number
from meter.providers.provider import Provider

_PATH = re.compile(r"/v1/conversations(?:/[^/]+(?:/restart)?)?$", re.IGNORECASE)
_SEARCHES = ("web_search", "web_search_premium")
_UNITS = {
    "input_tokens": "input_tokens",
    "connector_tokens": "tool_use_input_tokens",
    "completion_tokens": "output_tokens",
    "searches": "searches",
    "tool_calls": "tool_calls",
}


class ConversationsOutput:
    """Read one answer's output, streamed or whole."""

    __slots__ = ("_begun",)

    def __init__(self) -> None:
        self._begun: set[str] = set()

    def deliver(self, payload: JSONObject, sink: OutputSink) -> None:
        """Hand every piece of output in this payload to the sink."""
        kind = payload.get("type")
        if kind == "message.output.delta":
            _content(payload.get("content"), sink)
        elif kind == "function.call.delta":
            number = text(payload.get("tool_call_id"))
            if number not in self._begun and len(self._begun) < 10_000:
                self._begun.add(number)
                hand_out_call(sink, 0, payload.get("name"))
            hand_out(sink, 0, "tool_arguments", payload.get("arguments"))
        for entry in objects(payload.get("outputs")):
            if entry.get("type") == "function.call":
                hand_out_call(sink, 0, entry.get("name"), entry.get("arguments"))
            else:
                _content(entry.get("content"), sink)


class Conversations(Native):
    """The conversations endpoint, streamed or not."""

    name = "conversations"
    telling = re.compile(rb'"conversation\.response\.(?:done|error|started)"')

    def claims(self, path: str) -> str | None:
        """Return "" for this endpoint's paths."""
        return "" if _PATH.search(path) else None

    def read(self, request: Request) -> Reading:
        """Read a request to a model or an agent; only Mistral's generates anything."""
        fields = request.fields
        settings = mapping(fields.get("completion_args"))
        return Reading(
            provider=request.provider.name,
            endpoint=self.name,
            model=label(fields.get("model")) or label(fields.get("agent_id")),
            streaming=fields.get("stream") is True,
            max_output_tokens=limit(settings, "max_tokens"),
            hint=Attribution(tags=tags(fields.get("metadata"))),
            free=request.provider.name != "mistral",
            request=fields,
            defects=request.defects + odd_numbers(settings, "max_tokens"),
        )

    def usual(self, payload: JSONObject) -> JSONObject:
        """Return usage, id and end."""
        kind = text(payload.get("type"))
        words: dict[str, Any] = {
            "id": payload.get("conversation_id"),
            "ended": kind == "conversation.response.done",
            "usage": _counts(payload.get("usage")),
        }
        if kind == "conversation.response.error":
            words["error"] = {"type": label(payload.get("code")) or "error"}
        return words

    def progress(self, payload: JSONObject) -> Progress:
        """Find the end of a stream."""
        ended = payload["ended"]
        return Progress(ends=ended, finished=frozenset({0} if ended else ()))

    def normalise(self, raw: JSONObject, provider: Provider) -> Normalised:
        """Return the usage; what connectors fed to the model is input."""
        return in_units(raw, _UNITS)

    def output(self) -> ConversationsOutput:
        """Return a fresh reader of one answer's output."""
        return ConversationsOutput()


def _counts(usage: Any) -> Any:
    if not isinstance(usage, dict):
        return usage
    fed = whole_number(usage.get("connector_tokens")) or 0
    prompt = whole_number(usage.get("prompt_tokens"))
    calls = {
        name: number
        for name, value in mapping(usage.get("connectors")).items()
        if (number := whole_number(value)) is not None
    }
    return {
        "input_tokens": usage.get("prompt_tokens") if prompt is None else prompt + fed,
        "connector_tokens": usage.get("connector_tokens"),
        "completion_tokens": usage.get("completion_tokens"),
        "searches": sum(n for name, n in calls.items() if name in _SEARCHES) or None,
        "tool_calls": sum(calls.values()) or None,
    }


def _content(content: Any, sink: OutputSink) -> None:
    hand_out(sink, 0, "content", content)
    parts = [content] if isinstance(content, dict) else content
    for part in objects(parts):
        hand_out(sink, 0, "content", part.get("text"))
        for thought in objects(part.get("thinking")):
            hand_out(sink, 0, "reasoning", thought.get("text"))
