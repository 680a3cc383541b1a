"""Answers observed as they come over the wire: traps, cuts, bounds, errors, stripping."""

import gzip
import json
from typing import Any

import pytest

from meter.core.reading import Reading
from meter.core.usage import Usage
from meter.providers import observing
from meter.providers.registry import dialect_for, dialect_named
from tests.providers.answers import (
    DONE,
    JSON,
    Recorder,
    asking,
    chunk,
    delta,
    event,
    observe,
)

OPENAI = dialect_for("api.openai.com")
REPORT = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}
USAGE = Usage(input_tokens=9, output_tokens=4)
STREAMED = asking(OPENAI, stream=True, stream_options={"include_usage": True})
WHOLE = asking(OPENAI)
ZERO = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}

# The traps of streamed usage, as the facts list them.
TRAPS: dict[str, list[bytes]] = {
    "null on every chunk, then a chunk without choices": [
        chunk(choices=[delta(role="assistant", content="")], usage=None),
        chunk(choices=[delta(content="Hi")], usage=None),
        chunk(choices=[delta("stop")], usage=None),
        chunk(choices=[], usage=REPORT),
        DONE,
    ],
    "a first chunk without choices and without usage": [
        chunk(model="", id="", choices=[], prompt_filter_results=[{}], usage=None),
        chunk(choices=[delta(content="Hi")], usage=None),
        chunk(choices=[delta("stop")], usage=None),
        chunk(choices=[], usage=REPORT),
        DONE,
    ],
    "zeros on every chunk, the truth on the last": [
        chunk(choices=[delta(content="Hi")], usage=ZERO),
        chunk(choices=[delta(content="!")], usage=ZERO),
        chunk(choices=[delta("stop")], usage=REPORT),
        DONE,
    ],
    "zeros behind the truth": [
        chunk(choices=[delta(content="Hi")]),
        chunk(choices=[delta("stop")], usage=REPORT),
        chunk(choices=[], usage=ZERO),
        DONE,
    ],
    "running totals on every chunk": [
        chunk(choices=[delta(content="Hi")], usage={**REPORT, "completion_tokens": 1,
                                                    "total_tokens": 10}),
        chunk(choices=[delta(content="!")], usage={**REPORT, "completion_tokens": 2,
                                                   "total_tokens": 11}),
        chunk(choices=[delta("stop")], usage=REPORT),
        DONE,
    ],
    "the same usage twice": [
        chunk(choices=[delta(content="Hi")]),
        chunk(choices=[{**delta("stop"), "usage": REPORT}]),
        chunk(choices=[], usage=REPORT),
        DONE,
    ],
    "usage in x_groq only": [
        chunk(choices=[delta(content="Hi")], x_groq={"id": "req_1"}),
        chunk(choices=[delta("stop")], x_groq={"id": "req_1", "usage": REPORT}),
        DONE,
    ],
    "usage on the finish chunk beside content": [
        chunk(choices=[delta(content="Hi")]),
        chunk(choices=[delta("stop", content="!")], usage=REPORT),
        DONE,
    ],
    "a usage chunk with an empty choice": [
        chunk(choices=[delta(content="Hi")]),
        chunk(choices=[delta("stop")]),
        chunk(choices=[{"index": 0, "delta": {}}], usage=REPORT),
        DONE,
    ],
    "no end marker": [
        chunk(choices=[delta(content="Hi")]),
        chunk(choices=[delta("stop")], usage=REPORT),
    ],
    "an end marker without a blank line": [
        chunk(choices=[delta("stop", content="Hi")], usage=REPORT),
        b"data: [DONE]",
    ],
}  # fmt: skip


@pytest.mark.parametrize("trap", TRAPS)
def test_usage_is_read_past_every_trap(trap: str) -> None:
    seen, given = observe(OPENAI, STREAMED, TRAPS[trap])
    assert seen.usage == USAGE
    assert seen.running is None
    assert seen.finished
    assert (seen.model_served, seen.response_id) == ("gpt-4o", "chatcmpl-1")
    assert given == b"".join(TRAPS[trap])
    assert seen.received_bytes == len(given)


@pytest.mark.parametrize("trap", TRAPS)
def test_no_cut_between_chunks_matters(trap: str) -> None:
    stream = b"".join(TRAPS[trap])
    for size in (1, 2, 3, 7, 64):
        pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
        seen, given = observe(OPENAI, STREAMED, pieces)
        assert (seen.usage, seen.finished, given) == (USAGE, True, stream)


