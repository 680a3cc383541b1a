"""Chat prompts of other makers: overheads of the family, or of none."""

from meter.tokens.others import count_other
from meter.tokens.prompt import FunctionCall, Message, Prompt

WORDS = Message("user", ("tiktoken is great!",))  # 6 in o200k_base


def test_text():
    # 3 + 1.02 * 6 = 9.12; claude 3 + 1.13 * 6 = 9.78; sonar 6.
    assert count_other(Prompt([WORDS]), "llama-3") == 9
    assert count_other(Prompt([WORDS]), "anthropic/claude-3.5-haiku") == 10
    assert count_other(Prompt([WORDS]), "sonar-pro") == 6


def test_functions():
    # {"name":"now"} is `{"`, `name`, `":"`, `now`, `"}`: 60 + 1.5 * 5
    prompt = Prompt([WORDS], functions=[{"name": "now"}])
    assert count_other(prompt, "llama-3") == round(9.12 + 67.5)


def test_calls_and_results_at_once():
    calls = (FunctionCall("now", "{}"), FunctionCall("now", "{}"))
    message = Message("assistant", calls=calls, results=("a", "b"))
    # 3; two results of a token, 1.02 each; 13 for each result; calls 10 + 1.5 * 2 each.
    assert count_other(Prompt([message]), "llama-3") == round(3 + 2.04 + 26 + 26)
