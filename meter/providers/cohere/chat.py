"""Read Cohere's `POST /v2/chat` and `/v1/chat`.

Source: https://docs.cohere.com/reference/chat and chat-v1 (SDK cohere 7.3, 2026-11). Version 2
streams server-sent events that end with `message-end`, version 1 lines of JSON that end with
`stream-end`, which repeats the whole answer.
"""

import re
from typing import Any

from meter.core.ports import OutputSink
from meter.core.reading import Reading
from meter.providers.bounds import limit, odd_numbers
from meter.providers.cohere.billing import billed_units_in, in_billed_units
from meter.providers.endpoint import Normalised, Progress, Request
from meter.providers.foreign import JSONObject, label, mapping, objects, text
from meter.providers.native import Native, hand_out, hand_out_call
from meter.providers.provider import Provider
from meter.providers.tiers import tier_of

_PATH = re.compile(r"/v[12]/chat$", re.IGNORECASE)
_ENDINGS = ("message-end", "stream-end")
_ERRORS = ("ERROR", "ERROR_LIMIT", "ERROR_TOXIC")


class CohereChatOutput:
    """Read one answer's output: from its events, or from the body where there were none."""

    __slots__ = ("_streamed",)

    def __init__(self) -> None:
        self._streamed = False

    def deliver(self, payload: JSONObject, sink: OutputSink) -> None:
        """Hand every piece of output in this payload to the sink."""
        kind = text(payload.get("type"))
        if text(payload.get("event_type")):
            self._deliver_version_1(payload, sink)
        elif kind.startswith(("content-", "tool-")):
            message = mapping(mapping(payload.get("delta")).get("message"))
            _piece(mapping(message.get("content")), sink)
            hand_out(sink, 0, "reasoning", message.get("tool_plan"))
            _call(kind, mapping(message.get("tool_calls")), sink)
        elif not self._streamed:
            _whole(payload, sink)

    def _deliver_version_1(self, payload: JSONObject, sink: OutputSink) -> None:
        kind = payload["event_type"]
        if kind == "text-generation":
            self._streamed = True
            hand_out(sink, 0, "content", payload.get("text"))
        elif kind == "tool-calls-generation":
            self._streamed = True
            for call in objects(payload.get("tool_calls")):
                hand_out_call(sink, 0, call.get("name"), call.get("parameters"))
        elif kind == "stream-end" and not self._streamed:
            _whole(mapping(payload.get("response")), sink)


class CohereChat(Native):
    """Cohere's chat endpoint, of both versions, streamed or not."""

    name = "cohere.chat"
    telling = re.compile(
        rb'"(?:message-end|stream-end|message-start|stream-error)"|"usage"\s*:\s*\{'
    )

    def claims(self, path: str) -> str | None:
        """Return "" for this endpoint's paths."""
        return "" if _PATH.search(path) else None

    def read(self, request: Request) -> Reading:
        """Read a chat request of either version; its one answer is bounded by `max_tokens`."""
        fields = request.fields
        return Reading(
            provider=request.provider.name,
            endpoint=self.name,
            model=label(fields.get("model")),
            streaming=fields.get("stream") is True,
            max_output_tokens=limit(fields, "max_tokens"),
            service_tier=tier_of(fields.get("service_tier")),
            request=fields,
            defects=request.defects + odd_numbers(fields, "max_tokens"),
        )

    def usual(self, payload: JSONObject) -> JSONObject:
        """Return billed units, id and end. The answer does not name its model."""
        response = mapping(payload.get("response"))
        delta = mapping(payload.get("delta"))
        kind = payload.get("type") or payload.get("event_type")
        finish = payload.get("finish_reason") or delta.get("finish_reason")
        billed = billed_units_in(payload)
        if billed is None and isinstance(payload.get("choices"), list):
            # Writer and others answer at this path too, in OpenAI's words.
            finish = next((c.get("finish_reason") for c in objects(payload["choices"])), None)
            billed = payload.get("usage")
        words: dict[str, Any] = {
            "id": payload.get("id") or payload.get("response_id") or response.get("response_id"),
            "finish_reason": finish,
            "ended": kind in _ENDINGS,
            "usage": billed,
        }
        if delta.get("error") or finish in _ERRORS or kind == "stream-error":
            words["error"] = {"type": label(finish) or "error"}
        return words

    def progress(self, payload: JSONObject) -> Progress:
        """Find the end: an ending event, or a body with a finish reason."""
        done = payload["ended"] or payload["finish_reason"]
        return Progress(ends=payload["ended"], finished=frozenset({0} if done else ()))

    def normalise(self, raw: JSONObject, provider: Provider) -> Normalised:
        """Return the billed units."""
        return in_billed_units(raw)

    def output(self) -> CohereChatOutput:
        """Return a fresh reader of one answer's output."""
        return CohereChatOutput()


def _whole(answer: JSONObject, sink: OutputSink) -> None:
    """Hand out a body: version 2 has a message, version 1 has text and tool calls."""
    hand_out(sink, 0, "content", answer.get("text"))
    for call in objects(answer.get("tool_calls")):
        hand_out_call(sink, 0, call.get("name"), call.get("parameters"))
    message = mapping(answer.get("message"))
    if isinstance(message.get("content"), str):
        hand_out(sink, 0, "content", message["content"])
    for part in objects(message.get("content")):
        _piece(part, sink)
    hand_out(sink, 0, "reasoning", message.get("tool_plan"))
    for call in objects(message.get("tool_calls")):
        function = mapping(call.get("function"))
        hand_out_call(sink, 0, function.get("name"), function.get("arguments"))


def _piece(part: JSONObject, sink: OutputSink) -> None:
    hand_out(sink, 0, "content", part.get("text"))
    hand_out(sink, 0, "reasoning", part.get("thinking"))


def _call(kind: str, call: JSONObject, sink: OutputSink) -> None:
    function = mapping(call.get("function"))
    if kind == "tool-call-start":
        hand_out_call(sink, 0, function.get("name"), function.get("arguments"))
    else:
        hand_out(sink, 0, "tool_arguments", function.get("arguments"))