@pytest.mark.parametrize("trap", TRAPS)
def test_no_place_to_break_off_raises_or_bills_a_running_total(trap: str) -> None:
    stream = b"".join(TRAPS[trap])
    for end in range(len(stream)):
        for finish in (True, False):
            sink = Recorder()
            seen, given = observe(OPENAI, STREAMED, [stream[:end]], sink=sink, finish=finish)
            assert given == stream[:end]
            assert seen.usage in (None, USAGE)
            assert seen.running is None or seen.usage is None
            assert not (seen.usage and not (seen.finished or finish))


def test_a_stream_without_usage_is_counted_piece_by_piece() -> None:
    sink = Recorder()
    pieces = [
        chunk(choices=[delta(role="assistant", content="")]),
        chunk(choices=[delta(content="Hel"), delta(index=1, content="Bon")]),
        chunk(choices=[delta(content="lo"), delta(index=1, content="jour")], obfuscation="xx"),
        chunk(choices=[delta("stop"), delta("stop", index=1)]),
        DONE,
    ]
    seen, _ = observe(OPENAI, asking(OPENAI, stream=True, n=2), pieces, sink=sink)
    assert (seen.usage, seen.finished) == (None, True)
    assert (sink.joined("content"), sink.joined("content", 1)) == ("Hello", "Bonjour")
    assert {kind for _, kind, _ in sink.pieces} == {"content"}


def test_output_is_not_counted_where_usage_is_reported() -> None:
    sink = Recorder()
    observe(OPENAI, STREAMED, TRAPS["no end marker"], sink=sink)
    assert sink.pieces == []


def test_output_is_always_counted_on_demand() -> None:
    sink = Recorder()
    seen, _ = observe(OPENAI, STREAMED, TRAPS["no end marker"], sink=sink, count_always=True)
    assert seen.usage == USAGE
    assert sink.joined("content") == "Hi"
    body = [json.dumps({"choices": [{"message": {"content": "Hi"}}], "usage": REPORT}).encode()]
    sink = Recorder()
    seen, _ = observe(OPENAI, WHOLE, body, headers=JSON, sink=sink, count_always=True)
    assert (seen.usage, sink.joined("content")) == (USAGE, "Hi")


def test_a_broken_stream_with_running_totals_is_running_and_counted() -> None:
    sink = Recorder()
    pieces = TRAPS["running totals on every chunk"][:2]
    seen, _ = observe(OPENAI, STREAMED, pieces, sink=sink, finish=False)
    assert seen.usage is None
    assert seen.running == Usage(input_tokens=9, output_tokens=2)
    assert sink.joined("content") == "Hi!"
    assert not seen.finished


def test_a_total_from_before_the_end_is_running_until_the_stream_ends() -> None:
    first = chunk(choices=[delta(content="Hi")], usage={"prompt_tokens": 9, "total_tokens": 9})
    pieces = [first, chunk(choices=[delta("stop")])]
    seen, _ = observe(OPENAI, STREAMED, pieces, finish=False)
    assert (seen.usage, seen.running) == (None, Usage(input_tokens=9, output_tokens=0))
    seen, _ = observe(OPENAI, STREAMED, [*pieces, chunk(choices=[], usage=REPORT)], finish=False)
    assert seen.usage == USAGE


def test_one_finished_choice_of_two_leaves_a_running_total_running() -> None:
    reading = asking(OPENAI, stream=True, n=2, stream_options={"include_usage": True})
    pieces = [chunk(choices=[delta("stop")], usage={**REPORT, "completion_tokens": 2})]
    seen, _ = observe(OPENAI, reading, pieces, finish=False)
    assert (seen.usage, seen.finished) == (None, False)
    assert seen.running is not None


def test_result_can_be_asked_for_in_the_middle() -> None:
    sink = Recorder()
    observer = OPENAI.observe(STREAMED, sink)
    observer.start(200, {"content-type": "text/event-stream"})
    observer.feed(chunk(choices=[delta(content="Hi")]))
    assert observer.result().usage is None
    observer.feed(chunk(choices=[delta(content="!")]))
    observer.feed(chunk(choices=[], usage=REPORT) + DONE)
    assert observer.ended
    assert observer.result().usage == USAGE


