"""Responses: requests, streams and bodies, hosted tools."""

import json
from typing import Any

import pytest

from meter.core.usage import Usage
from meter.providers.registry import dialect_named
from tests.providers.answers import JSON, Recorder, asking, event, observe

OPENAI = dialect_named("openai")
PATH = "/v1/responses"
REPORT = {
    "input_tokens": 37, "input_tokens_details": {"cached_tokens": 8}, "output_tokens": 11,
    "output_tokens_details": {"reasoning_tokens": 4}, "total_tokens": 48,
}  # fmt: skip
USAGE = Usage(input_tokens=37, cache_read_tokens=8, output_tokens=11, reasoning_tokens=4)
OUTPUT: list[dict[str, Any]] = [
    {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}]},
    {"type": "message", "content": [{"type": "output_text", "text": "Hi"}]},
    {"type": "message", "content": [{"type": "refusal", "refusal": "No"}]},
    {"type": "function_call", "name": "f", "arguments": "{}"},
]


def response(**members: Any) -> dict[str, Any]:
    head = {"id": "resp_1", "object": "response", "model": "gpt-5", "error": None}
    return {**head, "status": "completed", "output": [], "usage": None, **members}


STREAM = [
    event({"type": "response.created", "response": response(status="in_progress")}),
    event({"type": "response.reasoning_summary_text.delta", "delta": "Hm."}),
    event({"type": "response.output_text.delta", "delta": "Hi", "obfuscation": "x"}),
    event({"type": "response.refusal.delta", "delta": "No"}),
    event({"type": "response.output_item.added",
           "item": {"type": "function_call", "name": "f", "arguments": ""}}),
    event({"type": "response.function_call_arguments.delta", "delta": "{}"}),
    event({"type": "response.function_call_arguments.done", "arguments": "{}"}),
]  # fmt: skip
LAST = event({
    "type": "response.completed",
    "response": response(usage=REPORT, output=OUTPUT, service_tier="priority"),
})  # fmt: skip
STREAMED = asking(OPENAI, PATH, stream=True)
PIECES = [
    (0, "reasoning", "Hm."), (0, "content", "Hi"), (0, "refusal", "No"),
    (0, "tool_name", "f"), (0, "tool_arguments", "{}"),
]  # fmt: skip


def test_a_request_is_read() -> None:
    reading = asking(OPENAI, PATH, model="gpt-5", max_output_tokens=90, stream=True, user="bob")
    assert (reading.endpoint, reading.model, reading.streaming) == ("responses", "gpt-5", True)
    assert (reading.max_output_tokens, reading.hint.subject) == (90, "bob")
    assert (reading.body, reading.strip_usage) == (None, False)
    assert asking(OPENAI, PATH).max_output_tokens is None
    assert asking(OPENAI, PATH, max_output_tokens="9").defects != ()


def test_usage_stands_in_the_last_event() -> None:
    seen, given = observe(OPENAI, STREAMED, [*STREAM, LAST])
    assert (seen.usage, seen.finished, seen.service_tier) == (USAGE, True, "priority")
    assert (seen.model_served, seen.response_id) == ("gpt-5", "resp_1")
    assert given == b"".join([*STREAM, LAST])


@pytest.mark.parametrize("kind", ["response.incomplete", "response.failed"])
def test_an_unhappy_end_reports_usage_too(kind: str) -> None:
    last = event({"type": kind, "response": response(usage=REPORT, status="incomplete")})
    observer = OPENAI.observe(STREAMED)
    observer.start(200, {"content-type": "text/event-stream"})
    observer.feed(b"".join(STREAM))
    assert not observer.ended
    observer.feed(last)
    assert observer.ended
    assert observer.result().usage == USAGE


def test_a_broken_stream_is_counted() -> None:
    sink = Recorder()
    seen, _ = observe(OPENAI, STREAMED, STREAM, sink=sink, finish=False)
    assert (seen.usage, seen.running, seen.finished) == (None, None, False)
    assert sink.pieces == PIECES
    assert sink.tool_calls == [0]


