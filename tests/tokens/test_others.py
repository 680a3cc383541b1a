"""Chat prompts of other makers: overheads of the family, or of none."""

from meter.tokens.others import count_other
from meter.tokens.prompt import FunctionCall, Message, Prompt, ResponseFormat

WORDS = Message("user", ("tiktoken is great!",))  # 6 in o200k_base


def test_text():
    # 3 + 1.02 * 6 = 9.12; Claude 4.3 + 2.46 + 1.058 * 6 + 0.178 = 13.29; sonar 0.9 + 6.
    assert count_other(Prompt([WORDS]), "a-model") == 9
    assert count_other(Prompt([WORDS]), "anthropic/claude-3.5-haiku") == 13
    assert count_other(Prompt([WORDS]), "sonar-pro") == 7


def test_llamas_since_3_1_are_told_a_date():
    # 5 + 5 + 6, and 24 more.
    assert count_other(Prompt([WORDS]), "meta-llama/Meta-Llama-3-8B") == 16
    assert count_other(Prompt([WORDS]), "meta-llama/Llama-3.1-8B") == 40


def test_functions():
    # {"name":"now"} is `{"`, `name`, `":"`, `now`, `"}`: 60 + 1.5 * 5
    prompt = Prompt([WORDS], functions=[{"name": "now"}])
    assert count_other(prompt, "a-model") == round(9.12 + 67.5)


def test_claude_is_told_about_tools_as_at_its_maker():
    functions = [{"name": "now"}]
    plain = count_other(Prompt([WORDS], functions=functions), "claude-haiku-4.5")
    one = Prompt([WORDS], functions=functions, one_by_one=True)
    must = Prompt([WORDS], functions=functions, must_call=True)
    assert plain - count_other(one, "claude-haiku-4.5") == 208
    assert count_other(must, "claude-haiku-4.5") - plain == 102
    assert count_other(Prompt([WORDS], thinks=True), "claude-haiku-4.5") == 13 + 29


def test_calls_and_results_at_once():
    calls = (FunctionCall("now", "{}"), FunctionCall("now", "{}"))
    message = Message("assistant", calls=calls, results=("a", "b"))
    # 3; two results of a token, 1.02 each; 13 for each result; calls 10 + 1.5 * 2 each; 60 for
    # tools, which a history with calls has too.
    assert count_other(Prompt([message]), "a-model") == round(3 + 2.04 + 26 + 26 + 60)


def test_a_response_format():
    # {"type":"object"} is `{"`, `type`, `":"`, `object`, `"}`: 5 tokens.
    answer = ResponseFormat("x", "", {"type": "object"})
    assert count_other(Prompt([WORDS], answer=answer), "a-model") == 14
    # Mistral does not show it: 1 + 3 + 1.02 * 6.
    assert count_other(Prompt([WORDS], answer=answer), "mistral-small") == 10
