"""Delivered output is counted with what frames it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meter.tokens.counting import count_text
from meter.tokens.models import encoding_for
from meter.tokens.outputs import OutputTally

TOOLS = {"tools": [{"type": "function", "function": {"name": "now"}}]}


def size(text):
    return count_text(text, "o200k_base")


def tally(model="gpt-4o", endpoint="chat", request=None):
    return OutputTally(encoding_for(model), endpoint, request=request)


def call(counted, name, arguments, choice=0):
    counted.tool_call(choice)
    counted.text(choice, "tool_name", name)
    counted.text(choice, "tool_arguments", arguments)


def test_nothing_delivered_is_nothing():
    counted = tally()
    counted.text(0, "content", "")
    assert counted.tokens() == 0


@pytest.mark.parametrize(
    ("model", "endpoint", "request_", "framing"),
    [
        ("gpt-4o", "chat", None, 0),
        ("gpt-4o", "chat", TOOLS, 1),
        ("gpt-5.4", "chat", None, 3),
        ("gpt-5-nano", "chat", None, 9),
        ("gpt-4.1", "responses", None, 1),
        ("gpt-4.1", "responses", TOOLS, 2),
        ("gpt-5.4", "responses", TOOLS, 4),
        ("gpt-3.5-turbo-instruct", "completions", None, 0),
        ("llama", "chat", None, 0),
    ],
)
def test_text(model, endpoint, request_, framing):
    counted = tally(model, endpoint, request_)
    for piece in ("tik", "token is ", "great!"):
        counted.text(0, "content", piece)
    assert counted.tokens() == 6 + framing


def test_kinds_and_choices_are_counted_apart_and_together():
    counted = tally()
    counted.text(0, "content", "tiktoken is great!")
    counted.text(0, "refusal", "2 + 2 = 4")
    counted.text(1, "content", "tiktoken is great!")
    counted.text(1, "reasoning", "2 + 2 = 4")
    assert counted.tokens() == 6 + 7 + 6 + 7


@pytest.mark.parametrize(
    ("model", "endpoint", "framing"),
    [
        ("gpt-4o", "chat", 7),
        ("gpt-5.4", "chat", 10),
        ("gpt-5-nano", "chat", 16),
        ("gpt-4.1", "responses", 8),
        ("gpt-5.4", "responses", 11),
    ],
)
def test_one_call(model, endpoint, framing):
    counted = tally(model, endpoint, TOOLS)
    call(counted, "now", '{"zone":"UTC"}')
    # ".now" 1, the arguments 5.
    assert counted.tokens() == 1 + 5 + framing


def test_a_call_in_pieces_is_the_same():
    counted = tally(request=TOOLS)
    counted.tool_call(0)
    for piece in ("n", "ow"):
        counted.text(0, "tool_name", piece)
    for piece in ('{"zo', 'ne":"', 'UTC"}'):
        counted.text(0, "tool_arguments", piece)
    assert counted.tokens() == 1 + 5 + 7


def test_arguments_without_an_announced_call_begin_one():
    counted = tally()
    counted.text(0, "tool_arguments", '{"zone":"UTC"}')
    assert counted.tokens() == size("functions.") - 1 + 5 + 7


def test_calls_made_at_once_are_written_as_one():
    counted = tally(request=TOOLS)
    call(counted, "now", '{"zone": "UTC"}')
    call(counted, "later", "{}")
    written = (
        '{"tool_uses":[{"recipient_name":"functions.now","parameters":{"zone":"UTC"}},'
        '{"recipient_name":"functions.later","parameters":{}}]}'
    )
    assert counted.tokens() == 10 + size(written)


def test_a_single_call_with_rewritten_arguments_was_made_like_several():
    counted = tally(request=TOOLS)
    call(counted, "now", '{"zone": "UTC"}')
    written = '{"tool_uses":[{"recipient_name":"functions.now","parameters":{"zone":"UTC"}}]}'
    assert counted.tokens() == 10 + size(written)


def test_arguments_that_the_model_laid_out_itself_stay_as_they_are():
    counted = tally("gpt-4")
    call(counted, "now", '{\n  "zone": "UTC"\n}')
    expected = count_text('{\n  "zone": "UTC"\n}', "cl100k_base") + 1 + 4
    assert counted.tokens() == expected


def test_a_function_that_the_request_named_costs_its_arguments():
    named = {**TOOLS, "tool_choice": {"type": "function", "function": {"name": "now"}}}
    counted = tally(request=named)
    call(counted, "now", '{"zone":"UTC"}')
    assert counted.tokens() == 5


def test_an_answer_beside_tools_names_its_format():
    wanted = {"response_format": {"json_schema": {"name": "person", "schema": {}}}}
    alone = tally(request=wanted)
    alone.text(0, "content", "tiktoken is great!")
    assert alone.tokens() == 6
    beside = tally(request={**wanted, **TOOLS})
    beside.text(0, "content", "tiktoken is great!")
    assert beside.tokens() == 6 + 1 + 2 + 1


def test_claude_is_scaled():
    counted = tally("claude-haiku-4-5", "messages")
    counted.text(0, "content", "tiktoken is great! " * 10)
    assert counted.tokens() == round(1.1 * size("tiktoken is great! " * 10)) + 3


def test_a_bare_encoding_name_is_enough():
    counted = OutputTally("cl100k_base")
    counted.text(0, "content", "お誕生日おめでとう")
    assert counted.tokens() == 9
    assert counted.tokens(encoding_for("gpt-4o")) == 8


def test_a_long_answer_is_counted_in_bounded_memory():
    counted = tally()
    words = "The quick brown fox jumps over the lazy dog. " * 100
    for _ in range(200):
        counted.text(0, "content", words)
    held = counted._choices[0].texts["content"]
    assert held._pending_chars <= 64_000
    assert counted.tokens() == size(words * 200)


def test_long_arguments_of_several_calls_are_counted():
    counted = tally(request=TOOLS)
    text = "word " * 30_000
    call(counted, "now", "{}")
    counted.tool_call(0)
    counted.text(0, "tool_arguments", f'{{"a":"{text}"}}')
    assert abs(counted.tokens() - size(text)) < 60


def test_choices_and_calls_have_a_limit():
    counted = tally()
    for choice in range(1_000):
        counted.text(choice, "content", "word")
    for _ in range(1_000):
        counted.tool_call(0)
    assert len(counted._choices) == 256
    assert len(counted._choices[0].calls) == 128
    # 744 more choices of four bytes each, 872 more calls.
    assert counted._overflow == 744 * 4 + 872 * 7
    assert counted.tokens() > counted._overflow


@given(
    st.lists(
        st.tuples(
            st.integers(-1, 3),
            st.sampled_from(["content", "reasoning", "tool_name", "tool_arguments", "other"]),
            st.text(max_size=20),
        ),
        max_size=20,
    )
)
def test_no_order_of_events_raises(events):
    counted = tally(request=TOOLS)
    for choice, kind, piece in events:
        counted.text(choice, kind, piece)
    assert counted.tokens() >= 0


def test_the_model_that_answered_counts_where_it_names_itself():
    counted = tally("our-deployment", request=TOOLS)
    counted.text(0, "content", "お誕生日おめでとう")
    # 8 in o200k_base and 9 in cl100k_base; 1 more of an OpenAI model that was offered tools.
    assert counted.tokens() == 9
    assert counted.tokens(encoding_for("gpt-4-0613")) == 10
    assert counted.tokens(encoding_for("moonshotai/kimi-k2")) == 8
    assert counted.tokens(encoding_for("never-heard-of")) == 9


def test_answers_of_other_makers_have_frames_of_their_own():
    for model, framing in (("mistral-small-latest", 2), ("deepseek-chat", 1), ("kimi-k2", 0)):
        counted = tally(model, request=TOOLS)
        counted.text(0, "content", "tiktoken is great!")
        assert counted.tokens() == 6 + framing


def test_the_token_that_ends_an_answer_counts_where_and_when_it_was_billed():
    march, may, june = 1_742_641_620, 1_747_148_049, 1_749_000_000
    counted = tally()
    counted.text(0, "content", "tiktoken is great!")
    counted.text(1, "content", "tiktoken is great!")
    # 6 tokens each, and one more for each choice.
    assert [counted.tokens(None, "openai", at) for at in (march, may)] == [14, 14]
    assert [counted.tokens(None, "openai", at) for at in (None, june, 1_735_000_000)] == [12] * 3
    assert [counted.tokens(None, "azure", at) for at in (None, march, june)] == [14] * 3
    assert counted.tokens(None, "azure", 1_730_000_000) == 12
    other = tally("mistral-small-latest")
    other.text(0, "content", "tiktoken is great!")
    assert other.tokens(None, "azure", june) == 8
    assert tally().tokens(None, "azure") == 0


def test_models_that_reason_when_asked_take_a_frame_for_it():
    for request, framing in (({}, 3), ({"reasoning_effort": "none"}, 3),
                             ({"reasoning_effort": "low"}, 9)):  # fmt: skip
        counted = tally("gpt-5.4", request=request)
        counted.text(0, "content", "tiktoken is great!")
        assert counted.tokens() == 6 + framing
    answered = tally("our-deployment", request={"reasoning_effort": "high"})
    answered.text(0, "content", "tiktoken is great!")
    assert answered.tokens(encoding_for("gpt-5.4")) == 15


def test_a_response_that_shows_that_it_reasoned_has_two_tokens_more():
    for kinds, framing in ((("content",), 4), (("reasoning", "content"), 6)):
        counted = tally("gpt-5.5", "responses", {"reasoning": {"effort": "low"}})
        for kind in kinds:
            counted.text(0, kind, "" if kind == "reasoning" else "tiktoken is great!")
        assert counted.tokens() == 6 + framing
