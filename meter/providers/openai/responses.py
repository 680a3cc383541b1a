"""Read `POST …/responses`, and `…/responses/compact`, which answers in the same shape.

Source: https://platform.openai.com/docs/api-reference/responses (SDK openai 3.54, 2026-11).
Usage stands in the last event only. Hosted tools are billed by the call: searches are reported
in `tool_usage`, the other calls are counted from the output items.
"""

import re
from typing import Final

from meter.core.ports import OutputSink
from meter.core.reading import Reading
from meter.providers.bounds import limit, odd_numbers
from meter.providers.endpoint import Normalised, Progress, Request
from meter.providers.foreign import JSONObject, label, mapping, objects, text, whole
from meter.providers.hints import openai_hint
from meter.providers.normalising import from_openai
from meter.providers.provider import Provider, Shape
from meter.providers.tiers import tier_of

_PATH = re.compile(r"/responses(?:/compact)?$", re.IGNORECASE)

_ENDINGS: Final = frozenset(
    {"response.completed", "response.incomplete", "response.failed", "response.cancelled"}
)
_UNDER_WAY: Final = ("queued", "in_progress")
# Calls that the provider carries out itself; the others are the client's work.
_HOSTED: Final = frozenset(
    {"code_interpreter_call", "file_search_call", "image_generation_call", "mcp_call",
     "shell_call", "web_search_call", "x_search_call"}
)  # fmt: skip

_DELTAS: Final = {
    "response.output_text.delta": "content",
    "response.refusal.delta": "refusal",
    "response.reasoning_text.delta": "reasoning",
    "response.reasoning_summary_text.delta": "reasoning",
    "response.function_call_arguments.delta": "tool_arguments",
    "response.custom_tool_call_input.delta": "tool_arguments",
    "response.code_interpreter_call_code.delta": "tool_arguments",
}
_CALLS: Final = ("function_call", "custom_tool_call")


class ResponsesOutput:
    """Read one response's output: from its deltas, or from the body where there were none."""

    __slots__ = ("_streamed",)

    def __init__(self) -> None:
        self._streamed = False

    def deliver(self, payload: JSONObject, sink: OutputSink) -> None:
        """Hand every piece of output in this payload to the sink."""
        kind = text(payload.get("type"))
        if not kind.startswith("response."):
            # The last event repeats the whole response that its deltas have delivered.
            if not self._streamed:
                for item in objects(payload.get("output")):
                    _item(item, sink)
            return
        self._streamed = True
        if kind in _DELTAS:
            piece = text(payload.get("delta"))
            if piece:
                sink.text(0, _DELTAS[kind], piece)
        elif kind == "response.output_item.added":
            item = mapping(payload.get("item"))
            if item.get("type") == "reasoning":
                sink.text(0, "reasoning", "")
            if item.get("type") in _CALLS:
                sink.tool_call(0)
                if text(item.get("name")):
                    sink.text(0, "tool_name", text(item.get("name")))


class Responses:
    """The responses endpoint."""

    name = "responses"
    shape: Shape = "openai"
    only_usage = False

    def claims(self, path: str) -> str | None:
        """Return "" for this endpoint's paths."""
        return "" if _PATH.search(path) else None

    def read(self, request: Request) -> Reading:
        """Read a request. Hosted tools can add input that nothing here bounds."""
        fields = request.fields
        return Reading(
            provider=request.provider.name,
            endpoint=self.name,
            model=label(fields.get("model")),
            streaming=fields.get("stream") is True,
            max_output_tokens=limit(fields, "max_output_tokens"),
            service_tier=tier_of(fields.get("service_tier")),
            hint=openai_hint(fields),
            request=fields,
            defects=request.defects + odd_numbers(fields, "max_output_tokens"),
        )

    def choices(self, request: JSONObject) -> int:
        """Return 1."""
        return 1

    def progress(self, payload: JSONObject) -> Progress:
        """Find the end and the hosted calls. A response in the background is not at its end."""
        kind = text(payload.get("type"))
        response = mapping(payload.get("response")) or payload
        ends = kind in _ENDINGS
        if not ends and kind:
            return Progress()
        if response.get("status") in _UNDER_WAY:
            return Progress(runs_on=True)
        return Progress(
            ends=ends, settles=True, finished=frozenset({0}), billed=_hosted_calls(response)
        )

    def normalise(self, raw: JSONObject, provider: Provider) -> Normalised:
        """Return OpenAI-shaped usage in the registry's units."""
        return from_openai(raw)

    def output(self) -> ResponsesOutput:
        """Return a fresh reader of one answer's output."""
        return ResponsesOutput()


def _hosted_calls(response: JSONObject) -> dict[str, int]:
    """Count the billable searches and all hosted calls; a kind that did not occur is absent."""
    items = [item for item in objects(response.get("output")) if text(item.get("type")) in _HOSTED]
    reported = mapping(mapping(response.get("tool_usage")).get("web_search")).get("num_requests")
    searches = whole(reported, 0, 1_000_000)
    if searches is None:
        # Opening a page and finding text on it are free.
        searches = sum(
            item.get("type") == "web_search_call"
            and mapping(item.get("action")).get("type", "search") == "search"
            for item in items
        ) or None  # fmt: skip
    counted = {"searches": searches, "tool_calls": len(items) or None}
    return {unit: number for unit, number in counted.items() if number is not None}


def _item(item: JSONObject, sink: OutputSink) -> None:
    if item.get("type") in _CALLS:
        sink.tool_call(0)
        if text(item.get("name")):
            sink.text(0, "tool_name", text(item.get("name")))
        arguments = text(item.get("arguments")) or text(item.get("input"))
        if arguments:
            sink.text(0, "tool_arguments", arguments)
        return
    reasons = item.get("type") == "reasoning"
    if reasons:
        sink.text(0, "reasoning", "")
    for part in (*objects(item.get("content")), *objects(item.get("summary"))):
        if text(part.get("refusal")):
            sink.text(0, "refusal", text(part.get("refusal")))
        elif text(part.get("text")):
            sink.text(0, "reasoning" if reasons else "content", text(part.get("text")))
    if item.get("type") == "code_interpreter_call" and text(item.get("code")):
        sink.text(0, "tool_arguments", text(item.get("code")))
