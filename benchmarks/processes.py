"""Run servers in processes of their own, each on one core, and read what they cost from /proc.

Linux only. Called by `gateway.py`, `dashboard.py` and the scripts in `peers/`.
"""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
SERVER_CORE = 0
DRIVER_CORE = max(os.cpu_count() or 1, 1) - 1


def pin(core: int) -> None:
    """Keep this process on one core."""
    os.sched_setaffinity(0, {core})


@dataclass(slots=True)
class Running:
    """A process that runs, with the ones that it has started."""

    process: "subprocess.Popen[str]"

    def ids(self) -> list[int]:
        """Return the ids of all processes that belong to it."""
        return family(self.process.pid)

    def cpu_seconds(self) -> float:
        """Return the CPU time that all of it has used, in user mode and in the kernel."""
        return cpu_seconds_of(self.ids())

    def resident_bytes(self) -> int:
        """Return the memory that it holds; what several share counts once."""
        total = 0
        for one in self.ids():
            try:
                text = Path(f"/proc/{one}/smaps_rollup").read_text()
            except OSError:
                continue
            total += next(int(line.split()[1]) for line in text.splitlines() if "Pss:" in line)
        return total * 1024


def family(process_id: int) -> list[int]:
    """Return the id of a process and of all that descend from it."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (fields := _stat(int(entry))):
            children.setdefault(int(fields[1]), []).append(int(entry))
    found, left = [], [process_id]
    while left:
        one = left.pop()
        found.append(one)
        left += children.get(one, [])
    return found


def cpu_seconds_of(process_ids: Iterable[int]) -> float:
    """Return the CPU time that processes have used, in user mode and in the kernel."""
    used = 0
    for one in process_ids:
        if fields := _stat(one):
            used += int(fields[11]) + int(fields[12])
    return used / _TICKS_A_SECOND


def _stat(process_id: int) -> list[str]:
    """Return the fields of /proc/ID/stat behind the name, none when it has ended."""
    try:
        text = Path(f"/proc/{process_id}/stat").read_text()
    except OSError:
        return []
    return text[text.rindex(")") + 2 :].split()


@contextmanager
def running(
    command: Sequence[str],
    *,
    core: int | None = SERVER_CORE,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    log: IO[str] | None = None,
) -> Iterator[Running]:
    """Run a command on one core (None: on any) until the block ends."""
    pinned = list(command) if core is None else ["taskset", "-c", str(core), *command]
    process = subprocess.Popen(
        pinned,
        env={**os.environ, **(environment or {})},
        cwd=folder,
        stdout=subprocess.PIPE if log is None else log,
        stderr=subprocess.DEVNULL if log is None else log,
        text=True,
        start_new_session=True,
    )
    try:
        yield Running(process)
    finally:
        # The whole group: some servers leave children behind.
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


@contextmanager
def slowed(process_ids: Iterable[int], cores: float) -> Iterator[None]:
    """Let each of these processes have no more than that much of a core until the block ends.

    By a control group for each (cgroup v1), in slices of 10 ms. Raises: OSError where this user
    may not make one.
    """
    groups: list[Path] = []
    try:
        for one in process_ids:
            group = Path("/sys/fs/cgroup/cpu") / f"meter-{os.getpid()}-{one}"
            group.mkdir()
            groups.append(group)
            (group / "cpu.cfs_period_us").write_text("10000")
            (group / "cpu.cfs_quota_us").write_text(str(round(10_000 * cores)))
            (group / "cgroup.procs").write_text(str(one))
        yield
    finally:
        for group in groups:
            for one in (group / "cgroup.procs").read_text().split():
                (group.parent / "cgroup.procs").write_text(one)
            group.rmdir()


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(port: int, server: Running, *, seconds: float = 90) -> None:
    """Return as soon as somebody listens there. Raises: TimeoutError, ChildProcessError."""
    until_s = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if server.process.poll() is not None:
                raise ChildProcessError("the server ended before it listened") from None
            if time.monotonic() > until_s:
                raise TimeoutError(f"nobody listens on port {port}") from None
            time.sleep(0.1)
