"""Read DashScope's own `POST /api/v1/services/…`: text and multimodal generation, embeddings.

Source: https://help.aliyun.com/zh/model-studio/qwen-api-via-dashscope (2026-11): usage stands in
every event of a stream and grows; unless `incremental_output` is set, so does the text. A stream
is asked for in a header. Tasks (images, videos) answer with a receipt.
"""

import re
from typing import Any

from meter.core.ports import OutputSink
from meter.core.reading import Reading
from meter.providers.bounds import bound, count, limit, odd_numbers
from meter.providers.endpoint import Normalised, Output, Progress, Request
from meter.providers.foreign import JSONObject, index, label, mapping, objects
from meter.providers.native import Native, hand_out, hand_out_call, in_units, whole_number
from meter.providers.normalising import from_openai
from meter.providers.provider import Provider

_PATH = re.compile(r"/services/(aigc|embeddings)/[^/]+/[^/]+$", re.IGNORECASE)
_PENDING = ("PENDING", "RUNNING")
_PARTS = ("image_tokens", "audio_tokens", "video_tokens")


class GenerationOutput:
    """Read one answer's output. Text that repeats what came before is handed out once."""

    __slots__ = ("_calls", "_given")

    def __init__(self) -> None:
        self._given: dict[tuple[int, str], str] = {}
        self._calls: set[tuple[int, int]] = set()

    def deliver(self, payload: JSONObject, sink: OutputSink) -> None:
        """Hand what is new in this payload to the sink."""
        output = mapping(payload.get("output"))
        self._text(0, "content", output.get("text"), sink)
        for choice in objects(output.get("choices")):
            number = index(choice.get("index"))
            message = mapping(choice.get("message"))
            self._text(number, "reasoning", message.get("reasoning_content"), sink)
            self._text(number, "content", message.get("content"), sink)
            for part in objects(message.get("content")):
                self._text(number, "content", part.get("text"), sink)
            for place, call in enumerate(objects(message.get("tool_calls"))):
                self._call(number, place, call, sink)

    def _call(self, choice: int, place: int, call: JSONObject, sink: OutputSink) -> None:
        function = mapping(call.get("function"))
        key = (choice, index(call.get("index")) if "index" in call else place)
        if key not in self._calls and len(self._calls) < 10_000:
            self._calls.add(key)
            hand_out_call(sink, choice, function.get("name"))
        self._text(choice, "tool_arguments", function.get("arguments"), sink)

    def _text(self, choice: int, kind: str, value: Any, sink: OutputSink) -> None:
        if not isinstance(value, str) or not value:
            return
        before = self._given.setdefault((choice, kind), value)
        grows = before is not value and value.startswith(before)
        hand_out(sink, choice, kind, value[len(before) :] if grows else value)
        if grows:
            self._given[choice, kind] = value


class Generation(Native):
    """DashScope's generation and embedding services."""

    name = "generation"
    telling = re.compile(rb'"finish_reason"\s*:\s*"(?!null")|"code"\s*:\s*"[^"]')

    def claims(self, path: str) -> str | None:
        """Return "" for this endpoint's paths."""
        return "" if _PATH.search(path) else None

    def read(self, request: Request) -> Reading:
        """Read a request. The bound covers all `n` answers."""
        fields = request.fields
        settings = mapping(fields.get("parameters"))
        odd = odd_numbers(settings, "max_tokens", "n")
        most = None if odd else limit(settings, "max_tokens")
        embeds = "/embeddings/" in request.path.lower()
        return Reading(
            provider=request.provider.name,
            endpoint=self.name,
            model=label(fields.get("model")),
            streaming=fields.get("stream") is True,
            max_output_tokens=0 if embeds else bound(most, count(settings.get("n"))),
            request=fields,
            defects=request.defects + odd,
        )

    def usual(self, payload: JSONObject) -> JSONObject:
        """Return usage, id, error and how far a task is."""
        output = mapping(payload.get("output"))
        reasons = [output, *objects(output.get("choices"))]
        words: dict[str, Any] = {
            "id": payload.get("request_id"),
            "usage": payload.get("usage"),
            "task": output.get("task_status"),
            "done": any(each.get("finish_reason") not in (None, "", "null") for each in reasons),
        }
        if label(payload.get("code")):
            words["error"] = {"code": payload["code"]}
        return words

    def progress(self, payload: JSONObject) -> Progress:
        """Find the end: a finish reason. A task runs on."""
        done = payload["done"]
        return Progress(
            runs_on=payload["task"] in _PENDING, finished=frozenset({0} if done else ())
        )

    def normalise(self, raw: JSONObject, provider: Provider) -> Normalised:
        """Return tokens, or the images of a task."""
        images = whole_number(raw.get("image_count"))
        if images is not None and "input_tokens" not in raw:
            return in_units({**raw, "images": images}, {"images": "images"})
        if "output_tokens" not in raw and "completion_tokens" not in raw:
            return from_openai(raw, generates=False)
        details = {name: raw[name] for name in _PARTS if raw.get(name) is not None}
        inner = {**details, **mapping(raw.get("prompt_tokens_details")),
                 **mapping(raw.get("input_tokens_details"))}  # fmt: skip
        return from_openai({**raw, "input_tokens_details": inner, "prompt_tokens_details": None})

    def output(self) -> Output:
        """Return a fresh reader of one answer's output."""
        return GenerationOutput()
