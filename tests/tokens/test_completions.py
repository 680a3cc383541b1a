"""Legacy completions: prompts as text, ids, or lists of either."""

import pytest

from meter.tokens.completions import estimate


def tokens(prompt, model="gpt-3.5-turbo-instruct", **more):
    return estimate({"prompt": prompt, **more}, model).tokens


@pytest.mark.parametrize(
    ("prompt", "count"),
    [
        ("tiktoken is great!", 6),
        (["tiktoken is great!", "tiktoken is great!"], 12),
        ([1, 2, 3], 3),
        ([[1, 2, 3], [4]], 4),
        (["tiktoken is great!", [1, 2]], 8),
        ("", 0),
        ([], 1),
        (None, 1),
        (17, 1),
        ([True, None], 1),
    ],
)
def test_prompts(prompt, count):
    assert tokens(prompt) == count


def test_no_prompt_is_the_end_of_text_token():
    assert estimate({}, "davinci-002").tokens == 1


def test_choices_do_not_multiply_the_prompt():
    assert tokens("tiktoken is great!", n=5, best_of=7) == 6


def test_the_models_encoding_counts():
    # "antidisestablishmentarianism" has 5 tokens in p50k_base and 6 in cl100k_base.
    assert tokens("antidisestablishmentarianism", "text-davinci-003") == 5
    assert tokens("antidisestablishmentarianism", "davinci-002") == 6


def test_a_suffix_counts_and_is_not_exact():
    found = estimate({"prompt": "2 + 2 = 4", "suffix": "2 + 2 = 4"}, "davinci-002")
    assert (found.tokens, found.exact) == (14, False)


def test_text_is_exact_for_known_models_only():
    assert estimate({"prompt": "a"}, "davinci-002").exact
    found = estimate({"prompt": "a"}, "my-llama")
    assert not found.exact
    assert "my-llama" in found.notes[0]


def test_the_bound_holds_for_text_and_ids():
    found = estimate({"prompt": ["é" * 10, [1, 2]]}, "davinci-002")
    assert found.upper_bound >= 20 + 2
