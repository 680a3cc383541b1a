"""Sum calls up: which sums there are, over what, in which order.

A source is anything with the columns of an event (`latest.first_events`) or of a rollup; both give
the same sums, so that they can be added. A sum that no call reported is told from one of zeros by
counting who reported. Called by the reads, the rollups and the check.
"""

from collections.abc import Sequence
from typing import Any, Final, Literal

from sqlalchemy import ColumnElement, and_, case, func, or_

from meter.core.call import Basis, Outcome
from meter.core.reading import UNMETERED
from meter.store.encoding import UNIT_COLUMNS, Book
from meter.store.types import BASIS_NUMBERS, OUTCOME_NUMBERS

BOOKS: Final[tuple[Book, ...]] = ("list", "billed")

REPORTED: Final = ("cost_nanos", "list_nanos", "billed_nanos", *UNIT_COLUMNS)
"""Sums that can be unknown; each has a count of the calls that reported it, `<name>_calls`."""

COUNTED: Final = ("calls", "unpriced", "estimated", "unknown", "unmetered", "failed", "refused")
"""Counts of calls, which are never unknown."""

NAMES: Final = (*REPORTED, *[f"{name}_calls" for name in REPORTED], *COUNTED)
"""Every sum, in the order in which `sums_of` gives them."""


def currencies_of(events: Any) -> list[ColumnElement[Any]]:
    """Return the currencies of the cost, of the published price and of what is billed."""
    return [events.c.currency, *[told(events, book, "currency") for book in BOOKS]]


def told(events: Any, book: Book, what: Literal["nanos", "currency"]) -> ColumnElement[Any]:
    """Return what a price book says of a call: what the cost says, where it says nothing."""
    own = [events.c[f"{book}_{name}"] for name in ("card_id", "currency", "unpriced")]
    cost = events.c.cost_nanos if what == "nanos" else events.c.currency
    return case((func.coalesce(*own).is_(None), cost), else_=events.c[f"{book}_{what}"])


def sums_of(events: Any, sign: int = 1) -> list[ColumnElement[Any]]:
    """Return the sums over events, by `NAMES`; `sign` -1 takes them away."""
    amounts = [
        events.c.cost_nanos,
        *[told(events, book, "nanos") for book in BOOKS],
        *[events.c[name] for name in UNIT_COLUMNS],
    ]
    refused = events.c.outcome == OUTCOME_NUMBERS[Outcome.REFUSED]
    unknown = events.c.basis == BASIS_NUMBERS[Basis.UNKNOWN]
    ended_upstream = events.c.outcome.in_(
        [OUTCOME_NUMBERS[Outcome.UPSTREAM_FAILED], OUTCOME_NUMBERS[Outcome.TIMED_OUT]]
    )
    conditions = (
        and_(events.c.cost_nanos.is_(None), ~unknown),
        events.c.basis == BASIS_NUMBERS[Basis.ESTIMATED],
        unknown,
        events.c.endpoint == UNMETERED,
        and_(~refused, or_(ended_upstream, func.coalesce(events.c.status, 0) >= 400)),
        refused,
    )
    columns = [
        *[func.coalesce(func.sum(amount), 0) for amount in amounts],
        *[func.count(amount) for amount in amounts],
        func.count(),
        *[func.sum(case((condition, 1), else_=0)) for condition in conditions],
    ]
    return [
        (column if sign == 1 else -column).label(name)
        for name, column in zip(NAMES, columns, strict=True)
    ]


def sums_of_rollup(rollup: Any) -> list[ColumnElement[Any]]:
    """Return the sums over rows of a rollup, by `NAMES`."""
    return [func.sum(rollup.c[name]).label(name) for name in NAMES]


def known(sums: Sequence[int]) -> list[int | None]:
    """Return `REPORTED` and then `COUNTED` of added sums, None for what no call reported."""
    many = len(REPORTED)
    reported = [
        value if calls else None
        for value, calls in zip(sums[:many], sums[many : 2 * many], strict=True)
    ]
    return [*reported, *sums[2 * many :]]