def test_the_last_event_does_not_count_its_output_again() -> None:
    sink = Recorder()
    observe(OPENAI, STREAMED, [*STREAM, LAST], sink=sink, count_always=True)
    assert sink.pieces == PIECES


def test_a_failure_before_any_output_is_an_error() -> None:
    failed = response(status="failed", error={"code": "server_error", "message": "x"})
    pieces = [STREAM[0], event({"type": "response.failed", "response": failed})]
    seen, _ = observe(OPENAI, STREAMED, pieces, sink=Recorder())
    assert (seen.error_in_body, seen.usage) == (True, None)


def test_no_place_to_break_off_raises() -> None:
    stream = b"".join([*STREAM, LAST])
    for end in range(len(stream)):
        seen, given = observe(OPENAI, STREAMED, [stream[:end]], sink=Recorder(), finish=False)
        assert given == stream[:end]
        assert (seen.usage, seen.finished) in ((None, False), (USAGE, True))
        assert (seen.usage is None) == (end < len(stream))


def test_a_body_is_read_and_counted_on_demand() -> None:
    body = json.dumps(response(usage=REPORT, output=OUTPUT)).encode()
    sink = Recorder()
    seen, _ = observe(
        OPENAI, asking(OPENAI, PATH), [body], headers=JSON, sink=sink, count_always=True
    )
    assert (seen.usage, seen.finished, seen.error_in_body) == (USAGE, True, False)
    # The empty piece says that the model reasoned, shown or not.
    assert sink.pieces == [(0, "reasoning", ""), *PIECES]


def test_a_stream_says_that_the_model_reasoned_unseen() -> None:
    added = {"type": "response.output_item.added", "item": {"type": "reasoning", "summary": []}}
    sink = Recorder()
    observe(OPENAI, STREAMED, [event(added), *STREAM], sink=sink)
    assert (0, "reasoning", "") in sink.pieces


def test_reasoning_alone_is_no_output_that_an_error_would_leave_billed() -> None:
    added = {"type": "response.output_item.added", "item": {"type": "reasoning", "summary": []}}
    failed = response(status="failed", error={"code": "server_error", "message": "x"})
    pieces = [STREAM[0], event(added), event({"type": "response.failed", "response": failed})]
    seen, _ = observe(OPENAI, STREAMED, pieces, sink=Recorder())
    assert (seen.error_in_body, seen.usage) == (True, None)


def test_a_response_in_the_background_has_no_usage_yet() -> None:
    body = json.dumps(response(status="queued")).encode()
    seen, _ = observe(OPENAI, asking(OPENAI, PATH, background=True), [body], headers=JSON)
    assert (seen.usage, seen.finished) == (None, False)
    assert seen.defects == ("the response runs on in the background: its usage is not known yet",)


def search(kind: str) -> dict[str, Any]:
    return {"type": "web_search_call", "action": {"type": kind}}


@pytest.mark.parametrize(
    ("members", "billed"),
    [
        ({"output": [search("search"), search("open_page"), search("search")]},
         {"searches": 2, "tool_calls": 3}),
        ({"output": [search("search")], "tool_usage": {"web_search": {"num_requests": 4}}},
         {"searches": 4, "tool_calls": 1}),
        ({"output": [], "tool_usage": {"web_search": {"num_requests": 0}}}, {"searches": 0}),
        ({"output": [{"type": "file_search_call"}, {"type": "code_interpreter_call"},
                     {"type": "function_call", "name": "f"}]}, {"tool_calls": 2}),
        ({"output": OUTPUT}, {}),
    ],
)  # fmt: skip
def test_hosted_calls_are_counted(members: dict[str, Any], billed: dict[str, int]) -> None:
    body = json.dumps(response(usage=REPORT, **members)).encode()
    seen, _ = observe(OPENAI, asking(OPENAI, PATH), [body], headers=JSON)
    assert seen.usage == Usage(USAGE, **billed)
    last = event({"type": "response.completed", "response": response(usage=REPORT, **members)})
    assert observe(OPENAI, STREAMED, [last])[0].usage == Usage(USAGE, **billed)
