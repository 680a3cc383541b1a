"""Render function definitions as the TypeScript-like text that OpenAI's models are given.

Knows JSON Schema and the layout of that text; knows nothing of models or tokens. Called by the
estimating modules of this package. Any JSON is rendered: what is no schema becomes `any`, what is
too deep or too large is cut.

Source: no provider documents the layout. It was worked out from recorded requests with reported
usage (gpt-3.5-turbo-0125 to gpt-5.4: names, descriptions, titles, defaults, nesting, references,
unions) and, for keywords that those do not use, from published observations of how ChatGPT shows
connector schemas (json-schema-to-openai-typescript, read 2026-11-22).
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from meter.tokens.shapes import list_of, mapping_of, text_of

_MAX_DEPTH: Final = 40
_MAX_NODES: Final = 20_000
_MAX_VARIANTS: Final = 1_000

_SCALARS: Final = {
    "string": "string",
    "number": "number",
    "integer": "number",
    "boolean": "boolean",
    "null": "null",
}
# Keywords shown behind a property, in this order.
_CONSTRAINTS: Final = (
    "minLength", "maxLength", "pattern", "format", "minimum", "maximum", "exclusiveMinimum",
    "exclusiveMaximum", "multipleOf", "minItems", "maxItems",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Type:
    """A rendered type: comment lines of its own and of what it refers to, text, remarks behind."""

    comments: tuple[str, ...]
    inner: tuple[str, ...]
    text: str
    remarks: tuple[str, ...]

    @property
    def on_one_line(self) -> bool:
        return not (self.comments or self.inner or self.remarks or "\n" in self.text)


_ANY: Final = _Type((), (), "any", ())


def render_functions(functions: Sequence[Mapping[str, Any]], *, legacy: bool = False) -> str:
    """Return the namespace that declares the functions ({name, description, parameters} each).

    `legacy` is the layout that gpt-4-0613 and its like were given: no titles, no defaults, and
    no objects without properties.
    """
    declared = "\n\n".join(_function(function, legacy) for function in functions)
    return f"namespace functions {{\n\n{declared}\n\n}} // namespace functions"


def _function(function: Mapping[str, Any], legacy: bool) -> str:
    lines = _comment_lines(text_of(function.get("description")))
    parameters = mapping_of(function.get("parameters"))
    name = text_of(function.get("name"))
    if mapping_of(parameters.get("properties")):
        lines.append(f"type {name} = (_: {_Renderer(parameters, legacy).root()}) => any;")
    else:
        lines.append(f"type {name} = () => any;")
    return "\n".join(lines)


class _Renderer:
    """Render one parameters schema; its `$defs` serve the references, its size is bounded."""

    def __init__(self, root: Mapping[str, Any], legacy: bool) -> None:
        self._root = root
        self._legacy = legacy
        self._nodes_left = _MAX_NODES

    def root(self) -> str:
        return "\n".join([*self._comments(self._root), self._object(self._root, 0)])

    def _type(self, schema: object, depth: int) -> _Type:
        self._nodes_left -= 1
        if not isinstance(schema, Mapping) or depth > _MAX_DEPTH or self._nodes_left < 0:
            return _ANY if schema is not False else _Type((), (), "never", ())
        comments = tuple(self._comments(schema))
        remarks = tuple(self._remarks(schema))
        reference = text_of(schema.get("$ref"))
        if reference:
            target = self._type(self._target(reference), depth + 1)
            inner = target.comments + target.inner
            return _Type(comments, inner, target.text, remarks or target.remarks)
        return _Type(comments, (), self._text(schema, depth), remarks)

    def _text(self, schema: Mapping[str, Any], depth: int) -> str:
        for keyword, sign in (("anyOf", "|"), ("oneOf", "|"), ("allOf", "&")):
            variants = list_of(schema.get(keyword))
            if variants:
                return self._combined(variants, sign, depth)
        if isinstance(schema.get("enum"), list):
            return " | ".join(_literal(value) for value in schema["enum"])
        if "const" in schema:
            return _literal(schema["const"])
        kind = schema.get("type")
        if isinstance(kind, list):
            types = [{**schema, "type": one} for one in kind[: len(_SCALARS) + 2]]
            return self._combined(types, "|", depth)
        text = self._of_kind(schema, kind, depth)
        return f"{text} | null" if schema.get("nullable") is True else text

    def _of_kind(self, schema: Mapping[str, Any], kind: object, depth: int) -> str:
        if kind == "array":
            return self._array(schema, depth)
        if kind == "object" or isinstance(schema.get("properties"), Mapping):
            return self._object(schema, depth)
        return _SCALARS.get(kind, "any") if isinstance(kind, str) else "any"

    def _combined(self, variants: list[Any], sign: str, depth: int) -> str:
        types = [self._type(variant, depth + 1) for variant in variants[:_MAX_VARIANTS]]
        if {type_.text for type_ in types} == {"object", "null"}:
            # An object of unknown shape or null was one token in every recorded request.
            return "" if self._legacy else "object"
        if all(type_.on_one_line for type_ in types):
            return f" {sign} ".join(type_.text for type_ in types)
        lines = [""]
        for type_ in types:
            lines += [*type_.comments, *type_.inner]
            lines.append(f" {sign} {type_.text}{_behind(type_.remarks)}")
        return "\n".join([*lines, ""])

    def _array(self, schema: Mapping[str, Any], depth: int) -> str:
        if "items" not in schema:
            return "any[]"
        item = self._type(schema["items"], depth + 1)
        if item.on_one_line:
            return f"({item.text})[]" if " | " in item.text else f"{item.text}[]"
        lines = ["Array<", *item.comments, *item.inner, item.text + _behind(item.remarks), ">"]
        return "\n".join(lines)

    def _object(self, schema: Mapping[str, Any], depth: int) -> str:
        required = list_of(schema.get("required"))
        required_names = {name for name in required if isinstance(name, str)}
        members: list[tuple[str, _Type]] = []
        for name, value in mapping_of(schema.get("properties")).items():
            type_ = self._type(value, depth + 1)
            if self._legacy and type_.text == "object":
                continue
            members.append((f"{name}" if name in required_names else f"{name}?", type_))
        extra = schema.get("additionalProperties")
        if isinstance(extra, Mapping):
            members.append(("[key: string]", self._type(extra, depth + 1)))
        if not members:
            return "object"
        if all(type_.on_one_line for _, type_ in members):
            return "{ " + ", ".join(f"{name}: {type_.text}" for name, type_ in members) + " }"
        return "\n".join(["{", *(line for member in members for line in _member(*member)), "}"])

    def _target(self, reference: str) -> object:
        found: object = self._root
        for part in reference.removeprefix("#").strip("/").split("/")[:_MAX_DEPTH]:
            found = mapping_of(found).get(part)
        return found

    def _comments(self, schema: Mapping[str, Any]) -> Iterator[str]:
        title = "" if self._legacy else text_of(schema.get("title"))
        description = text_of(schema.get("description"))
        if title:
            yield from _comment_lines(title)
        if title and description:
            yield "//"
        yield from _comment_lines(description)
        examples = [] if self._legacy else list_of(schema.get("examples"))
        if examples:
            yield "// Examples:"
        for example in examples:
            yield f"// - {_literal(example)}"

    def _remarks(self, schema: Mapping[str, Any]) -> Iterator[str]:
        if self._legacy:
            return
        if "default" in schema:
            yield f"default: {_literal(schema['default'])}"
        for keyword in _CONSTRAINTS:
            value = schema.get(keyword)
            if keyword == "pattern" and isinstance(value, str):
                yield f"pattern: /{value}/"
            elif value is not None:
                yield f"{keyword}: {_literal(value)}"


def _member(name: str, type_: _Type) -> Iterator[str]:
    yield from type_.comments
    if type_.inner:
        yield f"{name}:"
        yield from type_.inner
        yield f"{type_.text},{_behind(type_.remarks)}"
    elif type_.text.startswith("\n"):
        yield f"{name}:{type_.text},{_behind(type_.remarks)}"
    else:
        yield f"{name}: {type_.text},{_behind(type_.remarks)}"


def _behind(remarks: tuple[str, ...]) -> str:
    return f" // {', '.join(remarks)}" if remarks else ""


def _comment_lines(text: str) -> list[str]:
    """Return the text as comment lines; blank lines are kept as a bare `//`, indents are not."""
    if not text:
        return []
    return [f"// {line.strip()}".rstrip() for line in text.split("\n")]


def _literal(value: object) -> str:
    try:
        return json.dumps(value, ensure_ascii=False)
    except (RecursionError, TypeError, ValueError):
        return "any"
