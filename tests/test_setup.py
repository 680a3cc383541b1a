"""Set-up says in one sentence what a machine lacks, and changes nothing then."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT


def set_up(python: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", str(ROOT / "tools" / "setup")],
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], "PYTHON": python},
    )


def pretended_python(folder: Path, version: str, *refused: str) -> str:
    """Write a program that names that version and fails where its code has a refused word."""
    program = folder / "python3"
    cases = "".join(f"*{word}*) exit 1 ;; " for word in refused)
    program.write_text(f'#!/bin/sh\ncase "$2" in {cases}*) echo {version} ;; esac\n')
    program.chmod(0o755)
    return str(program)


@pytest.fixture(autouse=True)
def _environment_is_untouched() -> Iterator[None]:
    before = (ROOT / ".venv").stat().st_mtime_ns
    yield
    assert (ROOT / ".venv").stat().st_mtime_ns == before


def test_no_python_at_all(tmp_path: Path) -> None:
    done = set_up(str(tmp_path / "missing"))
    assert done.returncode == 1
    assert done.stderr == (
        f"meter: found no '{tmp_path}/missing', expected Python 3.11 or newer: "
        "apt install python3 python3-venv\n"
    )


def test_a_python_that_is_too_old(tmp_path: Path) -> None:
    done = set_up(pretended_python(tmp_path, "3.10.13", "version_info"))
    assert done.returncode == 1
    assert done.stderr.startswith("meter: found Python 3.10.13, expected 3.11 or newer: ")
    assert done.stderr.count("\n") == 1


def test_a_python_without_venv(tmp_path: Path) -> None:
    done = set_up(pretended_python(tmp_path, "3.11.2", "ensurepip"))
    assert done.returncode == 1
    assert done.stderr == (
        "meter: found Python 3.11.2 without its venv module: apt install python3-venv\n"
    )
