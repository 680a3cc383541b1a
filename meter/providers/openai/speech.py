"""Read `POST …/audio/speech`.

Source: https://platform.openai.com/docs/api-reference/audio/createSpeech (SDK openai 3.54,
2026-11). Sound comes without usage; `stream_format: "sse"` reports tokens in its last event.
tts-1 is billed by the characters of `input`, gpt-4o-mini-tts by text and sound tokens: 20 for a
second, after the guide to audio of the same date.
"""

import re
from dataclasses import replace
from decimal import ROUND_CEILING, Decimal
from typing import Final

from meter.core.call import Observation
from meter.core.money import Quantity
from meter.core.ports import AnswerObserver, OutputSink
from meter.core.reading import Reading
from meter.core.usage import Usage
from meter.providers.endpoint import Progress, Request
from meter.providers.foreign import JSONObject, label, text
from meter.providers.hints import openai_hint
from meter.providers.measuring import MeasuringObserver, PlainGauge
from meter.providers.openai.plain import PlainEndpoint
from meter.providers.provider import Provider
from meter.tokens.counting import count_text
from meter.tokens.models import encoding_for
from meter.wire.sound import seconds_of

_PATH: Final = re.compile(r"(?:/deployments/([^/]+))?/audio/speech$", re.IGNORECASE)
_TOKENS_A_SECOND: Final = 20
# Sound without a header. Source: guide to text to speech: 24 kHz, 16 bits, one channel.
_PCM_BYTES_A_SECOND: Final = 48_000
_KEPT_BYTES: Final = 16 * 1024 * 1024


class SpeechGauge(PlainGauge):
    """Counts the characters of the request, and the tokens of a model that is billed by them."""

    __slots__ = ("_length_bytes", "_model", "_request", "_sound")

    def __init__(self, reading: Reading) -> None:
        self._request = reading.request
        self._model = (reading.model or "").lower()
        self._sound = bytearray()
        self._length_bytes = 0

    @property
    def wants_bytes(self) -> bool:
        """Always."""
        return True

    def feed(self, data: bytes) -> None:
        """Keep the sound, to measure it."""
        self._length_bytes += len(data)
        if self._speaks_tokens:
            self._sound += data[: _KEPT_BYTES - len(self._sound)]

    def judge(self, seen: Observation) -> Observation:
        """Return the reported usage; without one, our own count."""
        if seen.usage is not None or seen.error_in_body:
            return seen
        spoken = text(self._request.get("input"))
        if not spoken:
            return seen
        counted: dict[str, Quantity] = {"characters": len(spoken)}
        seconds = self._seconds() if self._speaks_tokens else None
        if seconds is not None:
            made = int((seconds * _TOKENS_A_SECOND).to_integral_value(ROUND_CEILING))
            counted |= {
                "input_tokens": self._text_tokens(spoken),
                "output_tokens": made,
                "output_audio_tokens": made,
                "audio_seconds": seconds,
            }
        return replace(seen, counted=Usage(counted))

    @property
    def _speaks_tokens(self) -> bool:
        return "gpt" in self._model

    def _text_tokens(self, spoken: str) -> int:
        encoding_name = encoding_for(self._model).name
        told = text(self._request.get("instructions"))
        return count_text(spoken, encoding_name) + count_text(told, encoding_name)

    def _seconds(self) -> Decimal | None:
        if not self._length_bytes:
            return None
        if self._request.get("response_format") == "pcm":
            return Decimal(self._length_bytes) / _PCM_BYTES_A_SECOND
        return seconds_of(bytes(self._sound), self._length_bytes)


class Speech(PlainEndpoint):
    """The speech endpoint."""

    name = "audio.speech"

    def claims(self, path: str) -> str | None:
        """Return the deployment that an Azure path names, "" for none."""
        found = _PATH.search(path)
        return (found[1] or "") if found else None

    def read(self, request: Request) -> Reading:
        """Read a speech request. Nothing in it bounds how long the sound becomes."""
        fields = request.fields
        return Reading(
            provider=request.provider.name,
            endpoint=self.name,
            model=label(fields.get("model")) or request.model or None,
            streaming=fields.get("stream_format") == "sse",
            hint=openai_hint(fields),
            request=fields,
            defects=request.defects,
        )

    def progress(self, payload: JSONObject) -> Progress:
        """Find the last event."""
        ends = payload.get("type") == "speech.audio.done"
        return Progress(ends=ends, settles=ends)

    def observer(
        self, provider: Provider, reading: Reading, sink: OutputSink | None, *, count_always: bool
    ) -> AnswerObserver:
        """Return an observer that counts what no usage tells."""
        gauge = SpeechGauge(reading)
        return MeasuringObserver(self, gauge, provider, reading, None, count_always=count_always)
