"""Under which names a model may be priced."""

import pytest

from meter.prices.names import LONGEST_NAME, names_of, provider_named


@pytest.mark.parametrize(
    ("provider", "model", "names"),
    [
        ("openai", "gpt-4o", ["gpt-4o"]),
        ("openai", " gpt-4o ", ["gpt-4o"]),
        ("openai", "gpt-4o-2024-08-06", ["gpt-4o-2024-08-06", "gpt-4o"]),
        ("openai", "gpt-5.2-20251211", ["gpt-5.2-20251211", "gpt-5.2"]),
        ("vertex", "claude-opus-5@20260401", ["claude-opus-5@20260401", "claude-opus-5"]),
        ("openai", "openai/gpt-4o", ["openai/gpt-4o", "gpt-4o"]),
        (
            "openai",
            "openai/gpt-4o-2024-08-06",
            ["openai/gpt-4o-2024-08-06", "gpt-4o-2024-08-06", "openai/gpt-4o", "gpt-4o"],
        ),
        # another maker's name at openai is not openai's model
        ("openai", "anthropic/claude-opus-5", ["anthropic/claude-opus-5"]),
        ("openrouter", "openai/gpt-4o", ["openai/gpt-4o"]),
        ("google", "models/gemini-2.5-pro", ["models/gemini-2.5-pro", "gemini-2.5-pro"]),
        (
            "vertex",
            "projects/p/locations/l/publishers/google/models/gemini-2.5-pro",
            ["projects/p/locations/l/publishers/google/models/gemini-2.5-pro", "gemini-2.5-pro"],
        ),
        (
            "openai",
            "ft:gpt-4o-mini-2024-07-18:org::id",
            [
                "ft:gpt-4o-mini-2024-07-18:org::id",
                "ft:gpt-4o-mini-2024-07-18",
                "ft:gpt-4o-mini",
            ],
        ),
        ("openai", "ft:gpt-4o:org:name:id", ["ft:gpt-4o:org:name:id", "ft:gpt-4o"]),
        # no such month: part of the name
        ("openai", "model-2024-13-06", ["model-2024-13-06"]),
        ("openai", "grok-4-0709", ["grok-4-0709"]),
        ("openai", "-2024-08-06", ["-2024-08-06"]),
    ],
)
def test_names_from_the_most_exact_to_the_least(provider, model, names):
    assert names_of(provider, model) == tuple((provider, name) for name in names)


def test_a_router_names_the_provider_in_front_of_the_model():
    assert names_of("litellm", "gemini/gemini-2.5-pro") == (("google", "gemini-2.5-pro"),)
    assert names_of("litellm", "openai/gpt-4o-2024-08-06") == (
        ("openai", "gpt-4o-2024-08-06"),
        ("openai", "gpt-4o"),
    )
    assert names_of("litellm", "gpt-4o") == ()
    assert names_of("litellm", "litellm/litellm/gpt-4o") == ()


def test_a_fine_tuned_model_is_never_its_base():
    for _, name in names_of("openai", "ft:gpt-4o-2024-08-06:org::id"):
        assert name.startswith("ft:")


@pytest.mark.parametrize("model", ["", "   ", "x" * (LONGEST_NAME + 1)])
def test_what_cannot_be_a_name_has_none(model):
    assert names_of("openai", model) == ()


def test_a_provider_name_that_is_too_long_has_none():
    assert names_of("x" * (LONGEST_NAME + 1), "gpt-4o") == ()


@pytest.mark.parametrize(
    ("given", "own"),
    [("x-ai", "xai"), ("Gemini", "google"), ("OpenAI", "openai"), ("bedrock", "aws")],
)
def test_other_spellings_of_a_provider(given, own):
    assert provider_named(given) == own
