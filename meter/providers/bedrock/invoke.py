"""Read `POST /model/{model}/invoke` and `…/invoke-with-response-stream`.

The bodies are those of the model's maker: Anthropic, Amazon (Nova, Titan), Meta, Cohere, Mistral,
AI21, and whoever answers in OpenAI's shape. Not all report usage; Amazon then does, in headers,
and in the last chunk of a stream.

Source: https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters.html (2026-11) and
recorded answers.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from meter.core.call import Attribution
from meter.core.ports import OutputSink
from meter.core.reading import Reading
from meter.core.usage import Usage
from meter.providers.anthropic.messages import MessagesOutput
from meter.providers.bedrock.converse import ConverseOutput
from meter.providers.bedrock.speech import counts_in, exception_in, model_in
from meter.providers.bounds import bound, count, limit, odd_numbers
from meter.providers.cohere.chat import CohereChatOutput
from meter.providers.endpoint import Normalised, Progress, Request
from meter.providers.foreign import JSONObject, label, mapping, objects
from meter.providers.native import Native, hand_out, header_count, whole_number
from meter.providers.normalising import from_anthropic, from_openai
from meter.providers.openai.delivered import ChatOutput
from meter.providers.provider import Provider, Shape

_OPERATIONS = ("invoke", "invoke-with-response-stream")
_METRICS: Final = "amazon-bedrock-invocationMetrics"
_HEADERS: Final = {
    "inputTokenCount": "x-amzn-bedrock-input-token-count",
    "outputTokenCount": "x-amzn-bedrock-output-token-count",
    "cacheReadInputTokenCount": "x-amzn-bedrock-cache-read-input-token-count",
    "cacheWriteInputTokenCount": "x-amzn-bedrock-cache-write-input-token-count",
}
_LIMITS = ("max_tokens", "max_completion_tokens", "max_tokens_to_sample", "max_gen_len",
           "max_new_tokens", "maxTokens", "maxTokenCount")  # fmt: skip
_SETTINGS = ("inferenceConfig", "textGenerationConfig")
_STOPS = ("stop_reason", "stopReason", "completionReason", "finish_reason",
          "totalOutputTextTokenCount")  # fmt: skip


class InvokeOutput:
    """Read one answer's output, in whichever maker's words."""

    __slots__ = ("_makers",)

    def __init__(self) -> None:
        self._makers = (MessagesOutput(), ConverseOutput(), ChatOutput(), CohereChatOutput())

    def deliver(self, payload: JSONObject, sink: OutputSink) -> None:
        """Hand every piece of output in this payload to the sink."""
        for maker in self._makers:
            maker.deliver(payload, sink)
        # Titan in chunks and whole, Llama, Claude 2, Mistral, Cohere's older model, Jurassic.
        for name in ("outputText", "generation", "completion"):
            hand_out(sink, 0, "content", payload.get(name))
        for result in objects(payload.get("results")):
            hand_out(sink, 0, "content", result.get("outputText"))
        for result in (*objects(payload.get("outputs")), *objects(payload.get("generations"))):
            hand_out(sink, 0, "content", result.get("text"))
        for result in objects(payload.get("completions")):
            hand_out(sink, 0, "content", mapping(result.get("data")).get("text"))


class Invoke(Native):
    """The invoke endpoint, streamed or not."""

    name = "invoke"
    shape: Shape = "aws"
    telling = re.compile(
        rb'"(?:usage|amazon-bedrock-invocationMetrics)"\s*:\s*\{'
        rb'|"(?:inputTextTokenCount|totalOutputTextTokenCount)"\s*:\s*\d'
        rb'|"(?:prompt|generation)_token_count"\s*:\s*\d'
        rb'|"(?:stop_reason|stopReason|completionReason|finish_reason)"\s*:\s*"'
        rb'|"type"\s*:\s*"(?:message_stop|error)"'
        rb'|^\{"[^"]*":\s*\{"message":'
    )

    def claims(self, path: str) -> str | None:
        """Return the model that the path names."""
        return model_in(path, _OPERATIONS)

    def read(self, request: Request) -> Reading:
        """Read a request: the limit has another name with each maker."""
        fields = request.fields
        holders = [fields, *(mapping(fields.get(name)) for name in _SETTINGS)]
        odd = tuple(each for holder in holders for each in odd_numbers(holder, *_LIMITS))
        limits = [most for holder in holders if (most := limit(holder, *_LIMITS)) is not None]
        most = 0 if "embed" in request.model.lower() else max(limits, default=None)
        generations = max(count(fields.get("num_generations")), count(fields.get("numResults")))
        subject = label(mapping(fields.get("metadata")).get("user_id"))
        return Reading(
            provider=request.provider.name,
            endpoint=self.name,
            model=label(request.model),
            streaming=request.path.lower().endswith("-stream"),
            max_output_tokens=None if odd else bound(most, generations),
            hint=Attribution(subject=subject),
            request=fields,
            defects=request.defects + odd,
        )

    def in_headers(self, headers: Mapping[str, str]) -> JSONObject:
        """Return Amazon's own counts, {} when the answer carries none."""
        found = {name: header_count(headers, header) for name, header in _HEADERS.items()}
        if found["inputTokenCount"] is None:
            return {}
        return {"metrics": {name: number for name, number in found.items() if number is not None}}

    def usual(self, payload: JSONObject) -> JSONObject:
        """Return usage, id and end. The model is the path's: it carries the region's price."""
        message = mapping(payload.get("message"))
        words: dict[str, Any] = {
            "type": payload.get("type"),
            "id": message.get("id") or payload.get("id"),
            "stopped": any(payload.get(name) is not None for name in _STOPS)
            or any(choice.get("finish_reason") for choice in objects(payload.get("choices")))
            or bool(mapping(payload.get("delta")).get("stop_reason")),
            "ended": payload.get("type") == "message_stop" or _METRICS in payload,
            "usage": _usage(payload, message),
        }
        exception = exception_in(payload)
        if exception is not None:
            words["error"] = {"type": exception}
        elif payload.get("error"):
            words["error"] = payload["error"]
        return words

    def progress(self, payload: JSONObject) -> Progress:
        """Find the end: the chunk with Amazon's metrics, or a stop reason."""
        stopped = frozenset({0}) if payload["stopped"] or payload["ended"] else frozenset[int]()
        return Progress(ends=payload["ended"], finished=stopped)

    def normalise(self, raw: JSONObject, provider: Provider) -> Normalised:
        """Return the maker's own report, what it leaves out filled in from Amazon's."""
        own = {name: value for name, value in raw.items() if name not in ("metrics", "images")}
        counted = counts_in(mapping(raw.get("metrics")))
        if "prompt_tokens" in own:
            normalised = from_openai(own)
        else:
            normalised = from_anthropic({**counted, **own})
        images = whole_number(raw.get("images"))
        if not images:
            return normalised
        usage = Usage(normalised.usage or {}, images=images)
        return Normalised(usage, normalised.defects if normalised.usage else ())

    def output(self) -> InvokeOutput:
        """Return a fresh reader of one answer's output."""
        return InvokeOutput()


