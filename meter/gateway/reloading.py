"""Take up changed upstreams while the gateway runs: calls under way keep the ones they have.

The ledger is asked every few seconds, the settings when somebody says so (SIGHUP). What cannot be
read leaves everything as it is. Made and run by `app`.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from meter.errors import MeterError
from meter.gateway.services import Services
from meter.gateway.upstreams import Upstreams

logger = logging.getLogger("meter.gateway")

SECONDS: Final = 5.0
"""How often the ledger is asked whether its upstreams have changed."""


class Reloading:
    """Looks for changes, one at a time."""

    def __init__(self, read: Callable[[], Upstreams]) -> None:
        """Take what reads the upstreams of settings and ledger, on a thread."""
        self._read = read
        self._loop: asyncio.AbstractEventLoop | None = None
        self._asked = asyncio.Event()
        self._was_asked_early = False

    def ask(self) -> None:
        """Look now. Safe in the handler of a signal and from other threads."""
        self._was_asked_early = True
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._asked.set)

    async def run(self, services: Services) -> None:
        """Look again and again, until it is cancelled."""
        self._loop = asyncio.get_running_loop()
        if self._was_asked_early:
            self._asked.set()
        # What changed since the gateway was made is taken up at the first look.
        stored: dict[str, object] | None = None
        while True:
            try:
                async with asyncio.timeout(SECONDS):
                    await self._asked.wait()
            except TimeoutError:
                found = await self._stored(services)
                if found is None or found == stored:
                    continue
                stored = found
            self._asked.clear()
            await self._take_up(services)

    async def _stored(self, services: Services) -> dict[str, object] | None:
        """Return what the ledger keeps, None when it is away."""
        loop = asyncio.get_running_loop()
        try:
            return dict(await loop.run_in_executor(services.threads, services.ledger.upstreams.all))
        except MeterError as error:
            logger.warning("could not look for changed upstreams: %s", error)
            return None

    async def _take_up(self, services: Services) -> None:
        loop = asyncio.get_running_loop()
        try:
            found = await loop.run_in_executor(services.threads, self._read)
        except MeterError as error:
            logger.error("the upstreams stay as they were: %s", error)
            return
        if found.listed == services.router.upstreams.listed:
            return
        services.router.upstreams = found
        names = ", ".join(each.name for each in found.listed)
        logger.info("the upstreams are now: %s", names)
