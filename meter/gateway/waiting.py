"""Wait for the ledger without holding up the event loop.

Called by `admission` and `relay`.
"""

import asyncio
from collections import deque
from concurrent.futures import CancelledError, Future
from functools import partial
from typing import Final, TypeVar
from weakref import WeakKeyDictionary, ref

from meter.errors import StoreError

_LOOK_SECONDS: Final = 0.1

Result = TypeVar("Result")

AWAY = (StoreError, TimeoutError, CancelledError)
"""What the ledger's futures raise when it cannot do what it was asked."""


async def wait(future: Future[Result], seconds: float) -> Result:
    """Return what the ledger answers. Being cancelled leaves the write as it is: it will be made.

    Raises: StoreError, TimeoutError.
    """
    if not await is_done(future, seconds):
        raise TimeoutError
    return future.result()


async def is_done(future: Future[Result], seconds: float) -> bool:
    """Tell whether the ledger has answered, after waiting for at most so long."""
    if future.done():
        return True
    loop = asyncio.get_running_loop()
    bell = _BELLS.get(loop)
    if bell is None:
        bell = _BELLS[loop] = Bell(loop)
    waiter = bell.waiter(seconds)
    future.add_done_callback(partial(bell.ring, waiter))
    try:
        await waiter
    finally:
        bell.forget(waiter)
    return future.done()


class Bell:
    """Wakes the tasks of one event loop from other threads, all that are due in one turn.

    The ledger answers a whole batch at once: to call the loop once for each of its calls would
    cost more than the calls' waiting, and so would a timer for each. Whoever has waited too long
    is woken within a tenth of a second.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Ring for the tasks of this loop, and do not keep it."""
        self._loop = ref(loop)
        self._due: deque[asyncio.Future[None]] = deque()
        self._is_rung = False
        self._until: dict[asyncio.Future[None], float] = {}
        self._is_looking = False

    def waiter(self, seconds: float) -> "asyncio.Future[None]":
        """Return what to await: it is done when it is rung for, or after so many seconds."""
        loop = asyncio.get_running_loop()
        waiter = loop.create_future()
        self._until[waiter] = loop.time() + seconds
        if not self._is_looking:
            self._is_looking = True
            loop.call_later(_LOOK_SECONDS, self._look)
        return waiter

    def forget(self, waiter: "asyncio.Future[None]") -> None:
        """Note that nobody awaits it any more."""
        self._until.pop(waiter, None)

    def ring(self, waiter: "asyncio.Future[None]", _done: object = None) -> None:
        """Wake whoever awaits `waiter`; from any thread."""
        self._due.append(waiter)
        if self._is_rung:
            return
        self._is_rung = True
        loop = self._loop()
        try:
            if loop is not None:
                loop.call_soon_threadsafe(self._wake_all)
        except RuntimeError:
            # The loop has been closed: nobody waits there any more.
            self._due.clear()

    def _look(self) -> None:
        """Wake whoever has waited for too long."""
        loop = asyncio.get_running_loop()
        now_s = loop.time()
        for waiter, until_s in [*self._until.items()]:
            if until_s <= now_s:
                _wake(waiter)
        self._is_looking = bool(self._until)
        if self._is_looking:
            loop.call_later(_LOOK_SECONDS, self._look)

    def _wake_all(self) -> None:
        # First, so that what is added from now on rings again.
        self._is_rung = False
        due = self._due
        while due:
            _wake(due.popleft())


_BELLS: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, Bell]] = WeakKeyDictionary()


def _wake(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)


def reason_of(error: BaseException, seconds: float) -> str:
    """Return one sentence on why the ledger did not do what it was asked."""
    return str(error) or f"the ledger did not answer within {seconds:g} seconds"
