"""The output file of a batch: each line's usage, once."""

import json
from typing import Any

import pytest

from meter.core.call import Part
from meter.core.rating import MANY_REQUESTS
from meter.core.usage import Usage
from meter.providers.openai.batch_output import BatchOutputObserver
from meter.providers.registry import dialect_named
from tests.wire.cuts import cut_at, in_two

OPENAI = dialect_named("openai")
PATH = "/v1/files/file-9/content"
FILE = {"content-type": "application/octet-stream"}


def line(number: int, body: Any, *, status: int = 200, **members: Any) -> bytes:
    """Return one line of an output file."""
    response = {"status_code": status, "request_id": f"req_{number}", "body": body}
    given = {"id": f"batch_req_{number}", "custom_id": f"task-{number}", "response": response,
             "error": None, **members}  # fmt: skip
    return json.dumps(given).encode() + b"\n"


def chat(taken: int, given: int, model: str = "gpt-4o-mini") -> dict[str, Any]:
    """Return a chat answer."""
    return {
        "id": "chatcmpl-1", "object": "chat.completion", "model": model,
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"content": "Hi"}}],
        "usage": {"prompt_tokens": taken, "completion_tokens": given,
                  "total_tokens": taken + given},
    }  # fmt: skip


def fetched(chunks: list[bytes], status: int = 200) -> BatchOutputObserver:
    """Fetch a file in these pieces."""
    reading = OPENAI.read("GET", PATH, None, b"")
    assert (reading.endpoint, reading.free) == ("files.content", True)
    observer = OPENAI.observe(reading)
    assert isinstance(observer, BatchOutputObserver)
    observer.start(status, FILE)
    assert b"".join(observer.feed(chunk) for chunk in chunks) == b"".join(chunks)
    assert observer.finish() == b""
    return observer


def test_each_line_is_read_and_the_sum_told() -> None:
    observer = fetched([line(1, chat(10, 5)) + line(2, chat(20, 7))])
    seen = observer.result()
    assert seen.parts == (
        Part("batch_req_1", "task-1", "chat", 200, Usage(input_tokens=10, output_tokens=5),
                  "gpt-4o-mini"),
        Part("batch_req_2", "task-2", "chat", 200, Usage(input_tokens=20, output_tokens=7),
                  "gpt-4o-mini"),
    )  # fmt: skip
    assert seen.has_all_parts
    assert seen.traits == (MANY_REQUESTS,)
    assert seen.usage == Usage(input_tokens=30, output_tokens=12)
    assert (seen.model_served, seen.service_tier) == ("gpt-4o-mini", "batch")
    assert (seen.finished, seen.defects, seen.response_id) == (True, (), "file-9")
    assert observer.billing_ids == ("file-9",)


def test_every_cut_reads_the_same() -> None:
    content = line(1, chat(10, 5)) + line(2, chat(20, 7)).strip()
    for chunks in in_two(content):
        observer = fetched(chunks)
        assert observer.result().usage == Usage(input_tokens=30, output_tokens=12)
        assert [each.name for each in observer.result().parts] == ["batch_req_1", "batch_req_2"]


def test_the_end_is_known_by_the_announced_length() -> None:
    content = line(1, chat(10, 5)).strip()
    observer = OPENAI.observe(OPENAI.read("GET", PATH, None, b""))
    observer.start(200, {**FILE, "content-length": str(len(content))})
    observer.feed(content)
    assert observer.ended
    assert observer.result().usage == Usage(input_tokens=10, output_tokens=5)
    observer.finish()
    assert observer.result().usage == Usage(input_tokens=10, output_tokens=5)


@pytest.mark.parametrize(
    ("body", "endpoint", "usage"),
    [
        (
            {"object": "response", "status": "completed", "model": "gpt-5", "output": [],
             "usage": {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}},
            "responses", Usage(input_tokens=3, output_tokens=4),
        ),
        (
            {"object": "list", "data": [], "model": "e",
             "usage": {"prompt_tokens": 8, "total_tokens": 8}},
            "embeddings", Usage(input_tokens=8),
        ),
        (
            {"object": "text_completion", "choices": [], "model": "i",
             "usage": {"prompt_tokens": 5, "completion_tokens": 6, "total_tokens": 11}},
            "completions", Usage(input_tokens=5, output_tokens=6),
        ),
        ({"id": "modr-1", "model": "omni", "results": [{}]}, "moderations", Usage()),
        ({"created": 1, "data": [{"url": "u"}]}, "images.generations", Usage(images=1)),
        ({"object": "unheard of"}, "unknown", Usage()),
    ],
)  # fmt: skip
def test_each_endpoint_has_its_own_body(body: Any, endpoint: str, usage: Usage) -> None:
    (read,) = fetched([line(1, body)]).result().parts
    assert (read.endpoint, read.usage) == (endpoint, usage)


