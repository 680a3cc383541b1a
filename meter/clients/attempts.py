"""Tie the attempts of one operation together: an SDK's retry is another call, not another wish.

A failed attempt is remembered in the caller's context (a thread, or an asyncio task). The next
request there with the same path and body continues its operation. Knows no HTTP library; called
by both transports.
"""

import time
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from hashlib import blake2b
from uuid import UUID

RETRY_SECONDS = 600
"""A repetition later than this is a new operation, unless the SDK itself counts it as a retry."""

RETRY_COUNT_HEADER = "x-stainless-retry-count"
"""The openai, anthropic and groq SDKs count their retries in it. Source: openai 3.54."""

RETRIED_STATUSES = frozenset({408, 409, 429})


@dataclass(frozen=True, slots=True)
class _Attempt:
    operation_id: UUID
    digest: bytes
    failed_at_s: float


_failed: ContextVar[_Attempt | None] = ContextVar("meter_failed_attempt", default=None)


def continued_operation(path: str, body: bytes, headers: Mapping[str, str]) -> UUID | None:
    """Return the operation that this request continues, None when it begins one."""
    last = _failed.get()
    if last is None or last.digest != _digest(path, body):
        return None
    is_retry = headers.get(RETRY_COUNT_HEADER, "0") != "0"
    is_recent = time.monotonic() - last.failed_at_s < RETRY_SECONDS
    return last.operation_id if is_retry or is_recent else None


def remember_failure(operation_id: UUID, path: str, body: bytes) -> None:
    """Note that this attempt failed in a way that SDKs repeat."""
    _failed.set(_Attempt(operation_id, _digest(path, body), time.monotonic()))


def forget_failure() -> None:
    """Note that an attempt in this context came through."""
    if _failed.get() is not None:
        _failed.set(None)


def is_repeated(status: int, headers: Mapping[str, str]) -> bool:
    """Tell whether SDKs repeat a request that was answered like this."""
    wish = headers.get("x-should-retry")
    if wish in {"true", "false"}:
        return wish == "true"
    return status in RETRIED_STATUSES or status >= 500


def _digest(path: str, body: bytes) -> bytes:
    return blake2b(
        body, digest_size=16, key=blake2b(path.encode(), digest_size=32).digest()
    ).digest()
