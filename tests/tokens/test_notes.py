"""Sentences on what was assumed."""

from meter.tokens.models import encoding_for
from meter.tokens.notes import hosted_tools, notes_on


def test_hosted_tools_are_named_once():
    tools = [{"type": "web_search"}, {"type": "function"}, {"type": "web_search"}, {}, 5, "x"]
    assert hosted_tools({"tools": tools}) == ["web_search"]


def test_a_prompt_in_words_is_no_stored_prompt():
    known = encoding_for("gpt-4o")
    assert notes_on({"prompt": "words"}, known) == ()
    assert notes_on({"prompt": {"id": "pmpt_1"}}, known) == (
        "Counted without `prompt`: the provider keeps the prompt that is named.",
    )
