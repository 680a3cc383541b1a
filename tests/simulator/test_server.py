"""Starting and stopping, in a thread and as a process."""

import signal
import subprocess
import sys
import threading
import time

import httpx
import pytest

from meter.simulator import Simulator
from tests.simulator.asking import HELLO, KEY


def test_starts_at_once_and_the_port_is_closed_afterwards() -> None:
    starts = []
    for _ in range(3):
        begun = time.perf_counter()
        with Simulator() as simulator:
            assert httpx.get(f"{simulator.url}/healthz").json() == {"status": "ok"}
            starts.append(time.perf_counter() - begun)
            url = simulator.url
    assert min(starts) < 1.0
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/healthz")
    assert not [one for one in threading.enumerate() if one.name == "simulator"]


def test_stop_is_bounded_while_an_answer_is_stalled() -> None:
    simulator = Simulator().start()
    body = {"model": "gpt-4o@stall-60", "messages": HELLO, "stream": True}
    try:
        with httpx.stream(
            "POST", f"{simulator.url}/v1/chat/completions", json=body, headers=KEY
        ) as reply:
            next(reply.iter_lines())
            begun = time.perf_counter()
            simulator.stop()
            assert time.perf_counter() - begun < 5.0
    finally:
        simulator.stop()


def test_port_can_be_chosen_and_a_taken_one_is_an_error() -> None:
    with Simulator() as first:
        with pytest.raises(OSError, match="in use"):
            Simulator(port=first.port).start()
        port = first.port
    with Simulator(port=port) as second:
        assert second.port == port


def test_waiting_for_requests_gives_up() -> None:
    with Simulator() as simulator, pytest.raises(TimeoutError, match="0 of 1"):
        simulator.wait_for_requests(1, limit_seconds=0.05)


def test_runs_as_a_process_until_it_is_stopped() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "meter.simulator", "--port", "0", "--paced"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        url = line.removeprefix("simulator on ").strip()
        assert httpx.get(f"{url}/sim/books").json()["requests"] == 0
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=10)
        assert (process.returncode, errors) == (0, "")
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


def test_process_says_that_its_port_is_taken() -> None:
    with Simulator() as simulator:
        ended = subprocess.run(
            [sys.executable, "-m", "meter.simulator", "--port", str(simulator.port)],
            capture_output=True,
            text=True,
            timeout=30,
        )
    assert ended.returncode == 2
    assert "cannot be opened" in ended.stderr
