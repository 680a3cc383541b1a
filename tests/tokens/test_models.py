"""Each model finds its encoding, and what is only assumed says so."""

import pytest

from meter.tokens.models import base_model, encoding_for


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("gpt-4o", "o200k_base"),
        ("gpt-4o-mini-2024-07-18", "o200k_base"),
        ("chatgpt-4o-latest", "o200k_base"),
        ("gpt-4.1-nano", "o200k_base"),
        ("gpt-4.5-preview", "o200k_base"),
        ("gpt-5", "o200k_base"),
        ("gpt-5.4-2026-03-05", "o200k_base"),
        ("o1", "o200k_base"),
        ("o3-mini", "o200k_base"),
        ("o4-mini-2025-04-16", "o200k_base"),
        ("gpt-audio-mini", "o200k_base"),
        ("gpt-realtime", "o200k_base"),
        ("gpt-image-1", "o200k_base"),
        ("chatgpt-image-latest", "o200k_base"),
        ("codex-mini-latest", "o200k_base"),
        ("computer-use-preview", "o200k_base"),
        ("omni-moderation-latest", "o200k_base"),
        ("ft:gpt-4.1-mini:acme::abc", "o200k_base"),
        ("ft:o4-mini-2025-04-16:acme::abc", "o200k_base"),
        ("ft:gpt-3.5-turbo:acme::abc", "cl100k_base"),
        ("openai/gpt-4o", "o200k_base"),
        ("azure/openai/gpt-4", "cl100k_base"),
        ("openai/gpt-4o:online", "o200k_base"),
        ("GPT-4o", "o200k_base"),
        ("gpt-4", "cl100k_base"),
        ("gpt-4-turbo-2024-04-09", "cl100k_base"),
        ("gpt-35-turbo", "cl100k_base"),
        ("gpt-3.5-turbo-0125", "cl100k_base"),
        ("text-embedding-3-small", "cl100k_base"),
        ("text-embedding-ada-002", "cl100k_base"),
        ("davinci-002", "cl100k_base"),
        ("babbage-002", "cl100k_base"),
        ("text-davinci-003", "p50k_base"),
        ("code-davinci-002", "p50k_base"),
        ("text-davinci-edit-001", "p50k_edit"),
        ("text-davinci-001", "r50k_base"),
        ("davinci:ft-acme-2023-01-01", "r50k_base"),
        ("gpt2", "r50k_base"),
        ("openai/gpt-oss-20b:free", "o200k_harmony"),
    ],
)
def test_known_models(model, name):
    found = encoding_for(model)
    assert (found.name, found.assumed, found.note) == (name, False, None)


@pytest.mark.parametrize("model", ["gpt-6-astra", "gpt-daybreak-1", "whisper-1", "dall-e-3"])
def test_unpublished_tokenizers_are_assumed(model):
    found = encoding_for(model)
    assert (found.name, found.assumed) == ("o200k_base", True)
    assert found.note == f"The tokenizer of {model} is not published; counted with o200k_base."


@pytest.mark.parametrize("model", ["claude-opus-4-6", "gemini-2.5-pro", "llama-3", "mistral", "x"])
def test_other_makers_are_assumed(model):
    found = encoding_for(model)
    assert (found.name, found.assumed) == ("o200k_base", True)
    assert found.note == f"The tokenizer of {model} is not known; counted with o200k_base."


def test_a_deployment_is_counted_as_the_family_it_names():
    found = encoding_for("team-gpt-35-turbo-eu")
    assert (found.name, found.assumed) == ("cl100k_base", True)
    assert (
        found.note
        == "The model team-gpt-35-turbo-eu is counted as gpt-35, which its name contains."
    )
    assert encoding_for("prod-gpt4o").name == "o200k_base"


def test_no_model_has_a_note():
    assert encoding_for("").note == (
        "The tokenizer of an unnamed model is not known; counted with o200k_base."
    )


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("openai/GPT-4o:online", "gpt-4o"),
        ("ft:gpt-4o-mini:acme::id", "gpt-4o-mini"),
        (" models/gemini-2.5-pro ", "gemini-2.5-pro"),
        ("davinci:ft-acme", "davinci"),
        ("", ""),
        ("x" * 10_000, "x" * 200),
    ],
)
def test_base_model(model, name):
    assert base_model(model) == name


def test_a_family_ends_where_its_name_ends():
    # `adalovelace` is not ada, and `o1` is not in `proto1-x`'s beginning.
    assert encoding_for("adalovelace").assumed
    assert encoding_for("o12").name == "o200k_base"
