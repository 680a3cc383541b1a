"""Wait for the ledger without holding up the event loop.

Called by `admission` and `relay`.
"""

import asyncio
from concurrent.futures import CancelledError, Future
from typing import TypeVar

from meter.errors import StoreError

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
    wrapped = asyncio.wrap_future(future)
    # Whoever stops looking at it does so on purpose, and that is no error.
    wrapped.add_done_callback(lambda late: late.cancelled() or late.exception())
    await asyncio.wait({wrapped}, timeout=seconds)
    return wrapped.done()


def reason_of(error: BaseException, seconds: float) -> str:
    """Return one sentence on why the ledger did not do what it was asked."""
    return str(error) or f"the ledger did not answer within {seconds:g} seconds"
