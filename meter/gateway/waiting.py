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
    if future.done():
        return future.result()
    wrapped = asyncio.wrap_future(future)
    try:
        await asyncio.wait({wrapped}, timeout=seconds)
    finally:
        if not wrapped.done():
            # Nobody looks at it any more, and that is no error.
            wrapped.add_done_callback(lambda late: late.cancelled() or late.exception())
    if not wrapped.done():
        raise TimeoutError
    return wrapped.result()


def reason_of(error: BaseException, seconds: float) -> str:
    """Return one sentence on why the ledger did not do what it was asked."""
    return str(error) or f"the ledger did not answer within {seconds:g} seconds"
