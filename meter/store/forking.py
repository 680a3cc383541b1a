"""Let what a forked child must not share begin anew in it: connections, threads, locks.

Called by the engine, the kept connection and the committer.
"""

import os
from collections.abc import Callable
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

Owner = TypeVar("Owner")

_BEGINNINGS: WeakKeyDictionary[Any, Callable[[Any], None]] = WeakKeyDictionary()
_LEFT_BEHIND: list[object] = []


def begin_anew_in_children(owner: Owner, begin_anew: Callable[[Owner], None]) -> None:
    """Call `begin_anew(owner)` in every forked child that still has the owner."""
    _BEGINNINGS[owner] = begin_anew


def leave_behind(thing: object) -> None:
    """Keep what belongs to the parent from ever being closed in this process.

    Closing a PostgreSQL connection here would end the parent's session, and closing an SQLite one
    could remove the parent's WAL file.
    """
    _LEFT_BEHIND.append(thing)


def _in_child() -> None:
    for owner, begin_anew in list(_BEGINNINGS.items()):
        begin_anew(owner)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
