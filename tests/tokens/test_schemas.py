"""The text that functions become; each expected text is written out."""

from itertools import pairwise

import pytest

from meter.tokens.schemas import render_functions


def function(properties, required=(), **more):
    parameters = {"type": "object", "properties": properties, "required": list(required), **more}
    return {"name": "f", "description": "Do it", "parameters": parameters}


def body(properties, required=(), **more):
    """Render one function and return what stands between its head and its end."""
    text = render_functions([function(properties, required, **more)])
    head = "namespace functions {\n\n// Do it\ntype f = (_: "
    end = ") => any;\n\n} // namespace functions"
    assert text.startswith(head)
    assert text.endswith(end)
    return text[len(head) : -len(end)]


def test_two_functions():
    weather = {
        "name": "get_weather",
        "description": "Get the weather\n\n  of a place",
        "parameters": {
            "type": "object",
            "properties": {
                "place": {"type": "string", "description": "City"},
                "unit": {"type": "string", "enum": ["c", "f"]},
            },
            "required": ["place"],
        },
    }
    assert render_functions([weather, {"name": "now"}]) == (
        "namespace functions {\n"
        "\n"
        "// Get the weather\n"
        "//\n"
        "// of a place\n"
        "type get_weather = (_: {\n"
        "// City\n"
        "place: string,\n"
        'unit?: "c" | "f",\n'
        "}) => any;\n"
        "\n"
        "type now = () => any;\n"
        "\n"
        "} // namespace functions"
    )


def test_an_object_without_comments_stands_on_one_line():
    text = body({"a": {"type": "integer"}, "b": {"type": "boolean"}}, ["a"])
    assert text == "{ a: number, b?: boolean }"


def test_titles_and_descriptions_are_comments():
    both = {"title": "Query", "description": "What to find", "type": "string"}
    assert body({"q": both}, ["q"]) == "{\n// Query\n//\n// What to find\nq: string,\n}"
    assert body({"q": {"title": "Query", "type": "string"}}) == "{\n// Query\nq?: string,\n}"


def test_the_title_of_all_parameters_stands_before_them():
    text = body({"a": {"type": "string"}}, title="f_args")
    assert text == "// f_args\n{ a?: string }"


def test_defaults_and_limits_stand_behind():
    text = body(
        {
            "depth": {"type": "string", "default": "deep"},
            "count": {"type": "integer", "minimum": 1, "maximum": 9, "default": None},
            "code": {"type": "string", "pattern": "^a$", "minLength": 2},
            "day": {"type": "string", "format": "date"},
        },
        ["depth", "count", "code", "day"],
    )
    assert text == (
        "{\n"
        'depth: string, // default: "deep"\n'
        "count: number, // default: null, minimum: 1, maximum: 9\n"
        "code: string, // minLength: 2, pattern: /^a$/\n"
        'day: string, // format: "date"\n'
        "}"
    )


def test_examples_are_comments():
    text = body({"a": {"type": "string", "examples": ["x", 1]}})
    assert text == '{\n// Examples:\n// - "x"\n// - 1\na?: string,\n}'


def test_arrays():
    assert body({"a": {"type": "array", "items": {"type": "string"}}}) == "{ a?: string[] }"
    assert body({"a": {"type": "array"}}) == "{ a?: any[] }"
    assert body({"a": {"type": "array", "items": {"enum": [1, 2]}}}) == "{ a?: (1 | 2)[] }"
    plain = {"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"]}
    assert body({"a": {"type": "array", "items": plain}}) == "{ a?: { id: string }[] }"


def test_an_array_of_described_objects():
    step = {
        "title": "Step",
        "type": "object",
        "properties": {"n": {"type": "integer", "description": "Number"}},
        "required": ["n"],
    }
    text = body({"steps": {"type": "array", "items": step}}, ["steps"])
    assert text == "{\nsteps: Array<\n// Step\n{\n// Number\nn: number,\n}\n>,\n}"


def test_nested_objects():
    window = {
        "type": "object",
        "description": "When",
        "properties": {"start": {"type": "string", "description": "ISO"}},
    }
    text = body({"window": window})
    assert text == "{\n// When\nwindow?: {\n// ISO\nstart?: string,\n},\n}"


