"""Attribution that a request itself carries."""

from meter.core.call import Attribution
from meter.providers.hints import openai_hint, tags


def test_the_safety_identifier_goes_before_the_user() -> None:
    assert openai_hint({"user": "bob", "safety_identifier": "alice"}) == Attribution("alice")
    assert openai_hint({"user": "bob", "safety_identifier": ""}) == Attribution("bob")
    assert openai_hint({"user": 7}) == Attribution()


def test_metadata_are_tags_where_they_are_plain_text() -> None:
    metadata = {"team": "search", "n": 7, "bad\n": "x", "long": "x" * 300, "app": "mail"}
    assert openai_hint({"metadata": metadata}).tags == (("app", "mail"), ("team", "search"))


def test_no_more_than_sixteen_pairs_are_read() -> None:
    assert len(tags({f"k{number}": "v" for number in range(99)})) == 16
    assert tags("team") == ()
