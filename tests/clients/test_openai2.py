"""The last openai SDK that runs on httpx: the same questions, in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

VERSION = "import httpx, openai; print(openai.__version__, openai.DefaultHttpxClient.__mro__[1])"
CHOSEN = "(openai or azure) and not aiohttp and not httpx"


def run(openai2_path: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(openai2_path)},
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    return done.stdout


def test_the_second_sdk_runs_on_httpx(openai2_path: Path) -> None:
    version, _, base = run(openai2_path, "-c", VERSION).strip().partition(" ")
    assert version.startswith("2.")
    assert base == "<class 'httpx.Client'>"


def test_its_clients_give_the_same_too(openai2_path: Path) -> None:
    questions = "tests/clients/test_sdk_answers.py"
    told = run(
        openai2_path, "-m", "pytest", questions, "-k", CHOSEN, "-q", "-p", "no:cacheprovider"
    )
    assert "4 passed" in told
