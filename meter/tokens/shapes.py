"""Read foreign JSON that may have any shape: wrong types, missing parts, any depth.

Knows nothing of requests or tokens. Called by the estimating modules of this package.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, TypeGuard


def mapping_of(value: object) -> Mapping[str, Any]:
    """Return the value when it is a JSON object, else an empty one."""
    return value if is_mapping(value) else {}


def is_mapping(value: object) -> TypeGuard[Mapping[str, Any]]:
    """Tell whether the value is a JSON object.

    Parsed JSON is made of plain dicts, and asking for the abstract class takes ten times as long.
    """
    return type(value) is dict or (value is not None and isinstance(value, Mapping))


def list_of(value: object) -> list[Any]:
    """Return the value when it is a JSON array, else an empty one."""
    if isinstance(value, list):
        return value
    return list(value) if isinstance(value, tuple) else []


def text_of(value: object) -> str:
    """Return the value when it is a string, else the empty string."""
    return value if isinstance(value, str) else ""


def json_text(value: object) -> str:
    """Return compact JSON; for what JSON cannot hold or is nested too deeply, its strings only."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    except (RecursionError, TypeError, ValueError):
        return " ".join(strings_in(value))


def strings_in(value: object) -> Iterator[str]:
    """Yield each string in the value, keys included, at any depth."""
    for leaf in _leaves(value):
        if isinstance(leaf, str):
            yield leaf


def _leaves(value: object) -> Iterator[object]:
    """Yield keys and leaves in order; each container yields None once for its brackets."""
    pending: list[Iterator[object]] = [iter((value,))]
    while pending:
        for item in pending[-1]:
            if isinstance(item, Mapping):
                yield None
                pending.append(_flat(item))
                break
            if isinstance(item, list | tuple):
                yield None
                pending.append(iter(item))
                break
            yield item
        else:
            pending.pop()


def _flat(value: Mapping[Any, Any]) -> Iterator[object]:
    for key, item in value.items():
        yield key
        yield item
