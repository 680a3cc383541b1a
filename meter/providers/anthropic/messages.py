"""Read `POST …/v1/messages`, as Anthropic and the providers compatible with it serve it.

Source: https://docs.claude.com/en/api/messages and messages-streaming (SDK anthropic 2.12,
2026-11). A stream reports its whole input in `message_start` and running totals in
`message_delta`, of which the last holds.
"""

import re

from meter.core.call import Attribution
from meter.core.ports import OutputSink
from meter.core.reading import Reading
from meter.providers.bounds import limit, odd_numbers
from meter.providers.endpoint import Normalised, Progress, Request
from meter.providers.foreign import JSONObject, encoded, label, mapping, objects, text
from meter.providers.normalising import from_anthropic
from meter.providers.provider import Provider, Shape
from meter.providers.tiers import tier_of

_PATH = re.compile(r"/(?:v1|anthropic)/messages$", re.IGNORECASE)
_TOOLS = ("tool_use", "server_tool_use", "mcp_tool_use")


class MessagesOutput:
    """Read one message's output, streamed or whole."""

    __slots__ = ()

    def deliver(self, payload: JSONObject, sink: OutputSink) -> None:
        """Hand every piece of output in this payload to the sink."""
        kind = payload.get("type")
        if kind == "content_block_delta":
            delta = mapping(payload.get("delta"))
            _text(delta, sink)
            piece = text(delta.get("partial_json"))
            if piece:
                sink.text(0, "tool_arguments", piece)
        elif kind == "content_block_start":
            block = mapping(payload.get("content_block"))
            _text(block, sink)
            _tool(block, sink)
        else:
            for block in objects(payload.get("content")):
                _text(block, sink)
                _tool(block, sink)
                if block.get("type") in _TOOLS and mapping(block.get("input")):
                    sink.text(0, "tool_arguments", _as_text(block["input"]))


class Messages:
    """The messages endpoint."""

    name = "messages"
    shape: Shape = "anthropic"
    only_usage = False

    def claims(self, path: str) -> str | None:
        """Return "" for this endpoint's paths."""
        return "" if _PATH.search(path) else None

    def read(self, request: Request) -> Reading:
        """Read a messages request. `max_tokens` bounds the output, thinking included."""
        fields = request.fields
        subject = label(mapping(fields.get("metadata")).get("user_id"))
        fast = fields.get("speed") == "fast"
        return Reading(
            provider=request.provider.name,
            endpoint=self.name,
            model=label(fields.get("model")),
            streaming=fields.get("stream") is True,
            max_output_tokens=limit(fields, "max_tokens"),
            service_tier="fast" if fast else tier_of(fields.get("service_tier")),
            hint=Attribution(subject=subject),
            request=fields,
            defects=request.defects + odd_numbers(fields, "max_tokens"),
        )

    def choices(self, request: JSONObject) -> int:
        """Return 1."""
        return 1

    def progress(self, payload: JSONObject) -> Progress:
        """Find the end. Totals are final from the delta that names a stop reason."""
        kind = payload.get("type")
        if kind == "message_delta":
            stopped = bool(mapping(payload.get("delta")).get("stop_reason"))
        else:
            stopped = kind == "message" and "content" in payload
        ends = kind == "message_stop"
        return Progress(ends=ends, finished=frozenset({0}) if stopped or ends else frozenset())

    def normalise(self, raw: JSONObject, provider: Provider) -> Normalised:
        """Return Anthropic-shaped usage in the registry's units."""
        return from_anthropic(raw)

    def output(self) -> MessagesOutput:
        """Return a reader of one answer's output."""
        return MessagesOutput()


def _text(block: JSONObject, sink: OutputSink) -> None:
    for key, kind in (("text", "content"), ("thinking", "reasoning")):
        piece = text(block.get(key))
        if piece:
            sink.text(0, kind, piece)


def _tool(block: JSONObject, sink: OutputSink) -> None:
    if block.get("type") in _TOOLS:
        sink.tool_call(0)
        if text(block.get("name")):
            sink.text(0, "tool_name", text(block.get("name")))


def _as_text(value: object) -> str:
    return encoded(value).decode("utf-8", "replace")
