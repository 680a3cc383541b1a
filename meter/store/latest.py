"""Say what is known of each ended call: its event with its route, and its latest correction.

Called by the writes, the reads, the checks and the budgets.
"""

from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Select, Subquery, and_, case, exists, func, select

from meter.store.encoding import BOOK_COLUMNS, ENDING_COLUMNS
from meter.store.schema import corrections, rate_cards, routes, usage_events

WHOLE_TRUTH = (
    "input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens",
    "reasoning_tokens", "other_units", "basis", "lines", "cost_nanos", "currency",
    "rate_card_id", "unpriced", "list_nanos", "billed_nanos", *BOOK_COLUMNS,
)  # fmt: skip
"""What a correction always states; null there means unknown, not unchanged."""


@cache
def first_events() -> Select[Any]:
    """Return a SELECT of every event as it was written, in the columns of `event_to_row`."""
    joined = usage_events.join(routes, routes.c.id == usage_events.c.route_id)
    return select(*[column.label(name) for name, column in _columns().items()]).select_from(joined)


@cache
def latest_events() -> Subquery:
    """Return the events with their latest corrections, and `corrections`, the number of these.

    `bound_currency` is what `bound_cost_nanos` is in.
    """
    later = corrections.alias("later")
    is_latest = ~exists().where(
        later.c.call_id == corrections.c.call_id, later.c.number > corrections.c.number
    )
    joined = usage_events.join(routes, routes.c.id == usage_events.c.route_id).outerjoin(
        corrections, and_(corrections.c.call_id == usage_events.c.call_id, is_latest)
    )
    number = func.coalesce(corrections.c.number, 0).label("corrections")
    of_card = select(rate_cards.c.currency).where(rate_cards.c.id == routes.c.rate_card_id)
    bound = func.coalesce(routes.c.currency, of_card.scalar_subquery()).label("bound_currency")
    return select(*_corrected(), number, bound).select_from(joined).subquery("events")


def corrected_events(condition: ColumnElement[bool]) -> Subquery:
    """Return the events as the corrections that meet the condition state them."""
    joined = corrections.join(usage_events, usage_events.c.call_id == corrections.c.call_id).join(
        routes, routes.c.id == usage_events.c.route_id
    )
    return select(*_corrected()).select_from(joined).where(condition).subquery("events")


def _corrected() -> list[ColumnElement[Any]]:
    """Return the columns of an event that is joined with one of its corrections, or with none."""
    columns: list[ColumnElement[Any]] = []
    for name, column in _columns().items():
        if name in WHOLE_TRUTH:
            column = case((corrections.c.number.is_(None), column), else_=corrections.c[name])
        elif name in ENDING_COLUMNS:
            column = func.coalesce(corrections.c[name], column)
        columns.append(column.label(name))
    return columns


def _columns() -> dict[str, ColumnElement[Any]]:
    """Return the columns of an event by the names that the rest of this room uses."""
    stored = usage_events.c
    columns: dict[str, ColumnElement[Any]] = {
        "ended_us": stored.started_us + stored.duration_us,
        "first_byte_us": stored.started_us + stored.first_byte_after_us,
    }
    columns |= {column.name: column for column in stored if column.name not in _TOLD_OTHERWISE}
    return columns | {column.name: column for column in routes.c if column.name != "id"}


_TOLD_OTHERWISE = ("duration_us", "first_byte_after_us", "route_id")