def test_the_end_is_told_by_the_marker_before_the_connection_ends() -> None:
    observer = OPENAI.observe(STREAMED)
    observer.start(200, {"content-type": "text/event-stream"})
    for piece in TRAPS["no end marker"]:
        observer.feed(piece)
        assert not observer.ended
    observer.feed(DONE)
    assert observer.ended


def test_a_body_of_known_length_ends_with_its_last_byte() -> None:
    body = json.dumps({"choices": [], "usage": REPORT}).encode()
    for encoded in (body, gzip.compress(body)):
        headers = {**JSON, "content-length": str(len(encoded))}
        if encoded != body:
            headers["content-encoding"] = "gzip"
        observer = OPENAI.observe(WHOLE)
        observer.start(200, headers)
        assert observer.feed(encoded[:-1]) == encoded[:-1]
        assert (observer.ended, observer.result().usage) == (False, None)
        assert observer.feed(encoded[-1:]) == encoded[-1:]
        assert (observer.ended, observer.result().usage) == (True, USAGE)
        assert observer.finish() == b""
        assert not observer.hands_out_identity


def test_a_body_without_a_length_ends_at_the_end() -> None:
    body = json.dumps({"choices": [], "usage": REPORT, "service_tier": "priority"}).encode()
    seen, _ = observe(OPENAI, WHOLE, [body], headers=JSON)
    assert (seen.usage, seen.finished, seen.service_tier) == (USAGE, True, "priority")


def test_a_body_that_breaks_off_has_no_usage() -> None:
    body = json.dumps({"usage": REPORT, "choices": []}).encode()
    seen, _ = observe(OPENAI, WHOLE, [body[:-1]], headers=JSON)
    assert (seen.usage, seen.finished) == (None, False)
    assert seen.defects == (f"found {len(body) - 1} bytes that are not JSON",)


def test_a_body_without_usage_is_counted() -> None:
    message: dict[str, Any] = {
        "content": "Hi", "refusal": "No", "reasoning_content": "Hm",
        "tool_calls": [{"id": "c1", "function": {"name": "f", "arguments": "{}"}}],
    }  # fmt: skip
    body = json.dumps({"choices": [{"index": 0, "message": message}]}).encode()
    sink = Recorder()
    seen, _ = observe(OPENAI, WHOLE, [body], headers=JSON, sink=sink)
    assert (seen.usage, seen.finished) == (None, True)
    assert sink.pieces == [
        (0, "content", "Hi"), (0, "refusal", "No"), (0, "reasoning", "Hm"),
        (0, "tool_name", "f"), (0, "tool_arguments", "{}"),
    ]  # fmt: skip
    assert sink.tool_calls == [0]


def test_the_tier_asked_for_stands_where_the_answer_names_none() -> None:
    reading = asking(OPENAI, service_tier="flex")
    body = json.dumps({"choices": [], "usage": REPORT}).encode()
    assert observe(OPENAI, reading, [body], headers=JSON)[0].service_tier == "flex"
    body = json.dumps({"choices": [], "usage": REPORT, "service_tier": "default"}).encode()
    assert observe(OPENAI, reading, [body], headers=JSON)[0].service_tier == "standard"


def test_an_error_in_a_body_with_a_good_status_is_an_error() -> None:
    for error in ({"error": {"type": "oops", "message": "x"}}, {"code": 1001, "msg": "no"}):
        body = json.dumps(error).encode()
        for headers in (JSON, {"content-type": "application/json; charset=utf-8"}):
            seen, _ = observe(OPENAI, WHOLE, [body], headers=headers, sink=Recorder())
            assert (seen.error_in_body, seen.usage) == (True, None)
        assert observe(OPENAI, STREAMED, [body], headers=JSON)[0].error_in_body


def test_an_error_before_any_output_is_not_billed() -> None:
    sink = Recorder()
    pieces = [
        chunk(choices=[delta(role="assistant", content="")]),
        event({"error": {"message": "bad", "type": "model_error", "code": None}}),
        DONE,
    ]
    seen, _ = observe(OPENAI, STREAMED, pieces, sink=sink)
    assert seen.error_in_body
    assert seen.defects == ("the answer carries an error (model_error)",)


