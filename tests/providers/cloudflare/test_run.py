"""Cloudflare's own endpoint."""

from meter.core.usage import Usage
from tests.providers.answers import DONE, SSE, event
from tests.providers.native_answers import answer, ask, body

HOST = "api.cloudflare.com"
PATH = "/client/v4/accounts/a/ai/run/@cf/meta/llama-3-8b-instruct"
REPORT = {"prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 25}
USAGE = Usage(input_tokens=20, output_tokens=5)


def test_the_result_holds_the_answer() -> None:
    reading = ask(HOST, PATH, messages=[], max_tokens=9)
    assert (reading.endpoint, reading.model) == ("run", "@cf/meta/llama-3-8b-instruct")
    assert reading.max_output_tokens == 9
    payload = {"result": {"response": "Hi", "usage": REPORT}, "success": True, "errors": []}
    seen, _ = answer(HOST, reading, body(payload))
    assert (seen.usage, seen.finished) == (USAGE, True)


def test_a_stream_reports_in_its_last_event() -> None:
    reading = ask(HOST, PATH, messages=[], stream=True)
    stream = [event({"response": "Hel"}), event({"response": "lo"}),
              event({"response": "", "usage": REPORT}), DONE]  # fmt: skip
    seen, _ = answer(HOST, reading, stream, SSE)
    assert (seen.usage, seen.finished) == (USAGE, True)
    seen, sink = answer(HOST, reading, stream[:2], SSE, finish=False)
    assert (seen.usage, sink.joined("content")) == (None, "Hello")


def test_a_failure_with_status_200_is_an_error() -> None:
    payload = {"result": None, "success": False, "errors": [{"code": 7000, "message": "no"}]}
    seen, _ = answer(HOST, ask(HOST, PATH), body(payload))
    assert (seen.error_in_body, seen.defects) == (
        True,
        ("the answer carries an error (code 7000)",),
    )
