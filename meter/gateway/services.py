"""Hold what all calls of a gateway share: engine, upstreams, HTTP session, threads.

Made by `app`, used by `relay` and `listing`.
"""

import asyncio
import logging
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import aiohttp

from meter.gateway.admission import Door
from meter.gateway.keyring import Keyring
from meter.gateway.retries import Retries
from meter.gateway.routing import Router
from meter.gateway.tenants import Tenants
from meter.gateway.upstreams import Upstreams
from meter.pipeline import Pipeline
from meter.store.ledger import Ledger

logger = logging.getLogger("meter.gateway")

_THREADS: Final = 4
_HEAD_BYTES: Final = 65_536
_IDLE_SECONDS: Final = 30
_ENDING_SECONDS: Final = 10
_NOT_ADDED: Final = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")


class Services:
    """What calls share. `open` and `close` run on the event loop."""

    connect_seconds = 10

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
        self.retries = Retries()
        self._session: aiohttp.ClientSession | None = None
        self._endings: set[asyncio.Task[None]] = set()

    @property
    def session(self) -> aiohttp.ClientSession:
        """Return the one session to all upstreams: no cookies, no proxies, nothing decoded."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_IDLE_SECONDS),
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=_NOT_ADDED,
                auto_decompress=False,
                trust_env=False,
                max_line_size=_HEAD_BYTES,
                max_field_size=_HEAD_BYTES,
            )
        return self._session

    def spawn(self, ending: Coroutine[Any, Any, None]) -> None:
        """Let a call end by itself, whatever becomes of its client."""
        task = asyncio.create_task(ending, name="meter-ending")
        self._endings.add(task)
        task.add_done_callback(self._endings.discard)

    async def close(self) -> None:
        """Wait for the calls that are ending, bounded, and close the session."""
        await asyncio.sleep(0)
        if self._endings:
            _, left = await asyncio.wait(self._endings, timeout=_ENDING_SECONDS)
            if left:
                logger.error("%d calls were still ending when the gateway stopped", len(left))
        if self._session is not None:
            await self._session.close()
            self._session = None
        self.threads.shutdown(wait=False)