def test_an_error_after_output_leaves_that_output_to_be_counted() -> None:
    sink = Recorder()
    pieces = [
        chunk(choices=[delta(role="assistant", content="")]),
        chunk(choices=[delta(content="Hi")]),
        event({"error": {"message": "bad", "type": "model_error"}}),
        DONE,
    ]
    seen, _ = observe(OPENAI, STREAMED, pieces, sink=sink)
    assert not seen.error_in_body
    assert seen.usage is None
    assert sink.joined("content") == "Hi"
    assert "bad" not in repr(sink.pieces)


def test_the_body_of_an_error_status_is_not_read() -> None:
    body = json.dumps({"error": {"message": "x"}, "usage": REPORT}).encode()
    headers = {**JSON, "content-length": str(len(body))}
    seen, given = observe(OPENAI, WHOLE, [body], headers=headers, status=429)
    assert (seen.status, seen.usage, seen.finished) == (429, None, True)
    assert (given, seen.received_bytes) == (body, len(body))


@pytest.mark.parametrize(
    "garbage",
    [
        b"", b"\x00" * 999, b"\xff\xfe" * 99, b"{" * 99_999, b"data: " + b"[" * 99_999 + b"\n\n",
        b'data: {"usage": {"prompt_tokens": -1, "completion_tokens": 2}}\n\n',
        b'data: {"usage": {"prompt_tokens": 1e400}}\n\n',
        b'data: {"usage": [1]}\n\n', b'data: {"choices": {"0": 1}, "usage": {"a": []}}\n\n',
        b"data: null\n\ndata: 7\n\ndata: []\n\ndata: [[]]\n\n", b"data:\n\n" * 999,
        b'data: {"choices":[{"index":-1,"delta":{"content":7}}],"error":[]}\n\n',
        b'data: {"choices":[{"finish_reason":"stop","delta":{"tool_calls":[1,{"index":"x"}]}}]}'
        b"\n\n",
    ],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses", "/v1/messages",
                                  "/v1/completions", "/v1/embeddings",
                                  "/v1beta/models/m:streamGenerateContent"])  # fmt: skip
def test_garbage_never_raises_and_passes_unchanged(garbage: bytes, path: str) -> None:
    reading = asking(OPENAI, path, stream=True)
    for kind in ("text/event-stream", "application/json", "text/html", "application/x-ndjson"):
        for always in (True, False):
            sink = Recorder()
            headers = {"content-type": kind}
            seen, given = observe(
                OPENAI, reading, [garbage], headers=headers, sink=sink, count_always=always
            )
            assert given == garbage
            assert seen.usage is None
            assert len(seen.defects) < 20


def test_negative_usage_in_the_answer_is_a_defect_and_no_usage() -> None:
    body = json.dumps({"choices": [], "usage": {**REPORT, "completion_tokens": -4}}).encode()
    seen, _ = observe(OPENAI, WHOLE, [body], headers=JSON)
    assert seen.usage is None
    assert seen.defects == ("found -4 as completion_tokens, expected a whole number",)


def test_what_is_kept_is_bounded_and_the_rest_counted_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(observing, "KEPT_BYTES", 2000)
    sink = Recorder()
    observer = OPENAI.observe(STREAMED, sink)
    observer.start(200, {"content-type": "text/event-stream"})
    for number in range(50):
        observer.feed(chunk(choices=[delta(content=f"{number};")]))
    assert len(sink.pieces) >= 40
    observer.feed(chunk(choices=[delta(content="x" * 5000)]))
    observer.finish()
    observer.result()
    text = "".join(f"{number};" for number in range(50)) + "x" * 5000
    assert sink.joined("content") == text


def test_a_large_body_with_usage_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observing, "KEPT_BYTES", 2000)
    for report, pieces in ((REPORT, 0), (None, 1)):
        sink = Recorder()
        choice = {"message": {"content": "x" * 5000}}
        body = json.dumps({"choices": [choice], "usage": report}).encode()
        observe(OPENAI, WHOLE, [body], headers=JSON, sink=sink)
        assert len(sink.pieces) == pieces


def test_an_encoded_stream_is_read_on_a_copy() -> None:
    stream = b"".join(TRAPS["no end marker"])
    encoded = gzip.compress(stream)
    headers = {"content-type": "text/event-stream", "content-encoding": "gzip"}
    seen, given = observe(OPENAI, STREAMED, [encoded[:20], encoded[20:]], headers=headers)
    assert (seen.usage, given) == (USAGE, encoded)


