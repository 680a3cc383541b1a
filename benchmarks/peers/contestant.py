"""Name what `gateway.py` needs of a gateway to measure it: one file of this folder is one."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from driving import Target
from processes import Running


@dataclass(frozen=True, slots=True)
class Contestant:
    """A gateway that can be measured.

    `serving` takes the port of the mock provider and an empty folder; it runs the gateway on the
    server's core and yields where it listens and its processes. Raises: Unavailable when it
    cannot be had here. `note` says what it does meanwhile. `connections` are those that load it.
    """

    name: str
    note: str
    serving: Callable[[int, Path], AbstractContextManager[tuple[Target, Running]]]
    connections: int = 64


class Unavailable(Exception):
    """The gateway cannot be installed or started here; the text says why."""
