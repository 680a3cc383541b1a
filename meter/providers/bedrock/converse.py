"""Read `POST /model/{model}/converse` and `…/converse-stream`.

Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html and
API_runtime_ConverseStream.html (2026-11). A stream reports its usage once, in `metadata`, its
last event.
"""

import re
from typing import Any

from meter.core.call import Attribution
from meter.core.ports import OutputSink
from meter.core.reading import Reading
from meter.providers.bedrock.speech import counts_in, exception_in, model_in, tier_in
from meter.providers.bounds import limit, odd_numbers
from meter.providers.endpoint import Normalised, Progress, Request
from meter.providers.foreign import JSONObject, label, mapping, objects
from meter.providers.hints import tags
from meter.providers.native import Native, hand_out, hand_out_call
from meter.providers.normalising import from_anthropic
from meter.providers.provider import Provider, Shape

_OPERATIONS = ("converse", "converse-stream")


class ConverseOutput:
    """Read one answer's output, streamed or whole. Nova's own bodies have the same shapes."""

    __slots__ = ()

    def deliver(self, payload: JSONObject, sink: OutputSink) -> None:
        """Hand every piece of output in this payload to the sink."""
        delta = mapping(mapping(payload.get("contentBlockDelta")).get("delta"))
        if delta:
            hand_out(sink, 0, "content", delta.get("text"))
            hand_out(sink, 0, "reasoning", mapping(delta.get("reasoningContent")).get("text"))
            hand_out(sink, 0, "tool_arguments", mapping(delta.get("toolUse")).get("input"))
            return
        start = mapping(mapping(payload.get("contentBlockStart")).get("start"))
        if mapping(start.get("toolUse")):
            hand_out_call(sink, 0, start["toolUse"].get("name"))
        message = mapping(mapping(payload.get("output")).get("message"))
        for block in objects(message.get("content")):
            _block(block, sink)


class Converse(Native):
    """The converse endpoint, streamed or not."""

    name = "converse"
    shape: Shape = "aws"
    # Whatever is no piece of content: usage, the end, exceptions.
    telling = re.compile(rb'^\{"(?!contentBlock)')

    def claims(self, path: str) -> str | None:
        """Return the model that the path names."""
        return model_in(path, _OPERATIONS)

    def read(self, request: Request) -> Reading:
        """Read a request. `requestMetadata` is what AWS's own logs attribute it to."""
        fields = request.fields
        settings = mapping(fields.get("inferenceConfig"))
        return Reading(
            provider=request.provider.name,
            endpoint=self.name,
            model=label(request.model),
            streaming=request.path.lower().endswith("-stream"),
            max_output_tokens=limit(settings, "maxTokens"),
            service_tier=tier_in(fields),
            hint=Attribution(tags=tags(fields.get("requestMetadata"))),
            request=fields,
            defects=request.defects + odd_numbers(settings, "maxTokens"),
        )

    def usual(self, payload: JSONObject) -> JSONObject:
        """Return usage, tier and routed model, of a body or of the event `metadata`."""
        told = mapping(payload.get("metadata")) or payload
        words: dict[str, Any] = {
            "stopped": bool(payload.get("stopReason") or payload.get("messageStop")),
            "ended": "metadata" in payload,
            "service_tier": tier_in(told),
            "model": _routed(told),
        }
        usage = told.get("usage")
        if isinstance(usage, dict):
            words["usage"] = counts_in(usage)
        elif usage is not None:
            words["usage"] = usage
        exception = exception_in(payload)
        if exception is not None:
            words["error"] = {"type": exception}
        return words

    def progress(self, payload: JSONObject) -> Progress:
        """Find the end: the event `metadata`, or a body with a stop reason."""
        stopped = frozenset({0}) if payload["stopped"] or payload["ended"] else frozenset[int]()
        return Progress(ends=payload["ended"], finished=stopped)

    def normalise(self, raw: JSONObject, provider: Provider) -> Normalised:
        """Return the usage, already in Anthropic's words, in the registry's units."""
        return from_anthropic(raw)

    def output(self) -> ConverseOutput:
        """Return a reader of one answer's output."""
        return ConverseOutput()


def _routed(told: JSONObject) -> str | None:
    """Return the model that a prompt router chose, None when none did."""
    router = mapping(mapping(told.get("trace")).get("promptRouter"))
    name = label(router.get("invokedModelId"))
    return name.rpartition("/")[2] if name else None


def _block(block: JSONObject, sink: OutputSink) -> None:
    hand_out(sink, 0, "content", block.get("text"))
    for cited in objects(mapping(block.get("citationsContent")).get("content")):
        hand_out(sink, 0, "content", cited.get("text"))
    reasoning = mapping(mapping(block.get("reasoningContent")).get("reasoningText"))
    hand_out(sink, 0, "reasoning", reasoning.get("text"))
    call = mapping(block.get("toolUse"))
    if call:
        hand_out_call(sink, 0, call.get("name"), call.get("input"))