def test_an_encoding_that_is_announced_and_not_applied_is_no_obstacle() -> None:
    headers = {"content-type": "text/event-stream", "content-encoding": "gzip"}
    stream = b"".join(TRAPS["no end marker"])
    seen, given = observe(OPENAI, STREAMED, [stream[:1], stream[1:]], headers=headers)
    assert (seen.usage, given, seen.defects) == (USAGE, stream, ())
    body = json.dumps({"choices": [], "usage": REPORT}).encode()
    seen, given = observe(OPENAI, WHOLE, [body], headers={**JSON, "content-encoding": "gzip"})
    assert (seen.usage, given) == (USAGE, body)


def test_an_encoding_that_nobody_can_read_is_a_defect() -> None:
    headers = {"content-type": "text/event-stream", "content-encoding": "snappy"}
    reading = asking(OPENAI, stream=True)
    seen, given = observe(OPENAI, reading, TRAPS["no end marker"], headers=headers)
    assert seen.usage is None
    assert given == b"".join(TRAPS["no end marker"])
    assert seen.defects[-1].startswith("the answer could not be decoded")


# Stripping


def test_the_usage_chunk_that_the_meter_asked_for_is_taken_out() -> None:
    reading = asking(OPENAI, stream=True)
    assert reading.strip_usage
    for trap in ("null on every chunk, then a chunk without choices",
                 "a first chunk without choices and without usage"):  # fmt: skip
        stream = b"".join(TRAPS[trap])
        wanted = b"".join(piece for piece in TRAPS[trap] if piece != TRAPS[trap][-2])
        for size in (1, 5, 1000, len(stream)):
            pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
            seen, given = observe(OPENAI, reading, pieces)
            assert (seen.usage, given) == (USAGE, wanted)


def test_usage_that_came_beside_content_is_never_taken_out() -> None:
    reading = asking(OPENAI, stream=True)
    for trap in ("usage on the finish chunk beside content", "a usage chunk with an empty choice"):
        seen, given = observe(OPENAI, reading, TRAPS[trap])
        assert (seen.usage, given) == (USAGE, b"".join(TRAPS[trap]))


def test_usage_that_the_client_asked_for_is_not_taken_out() -> None:
    trap = TRAPS["null on every chunk, then a chunk without choices"]
    assert observe(OPENAI, STREAMED, trap)[1] == b"".join(trap)


def test_an_encoded_stream_is_handed_out_decoded_when_stripped() -> None:
    reading = asking(OPENAI, stream=True)
    trap = TRAPS["null on every chunk, then a chunk without choices"]
    observer = OPENAI.observe(reading)
    observer.start(200, {"content-type": "text/event-stream", "content-encoding": "gzip"})
    assert observer.hands_out_identity
    encoded = gzip.compress(b"".join(trap))
    given = b"".join(observer.feed(encoded[at : at + 9]) for at in range(0, len(encoded), 9))
    given += observer.finish()
    assert given == b"".join(piece for piece in trap if piece != trap[-2])
    assert observer.result().usage == USAGE


def test_a_body_instead_of_a_stream_is_not_touched() -> None:
    reading = asking(OPENAI, stream=True)
    body = json.dumps({"choices": [], "usage": REPORT}).encode()
    observer = OPENAI.observe(reading)
    observer.start(200, {**JSON, "content-encoding": "gzip"})
    assert not observer.hands_out_identity
    assert observe(OPENAI, reading, [body], headers=JSON)[1] == body


def test_a_quote_of_usage_in_the_text_is_not_usage() -> None:
    text = '{"choices": [], "usage": {"prompt_tokens": 1}, "error": {"a": 1}} [DONE]'
    sink = Recorder()
    pieces = [chunk(choices=[delta(content=text)]), *TRAPS["no end marker"]]
    seen, given = observe(OPENAI, asking(OPENAI, stream=True), pieces, sink=sink)
    assert (seen.usage, seen.error_in_body) == (USAGE, False)
    assert given == b"".join(pieces)


# Free and unmetered


