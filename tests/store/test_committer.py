"""The committer: order, batches, back-pressure, and answers of one's own."""

import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from meter.errors import StoreUnavailable
from meter.store.committer import Committer

WAIT_S = 20


class Recorder:
    """A writing function that notes its batches and can be held back."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()

    def __call__(self, requests: Sequence[int]) -> list[int | Exception]:
        self.entered.set()
        assert self.gate.wait(WAIT_S)
        self.batches.append(list(requests))
        if -1 in requests:
            raise StoreUnavailable("away")
        return [KeyError(str(r)) if r % 10 == 9 else r * 2 for r in requests]


def held_back() -> tuple[Recorder, "Committer[int, int]"]:
    """Return a committer whose thread is busy with request 0 until the gate opens."""
    recorder = Recorder()
    recorder.gate.clear()
    committer: Committer[int, int] = Committer(recorder, queue_size=8, batch_size=5)
    committer.submit(0)
    assert recorder.entered.wait(WAIT_S)
    return recorder, committer


def test_nothing_starts_before_the_first_request() -> None:
    before = threading.active_count()
    committer: Committer[int, int] = Committer(Recorder())
    assert threading.active_count() == before
    assert committer.submit(4).result(WAIT_S) == 8
    assert committer.close(WAIT_S)
    assert threading.active_count() == before


def test_what_gathers_meanwhile_is_one_batch_in_order() -> None:
    recorder, committer = held_back()
    futures = [committer.submit(number) for number in (1, 2, 3)]
    recorder.gate.set()
    assert [future.result(WAIT_S) for future in futures] == [2, 4, 6]
    assert recorder.batches == [[0], [1, 2, 3]]
    committer.close(WAIT_S)


def test_a_batch_is_bounded() -> None:
    recorder, committer = held_back()
    for number in range(1, 8):
        committer.submit(number)
    recorder.gate.set()
    assert committer.close(WAIT_S)
    assert recorder.batches == [[0], [1, 2, 3, 4, 5], [6, 7]]


def test_each_request_has_an_answer_of_its_own() -> None:
    recorder, committer = held_back()
    fine, wrong, also_fine = (committer.submit(number) for number in (8, 9, 10))
    recorder.gate.set()
    assert fine.result(WAIT_S) == 16
    with pytest.raises(KeyError):
        wrong.result(WAIT_S)
    assert also_fine.result(WAIT_S) == 20
    committer.close(WAIT_S)


def test_a_failed_batch_fails_all_of_it_and_nothing_later() -> None:
    recorder, committer = held_back()
    failed = [committer.submit(number) for number in (1, -1, 2)]
    recorder.gate.set()
    for future in failed:
        with pytest.raises(StoreUnavailable):
            future.result(WAIT_S)
    assert committer.submit(3).result(WAIT_S) == 6
    committer.close(WAIT_S)


def test_a_full_queue_makes_callers_wait() -> None:
    recorder, committer = held_back()
    for number in range(8):
        committer.submit(number)
    entered, through = threading.Event(), threading.Event()

    def one_more() -> None:
        entered.set()
        committer.submit(100).result(WAIT_S)
        through.set()

    thread = threading.Thread(target=one_more)
    thread.start()
    assert entered.wait(WAIT_S)
    assert not through.wait(0.05)
    assert len(committer._queue) == 8
    recorder.gate.set()
    assert through.wait(WAIT_S)
    thread.join(WAIT_S)
    committer.close(WAIT_S)


def test_a_callback_may_submit_even_when_the_queue_is_full() -> None:
    recorder, committer = held_back()
    answered = threading.Event()

    def submit_more(_done: object) -> None:
        for number in range(20, 29):
            committer.submit(number)
        answered.set()

    committer.submit(1).add_done_callback(submit_more)
    for number in range(2, 9):
        committer.submit(number)
    recorder.gate.set()
    assert answered.wait(WAIT_S)
    assert committer.close(WAIT_S)
    assert sum(len(batch) for batch in recorder.batches) == 1 + 8 + 9


def test_closing_frees_whoever_waits_for_room() -> None:
    recorder, committer = held_back()
    for number in range(8):
        committer.submit(number)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(committer.submit, 100)
        assert not committer.close(0.05)
        refused = waiting.result(WAIT_S)
        with pytest.raises(StoreUnavailable, match="closed"):
            refused.result(WAIT_S)
        recorder.gate.set()
    assert committer.close(WAIT_S)
    assert sum(len(batch) for batch in recorder.batches) == 9


def test_closing_twice_is_fine_and_before_use_too() -> None:
    committer: Committer[int, int] = Committer(Recorder())
    assert committer.close(WAIT_S)
    assert committer.close(WAIT_S)
    with pytest.raises(StoreUnavailable, match="closed"):
        committer.submit(1).result(WAIT_S)


def test_no_wake_up_is_lost_among_many_threads() -> None:
    committer: Committer[int, int] = Committer(Recorder(), queue_size=4, batch_size=3)

    def a_hundred(start: int) -> int:
        return sum(committer.submit(start).result(WAIT_S) for _ in range(100))

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(a_hundred, [10] * 16)) == 16 * 100 * 20
    committer.close(WAIT_S)


def test_a_cancelled_future_is_written_all_the_same() -> None:
    recorder, committer = held_back()
    future = committer.submit(7)
    assert not future.cancel()
    recorder.gate.set()
    committer.close(WAIT_S)
    assert recorder.batches[-1] == [7]


@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_a_forked_child_begins_with_an_empty_queue_and_its_own_thread() -> None:
    recorder, committer = held_back()
    committer.submit(1)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            recorder.gate.set()
            doubled = committer.submit(5).result(WAIT_S)
            status = 0 if doubled == 10 and recorder.batches == [[5]] else 2
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    recorder.gate.set()
    committer.close(WAIT_S)
    assert recorder.batches == [[0], [1]]


def test_leaving_the_process_drains_the_queue() -> None:
    script = """
import time
from meter.store.committer import Committer
def write(requests):
    time.sleep(0.01)
    print(*requests, flush=True)
    return requests
committer = Committer(write, batch_size=2)
for number in range(6):
    committer.submit(number)
"""
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == ["0", "1", "2", "3", "4", "5"]
