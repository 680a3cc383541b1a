"""Embeddings: the inputs, and nothing else."""

import pytest

from meter.tokens.embeddings import estimate


@pytest.mark.parametrize(
    ("given", "count"),
    [
        ("tiktoken is great!", 6),
        (["tiktoken is great!", "2 + 2 = 4"], 6 + 7),
        ([5, 6], 2),
        ([[5, 6], [7]], 3),
        ("", 0),
        (None, 0),
        ({"text": "x"}, 0),
    ],
)
def test_inputs(given, count):
    found = estimate({"input": given}, "text-embedding-3-small")
    assert found.tokens == count
    assert found.exact
    assert found.upper_bound >= count


def test_a_deployment_of_any_name_is_counted_as_openais_embeddings():
    # 9 tokens in cl100k_base, 8 in o200k_base.
    found = estimate({"input": "お誕生日おめでとう"}, "my-embedding")
    assert (found.tokens, found.encoding, found.exact) == (9, "cl100k_base", False)


def test_the_served_name_ada_is_the_embedding_model():
    found = estimate({"input": "お誕生日おめでとう"}, "ada")
    assert (found.tokens, found.encoding) == (9, "cl100k_base")