def test_what_is_free_or_unknown_passes_unread() -> None:
    for reading in (Reading("openai", "models", free=True), Reading("openai", "unmetered")):
        observer = OPENAI.observe(reading)
        observer.start(200, {**JSON, "content-length": "4"})
        assert observer.feed(b"ab") == b"ab"
        assert not observer.ended
        assert observer.feed(b"cd") == b"cd"
        assert observer.ended
        assert observer.finish() == b""
        seen = observer.result()
        assert (seen.status, seen.received_bytes, seen.finished) == (200, 4, True)


def test_an_unknown_length_is_none() -> None:
    assert observing.expected_bytes({}) is None
    assert observing.expected_bytes({"content-length": "12"}) == 12
    for odd in ("", "-1", "1e3", "９", "9" * 30):
        assert observing.expected_bytes({"content-length": odd}) is None


def test_a_provider_cost_is_exact() -> None:
    dialect = dialect_named("openrouter")
    body = b'{"id":"gen-1","model":"m","choices":[],"usage":{"prompt_tokens":9,' \
           b'"completion_tokens":4,"cost":0.066407}}'  # fmt: skip
    seen, _ = observe(dialect, asking(dialect), [body], headers=JSON)
    assert (seen.usage, seen.provider_cost_nanos) == (USAGE, 66_407_000)


# Shapes that the endpoint does not expect


def test_lines_of_json_under_the_type_of_a_body_are_read() -> None:
    ollama = dialect_named("ollama")
    reading = ollama.read("POST", "/api/chat", None, b'{"model": "m", "stream": true}')
    observer = ollama.observe(reading)
    observer.start(200, JSON)
    observer.feed(b'{"message": {"content": "Hi"}, "done": false}\r\n')
    observer.feed(b'{"done": true, "prompt_eval_count": 9, "eval_count": 4}\r\n')
    observer.finish()
    assert observer.result().usage == USAGE
    assert observer.result().defects == ()


def test_usage_in_the_words_of_another_api_is_read() -> None:
    body = json.dumps({"choices": [], "usage": {"inputTokens": 9, "outputTokens": 4}}).encode()
    assert observe(OPENAI, WHOLE, [body], headers=JSON)[0].usage == USAGE


def test_openai_s_words_at_cohere_s_path_are_read() -> None:
    other = dialect_named("unheard-of")
    body = b'{"choices": [{"finish_reason": "stop"}], "usage": %s}' % json.dumps(REPORT).encode()
    reading = other.read("POST", "/v1/chat", None, b'{"model": "m"}')
    assert observe(other, reading, [body], headers=JSON)[0].usage == USAGE


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/v1/responses", {"object": "response", "status": [], "usage": {"input_tokens": 9}}),
        ("/v1/responses", {"status": {}, "output": [{"type": {}}, {"type": []}]}),
        ("/v1/batches", {"object": "batch", "status": [], "usage": {"input_tokens": 9}}),
        ("/v1/videos", {"object": "video", "status": {}}),
        ("/v1/threads/t/runs", {"object": "thread.run", "status": []}),
        ("/v1/fine_tuning/jobs", {"object": "fine_tuning.job", "status": [{}]}),
        ("/model/m/converse", {"usage": {"inputTokens": 9, "cacheDetails": [{"ttl": []}]}}),
    ],
)
def test_a_list_where_a_word_belongs_is_no_error(path: str, answer: dict[str, Any]) -> None:
    reading = OPENAI.read("POST", path, None, b'{"model": "m"}')
    seen, _ = observe(OPENAI, reading, [json.dumps(answer).encode()], headers=JSON)
    assert seen.status == 200


def test_events_that_no_blank_line_parts_are_read() -> None:
    parts = [
        chunk(choices=[delta(content="Hi")]),
        chunk(choices=[delta("stop")]),
        chunk(choices=[], usage=REPORT),
        DONE,
    ]
    lines = [b"".join(part.replace(b"\n\n", b"\n") for part in parts)]
    seen, handed = observe(OPENAI, STREAMED, lines)
    assert (seen.usage, seen.defects, seen.finished) == (USAGE, (), True)
    assert handed == lines[0]


def test_events_that_a_server_calls_json_are_read_unasked() -> None:
    parts = [chunk(choices=[delta("stop")]), chunk(choices=[], usage=REPORT), DONE]
    seen, _ = observe(OPENAI, WHOLE, [b": hi\n\nevent: x\n", *parts], headers=JSON)
    assert (seen.usage, seen.defects, seen.finished) == (USAGE, (), True)
