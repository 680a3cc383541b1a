"""Describe the admin API from its operations: the OpenAPI 3.1 document, and a page for people.

The page is plain HTML of our own: nothing is loaded from elsewhere.
"""

import inspect
import re
from functools import cache
from html import escape
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

import msgspec

from meter.core.ports import Answer
from meter.gateway.admin.operations import Operation
from meter.gateway.admin.table import OPERATIONS
from meter.gateway.admin.views import Failure

_REFERENCE: Final = "#/components/schemas/{name}"
_FAILURES: Final = {
    "401": "No key, or one that is not known or not active.",
    "403": "A customer's key, or a reader's for something that changes.",
    "404": "What the path names does not exist.",
    "409": "The id in the path was used for something else.",
    "413": "The body is larger than 1 MiB.",
    "415": "The body is not of type application/json.",
    "422": "A value that cannot be used; the sentence says what was expected.",
    "503": "The ledger is not available.",
}
_STYLE: Final = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
code { font: 0.95em ui-monospace, monospace; overflow-wrap: anywhere }
h2 { margin-top: 2.5rem; border-top: 1px solid #8886; padding-top: 1rem; font-size: 1.15rem }
table { border-collapse: collapse; width: 100% }
td, th { text-align: left; vertical-align: top; padding: 0.25rem 0.75rem 0.25rem 0 }
.verb { display: inline-block; min-width: 4.5rem; font-weight: 600 }
:root { color-scheme: light dark }
"""


@cache
def document() -> dict[str, Any]:
    """Return the OpenAPI document."""
    types: set[type] = {Failure}
    for operation in OPERATIONS:
        types |= {each for each in (operation.answer, operation.body) if each is not None}
    _, components = msgspec.json.schema_components(sorted(types, key=lambda each: each.__name__),
                                                   ref_template=_REFERENCE)  # fmt: skip
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        described = _described(operation)
        paths.setdefault(f"/meter/v1{operation.path}", {})[operation.method.lower()] = described
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "meter admin API",
            "version": _version(),
            "description": "Keys, budgets, credit, usage and calls. Amounts are decimal texts.",
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"key": []}],
    }


def document_answer() -> Answer:
    """Return the OpenAPI document as an answer."""
    return _answer(msgspec.json.encode(document()), "application/json")


def page_answer() -> Answer:
    """Return the page for people."""
    return _answer(_page().encode(), "text/html; charset=utf-8")


def _answer(body: bytes, kind: str) -> Answer:
    return Answer(
        200,
        {
            "content-type": kind,
            "content-length": str(len(body)),
            "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'",
            "x-content-type-options": "nosniff",
        },
        body,
    )


def _described(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "parameters": [*_path_parameters(operation), *_query_parameters(operation)],
        "responses": {str(operation.status): _good(operation)},
    }
    if operation.body is not None:
        reference = {"$ref": _REFERENCE.format(name=operation.body.__name__)}
        content = {"application/json": {"schema": reference}}
        described["requestBody"] = {"required": True, "content": content}
    failure = {"application/json": {"schema": {"$ref": _REFERENCE.format(name="Failure")}}}
    for status, meaning in _FAILURES.items():
        if status == "415" and operation.body is None:
            continue
        described["responses"][status] = {"description": meaning, "content": failure}
    return described


def _good(operation: Operation) -> dict[str, Any]:
    if operation.answer is None:
        return {"description": "Done."}
    reference = {"$ref": _REFERENCE.format(name=operation.answer.__name__)}
    return {
        "description": inspect.getdoc(operation.answer) or "Done.",
        "content": {"application/json": {"schema": reference}},
    }


def _path_parameters(operation: Operation) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string", "minLength": 1, "maxLength": 256},
        }
        for name in re.findall(r"{(\w+)}", operation.path)
    ]


def _query_parameters(operation: Operation) -> list[dict[str, Any]]:
    _, components = msgspec.json.schema_components([operation.query], ref_template=_REFERENCE)
    fields = components[operation.query.__name__]["properties"]
    parameters = []
    for name, schema in fields.items():
        # In a query a parameter is left out, never null.
        options = [each for each in schema.get("anyOf", [schema]) if each != {"type": "null"}]
        plain = {key: value for key, value in schema.items() if key not in ("anyOf", "default")}
        chosen = {**plain, **options[0]}
        if schema.get("default") is not None:
            chosen["default"] = schema["default"]
        if isinstance(chosen.get("enum"), list):
            chosen["enum"] = [each for each in chosen["enum"] if each is not None]
        parameters.append({"name": name, "in": "query", "required": False, "schema": chosen})
    return parameters


def _page() -> str:
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        "<meta name=viewport content='width=device-width'><title>meter admin API</title>",
        f"<style>{_STYLE}</style><h1>meter admin API</h1>",
        "<p>Send a key whose role is <code>admin</code> or <code>reader</code> as "
        "<code>Authorization: Bearer mk-…</code>; <code>meter keys create --role admin</code> "
        "makes one. Amounts are decimal texts, moments RFC 3339. The same as a document: "
        "<a href=openapi.json>openapi.json</a>.</p>",
    ]
    for operation in OPERATIONS:
        path = escape(f"/meter/v1{operation.path}")
        parts.append(
            f"<h2><code><span class=verb>{operation.method}</span>{path}</code></h2>"
            f"<p>{escape(operation.summary)}</p>"
        )
        for title, kind in (
            ("Query", operation.query), ("Body", operation.body), ("Answer", operation.answer),
        ):  # fmt: skip
            parts.append(_table(title, kind))
    return "".join(parts)


def _table(title: str, kind: type | None) -> str:
    if kind is None or not kind.__struct_fields__:  # type: ignore[attr-defined]
        return ""
    _, components = msgspec.json.schema_components([kind], ref_template=_REFERENCE)
    shown = components[kind.__name__]
    rows = "".join(
        f"<tr><td><code>{escape(name)}</code><td>{escape(_kind_of(schema))}"
        f"<td>{'required' if name in shown.get('required', ()) else ''}"
        for name, schema in shown["properties"].items()
    )
    told = escape(" ".join((inspect.getdoc(kind) or "").split()))
    return f"<p><b>{title}.</b> {told}</p><table>{rows}</table>"


def _kind_of(schema: dict[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(_kind_of(each) for each in schema["anyOf"])
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "enum" in schema:
        return " or ".join("null" if each is None else str(each) for each in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_kind_of(schema.get('items', {}))}"
    return str(schema.get("format") or schema.get("type") or "anything")


def _version() -> str:
    try:
        return version("metergate")
    except PackageNotFoundError:
        return "0"
