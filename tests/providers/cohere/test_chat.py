"""Cohere's chat, of both versions."""

from typing import Any

import pytest

from meter.core.usage import Usage
from tests.providers.answers import SSE, event
from tests.providers.native_answers import NDJSON, SIZES, answer, ask, body, cut, lines

HOST = "api.cohere.com"
UNITS = {
    "billed_units": {"input_tokens": 65, "output_tokens": 63},
    "tokens": {"input_tokens": 508, "output_tokens": 86, "reasoning_tokens": 28},
    "cached_tokens": 144,
}
USAGE = Usage(input_tokens=65, output_tokens=63)


def content(**piece: str) -> bytes:
    return event({"type": "content-delta", "delta": {"message": {"content": piece}}})


VERSION_2 = [
    b"event: message-start\n" + event({"id": "a1", "type": "message-start", "delta": {
        "message": {"role": "assistant", "content": [], "tool_calls": []}}}),
    content(thinking="Look"),
    content(text="Ma"),
    content(text="tz"),
    event({"type": "tool-plan-delta", "delta": {"message": {"tool_plan": "I will."}}}),
    event({"type": "tool-call-start", "delta": {"message": {"tool_calls": {
        "id": "c1", "function": {"name": "find", "arguments": ""}}}}}),
    event({"type": "tool-call-delta", "delta": {"message": {"tool_calls": {
        "function": {"arguments": '{"q":1}'}}}}}),
    event({"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": UNITS}}),
    b"data: [DONE]\n\n",
]  # fmt: skip
VERSION_1 = lines(
    {"is_finished": False, "event_type": "stream-start", "generation_id": "g"},
    {"is_finished": False, "event_type": "text-generation", "text": "Ar"},
    {"is_finished": False, "event_type": "text-generation", "text": "rr"},
    {"is_finished": True, "event_type": "stream-end", "finish_reason": "COMPLETE",
     "response": {"response_id": "r1", "text": "Arrr", "meta": UNITS}},
)  # fmt: skip


@pytest.mark.parametrize("path", ["/v2/chat", "/v1/chat", "/V2/Chat/"])
def test_a_request_is_read(path: str) -> None:
    reading = ask(HOST, path, model="command-a-03-2025", stream=True, max_tokens=50)
    assert (reading.provider, reading.endpoint) == ("cohere", "cohere.chat")
    assert (reading.model, reading.streaming) == ("command-a-03-2025", True)
    assert (reading.max_output_tokens, reading.body) == (50, None)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("version", [1, 2])
def test_a_stream_reports_billed_units_at_its_end(version: int, size: int) -> None:
    stream, headers = {1: (VERSION_1, NDJSON), 2: (VERSION_2, SSE)}[version]
    reading = ask(HOST, f"/v{version}/chat", model="m", stream=True)
    seen, sink = answer(HOST, reading, cut(stream, size), headers)
    assert (seen.usage, seen.finished, seen.defects) == (USAGE, True, ())
    assert seen.response_id == {1: "r1", 2: "a1"}[version]
    assert sink.pieces == []


def test_a_broken_stream_is_handed_out_to_be_counted() -> None:
    reading = ask(HOST, "/v2/chat", model="m", stream=True)
    seen, sink = answer(HOST, reading, VERSION_2[:-2], SSE, finish=False)
    assert (seen.usage, seen.finished) == (None, False)
    assert (sink.joined("reasoning"), sink.joined("content")) == ("LookI will.", "Matz")
    assert (sink.joined("tool_name"), sink.joined("tool_arguments")) == ("find", '{"q":1}')
    reading = ask(HOST, "/v1/chat", model="m", stream=True)
    _, sink = answer(HOST, reading, VERSION_1[:-1], NDJSON, finish=False)
    assert sink.joined("content") == "Arrr"


def test_the_last_line_does_not_count_the_text_again() -> None:
    stream = [*VERSION_1[:-1], *lines({"event_type": "stream-end", "response": {"text": "Arrr"}})]
    reading = ask(HOST, "/v1/chat", model="m", stream=True)
    seen, sink = answer(HOST, reading, stream, NDJSON)
    assert (seen.usage, sink.joined("content")) == (None, "Arrr")


BODIES: dict[str, tuple[dict[str, Any], Usage]] = {
    "version 2": ({"id": "x", "finish_reason": "COMPLETE", "usage": UNITS}, USAGE),
    "version 1": ({"response_id": "x", "text": "Hi", "meta": UNITS}, USAGE),
    "fractions that are whole": (
        {"usage": {"billed_units": {"input_tokens": 7.0, "output_tokens": 2.0}}},
        Usage(input_tokens=7, output_tokens=2),
    ),
    "searches": (
        {"meta": {"billed_units": {"input_tokens": 7, "output_tokens": 2, "search_units": 1}}},
        Usage(input_tokens=7, output_tokens=2, searches=1),
    ),
}


@pytest.mark.parametrize("case", BODIES)
def test_a_body_is_billed_by_its_units_and_not_by_its_tokens(case: str) -> None:
    payload, usage = BODIES[case]
    seen, _ = answer(HOST, ask(HOST, "/v2/chat", model="m"), body(payload))
    assert (seen.usage, seen.finished, seen.defects) == (usage, True, ())


def test_a_body_without_units_is_handed_out() -> None:
    message = {
        "content": [{"type": "thinking", "thinking": "Hm"}, {"type": "text", "text": "Hi"}],
        "tool_plan": "I call.",
        "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}],
    }
    seen, sink = answer(HOST, ask(HOST, "/v2/chat", model="m"), body({"message": message}))
    assert (seen.usage, sink.joined("content")) == (None, "Hi")
    assert (sink.joined("reasoning"), sink.tool_calls) == ("HmI call.", [0])


@pytest.mark.parametrize(
    "units", [{"input_tokens": 1.5}, {"input_tokens": "7"}, {"output_tokens": -1}]
)
def test_units_that_cannot_be_believed_are_a_defect(units: dict[str, Any]) -> None:
    payload = {"usage": {"billed_units": {"output_tokens": 2, **units}}}
    seen, _ = answer(HOST, ask(HOST, "/v2/chat", model="m"), body(payload))
    assert seen.usage is None
    assert "expected a whole number" in seen.defects[0]


def test_an_error_ends_a_stream() -> None:
    broken = [VERSION_2[0], event({"type": "message-end", "delta": {"finish_reason": "ERROR",
                                                                    "error": "lost"}})]  # fmt: skip
    reading = ask(HOST, "/v2/chat", model="m", stream=True)
    seen, _ = answer(HOST, reading, broken, SSE)
    assert (seen.error_in_body, seen.usage) == (True, None)
    assert seen.defects == ("the answer carries an error (ERROR)",)
