"""The older complete endpoint of Anthropic, and Aleph Alpha's."""

from meter.core.usage import Usage
from tests.providers.answers import SSE, event
from tests.providers.native_answers import answer, ask, body

ANTHROPIC, ALEPH_ALPHA = "api.anthropic.com", "api.aleph-alpha.com"


def test_a_request_is_bounded_in_either_words() -> None:
    reading = ask(ANTHROPIC, "/v1/complete", model="claude-2", max_tokens_to_sample=200,
                  metadata={"user_id": "u"})  # fmt: skip
    assert (reading.provider, reading.endpoint) == ("anthropic", "complete")
    assert (reading.max_output_tokens, reading.hint.subject) == (200, "u")
    reading = ask(ALEPH_ALPHA, "/complete", model="luminous-base", maximum_tokens=100, n=2)
    assert (reading.provider, reading.max_output_tokens) == ("alephalpha", 200)


def test_counts_stand_at_the_top() -> None:
    reading = ask(ALEPH_ALPHA, "/complete", model="luminous-base")
    payload = {"completions": [{"completion": "Hi"}], "num_tokens_prompt_total": 9,
               "num_tokens_generated": 1000}  # fmt: skip
    seen, sink = answer(ALEPH_ALPHA, reading, body(payload))
    assert (seen.usage, sink.pieces) == (Usage(input_tokens=9, output_tokens=1000), [])


def test_an_answer_without_counts_is_handed_out() -> None:
    reading = ask(ANTHROPIC, "/v1/complete", model="claude-2")
    payload = {"type": "completion", "completion": " Hello!", "stop_reason": "stop_sequence"}
    seen, sink = answer(ANTHROPIC, reading, body(payload))
    assert (seen.usage, seen.finished, sink.joined("content")) == (None, True, " Hello!")


def test_a_stream_ends_with_a_stop_reason() -> None:
    stream = [
        event({"type": "completion", "completion": " He", "stop_reason": None}),
        event({"type": "ping"}),
        event({"type": "completion", "completion": "llo", "stop_reason": "stop_sequence"}),
    ]
    reading = ask(ANTHROPIC, "/v1/complete", model="claude-2", stream=True)
    seen, sink = answer(ANTHROPIC, reading, stream, SSE)
    assert (seen.finished, sink.joined("content")) == (True, " Hello")
    seen, sink = answer(ANTHROPIC, reading, stream[:1], SSE, finish=False)
    assert (seen.finished, sink.joined("content")) == (False, " He")
