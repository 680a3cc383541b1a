"""Realtime and Live sessions: what each event says was used."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meter.core.usage import Usage
from meter.providers.openai.realtime import RealtimeSession, SessionUse


def session(**members: Any) -> RealtimeSession:
    """Return a session that has told its models."""
    following = RealtimeSession("gpt-realtime")
    created = {"id": "sess_1", "model": "gpt-realtime-2.1", **members}
    assert following.take(json.dumps({"type": "session.created", "session": created})) is None
    return following


def test_each_response_reports_its_own_usage() -> None:
    usage = {
        "total_tokens": 253, "input_tokens": 132, "output_tokens": 121,
        "input_token_details": {
            "text_tokens": 119, "audio_tokens": 13, "image_tokens": 0, "cached_tokens": 64,
            "cached_tokens_details": {"text_tokens": 60, "audio_tokens": 4, "image_tokens": 0},
        },
        "output_token_details": {"text_tokens": 30, "audio_tokens": 91},
    }  # fmt: skip
    event = {"type": "response.done", "response": {"id": "resp_1", "usage": usage}}
    assert session().take(json.dumps(event).encode()) == SessionUse(
        billing_id="resp_1",
        kind="response",
        model="gpt-realtime-2.1",
        usage=Usage(
            input_tokens=132, cache_read_tokens=64, input_audio_tokens=13, input_image_tokens=0,
            cache_audio_read_tokens=4, cache_image_read_tokens=0, output_tokens=121,
            output_audio_tokens=91,
        ),
    )  # fmt: skip


def test_more_cached_than_taken_is_cut() -> None:
    usage = {"input_tokens": 127, "output_tokens": 148, "total_tokens": 275,
             "input_token_details": {"cached_tokens": 384, "text_tokens": 119}}  # fmt: skip
    event = {"type": "response.done", "response": {"id": "r", "usage": usage}}
    use = session().take(json.dumps(event))
    assert use is not None
    assert use.usage == Usage(input_tokens=127, cache_read_tokens=127, output_tokens=148)


@pytest.mark.parametrize("usage", [None, {}, {"total_tokens": 0, "input_tokens": 0}])
def test_a_response_without_usage_is_told_as_such(usage: Any) -> None:
    event = {"type": "response.done", "response": {"id": "r", "status": "failed", "usage": usage}}
    use = session().take(json.dumps(event))
    assert use is not None
    assert (use.billing_id, use.usage) == ("r", None)


@pytest.mark.parametrize(
    ("members", "model"),
    [
        ({"audio": {"input": {"transcription": {"model": "gpt-4o-transcribe"}}}},
         "gpt-4o-transcribe"),
        ({"input_audio_transcription": {"model": "whisper-1"}}, "whisper-1"),
        ({}, None),
    ],
)  # fmt: skip
def test_transcription_is_billed_by_its_own_model(members: Any, model: str | None) -> None:
    following = session(**members)
    event = {
        "type": "conversation.item.input_audio_transcription.completed", "item_id": "item_1",
        "content_index": 2, "transcript": "Hi", "usage": {"type": "duration", "seconds": 3.5},
    }  # fmt: skip
    assert following.take(json.dumps(event)) == SessionUse(
        "item_1/2", "transcription", model, Usage(audio_seconds=Decimal("3.5"))
    )
    event["usage"] = {"type": "tokens", "input_tokens": 13, "output_tokens": 9, "total_tokens": 22,
                      "input_token_details": {"text_tokens": 0, "audio_tokens": 13}}  # fmt: skip
    use = following.take(json.dumps(event))
    assert use is not None
    assert use.usage == Usage(input_tokens=13, input_audio_tokens=13, output_tokens=9)


def test_seconds_of_a_live_session_are_a_total() -> None:
    following = session()
    seconds = []
    for number in (2, 5.25, 5):
        event = {"type": "session.usage.updated", "usage": {"seconds": number}}
        use = following.take(json.dumps(event))
        assert use is not None
        assert (use.billing_id, use.kind, use.is_total) == ("sess_1", "voice", True)
        assert use.usage is not None
        seconds.append(use.usage["audio_seconds"])
    assert seconds == [2, Decimal("5.25"), Decimal("5.25")]
    closed = {"type": "session.closed", "usage": {"seconds": 6}, "session": {"id": "sess_1"}}
    use = following.take(json.dumps(closed))
    assert use is not None
    assert use.usage == Usage(audio_seconds=6)


def test_work_that_is_handed_on_is_reported_apart() -> None:
    usage = {"input_tokens": 5, "output_tokens": 6, "total_tokens": 11}
    nested = {"type": "response.completed",
              "response": {"id": "resp_2", "model": "gpt-6", "usage": usage}}  # fmt: skip
    use = session().take(json.dumps({"type": "response.event", "event": nested}))
    assert use == SessionUse("resp_2", "delegated", "gpt-6", Usage(input_tokens=5, output_tokens=6))
    nested["type"] = "response.created"
    assert session().take(json.dumps({"type": "response.event", "event": nested})) is None
    decided = {"type": "decision.completed", "decision": {"model": "gpt-6", "usage": usage}}
    event = {"type": "decision.event", "event_id": "event_9", "event": decided}
    assert session().take(json.dumps(event)) == SessionUse(
        "event_9", "decision", "gpt-6", Usage(input_tokens=5, output_tokens=6)
    )


@pytest.mark.parametrize(
    "event",
    [
        {"type": "response.output_audio.delta", "delta": "AAAA"},
        {"type": "error", "error": {"message": "no"}},
        {"type": "response.done", "response": {"usage": {"input_tokens": 1}}},
        {"type": "response.done"},
        {"type": "session.usage.updated", "usage": {"seconds": "5"}},
        {"type": "session.usage.updated", "usage": {"seconds": -5}},
        {"type": "response.output_text.delta", "delta": '"type": "response.done"'},
    ],
)
def test_other_events_say_nothing(event: Any) -> None:
    assert session().take(json.dumps(event)) is None


def test_what_cannot_be_read_is_told() -> None:
    following = session()
    assert following.take(b'{"type": "response.done", ') is None
    assert following.defects == ["found 26 bytes that are not JSON"]


@given(st.lists(st.sampled_from(
    ['{"type": "response.done"', ', "response": ', '{"id": "r", "usage": ', '{"input_tokens": ',
     "1", "-1", "1e400", "null", "}", "[", "\ud800", '"']), max_size=20).map("".join))  # fmt: skip
def test_any_text_is_taken_without_an_error(text: str) -> None:
    following = RealtimeSession()
    following.take(text)
    following.take(text.encode("utf-8", "surrogatepass"))
