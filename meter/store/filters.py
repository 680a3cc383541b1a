"""Turn filters on calls into conditions. Called by `reads`.

Works on `usage_events` (corrected) and on `open_calls`, which have most columns in common.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, func, or_

from meter.core.call import Basis, Outcome
from meter.errors import InputError
from meter.store.encoding import to_json
from meter.store.types import BASIS_NUMBERS, OUTCOME_NUMBERS


def where(
    table: Any, since_us: int | None, until_us: int | None, filters: Mapping[str, str]
) -> ColumnElement[bool]:
    """Return the condition for calls that started in [since_us, until_us) and pass the filters.

    Raises: InputError for a filter that does not exist, or a value that it cannot have.
    """
    conditions = []
    if since_us is not None:
        conditions.append(table.c.started_us >= since_us)
    if until_us is not None:
        conditions.append(table.c.started_us < until_us)
    for name, text in filters.items():
        make = _FILTERS.get(name)
        if make is None:
            raise InputError(f"found filter {name!r}, expected one of {', '.join(_FILTERS)}")
        conditions.append(make(table, text))
    return and_(True, *conditions)


def _model_is(table: Any, text: str) -> ColumnElement[bool]:
    if "model_served" not in table.c:
        return _is(table.c.model_requested, text)
    return or_(_is(table.c.model_requested, text), _is(table.c.model_served, text))


def _has_tag(table: Any, text: str) -> ColumnElement[bool]:
    """Whether a call has the tag "name=value"; the tags are compact JSON with sorted names."""
    name, equals, value = text.partition("=")
    if not equals:
        raise InputError(f"found tag {text!r}, expected name=value")
    pair = f"{to_json(name)}:{to_json(value)}"
    return or_(_contains(table.c.tags, "{" + pair), _contains(table.c.tags, "," + pair))


def _contains(column: Any, text: str) -> ColumnElement[bool]:
    # LIKE ignores case on SQLite, and both databases can split a text.
    return and_(column.is_not(None), func.replace(column, text, "") != column)


def _is(column: Any, text: str) -> ColumnElement[bool]:
    found: ColumnElement[bool] = column == text
    return found


def _numbered(column: Any, kind: Any, numbers: Any, text: str) -> ColumnElement[bool]:
    try:
        found: ColumnElement[bool] = column == numbers[kind(text)]
    except ValueError:
        expected = ", ".join(kind)
        raise InputError(
            f"found {kind.__name__.lower()} {text!r}, expected one of {expected}"
        ) from None
    return found


def _id_is(table: Any, text: str) -> ColumnElement[bool]:
    try:
        found: ColumnElement[bool] = table.c.call_id == UUID(text)
    except ValueError:
        raise InputError(f"found call id {text!r}, expected a UUID") from None
    return found


def _older_than(table: Any, text: str) -> ColumnElement[bool]:
    """Whether a call comes after another in a list, newest first: "<started_us>-<call id>"."""
    started, dash, name = text.partition("-")
    try:
        at_us, call_id = int(started), UUID(name)
    except ValueError:
        raise InputError(f"found {text!r:.80} to continue after, expected a page's next") from None
    if not (dash and started.isascii() and started.isdecimal() and at_us < 2**63):
        raise InputError(f"found {text!r:.80} to continue after, expected a page's next")
    same = and_(table.c.started_us == at_us, table.c.call_id < call_id)
    return and_(table.c.started_us <= at_us, or_(table.c.started_us < at_us, same))


def _search(table: Any, text: str) -> ColumnElement[bool]:
    """Whether the text is part of what a person would look for; a whole id finds its call."""
    try:
        return _id_is(table, text)
    except InputError:
        columns = ("subject", "model_requested", "model_served", "key_id", "response_id", "path")
        found = [table.c[c].icontains(text, autoescape=True) for c in columns if c in table.c]
        return or_(*found)


_FILTERS: dict[str, Callable[[Any, str], ColumnElement[bool]]] = {
    "subject": lambda table, text: _is(table.c.subject, text),
    "subjects": lambda table, text: table.c.subject.in_(json.loads(text)),
    "model": _model_is,
    "provider": lambda table, text: _is(table.c.provider, text),
    "endpoint": lambda table, text: _is(table.c.endpoint, text),
    "key": lambda table, text: _is(table.c.key_id, text),
    "outcome": lambda t, text: _numbered(t.c.outcome, Outcome, OUTCOME_NUMBERS, text),
    "basis": lambda t, text: _numbered(t.c.basis, Basis, BASIS_NUMBERS, text),
    "tag": _has_tag,
    "id": _id_is,
    "older_than": _older_than,
    "search": _search,
}
