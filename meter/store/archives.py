"""Know which months were archived, and refuse what can no longer be answered or written.

A month is first closed: no record of a call that started in it is taken any more, so its file can
be written and compared in peace. Then it is gone: its calls are in the file and not in the ledger.
Both are moments, and move only forward. What stays of a gone month: rollups, entries, balances,
budgets, movements of credit, invoices and corrections. Called by the writes, the reads, the check
and the maintenance.
"""

from typing import Any, Final

from sqlalchemy import Connection, literal_column, select, text

from meter.core.rates import datetime_of
from meter.errors import InputError
from meter.store.feed import take_number
from meter.store.schema import counters

CLOSED: Final = "archive: closed"
GONE: Final = "archive: gone"

SURELY_OPEN_US: Final = 24 * 3_600_000_000
"""A month is closed at the earliest so long after its end: what is younger is never closed."""


def closed_until(connection: Connection) -> int:
    """Return the moment before which no call may have started that is written; 0: none is."""
    return _standing(connection, CLOSED)


def gone_until(connection: Connection) -> int:
    """Return the moment before which the calls are archived, 0 when none are.

    They stay where they are until the transaction ends.
    """
    if connection.dialect.name == "postgresql":
        # A month that is detached meanwhile would be missed by a snapshot that still expects it.
        connection.execute(text("LOCK TABLE usage_events IN ACCESS SHARE MODE"))
    return _standing(connection, GONE)


def move_on(connection: Connection, name: str, until_us: int) -> None:
    """Close months, or declare them gone, until that moment; never back."""
    standing = take_number(connection, name, 0)
    if until_us > standing:
        take_number(connection, name, until_us - standing)


def require_present(connection: Connection, since_us: int | None) -> None:
    """Raise InputError when calls from this moment on were archived in part.

    Without a moment, what is asked for is what the ledger has.
    """
    gone_us = gone_until(connection)
    if since_us is not None and since_us < gone_us:
        raise InputError(
            f"found a question about calls before {in_words(gone_us)}, which are archived, "
            "expected a later beginning: the archive's files have the others"
        )


def in_words(at_us: int) -> str:
    """Return a moment as a day, where it is the beginning of one."""
    at = datetime_of(at_us)
    return at.date().isoformat() if at_us % 86_400_000_000 == 0 else at.isoformat()


def closed_statement() -> Any:
    """Return the SELECT of the moment before which months are closed; no row: none are."""
    # Written out: a prepared statement has no parameters but those of its batch.
    return select(counters.c.value).where(counters.c.name == literal_column(f"'{CLOSED}'"))


def _standing(connection: Connection, name: str) -> int:
    chosen = select(counters.c.value).where(counters.c.name == name)
    return int(connection.execute(chosen).scalar() or 0)
