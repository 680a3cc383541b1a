"""Find a bill's name for each of our models: "gpt-4o" and "gpt-4o-2024-08-06" may be one.

An exact name wins. Otherwise a name of theirs and one of ours are the same model when they agree
without date and provider prefix, and only one of theirs does.
"""

import re
from collections.abc import Callable, Iterable

from meter.store.reads import CallRow

_DATE = re.compile(r"[-@](\d{4}-\d{2}-\d{2}|\d{8}|\d{4}|latest)$")


def their_names(theirs: set[str], calls: Callable[[], Iterable[CallRow]]) -> dict[str, str | None]:
    """Return their name for each of our served models that they spell otherwise."""
    if not theirs:
        return {}
    plain: dict[str, list[str]] = {}
    for name in sorted(theirs):
        plain.setdefault(_plain(name), []).append(name)
    found: dict[str, str | None] = {}
    for call in calls():
        for ours in (call.model_served, call.model_requested):
            if ours is None or ours in theirs or ours in found:
                continue
            alike = plain.get(_plain(ours), ())
            if len(alike) == 1:
                found[ours] = alike[0]
    return found


def _plain(name: str) -> str:
    return _DATE.sub("", name.rpartition("/")[2].lower())
