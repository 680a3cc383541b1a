"""Hold what all calls of a gateway share: engine, upstreams, HTTP client, threads.

Made by `app`, used by `relay` and `listing`.
"""

import asyncio
import logging
import time
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from meter.gateway.admission import Door
from meter.gateway.bounding import Bounding
from meter.gateway.http.client import Client
from meter.gateway.keyring import Keyring
from meter.gateway.retries import Retries
from meter.gateway.routing import Router
from meter.gateway.tenants import Tenants
from meter.gateway.upstreams import Upstreams
from meter.imported import ImportedPrices
from meter.pipeline import Pipeline
from meter.prices.book import PriceBook
from meter.reports.settling import settle_as_set
from meter.store.ledger import Ledger

logger = logging.getLogger("meter.gateway")

_THREADS: Final = 4
_ENDING_SECONDS: Final = 10
_SETTLE_SECONDS: Final = 3600


class Services:
    """What calls share. `open` and `close` run on the event loop."""

    def __init__(self, pipeline: Pipeline, ledger: Ledger, upstreams: Upstreams) -> None:
        """Put the parts together; nothing is opened yet."""
        settings = pipeline.settings
        self.pipeline = pipeline
        self.ledger = ledger
        self.threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="meter-gateway")
        self.router = Router(upstreams, settings)
        self.keyring = Keyring(ledger.keys, settings.key_cache_seconds, self.threads)
        self.door = Door(pipeline, ledger, self.threads)
        self.tenants = Tenants(ledger.owned, self.threads, is_shared=settings.allow_stored_objects)
        # A price book, as the façade makes it: what is imported is laid over it in place.
        assert isinstance(pipeline.prices, PriceBook)
        self.imported = ImportedPrices(pipeline.prices, ledger.price_files)
        self.retries = Retries()
        self.client = Client()
        self.bounding = Bounding(pipeline, self.client, self.threads)
        self._settles_s = 0.0
        self._endings: set[asyncio.Task[None]] = set()

    def spawn(self, ending: Coroutine[Any, Any, None]) -> None:
        """Let a call end by itself, whatever becomes of its client."""
        task = asyncio.create_task(ending, name="meter-ending")
        self._endings.add(task)
        task.add_done_callback(self._endings.discard)

    def settle_unsettled(self) -> int:
        """Settle the unsettled calls as the settings say, now and then; return how many.

        Raises: StoreUnavailable.
        """
        settings, now_s = self.pipeline.settings, time.monotonic()
        if now_s < self._settles_s:
            return 0
        self._settles_s = now_s + min(settings.unsettled_seconds, _SETTLE_SECONDS)
        return settle_as_set(self.ledger, self.pipeline.prices, settings)

    async def close(self) -> None:
        """Wait for the calls that are ending, bounded, and close the session."""
        await asyncio.sleep(0)
        if self._endings:
            _, left = await asyncio.wait(self._endings, timeout=_ENDING_SECONDS)
            if left:
                logger.error("%d calls were still ending when the gateway stopped", len(left))
        await self.client.close()
        self.threads.shutdown(wait=False)
