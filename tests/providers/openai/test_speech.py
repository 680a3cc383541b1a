"""Speech: characters, tokens, or both counted by us."""

from decimal import Decimal
from typing import Any

import pytest

from meter.core.call import Observation
from meter.core.usage import Usage
from meter.providers.registry import dialect_for, dialect_named
from tests.providers.answers import JSON, SSE, asking, event, observe
from tests.providers.forms import wav

OPENAI = dialect_named("openai")
PATH = "/v1/audio/speech"
MP3 = {"content-type": "audio/mpeg"}
# 38 frames a second: 1152 samples of 44.1 kHz in 417 bytes.
FRAME = b"\xff\xfb\x90\xc4" + bytes(413)


def spoken(body: bytes, headers: dict[str, str] = MP3, **fields: Any) -> Observation:
    """Ask for speech and answer with this body, in pieces of 1000 bytes."""
    reading = asking(OPENAI, PATH, **{"model": "tts-1", "input": "你好 hello", **fields})
    assert reading.endpoint == "audio.speech"
    pieces = [body[at : at + 1000] for at in range(0, len(body), 1000)]
    seen, given = observe(OPENAI, reading, pieces, headers=headers)
    assert given == body
    return seen


def test_characters_are_characters() -> None:
    seen = spoken(FRAME * 38)
    assert (seen.usage, seen.counted) == (None, Usage(characters=8))


def test_tokens_are_counted_for_a_model_that_is_billed_by_them() -> None:
    seen = spoken(
        wav(2.05), model="gpt-4o-mini-tts", response_format="wav", input="hello world",
        instructions="say hello world",
    )  # fmt: skip
    assert seen.counted == Usage(
        characters=11,
        input_tokens=5,  # 2 + 3
        output_tokens=41,  # 20 × 2.05
        output_audio_tokens=41,
        audio_seconds=Decimal("2.05"),
    )


def test_sound_without_a_header_is_measured_by_its_length() -> None:
    seen = spoken(bytes(96_000), {"content-type": "audio/pcm"}, model="gpt-4o-mini-tts",
                  response_format="pcm", input="hello")  # fmt: skip
    assert seen.counted is not None
    assert (seen.counted["audio_seconds"], seen.counted["output_tokens"]) == (2, 40)


def test_sound_that_cannot_be_measured_leaves_the_characters() -> None:
    assert spoken(b"?" * 100, model="gpt-4o-mini-tts").counted == Usage(characters=8)


def test_a_stream_of_events_reports_tokens() -> None:
    usage = {"input_tokens": 14, "output_tokens": 101, "total_tokens": 115}
    stream = event({"type": "speech.audio.delta", "audio": "AAAA"})
    stream += event({"type": "speech.audio.done", "usage": usage})
    seen = spoken(stream, SSE, model="gpt-4o-mini-tts", stream_format="sse")
    assert seen.usage == Usage(input_tokens=14, output_tokens=101)
    assert (seen.finished, seen.counted) == (True, None)


def test_a_broken_stream_of_events_is_counted() -> None:
    stream = event({"type": "speech.audio.delta", "audio": "AAAA"})
    seen = spoken(stream, SSE, model="gpt-4o-mini-tts", stream_format="sse")
    assert (seen.usage, seen.counted) == (None, Usage(characters=8))


def test_an_error_owes_nothing() -> None:
    seen = spoken(b'{"error": {"type": "server_error"}}', JSON)
    assert (seen.usage, seen.counted, seen.error_in_body) == (None, None, True)


@pytest.mark.parametrize("value", [None, "", 3, ["a"]])
def test_a_request_without_text_is_not_counted(value: Any) -> None:
    assert spoken(FRAME, input=value).counted is None


def test_azure_names_the_deployment_in_the_path() -> None:
    path = "/openai/deployments/my-tts/audio/speech?api-version=2024-06-01"
    reading = dialect_for("r.openai.azure.com").read("POST", path, None, b'{"input": "a"}')
    assert (reading.endpoint, reading.model, reading.streaming) == ("audio.speech", "my-tts", False)
