"""A waiting caller writes its own request; nothing is lost between it and the thread."""

import threading
import time

import pytest

from meter.errors import StoreUnavailable
from meter.store.committer import Committer


def test_a_lone_caller_writes_on_its_own_thread():
    threads = []

    def write(requests):
        threads.append(threading.current_thread())
        return list(requests)

    committer = Committer(write)
    future = committer.submit(1, on_this_thread=True)
    assert (future.done(), future.result()) == (True, 1)
    assert threads == [threading.current_thread()]
    assert committer.close(1)


def test_requests_that_come_meanwhile_are_written_by_the_thread_after_it():
    begun, go_on = threading.Event(), threading.Event()
    written = []

    def write(requests):
        if requests == ["first"]:
            begun.set()
            assert go_on.wait(5)
        written.append(list(requests))
        return list(requests)

    committer = Committer(write)
    first = threading.Thread(target=committer.submit, args=["first"],
                             kwargs={"on_this_thread": True})  # fmt: skip
    first.start()
    assert begun.wait(5)
    later = [committer.submit(n, on_this_thread=n % 2 == 0) for n in range(5)]
    time.sleep(0.05)
    assert not any(future.done() for future in later)
    go_on.set()
    assert [future.result(5) for future in later] == [0, 1, 2, 3, 4]
    first.join(5)
    assert written[0] == ["first"]
    assert committer.close(5)


def test_closing_waits_for_a_caller_that_is_writing():
    begun, go_on = threading.Event(), threading.Event()

    def write(requests):
        begun.set()
        assert go_on.wait(5)
        return list(requests)

    committer = Committer(write)
    caller = threading.Thread(target=committer.submit, args=[1], kwargs={"on_this_thread": True})
    caller.start()
    assert begun.wait(5)
    assert not committer.close(0.05)
    go_on.set()
    caller.join(5)
    assert committer.close(5)
    with pytest.raises(StoreUnavailable):
        committer.submit(2, on_this_thread=True).result(1)


def test_a_failed_write_is_the_caller_s_answer_and_the_next_one_works():
    failures = [OSError("disk")]

    def write(requests):
        if failures:
            raise failures.pop()
        return list(requests)

    committer = Committer(write)
    with pytest.raises(OSError, match="disk"):
        committer.submit(1, on_this_thread=True).result(1)
    assert committer.submit(2, on_this_thread=True).result(1) == 2
    assert committer.close(1)


def test_many_callers_at_once_are_each_answered_once():
    seen = []

    def write(requests):
        seen.extend(requests)
        return list(requests)

    committer = Committer(write, queue_size=8, batch_size=4)
    answers = []

    def call(start):
        for number in range(start, start + 200):
            answers.append(committer.submit(number, on_this_thread=number % 3 > 0).result(10))

    threads = [threading.Thread(target=call, args=[1000 * n]) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert (
        sorted(answers)
        == sorted(seen)
        == sorted(1000 * n + i for n in range(8) for i in range(200))
    )
    assert committer.close(5)
