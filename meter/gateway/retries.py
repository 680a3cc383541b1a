"""Tie an SDK's retries to the call that failed: another call, but the same operation.

Remembers the digests of failed calls for a while, bounded. Called by `relay`.
"""

import time
from collections import OrderedDict
from hashlib import blake2b
from typing import Final
from uuid import UUID

RETRY_COUNT_HEADER: Final = "x-stainless-retry-count"
"""The openai, anthropic and groq SDKs count their retries in it. Source: openai 3.54."""

_REMEMBERED: Final = 4096
_SECONDS: Final = 600.0


class Retries:
    """The calls that failed lately, by what was asked with which key."""

    def __init__(self) -> None:
        """Begin with none."""
        self._failed: OrderedDict[bytes, tuple[float, UUID]] = OrderedDict()

    def operation_of(self, key_id: str, target: str, body: bytes, count: str) -> UUID | None:
        """Return the operation that a request continues, None when it begins one.

        `count` is what the SDK says of how often it has tried before.
        """
        if not count.isdecimal() or int(count) == 0:
            return None
        failed_at_s, operation_id = self._failed.get(_digest(key_id, target, body), (0.0, None))
        return operation_id if time.monotonic() - failed_at_s < _SECONDS else None

    def remember(self, key_id: str, target: str, body: bytes, operation_id: UUID) -> None:
        """Note a call that failed in a way that SDKs repeat."""
        digest = _digest(key_id, target, body)
        self._failed[digest] = (time.monotonic(), operation_id)
        self._failed.move_to_end(digest)
        if len(self._failed) > _REMEMBERED:
            self._failed.popitem(last=False)


def is_repeated(status: int | None) -> bool:
    """Tell whether SDKs repeat a request that was answered like this (None: not at all)."""
    return status is None or status in (408, 409, 429) or status >= 500


def _digest(key_id: str, target: str, body: bytes) -> bytes:
    asked = blake2b(f"{key_id} {target}".encode(), digest_size=32).digest()
    return blake2b(body, digest_size=16, key=asked).digest()
