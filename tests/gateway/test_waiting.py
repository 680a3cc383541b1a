"""Waiting for the ledger: many at once, bounded, and whatever becomes of whoever waits."""

import asyncio
import gc
import threading
import weakref
from concurrent.futures import Future

import pytest

from meter.errors import StoreUnavailable
from meter.gateway.waiting import Bell, is_done, wait


def test_everybody_whose_future_is_done_is_woken_by_few_rings(monkeypatch):
    rings: list[int] = []

    async def check() -> None:
        loop = asyncio.get_running_loop()
        futures: list[Future[int]] = [Future() for _ in range(100)]
        waiting = [asyncio.create_task(wait(future, 10)) for future in futures]
        await asyncio.sleep(0)
        call = loop.call_soon_threadsafe
        monkeypatch.setattr(
            loop, "call_soon_threadsafe", lambda *given: (rings.append(1), call(*given))[1]
        )

        def answer() -> None:
            for number, future in enumerate(futures):
                future.set_result(number)

        # The loop does not turn meanwhile, as under load: one ring is enough for all.
        answering = threading.Thread(target=answer)
        answering.start()
        answering.join()
        assert await asyncio.gather(*waiting) == list(range(100))

    asyncio.run(check())
    assert sum(rings) == 1


def test_an_answer_that_is_there_is_not_waited_for():
    done: Future[str] = Future()
    done.set_result("held")
    assert asyncio.run(wait(done, 0)) == "held"


def test_an_answer_that_does_not_come_is_given_up_and_may_come_later():
    async def check() -> None:
        future: Future[str] = Future()
        with pytest.raises(TimeoutError):
            await wait(future, 0.01)
        assert not await is_done(future, 0.01)
        future.set_result("late")
        await asyncio.sleep(0)
        assert await wait(future, 1) == "late"

    asyncio.run(check())


def test_a_fault_of_the_ledger_is_raised_where_it_is_waited_for():
    async def check() -> None:
        future: Future[str] = Future()
        waiting = asyncio.create_task(wait(future, 10))
        await asyncio.sleep(0)
        future.set_exception(StoreUnavailable("the ledger is away"))
        with pytest.raises(StoreUnavailable):
            await waiting

    asyncio.run(check())


def test_being_cancelled_leaves_the_write_as_it_is():
    async def check() -> Future[str]:
        future: Future[str] = Future()
        future.set_running_or_notify_cancel()
        waiting = asyncio.create_task(wait(future, 10))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert not future.cancelled()
        return future

    future = asyncio.run(check())
    # Its loop is closed by now, and that troubles nobody who writes.
    future.set_result("written")
    assert future.result() == "written"


def test_a_loop_that_is_done_with_is_not_kept():
    async def check() -> "weakref.ref[asyncio.AbstractEventLoop]":
        future: Future[str] = Future()
        waiting = asyncio.create_task(wait(future, 10))
        await asyncio.sleep(0)
        future.set_result("done")
        await waiting
        return weakref.ref(asyncio.get_running_loop())

    known = asyncio.run(check())
    gc.collect()
    assert known() is None


def test_a_bell_whose_loop_is_closed_rings_for_nobody():
    loop = asyncio.new_event_loop()
    waiter = loop.create_future()
    bell = Bell(loop)
    loop.close()
    bell.ring(waiter)
    bell.ring(waiter)
    assert not waiter.done()
