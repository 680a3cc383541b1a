"""Read what moved the prepaid credit of a subject, summed for a statement.

Called by `credit`.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, func, select

from meter.core.credit import MoveKind
from meter.core.statements import Movement, Statement, statement
from meter.errors import InputError
from meter.store.archives import gone_until, in_words
from meter.store.encoding import clean
from meter.store.grouping import TIMES, dimensions_of
from meter.store.schema import credit_grants, credit_moves, routes, usage_events

GROUPS = ("hour", "day", "week", "month", "model", "provider", "endpoint", "key")
"""What the usage of a statement can be summed by."""


def statement_of(
    connection: Connection,
    subject: str,
    currency: str,
    *,
    since_us: int | None,
    until_us: int,
    tz: str,
    by: Sequence[str],
) -> Statement:
    """Return the statement of one account over [since_us, until_us).

    Raises: InputError for a name that usage cannot be summed by, and where only calls that were
    archived could tell; ConfigError for an unknown zone.
    """
    for name in by:
        if name not in GROUPS:
            raise InputError(f"found {name!r:.80} to sum by, expected one of {', '.join(GROUPS)}")
    within = and_(
        credit_moves.c.subject == clean(subject),
        credit_moves.c.currency == currency,
        credit_moves.c.at_us < until_us,
    )
    if since_us is not None:
        within = and_(within, credit_moves.c.at_us >= since_us)
    return statement(
        subject,
        currency,
        since_us=since_us,
        until_us=until_us,
        tz=tz,
        by=tuple(by),
        opening_nanos=0 if since_us is None else _opening(connection, subject, currency, since_us),
        movements=[*_deeds(connection, within), *_usage(connection, within, tz, by)],
    )


def _opening(connection: Connection, subject: str, currency: str, since_us: int) -> int:
    """Return the balance at the start: that of now less what moved since, which is less to read."""
    left = select(func.sum(credit_grants.c.left_nanos)).where(
        credit_grants.c.subject == clean(subject), credit_grants.c.currency == currency
    )
    moved = select(func.sum(credit_moves.c.amount_nanos)).where(
        credit_moves.c.subject == clean(subject),
        credit_moves.c.currency == currency,
        credit_moves.c.at_us >= since_us,
    )
    return int(connection.scalar(left) or 0) - int(connection.scalar(moved) or 0)


def _deeds(connection: Connection, within: ColumnElement[bool]) -> list[Movement]:
    """Return what people did and what ended, one by one."""
    moves = credit_moves.c
    chosen = (
        select(
            moves.at_us, moves.kind, moves.name, moves.reason, moves.author,
            func.sum(moves.amount_nanos).label("amount"),
        )
        .where(within, moves.call_id.is_(None), moves.kind != MoveKind.COVER.value)
        .group_by(
            moves.source_id, moves.at_us, moves.kind, moves.name, moves.reason, moves.author
        )
    )  # fmt: skip
    return [
        Movement(
            row.at_us, MoveKind(row.kind), int(row.amount), (), None, row.name, row.reason,
            row.author,
        )
        for row in connection.execute(chosen)
    ]  # fmt: skip


def _usage(
    connection: Connection, within: ColumnElement[bool], tz: str, by: Sequence[str]
) -> list[Movement]:
    """Return sums of usage, one for each combination of what it is summed by."""
    moves: Any = credit_moves.c
    used = (
        select(
            moves.at_us.label("started_us"), moves.amount_nanos, moves.call_id,
            usage_events.c.key_id, routes.c.provider, routes.c.endpoint,
            routes.c.model_requested, routes.c.model_served,
            usage_events.c.call_id.label("known_id"),
        )
        .outerjoin(usage_events, usage_events.c.call_id == moves.call_id)
        .outerjoin(routes, routes.c.id == usage_events.c.route_id)
        .where(within, moves.kind == MoveKind.USAGE.value)
        .subquery()
    )  # fmt: skip
    first_us, last_us = connection.execute(
        select(func.min(used.c.started_us), func.max(used.c.started_us))
    ).one()
    if first_us is None:
        return []
    if not TIMES.keys() >= set(by) and (gone_us := gone_until(connection)):
        archived = select(used.c.call_id).where(used.c.known_id.is_(None)).limit(1)
        if connection.execute(archived).first() is not None:
            raise InputError(
                f"found credit used by calls before {in_words(gone_us)}, which are archived, "
                f"expected to sum it by {', '.join(TIMES)}, or a later beginning"
            )
    dimensions = dimensions_of(by, used, tz, first_us, last_us)
    columns = [column for dimension in dimensions for column in dimension.columns]
    chosen = select(
        *(column.label(f"group_{place}") for place, column in enumerate(columns)),
        func.max(used.c.started_us),
        func.count(used.c.call_id.distinct()),
        func.sum(used.c.amount_nanos),
    ).group_by(*columns)
    summed: dict[tuple[str | None, ...], Movement] = {}
    for row in connection.execute(chosen):
        values, place = list(row), 0
        texts = []
        for dimension in dimensions:
            size = len(dimension.columns)
            texts.append(dimension.text(*values[place : place + size]))
            place += size
        at_us, calls, amount = values[place:]
        known = summed.get(tuple(texts))
        summed[tuple(texts)] = Movement(
            max(at_us, known.at_us if known else at_us),
            MoveKind.USAGE,
            int(amount) + (known.amount_nanos if known else 0),
            tuple(texts),
            calls + ((known.calls or 0) if known else 0),
        )
    return list(summed.values())
