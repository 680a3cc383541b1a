"""Do the steps of an exchange that need no HTTP library: ask the ledger first, tell it last.

Both in threads and in event loops (asyncio; trio through anyio). Called by both transports.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from typing import TypeVar

import anyio.to_thread

from meter.attribution import present
from meter.clients.attempts import (
    continued_operation,
    forget_failure,
    is_repeated,
    remember_failure,
)
from meter.config import Settings
from meter.core.call import Outcome
from meter.core.ports import Answer
from meter.errors import StoreError, StoreUnavailable
from meter.pipeline import OpenCall, Pipeline

logger = logging.getLogger("meter")

Result = TypeVar("Result")

_SWITCHING_PROTOCOLS = 101

FORM_LIMIT_BYTES = 32 * 1024 * 1024
"""A form above this size is sent unread: the largest audio upload of OpenAI's is 25 MB."""

AWAY = (StoreError, TimeoutError, CancelledError)
"""What the ledger's futures raise when the ledger cannot do what it was asked."""


def open_call(
    pipeline: Pipeline,
    *,
    host: str,
    method: str,
    path: str,
    headers: Mapping[str, str],
    body: bytes,
) -> OpenCall:
    """Read a request and estimate it; nothing is written or sent.

    `host` carries its port where one is given, `path` its query. `body` is empty when it is not
    JSON in memory.
    """
    call = pipeline.open_call(
        pipeline.dialect_at(host, path),
        method=method,
        path=path,
        content_type=headers.get("content-type"),
        body=body,
        attribution=present(),
        operation_id=continued_operation(path, body, headers),
    )
    call.estimate()
    return call


