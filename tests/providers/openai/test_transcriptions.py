"""Transcriptions and translations: tokens, seconds, or neither."""

import gzip
import json
from typing import Any

import pytest

from meter.core.call import Attribution, Observation
from meter.core.usage import Usage
from meter.providers.registry import dialect_for, dialect_named
from tests.providers.answers import DONE, JSON, SSE, Recorder, event, observe
from tests.providers.forms import form, sending, wav

OPENAI = dialect_named("openai")
PATH = "/v1/audio/transcriptions"
TEXT = {"content-type": "text/plain; charset=utf-8"}
TOKENS = {
    "type": "tokens", "input_tokens": 37, "input_token_details": {"text_tokens": 0,
    "audio_tokens": 37}, "output_tokens": 12, "total_tokens": 49,
}  # fmt: skip


def answered(
    answer: Any, *, path: str = PATH, headers: dict[str, str] = JSON, **fields: Any
) -> tuple[Observation, Recorder]:
    """Send 3.7 seconds of sound and answer with a body, in pieces of 7 bytes."""
    reading = sending(OPENAI, path, form(wav(3.7), **{"model": "whisper-1", **fields}))
    body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    pieces = [body[at : at + 7] for at in range(0, len(body), 7)]
    sink = Recorder()
    seen, given = observe(OPENAI, reading, pieces, headers=headers, sink=sink)
    assert given == body
    return seen, sink


def test_a_request_is_read() -> None:
    body = form(wav(1), model="gpt-4o-transcribe", stream="true", user="alice")
    reading = sending(OPENAI, PATH, body)
    assert (reading.endpoint, reading.model) == ("audio.transcriptions", "gpt-4o-transcribe")
    assert (reading.streaming, reading.free, reading.defects) == (True, False, ())
    assert reading.hint == Attribution("alice")


def test_a_form_that_is_not_at_hand_leaves_the_model_open() -> None:
    reading = sending(OPENAI, PATH, b"")
    assert (reading.endpoint, reading.model) == ("audio.transcriptions", None)
    assert reading.defects == ("the form was not at hand: what it asks for is not known",)


def test_azure_names_the_deployment_in_the_path() -> None:
    dialect = dialect_for("r.openai.azure.com")
    path = "/openai/deployments/my-whisper/audio/transcriptions?api-version=2024-06-01"
    assert sending(dialect, path, form(wav(1))).model == "my-whisper"


def test_reported_tokens_are_read() -> None:
    seen, _ = answered({"text": "Hello.", "usage": TOKENS})
    assert seen.usage == Usage(input_tokens=37, input_audio_tokens=37, output_tokens=12)
    assert (seen.finished, seen.counted, seen.defects) == (True, None, ())


def test_reported_seconds_are_read() -> None:
    seen, _ = answered({"text": "Hello.", "usage": {"type": "duration", "seconds": 4}})
    assert seen.usage == Usage(audio_seconds=4)


def test_a_stream_reports_at_its_end() -> None:
    stream = event({"type": "transcript.text.delta", "delta": "Hello."})
    stream += event({"type": "transcript.text.done", "text": "Hello.", "usage": TOKENS}) + DONE
    seen, sink = answered(stream, headers=SSE, stream="true", model="gpt-4o-transcribe")
    assert seen.usage == Usage(input_tokens=37, input_audio_tokens=37, output_tokens=12)
    assert (seen.finished, sink.pieces) == (True, [])


def test_a_broken_stream_is_counted() -> None:
    stream = event({"type": "transcript.text.delta", "delta": "Hel"})
    stream += event({"type": "transcript.text.delta", "delta": "lo."})
    seen, sink = answered(stream, headers=SSE, stream="true", model="gpt-4o-transcribe")
    assert seen.usage is None
    assert seen.running == Usage(input_tokens=37, input_audio_tokens=37)  # 10 × 3.7
    assert sink.joined("content") == "Hello."


@pytest.mark.parametrize("duration", [3.7, "3.70", 3.2, 4])
def test_the_duration_that_an_answer_names_is_reported(duration: Any) -> None:
    seen, _ = answered({"text": "Hello.", "duration": duration}, response_format="verbose_json")
    assert seen.usage == Usage(audio_seconds=4)
    assert seen.finished


@pytest.mark.parametrize("duration", [-1, "long", True, 1e300, None])
def test_an_odd_duration_leaves_the_upload(duration: Any) -> None:
    seen, _ = answered({"text": "Hello.", "duration": duration})
    assert (seen.usage, seen.counted) == (None, Usage(audio_seconds=4))


@pytest.mark.parametrize("kind", ["text", "srt", "vtt"])
def test_a_plain_answer_is_measured_by_the_upload(kind: str) -> None:
    seen, sink = answered(b"Hello.\n", headers=TEXT, response_format=kind)
    assert (seen.usage, seen.counted) == (None, Usage(audio_seconds=4))
    assert sink.pieces == []


def test_a_plain_answer_of_a_model_billed_by_tokens_is_counted() -> None:
    body = gzip.compress(b"Hello.\n")
    seen, sink = answered(
        body, headers={**TEXT, "content-encoding": "gzip"}, response_format="text",
        model="gpt-4o-mini-transcribe", prompt="Say hello world.",
    )  # fmt: skip
    # 37 of sound and "Say", " hello", " world", "."
    assert seen.running == Usage(input_tokens=41, input_audio_tokens=37)
    assert sink.joined("content") == "Hello.\n"


def test_what_cannot_be_measured_stays_unknown() -> None:
    reading = sending(OPENAI, PATH, form(b"no sound", model="whisper-1"))
    seen, _ = observe(OPENAI, reading, [b'{"text": "Hi"}'], headers=JSON)
    assert (seen.usage, seen.running, seen.counted) == (None, None, None)


def test_an_error_owes_nothing() -> None:
    seen, _ = answered({"error": {"type": "server_error"}})
    assert (seen.usage, seen.counted, seen.error_in_body) == (None, None, True)


def test_a_translation_is_measured_like_a_transcription() -> None:
    path = "/v1/audio/translations"
    reading = sending(OPENAI, path, form(wav(3.7), model="whisper-1"))
    assert (reading.endpoint, reading.model) == ("audio.translations", "whisper-1")
    assert answered({"text": "Hello."}, path=path)[0].counted == Usage(audio_seconds=4)
    seen, _ = answered({"text": "Hello.", "duration": 8.47}, path=path)
    assert seen.usage == Usage(audio_seconds=9)


def test_mistrals_sound_is_input_beside_the_prompt() -> None:
    dialect = dialect_named("mistral")
    reading = sending(dialect, PATH, form(wav(3.7), model="voxtral-mini-latest"))
    usage = {
        "prompt_audio_seconds": 3, "prompt_tokens": 3, "completion_tokens": 11,
        "prompt_tokens_details": {"cached_tokens": 1, "audio_tokens": 375}, "total_tokens": 389,
    }  # fmt: skip
    body = json.dumps({"model": "voxtral-mini-latest", "text": "Hi", "usage": usage}).encode()
    seen, _ = observe(dialect, reading, [body], headers=JSON)
    assert seen.usage == Usage(
        input_tokens=378, cache_read_tokens=1, input_audio_tokens=375, output_tokens=11
    )
