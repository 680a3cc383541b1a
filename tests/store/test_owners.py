"""Owners: the living are never judged dead, and the dead of this machine are known."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from meter.store import owners

needs_proc = pytest.mark.skipif(
    not Path("/proc/self/stat").exists(), reason="needs /proc, where processes show their start"
)


def test_this_process_is_alive() -> None:
    assert not owners.is_dead(owners.this_process())


def test_an_ended_process_is_dead() -> None:
    script = "from meter.store import owners; print(owners.this_process())"
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    owner = done.stdout.strip()
    assert owner.startswith(owners.this_process().rpartition(":")[0].rpartition(":")[0])
    assert owners.is_dead(owner)


@needs_proc
def test_a_process_that_waits_to_be_reaped_is_dead() -> None:
    process = subprocess.Popen([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    owner = owners._owner_of(process.pid)
    assert owners.is_dead(owner)
    process.wait()


@needs_proc
def test_another_process_with_the_same_id_is_not_the_owner() -> None:
    owner, _, started = owners.this_process().rpartition(":")
    assert owners.is_dead(f"{owner}:{int(started) - 1}")


@pytest.mark.parametrize(
    "owner", ["", "nonsense", "elsewhere.abcdef:1:1", "elsewhere.abcdef:999999999:1", "a:b:c:d"]
)
def test_owners_of_other_places_are_never_judged(owner: str) -> None:
    assert not owners.is_dead(owner)


def test_a_process_of_another_user_is_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    def not_permitted(pid: int, number: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", not_permitted)
    assert not owners.is_dead(f"{owners._place()}:1:1")
