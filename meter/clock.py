"""Tell the time and choose ids: the only place that reads the wall clock for records."""

import time
from uuid import UUID

from uuid_utils.compat import uuid7


def now_us() -> int:
    """Return microseconds since 1970-01-01 UTC."""
    return time.time_ns() // 1000


def new_id() -> UUID:
    """Return a new UUIDv7: unique, and ordered by the millisecond it was chosen in."""
    return uuid7()
