import pytest

from meter.simulator.tools import Tool, choose_call, example_of

WEATHER = Tool("get_weather", "", {"type": "object", "properties": {"city": {"type": "string"}}})
CLOCK = Tool("read_clock")


@pytest.mark.parametrize(
    ("choice", "text", "name"),
    [
        ("auto", "What is the weather in Paris?", "get_weather"),
        ("auto", "please call read_clock", "read_clock"),
        ("auto", "Say hello", None),
        ("auto", "", None),
        ("none", "weather", None),
        ("any", "Say hello", "get_weather"),
        ("read_clock", "weather", "read_clock"),
    ],
)
def test_tool_is_called_when_asked_for_or_forced(choice: str, text: str, name: str | None) -> None:
    call = choose_call((WEATHER, CLOCK), choice, text, "seed")
    assert (call.name if call else None) == name


def test_no_tools_no_call() -> None:
    assert choose_call((), "any", "weather", "seed") is None


def test_arguments_fit_the_schema() -> None:
    schema = {
        "type": "object",
        "properties": {
            "unit": {"type": "string", "enum": ["c", "f"]},
            "days": {"type": "integer"},
            "places": {"type": "array", "items": {"type": "object", "properties": {"n": {}}}},
            "exact": {"type": ["boolean", "null"]},
        },
    }
    value = example_of(schema, "seed")
    assert value["unit"] in ("c", "f")
    assert isinstance(value["days"], int)
    assert list(value["places"][0]) == ["n"]
    assert isinstance(value["exact"], bool)
    assert value == example_of(schema, "seed")
