"""Read what the feed names: each statement on a call once, as it was made.

An event says how a call ended, a correction says it anew: both are statements, and none changes
what an earlier one said. So a change shows the call as this statement has it and as the one before
had it, whatever was stated since. Called by the opened ledger, for exports and invoices.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Engine, select

from meter.core.ledger import Entry
from meter.store.encoding import ENDING_COLUMNS, AnyRow
from meter.store.engine import read_connection
from meter.store.feed import sources_between
from meter.store.filters import where
from meter.store.latest import WHOLE_TRUTH, first_events
from meter.store.reads import CallRow, call_from_row
from meter.store.schema import corrections, entries


@dataclass(frozen=True, slots=True)
class Change:
    """One statement on an ended call: its event, or a correction.

    `source_id` is the call's id, or that of the correction, and `portion` where it is in the feed.
    `before` is None for the event.
    """

    source_id: UUID
    portion: int
    call: CallRow
    before: CallRow | None


def changes(
    engine: Engine,
    *,
    after: int,
    last: int,
    since_us: int | None = None,
    until_us: int | None = None,
    filters: Mapping[str, str] | None = None,
) -> Iterator[Change]:
    """Yield the changes in the portions (after, last] of the feed, in their order, streamed.

    Only calls that started in [since_us, until_us) and pass the filters (as `reads.calls`).
    Raises: InputError for a filter that does not exist, StoreUnavailable.
    """
    with read_connection(engine) as connection:
        yield from changes_on(connection, after, last, since_us, until_us, filters or {})


def changes_on(
    connection: Connection,
    after: int,
    last: int,
    since_us: int | None,
    until_us: int | None,
    filters: Mapping[str, str],
) -> Iterator[Change]:
    """Yield changes as `changes` does, on a connection of the caller's."""
    events = first_events().subquery("events")
    chosen = select(events).where(where(events, since_us, until_us, filters))
    for portion, sources in sources_between(connection, after, last):
        ended = _by_id(connection, chosen.where(events.c.call_id.in_(sources)), "call_id")
        named = select(corrections.c.call_id).where(corrections.c.id.in_(sources))
        corrected = list(set(connection.execute(named).scalars()))
        known = _by_id(connection, chosen.where(events.c.call_id.in_(corrected)), "call_id")
        made = _corrections_of(connection, list(known))
        for source in sources:
            if source in ended:
                yield Change(source, portion, call_from_row(_as_ended(ended[source])), None)
            elif source in made:
                event, before, after_it = known[made[source][0]], *made[source][1:]
                yield Change(source, portion, _stated(event, after_it), _stated(event, before))


def entries_of_feed(engine: Engine, *, after: int, last: int) -> Iterator[Entry]:
    """Yield the entries whose sources are in the portions (after, last], in their order."""
    with read_connection(engine) as connection:
        for _, sources in sources_between(connection, after, last):
            chosen = (
                select(
                    entries.c.source_id, entries.c.number, entries.c.at_us, entries.c.debit,
                    entries.c.credit, entries.c.amount_nanos, entries.c.currency,
                )
                .where(entries.c.source_id.in_(sources))
                .order_by(entries.c.source_id, entries.c.number)
            )  # fmt: skip
            for row in connection.execute(chosen):
                yield Entry(*row)


def _by_id(connection: Connection, statement: Any, name: str) -> dict[UUID, AnyRow]:
    return {row[name]: row for row in connection.execute(statement).mappings()}


def _corrections_of(
    connection: Connection, call_ids: Sequence[UUID]
) -> dict[UUID, tuple[UUID, AnyRow | None, AnyRow]]:
    """Return for each correction of these calls: the call's id, the one before it, and itself."""
    chosen = (
        select(corrections)
        .where(corrections.c.call_id.in_(call_ids))
        .order_by(corrections.c.call_id, corrections.c.number)
    )
    found: dict[UUID, tuple[UUID, AnyRow | None, AnyRow]] = {}
    before: AnyRow | None = None
    for row in connection.execute(chosen).mappings():
        if before is not None and before["call_id"] != row["call_id"]:
            before = None
        found[row["id"]] = (row["call_id"], before, row)
        before = row
    return found


def _as_ended(event: AnyRow) -> dict[str, Any]:
    return {**event, "corrections": 0}


def _stated(event: AnyRow, correction: AnyRow | None) -> CallRow:
    """Return the call as this correction has it (None: as its event has it)."""
    row = _as_ended(event)
    if correction is not None:
        row["corrections"] = correction["number"]
        for name in ENDING_COLUMNS:
            if name in WHOLE_TRUTH or correction[name] is not None:
                row[name] = correction[name]
    return call_from_row(row)