def _usage(payload: JSONObject, message: JSONObject) -> JSONObject | None:
    """Collect what this payload reports, in Anthropic's or OpenAI's words; None for nothing."""
    usage = payload.get("usage", message.get("usage"))
    found: dict[str, Any] = {}
    if isinstance(usage, dict):
        amazon = "inputTokens" in usage or "outputTokens" in usage
        found = counts_in(usage) if amazon else dict(usage)
    found |= _counts_of_titan_and_llama(payload)
    if mapping(payload.get(_METRICS)):
        found["metrics"] = payload[_METRICS]
    images = payload.get("images")
    if isinstance(images, list) and "embeddings" not in payload:
        found["images"] = sum(isinstance(image, str) for image in images)
    return {name: value for name, value in found.items() if value is not None} or None


def _counts_of_titan_and_llama(payload: JSONObject) -> dict[str, Any]:
    results = [result.get("tokenCount") for result in objects(payload.get("results"))]
    counts = [number for number in map(whole_number, results) if number is not None]
    given = sum(counts) if counts else None
    for name in ("totalOutputTextTokenCount", "generation_token_count"):
        given = payload.get(name) if given is None else given
    taken = payload.get("inputTextTokenCount")
    taken = payload.get("prompt_token_count") if taken is None else taken
    return {name: value for name, value in (("input_tokens", taken), ("output_tokens", given))
            if value is not None}  # fmt: skip
