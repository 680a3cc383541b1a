"""Tell whose key a request carries, from memory for a few seconds and else from the ledger.

Keeps hashes only. Called by `app`, on the event loop.
"""

import asyncio
import time
from collections import OrderedDict
from concurrent.futures import Executor
from typing import Final

from meter.clock import now_us
from meter.gateway.rejections import Rejected
from meter.store.keys import Key, Keys, digest_of

_REMEMBERED: Final = 10_000
_LONGEST: Final = 200


class Keyring:
    """Looks keys up. Unknown ones are remembered too, so that guessing does not cost reads."""

    def __init__(self, keys: Keys, seconds: float, threads: Executor) -> None:
        """Remember what was found for that many seconds; read the ledger on the threads."""
        self._keys = keys
        self._seconds = seconds
        self._threads = threads
        self._known: OrderedDict[bytes, tuple[float, Key | None]] = OrderedDict()

    async def key_of(self, secret: str) -> Key:
        """Return the active key of a secret. Raises: Rejected (401), StoreError."""
        if not secret or len(secret) > _LONGEST:
            raise Rejected(
                401, "invalid_api_key", "found no key of this gateway, expected one such as mk-…"
            )
        digest = digest_of(secret)
        until, key = self._known.get(digest, (0.0, None))
        if until < time.monotonic():
            loop = asyncio.get_running_loop()
            key = await loop.run_in_executor(self._threads, self._keys.find, secret)
            self._remember(digest, key)
        if key is None:
            raise Rejected(401, "invalid_api_key", "this key is not known here")
        state = key.state_at(now_us())
        if state != "active":
            raise Rejected(401, "invalid_api_key", f"this key ({key.prefix}…) is {state}")
        return key

    def _remember(self, digest: bytes, key: Key | None) -> None:
        self._known[digest] = (time.monotonic() + self._seconds, key)
        self._known.move_to_end(digest)
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
