"""Compare this machine's clock with the ledger's: windows and leases are told by it.

Each machine stamps its own calls, so a budget's window begins for each when its own clock says so.
That never overspends a window, but a clock that is far off counts calls in the wrong one, and
would close calls of other machines as lost. An SQLite ledger lies on the machine itself. Called by
the ledger and by `meter doctor`.
"""

from typing import Final

from sqlalchemy import Engine, text

from meter.clock import now_us
from meter.errors import StoreUnavailable
from meter.store.engine import read_connection

WORTH_SAYING_US: Final = 1_000_000
"""A difference that a person should know of: one second."""

_LOOKS: Final = 3
_SERVER_TIME: Final = text("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint")


def skew_us(engine: Engine) -> int:
    """Return by how much this machine's clock is ahead of the ledger's, in microseconds.

    Exact to half the time that a question takes; 0 for SQLite. Raises: StoreUnavailable.
    """
    if engine.dialect.name != "postgresql":
        return 0
    looks = []
    with read_connection(engine) as connection:
        for _ in range(_LOOKS):
            asked_us = now_us()
            server_us = int(connection.execute(_SERVER_TIME).scalar_one())
            took_us = now_us() - asked_us
            looks.append((took_us, asked_us + took_us // 2 - server_us))
    return min(looks)[1]


def require_same_time(engine: Engine, limit_s: int) -> int:
    """Return what `skew_us` does. Raises: StoreUnavailable when it is above the limit."""
    found_us = skew_us(engine)
    if abs(found_us) > limit_s * 1_000_000:
        raise StoreUnavailable(f"{in_words(found_us)}, expected at most {limit_s} s: set it right")
    return found_us


def in_words(found_us: int) -> str:
    """Return a difference as the beginning of a sentence."""
    side = "ahead of" if found_us > 0 else "behind"
    return f"found this machine's clock {abs(found_us) / 1_000_000:.1f} s {side} the ledger's"
