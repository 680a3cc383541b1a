"""Read `POST …/audio/transcriptions`.

Source: https://platform.openai.com/docs/api-reference/audio/createTranscription (SDK openai 3.54,
2026-11). Usage is a union of tokens and of whole seconds; `text`, `srt` and `vtt` answers have
none, and older `verbose_json` only the sound's `duration`. What no answer tells is measured from
the upload. A second of sound is 10 tokens: 37 for 3.7 seconds in each of 15 recorded answers.
"""

import re
from dataclasses import replace
from decimal import ROUND_CEILING, Decimal, InvalidOperation
from typing import Any, Final

from meter.core.call import Observation
from meter.core.ports import AnswerObserver, OutputSink
from meter.core.reading import Reading
from meter.core.usage import Usage
from meter.providers.endpoint import Progress, Request
from meter.providers.foreign import JSONObject, label, mapping, text
from meter.providers.hints import openai_hint
from meter.providers.measuring import MeasuringObserver, PlainGauge
from meter.providers.native import hand_out
from meter.providers.openai.plain import PlainEndpoint
from meter.providers.provider import Provider
from meter.tokens.counting import count_text
from meter.tokens.models import encoding_for

_PATH: Final = re.compile(r"(?:/deployments/([^/]+))?/audio/transcriptions$", re.IGNORECASE)
_TOKENS_A_SECOND: Final = 10
_LONGEST_SECONDS: Final = 1_000_000
_PLAIN_FORMATS: Final = frozenset({"text", "srt", "vtt"})
_TEXT_LIMIT_BYTES: Final = 4 * 1024 * 1024


class TranscriptOutput:
    """Read one transcript: from its deltas, or from the whole text where there were none."""

    __slots__ = ("_streamed",)

    def __init__(self) -> None:
        self._streamed = False

    def deliver(self, payload: JSONObject, sink: OutputSink) -> None:
        """Hand every piece of the transcript in this payload to the sink."""
        kind = text(payload.get("type"))
        if kind == "transcript.text.delta":
            self._streamed = True
            hand_out(sink, 0, "content", payload.get("delta"))
        elif kind in ("", "transcript.text.done") and not self._streamed:
            hand_out(sink, 0, "content", payload.get("text"))


class TranscriptGauge(PlainGauge):
    """Measures the sound that was heard, for an answer that reports no usage."""

    __slots__ = ("_delivered", "_duration", "_request", "_sink", "_text", "_token_model")

    def __init__(self, reading: Reading, sink: OutputSink | None) -> None:
        self._request = reading.request
        self._sink = sink
        self._token_model = _is_billed_by_token(reading.model or "")
        self._text = bytearray()
        self._duration: Any = None
        self._delivered = False

    @property
    def wants_bytes(self) -> bool:
        """For a plain text answer."""
        return text(self._request.get("response_format")) in _PLAIN_FORMATS

    def take(self, payload: JSONObject) -> None:
        """Keep the duration that the answer names."""
        if payload.get("duration") is not None:
            self._duration = payload["duration"]

    def feed(self, data: bytes) -> None:
        """Keep a plain text answer, to count it."""
        self._text += data[: _TEXT_LIMIT_BYTES - len(self._text)]

    def judge(self, seen: Observation) -> Observation:
        """Return the reported usage, or the seconds or tokens that can be told.

        Seconds that the answer names are reported, those of the upload our own count.
        """
        if seen.usage is not None or seen.running is not None or seen.error_in_body:
            return seen
        named = _seconds(self._duration)
        seconds = named if named is not None else _uploaded_seconds(self._request)
        if seconds is None:
            return seen
        if self._token_model:
            self._deliver_text()
            heard = _ceil(seconds * _TOKENS_A_SECOND)
            prompt = text(self._request.get("prompt"))
            asked = count_text(prompt, encoding_for("gpt-4o").name) if prompt else 0
            return replace(
                seen, running=Usage(input_tokens=heard + asked, input_audio_tokens=heard)
            )
        usage = Usage(audio_seconds=_ceil(seconds))
        if named is None:
            return replace(seen, counted=usage)
        return replace(seen, usage=usage, finished=True)

    def _deliver_text(self) -> None:
        """Hand a plain text answer to the sink, once."""
        if self._text and self._sink is not None and not self._delivered:
            self._delivered = True
            self._sink.text(0, "content", self._text.decode("utf-8", "replace"))


class Transcriptions(PlainEndpoint):
    """The transcriptions endpoint."""

    name = "audio.transcriptions"

    def claims(self, path: str) -> str | None:
        """Return the deployment that an Azure path names, "" for none."""
        found = _PATH.search(path)
        return (found[1] or "") if found else None

    def read(self, request: Request) -> Reading:
        """Read a transcription request, a form."""
        return heard_reading(request, self.name)

    def progress(self, payload: JSONObject) -> Progress:
        """Find the last event. The whole transcript follows no other."""
        return Progress(settles=payload.get("type") in (None, "transcript.text.done"))

    def output(self) -> TranscriptOutput:
        """Return a fresh reader of one transcript."""
        return TranscriptOutput()

    def observer(
        self, provider: Provider, reading: Reading, sink: OutputSink | None, *, count_always: bool
    ) -> AnswerObserver:
        """Return an observer that measures the sound where no usage is reported."""
        gauge = TranscriptGauge(reading, sink)
        return MeasuringObserver(self, gauge, provider, reading, sink, count_always=count_always)


def heard_reading(request: Request, endpoint: str) -> Reading:
    """Return the reading of a form with sound in it."""
    fields = request.fields
    return Reading(
        provider=request.provider.name,
        endpoint=endpoint,
        model=label(fields.get("model")) or request.model or None,
        streaming=fields.get("stream") is True,
        hint=openai_hint(fields),
        request=fields,
        defects=request.defects,
    )


def _is_billed_by_token(model: str) -> bool:
    """Whether a transcriber is billed by the token: the gpt-4o family, not gpt-transcribe."""
    return "gpt-4o" in model.lower()


def _uploaded_seconds(request: JSONObject) -> Decimal | None:
    seconds = mapping(request.get("file")).get("seconds")
    return seconds if isinstance(seconds, Decimal) else None


def _seconds(value: Any) -> Decimal | None:
    """Return a duration given as a number or, by older servers, as text."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str, Decimal)):
        return None
    try:
        seconds = Decimal(str(value)[:32])
    except InvalidOperation:
        return None
    return seconds if seconds.is_finite() and 0 <= seconds <= _LONGEST_SECONDS else None


def _ceil(number: Decimal) -> int:
    return int(number.to_integral_value(ROUND_CEILING))
