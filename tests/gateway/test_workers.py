"""`meter serve --workers`: several processes on one port and one ledger."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import openai
import pytest

from meter.meter import Meter
from meter.simulator import Simulator
from tests.gateway.test_bytes import CHAT
from tests.gateway.test_leaving import serving

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="workers need fork")


def children(pid: int) -> list[int]:
    return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def wait_until_ready(url: str) -> None:
    until = time.monotonic() + 15
    while True:
        try:
            if httpx.get(f"{url}/readyz").status_code == 200:
                return
        except httpx.HTTPError:
            assert time.monotonic() < until


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="only Linux lists children")
def test_workers_share_the_work_and_one_that_dies_is_replaced(tmp_path):
    ledger = f"sqlite:///{tmp_path / 'meter.db'}"
    with Meter(ledger) as meter:
        key = meter.keys.create("alice").secret
    with Simulator() as simulator:
        process, url = serving(simulator.url, ledger, "--workers", "2")
        try:
            wait_until_ready(url)
            before = children(process.pid)
            assert len(before) == 2
            for _ in range(8):
                with openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0) as client:
                    client.chat.completions.create(**CHAT)
            os.kill(before[0], signal.SIGKILL)
            until = time.monotonic() + 10
            while len(after := children(process.pid)) < 2 or before[0] in after:
                assert time.monotonic() < until
            wait_until_ready(url)
        finally:
            process.send_signal(signal.SIGTERM)
            _, told = process.communicate(timeout=20)
    assert process.returncode == 0, told
    assert f"worker {before[0]} ended with status -9" in told
    with Meter(ledger) as meter:
        assert len(list(meter.calls())) == 8


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="there is no SIGHUP")
def test_sighup_takes_up_changed_upstreams_in_every_worker(tmp_path, monkeypatch):
    ledger = f"sqlite:///{tmp_path / 'meter.db'}"
    with Meter(ledger) as meter:
        key = meter.keys.create("alice").secret
    config = tmp_path / "meter.toml"
    monkeypatch.setenv("METER_CONFIG", str(config))
    table = '[upstreams.{}]\nbase_url = "http://127.0.0.1:9"\nkey_env = ""\nmodels = ["{}"]\n'
    config.write_text(table.format("local", "one"))

    def answers(url: str, model: str) -> set[int]:
        """The statuses of some calls, each on a connection of its own."""
        headers = {"authorization": f"Bearer {key}"}
        asked = {"model": model, "messages": [{"role": "user", "content": "hi"}]}
        return {
            httpx.post(f"{url}/v1/chat/completions", json=asked, headers=headers).status_code
            for _ in range(6)
        }

    with Simulator() as simulator:
        process, url = serving(simulator.url, ledger, "--workers", "2")
        try:
            wait_until_ready(url)
            # Where the model is not listed it goes to the upstream without a list: 200.
            assert answers(url, "one") == {502}
            config.write_text(table.format("local", "two"))
            process.send_signal(signal.SIGHUP)
            until = time.monotonic() + 15
            while answers(url, "two") != {502}:
                assert time.monotonic() < until
            assert 502 not in answers(url, "one")
        finally:
            process.send_signal(signal.SIGTERM)
            _, told = process.communicate(timeout=20)
    assert process.returncode == 0, told


def test_workers_that_cannot_work_end_everything(tmp_path):
    marks = tmp_path / "marks"
    script = (
        "import sys\n"
        "from meter.errors import ConfigError\n"
        "from meter.gateway.workers import Workers\n"
        f"marks = open({str(marks)!r}, 'ab', 0)\n"
        "def work():\n"
        "    marks.write(b'x')\n"
        "    return 3\n"
        "try:\n"
        "    Workers(2, work).run()\n"
        "except ConfigError as error:\n"
        "    sys.exit(str(error))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=20
    )
    assert done.returncode == 1
    assert "the workers end as soon as they begin" in done.stderr
    assert 5 <= len(marks.read_bytes()) <= 6


def test_a_mistake_in_the_settings_is_told_once(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "meter", "serve", "--workers", "2", "--port", "0"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("found no upstream") == 1
