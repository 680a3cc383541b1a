"""Turn the names that sums are grouped by into columns, and what they hold into texts.

Time is grouped in the database by steps so small that no window begins inside one, and the steps
are then put together by the windows of the named zone: right at every change of the clock.
Called by `reads`.
"""

import json
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from math import gcd
from typing import Any

from sqlalchemy import ColumnElement, func, literal_column

from meter.core.rates import datetime_of
from meter.core.windows import Span, Window, zone
from meter.errors import InputError
from meter.store.types import BASES, OUTCOMES

TIMES = {span.value: span for span in (Span.HOUR, Span.DAY, Span.WEEK, Span.MONTH)}
_COLUMNS = {
    "subject": "subject", "model_served": "model_served", "provider": "provider",
    "issuer": "issuer",
    "endpoint": "endpoint", "key": "key_id", "currency": "currency", "card": "rate_card_id",
    "tier": "service_tier",
}  # fmt: skip
TAG = "tag:"
_PLACES = ("team", "project")


@dataclass(frozen=True, slots=True)
class Dimension:
    """One name that sums are grouped by: its columns, and the text that their values make."""

    columns: tuple[ColumnElement[Any], ...]
    text: Callable[..., str | None]


def dimensions_of(
    by: Sequence[str], events: Any, tz: str, first_us: int, last_us: int
) -> list[Dimension]:
    """Return a dimension for each name, for calls that started in [first_us, last_us].

    Raises: InputError for a name that is not one, ConfigError for an unknown zone.
    """
    zone(tz)
    return [_dimension(name, events, tz, first_us, last_us) for name in by]


def whole_name(name: str) -> str:
    """Return what a name to group by stands for: a team and a project are tags."""
    return f"{TAG}{name}" if name in _PLACES else name


def sorting_key(group: Sequence[str | None]) -> tuple[tuple[bool, str], ...]:
    """Return what sorts groups by their texts, None last."""
    return tuple((text is None, text or "") for text in group)


def _dimension(name: str, events: Any, tz: str, first_us: int, last_us: int) -> Dimension:
    if name in _COLUMNS:
        return Dimension((events.c[_COLUMNS[name]],), as_it_is)
    if name in TIMES:
        return _time(Window(TIMES[name], tz), events, first_us, last_us)
    if name.startswith(TAG) and len(name) > len(TAG):
        return Dimension((events.c.tags,), _tag_reader(name.removeprefix(TAG)))
    if name == "model":
        model = func.coalesce(events.c.model_requested, events.c.model_served)
        return Dimension((model,), as_it_is)
    if name == "outcome":
        return Dimension((events.c.outcome,), lambda number: OUTCOMES[number].value)
    if name == "basis":
        return Dimension((events.c.basis,), lambda number: BASES[number].value)
    known = (*_COLUMNS, *_PLACES, "model", "outcome", "basis", *TIMES, "tag:<name>")
    raise InputError(f"found {name!r} to group by, expected one of {', '.join(known)}")


def as_it_is(value: str | None) -> str | None:
    """Return the text that a column holds."""
    return value


def _tag_reader(name: str) -> Callable[[str | None], str | None]:
    @cache
    def read(tags: str | None) -> str | None:
        found: str | None = json.loads(tags).get(name) if tags else None
        return found

    return read


def starts_of(window: Window, first_us: int, last_us: int) -> list[int]:
    """Return where the windows begin that hold moments in [first_us, last_us]."""
    starts: list[int] = []
    at_us: int | None = first_us
    while at_us is not None and at_us <= last_us:
        start_us, at_us = window.bounds(at_us)
        starts.append(start_us)
    return starts


def _time(window: Window, events: Any, first_us: int, last_us: int) -> Dimension:
    starts = starts_of(window, first_us, last_us)
    step_us = gcd(*starts) if len(starts) > 1 else 0
    texts = [_text_of(start_us, window) for start_us in starts]
    if not step_us:
        return Dimension((), lambda: texts[0])
    # Written into the statement: PostgreSQL does not see that two parameters are one expression.
    step = events.c.started_us // literal_column(str(step_us))

    def text(number: int) -> str:
        return texts[bisect_right(starts, int(number) * step_us) - 1]

    return Dimension((step,), text)


def _text_of(start_us: int, window: Window) -> str:
    local = datetime_of(start_us).astimezone(zone(window.tz))
    if window.span is Span.HOUR:
        return local.isoformat(timespec="minutes")
    if window.span is Span.MONTH:
        return local.strftime("%Y-%m")
    return local.date().isoformat()