def test_a_failed_request_used_nothing() -> None:
    error = {"error": {"message": "no", "type": "invalid_request_error"}}
    expired = line(3, None, response=None, error={"code": "batch_expired", "message": "late"})
    observer = fetched([line(1, error, status=400) + line(2, chat(10, 5)) + expired])
    assert [each.usage for each in observer.result().parts] == [
        Usage(), Usage(input_tokens=10, output_tokens=5), Usage(),
    ]  # fmt: skip
    assert observer.result().model_served == "gpt-4o-mini"


def test_a_line_without_usage_is_told() -> None:
    observer = fetched([line(1, {**chat(1, 1), "usage": None}) + line(2, chat(10, 5))])
    assert observer.result().parts[0].usage is None
    assert not observer.result().has_all_parts
    assert observer.result().usage == Usage(input_tokens=10, output_tokens=5)
    assert observer.result().defects == ("1 requests of the batch report no usage",)


def test_azures_lines_are_named_by_their_request() -> None:
    content = line(1, chat(10, 5), id=None) + line(
        2, chat(1, 1), id=None, response={"body": chat(1, 1)}
    )
    names = [each.name for each in fetched([content]).result().parts]
    assert names == ["req_1", "task-2"]


def test_several_models_leave_the_sum_without_one() -> None:
    observer = fetched([line(1, chat(1, 1)) + line(2, chat(1, 1, "gpt-4o"))])
    seen = observer.result()
    assert seen.model_served is None
    assert [part.model for part in seen.parts] == ["gpt-4o-mini", "gpt-4o"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello\nworld\n",
        b'{"custom_id": "a", "method": "POST", "url": "/v1/embeddings", "body": {}}\n',
        b'{"messages": [{"role": "user"}]}\n{"messages": []}\n',
        b"\x00\xff" * 1000,
        b"[" * 100_000,
    ],
)
def test_any_other_file_owes_nothing(content: bytes) -> None:
    observer = fetched([content])
    assert observer.result().usage == Usage()
    assert (observer.result().parts, observer.billing_ids) == ((), ())


def test_an_errors_body_is_not_read() -> None:
    observer = fetched([line(1, chat(1, 1))], status=404)
    assert (observer.result().usage, observer.result().parts) == (None, ())


def test_a_broken_line_is_told() -> None:
    content = line(1, chat(10, 5)) + b"{broken\n" + line(2, chat(1, 1))
    observer = fetched(cut_at(content, [7, 300, 500]))
    assert observer.result().usage == Usage(input_tokens=11, output_tokens=6)
    assert observer.result().defects == ("found a line that is no batch output",)
    assert not observer.result().has_all_parts


def test_a_stretch_of_the_file_and_a_file_of_errors_are_not_all() -> None:
    assert not fetched([line(1, chat(1, 1))], status=206).result().has_all_parts
    failed = fetched([line(1, {"error": {}}, status=400)]).result()
    assert (failed.has_all_parts, failed.usage) == (False, Usage())


def test_ids_that_cannot_be_shown_still_tell_lines_apart() -> None:
    content = b"".join(line(n, chat(1, 1), id=None, custom_id=text, response={"body": chat(1, 1)})
                       for n, text in enumerate(["\x00", "\x01", "x" * 300]))  # fmt: skip
    parts = fetched([content]).result().parts
    assert len({part.name for part in parts}) == 3
    assert {part.custom_id for part in parts} == {""}


@pytest.mark.parametrize("beginning", [b"PK\x03\x04", b"\x00", b"sea", b" \n[1]"])
def test_another_file_is_not_kept_to_look_for_its_lines(beginning: bytes) -> None:
    observer = fetched([b"", b" ", beginning, *[b"x" * 65_536] * 20])
    assert observer._framer.feed(b"") == []
    assert observer.result().usage == Usage()
    assert observer.billing_ids == ()


@pytest.mark.parametrize("beginning", [b"", b"\n", b" \r\n "])
def test_blanks_before_the_first_line_are_no_other_file(beginning: bytes) -> None:
    content = beginning + line(1, chat(20, 10))
    for chunks in in_two(content):
        assert fetched(chunks).result().usage == Usage(
            input_tokens=20, output_tokens=10,
        )  # fmt: skip