def test_references_are_put_in_place():
    address = {"title": "Address", "type": "object", "properties": {"zip": {"type": "string"}}}
    text = body({"home": {"$ref": "#/$defs/Address"}}, ["home"], **{"$defs": {"Address": address}})
    assert text == "{\nhome:\n// Address\n{ zip?: string },\n}"


def test_a_reference_to_nothing_is_any():
    assert body({"a": {"$ref": "#/$defs/None"}}) == "{ a?: any }"


def test_a_reference_to_itself_ends():
    node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}}
    text = body({"a": {"$ref": "#/$defs/Node"}}, **{"$defs": {"Node": node}})
    assert text.startswith("{ a?: { next?: { next?: ")
    assert "any" in text
    assert len(text) < 1_000


def test_unions():
    text = body({"a": {"anyOf": [{"type": "string", "enum": ["x", "y"]}, {"type": "null"}]}})
    assert text == '{ a?: "x" | "y" | null }'
    assert body({"a": {"type": ["string", "null"]}}) == "{ a?: string | null }"
    assert body({"a": {"type": "string", "nullable": True}}) == "{ a?: string | null }"


def test_a_described_type_list_repeats_its_description():
    text = body({"a": {"type": ["string", "null"], "description": "Maybe"}}, ["a"])
    assert text == "{\n// Maybe\na:\n// Maybe\n | string\n// Maybe\n | null\n,\n}"


def test_alternatives_with_remarks_stand_on_lines():
    text = body({"a": {"oneOf": [{"type": "string", "minLength": 1}, {"type": "number"}]}})
    assert text == "{\na?:\n | string // minLength: 1\n | number\n,\n}"


def test_all_of_is_an_intersection():
    left = {"type": "object", "properties": {"a": {"type": "string"}}}
    right = {"type": "object", "properties": {"b": {"type": "string"}}}
    assert body({"x": {"allOf": [left, right]}}) == "{ x?: { a?: string } & { b?: string } }"


def test_an_unknown_object_or_null_is_an_object():
    text = body({"a": {"anyOf": [{"type": "object"}, {"type": "null"}]}})
    assert text == "{ a?: object }"


def test_additional_properties():
    text = body({"a": {"type": "object", "additionalProperties": {"type": "number"}}})
    assert text == "{ a?: { [key: string]: number } }"
    assert body({"a": {"type": "object", "additionalProperties": False}}) == "{ a?: object }"


def test_constants_and_boolean_schemas():
    assert body({"a": {"const": "x"}, "b": True, "c": False}) == '{ a?: "x", b?: any, c?: never }'


def test_the_oldest_layout_has_no_titles_and_no_empty_objects():
    properties = {
        "a": {"title": "A", "type": "string", "default": "x"},
        "b": {"type": "object", "description": "Anything"},
    }
    text = render_functions([function(properties)], legacy=True)
    assert "type f = (_: { a?: string }) => any;" in text


@pytest.mark.parametrize("odd", [None, 1, "x", [], [1], {"type": 7}, {"type": ["x", None]}])
def test_what_is_no_schema_is_any(odd):
    assert body({"a": odd}) in ("{ a?: any }", "{ a?: any | any }")


@pytest.mark.parametrize("parameters", [None, 1, "x", [], {}, {"properties": []}])
def test_functions_without_properties_take_nothing(parameters):
    text = render_functions([{"name": "f", "parameters": parameters}])
    assert text == "namespace functions {\n\ntype f = () => any;\n\n} // namespace functions"


def test_depth_and_size_are_bounded():
    deep = {"type": "string"}
    for _ in range(10_000):
        deep = {"type": "object", "properties": {"a": deep}}
    assert len(render_functions([function({"a": deep})])) < 2_000
    wide = {f"p{number}": {"type": "string"} for number in range(50_000)}
    assert render_functions([function(wide)]).count("string") <= 20_000
    # Each reference of ten doubles what it stands for ten times over: without a bound, 10**10.
    names = [f"D{number}" for number in range(11)]
    defs = {
        name: {
            "type": "object",
            "properties": {f"p{i}": {"$ref": f"#/$defs/{below}"} for i in range(10)},
        }
        for name, below in pairwise(names)
    }
    text = render_functions([function({"a": {"$ref": "#/$defs/D0"}}, **{"$defs": defs})])
    assert len(text) < 1_000_000
