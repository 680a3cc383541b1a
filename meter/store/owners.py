"""Name the process that owns a call in flight, and tell whether it is still alive.

An owner is `place:pid:start`. The place is the host with its boot and its process namespace,
because process ids mean nothing elsewhere: an owner of another place is never judged dead, and
its calls wait for their lease. Called by the ledger store.
"""

import hashlib
import os
import socket
import uuid
from functools import cache
from pathlib import Path


def this_process() -> str:
    """Return the owner text of the running process."""
    return _owner_of(os.getpid())


def is_dead(owner: str) -> bool:
    """Whether the owner is surely dead: its process was on this machine and is gone.

    False where it cannot be known.
    """
    place, _, rest = owner.rpartition(":")[0].rpartition(":")
    started = owner.rpartition(":")[2]
    if place != _place() or not rest.isdigit() or os.name != "posix":
        return False
    pid = int(rest)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False  # it runs, as another user
    state, ticks = _state_and_start(pid)
    if state in ("Z", "X"):
        return True
    return bool(ticks and started) and ticks != started


@cache
def _owner_of(pid: int) -> str:
    return f"{_place()}:{pid}:{_state_and_start(pid)[1]}"


@cache
def _place() -> str:
    """Return the host name with a mark of this boot and this process namespace."""
    try:
        mark = Path("/proc/sys/kernel/random/boot_id").read_text() + os.readlink(
            "/proc/self/ns/pid"
        )
    except OSError:
        mark = str(uuid.getnode())  # not Linux: the network card's address names the machine
    return f"{socket.gethostname()}.{hashlib.sha256(mark.encode()).hexdigest()[:6]}"


def _state_and_start(pid: int) -> tuple[str, str]:
    """Return the state letter and the start time (clock ticks since boot), "" where unknown."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "", ""
    return fields[0], fields[19]