def plain_headers(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return headers by their lower-case names.

    The libraries' own objects decode all headers anew for each one that is asked for.
    """
    plain: dict[str, str] = {}
    for name, value in raw:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        plain[key] = f"{plain[key]}, {text}" if key in plain else text
    return plain


def is_json(headers: Mapping[str, str]) -> bool:
    """Tell whether a request says that its body is JSON, or says nothing."""
    content_type = headers.get("content-type")
    return content_type is None or "json" in content_type.lower()


def is_form(headers: Mapping[str, str]) -> bool:
    """Tell whether a request is a form small enough to be read: what it asks for is in it."""
    length = headers.get("content-length", "")
    is_small = length.isdecimal() and int(length) <= FORM_LIMIT_BYTES
    return is_small and headers.get("content-type", "").lower().startswith("multipart/form-data")


def looks_ahead(call: OpenCall, settings: Settings, headers: Mapping[str, str]) -> bool:
    """Tell whether each chunk of the answer waits for the next one.

    The end of a body that names no end is known only when nothing follows. A stream is handed on
    in its own rhythm instead: it carries its end marker.
    """
    if call.call.streaming or not call.reading.metered or call.reading.free:
        return False
    return settings.settle_before_last_byte and not _is_event_stream(headers)


def dropped_headers(call: OpenCall, headers: Mapping[str, str]) -> frozenset[bytes]:
    """Return the headers of the answer (lower case) that are not true of what is handed out."""
    if call.hands_out_identity:
        return frozenset({b"content-encoding", b"content-length"})
    # The usage that was asked for in addition is taken out of the body again.
    is_edited = call.reading.strip_usage and _is_event_stream(headers)
    return frozenset({b"content-length"}) if is_edited else frozenset()


def _is_event_stream(headers: Mapping[str, str]) -> bool:
    return headers.get("content-type", "").lower().startswith("text/event-stream")


def ask(call: OpenCall, settings: Settings) -> Answer | None:
    """Reserve; return the answer to give instead of sending, None when the call may go ahead."""
    try:
        verdict = call.reserve(on_this_thread=True).result(settings.reserve_seconds)
    except AWAY as error:
        return _without_ledger(call, settings, error)
    except BaseException:
        call.abandon()
        raise
    return call.judge(verdict)


async def ask_async(call: OpenCall, settings: Settings) -> Answer | None:
    """Do the same as `ask` in an event loop."""
    try:
        verdict = await _wait(call.reserve(), settings.reserve_seconds)
    except AWAY as error:
        return _without_ledger(call, settings, error)
    except BaseException:
        call.abandon()
        raise
    return call.judge(verdict)


def settle(call: OpenCall, outcome: Outcome, settings: Settings) -> None:
    """Close the call and wait until its record is durable.

    The answer is already paid for: whatever becomes of the record, the client gets its bytes.
    """
    try:
        waits = settings.settle_before_last_byte
        recorded = call.close(outcome, on_this_thread=waits)
        if waits:
            recorded.result(settings.store_seconds)
    except Exception as error:
        _not_recorded(call, error)


async def settle_async(call: OpenCall, outcome: Outcome, settings: Settings) -> None:
    """Do the same as `settle` in an event loop."""
    try:
        recorded = call.close(outcome)
        if settings.settle_before_last_byte:
            await _wait(recorded, settings.store_seconds)
    except Exception as error:
        _not_recorded(call, error)


def close(call: OpenCall, outcome: Outcome) -> None:
    """Close a call whose client does not wait for it any more."""
    try:
        call.close(outcome)
    except Exception as error:
        _not_recorded(call, error)


def abandon(call: OpenCall) -> None:
    """Close a call that was never sent."""
    try:
        call.abandon()
    except Exception as error:
        _not_recorded(call, error)


def note_unanswered(
    call: OpenCall,
    path: str,
    error: BaseException,
    never_sent: tuple[type[Exception], ...],
    time_out: type[Exception],
) -> None:
    """Close a call that raised before any answer began.

    After the errors `never_sent` no upstream can have seen a whole request.
    """
    if isinstance(error, Exception):
        remember_failure(call.call.operation_id, path, call.request_body)
    if isinstance(error, never_sent):
        abandon(call)
    else:
        close(call, outcome_of(error, time_out))


def begun(call: OpenCall, path: str, status: int, headers: Mapping[str, str]) -> bool:
    """Note that an answer began; return whether it has a body to watch."""
    if is_repeated(status, headers):
        remember_failure(call.call.operation_id, path, call.request_body)
    else:
        forget_failure()
    call.start(status, headers)
    if status == _SWITCHING_PROTOCOLS:
        # From here on the connection speaks another protocol, past the transport.
        close(call, Outcome.COMPLETED)
    return status != _SWITCHING_PROTOCOLS


def outcome_of(error: BaseException, time_out: type[Exception]) -> Outcome:
    """Name how a call ended that was sent and then raised."""
    if isinstance(error, time_out):
        return Outcome.TIMED_OUT
    return Outcome.UPSTREAM_FAILED if isinstance(error, Exception) else Outcome.CLIENT_CLOSED


def in_asyncio() -> bool:
    """Tell whether this runs in an asyncio task (trio's tasks are not)."""
    try:
        return asyncio.current_task() is not None
    except RuntimeError:
        return False


def is_drained(call: OpenCall, settings: Settings) -> bool:
    """Tell whether the rest of an answer is read after its client left, to learn its usage."""
    is_open = not call.ended and call.reading.metered and not call.reading.free
    return is_open and settings.on_client_close == "drain"


def outcome_on_leaving(call: OpenCall) -> Outcome:
    """Name how a call ended whose client let go of the answer."""
    return Outcome.COMPLETED if call.ended else Outcome.CLIENT_CLOSED


async def _wait(future: Future[Result], seconds: float) -> Result:
    """Wait for the ledger. Being cancelled leaves the future as it is: it will be written."""
    if future.done():
        return future.result()
    if not in_asyncio():
        return await anyio.to_thread.run_sync(future.result, seconds, abandon_on_cancel=True)
    loop = asyncio.get_running_loop()
    woken: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not woken.done():
            woken.set_result(None)

    def tell(_answered: Future[Result]) -> None:
        with suppress(RuntimeError):  # the loop has ended meanwhile: nobody waits any more
            loop.call_soon_threadsafe(wake)

    future.add_done_callback(tell)
    patience = loop.call_later(seconds, wake)
    try:
        await woken
    finally:
        patience.cancel()
    if not future.done():
        raise TimeoutError
    return future.result()


def _without_ledger(call: OpenCall, settings: Settings, error: BaseException) -> Answer | None:
    reason = str(error) or f"it did not answer within {settings.reserve_seconds} seconds"
    # A spool keeps what the ledger cannot take: where it is away too, nothing could be recorded.
    if settings.on_store_failure == "refuse" or isinstance(error, StoreUnavailable):
        # The ledger may yet get to the reservation that was given up.
        abandon(call)
        return call.refuse_without_store(reason)
    logger.warning("call %s goes ahead without its record: %s", call.call.id, reason)
    return call.judge(())


def _not_recorded(call: OpenCall, error: Exception) -> None:
    reason = str(error) or "the ledger did not answer in time"
    is_expected = isinstance(error, AWAY)
    logger.error(
        "call %s has ended and is not recorded: %s",
        call.call.id,
        reason,
        exc_info=None if is_expected else error,
    )
