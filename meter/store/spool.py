"""Keep what the ledger cannot take just now: an append-only file, replayed when it is back.

The library's answer to a ledger that is away: calls go on, their records wait in the file. Each
line is one write with the id that its caller chose, so replaying a line twice is a no-op, and a
replay that breaks off begins again from the start. Called through `meter.core.ports.Store`.
"""

import json
import logging
import os
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

from meter.core.budgets import Hold, Refusal
from meter.core.call import Call
from meter.core.event import UsageEvent
from meter.core.rates import RateCard
from meter.errors import MeterError, StoreUnavailable
from meter.store.encoding import (
    NO_BOOKS,
    card_from_row,
    card_to_row,
    event_from_row,
    event_to_row,
)
from meter.store.ledger_store import LedgerStore

logger = logging.getLogger("meter")

Result = TypeVar("Result")


class SpoolingStore:
    """A ledger store that writes to a file what the ledger cannot take. Thread-safe.

    While the ledger is away no budget can be asked: calls go ahead without holds.
    """

    def __init__(self, inner: LedgerStore, path: Path) -> None:
        """Take the ledger's store and the file's path; the file is made when it is needed."""
        self._inner = inner
        self._path = path
        self._lock = threading.Lock()
        self._failing = False

    def reserve(
        self,
        call: Call,
        issuer: str,
        card: RateCard | None,
        *,
        on_this_thread: bool = False,
        waits: bool = True,
    ) -> "Future[tuple[Hold, ...] | Refusal]":
        """Note that the call is about to leave; nothing is lost when the ledger is away.

        A call that is only reserved here and whose process then dies is not in the file: it
        leaves a record when it ends.
        """
        future = self._inner.reserve(call, issuer, card, on_this_thread=on_this_thread, waits=waits)
        return self._or_else(future, lambda: ())

    def settle(
        self,
        event: UsageEvent,
        card: RateCard | None = None,
        others: tuple[RateCard, ...] = (),
        *,
        on_this_thread: bool = False,
    ) -> "Future[None]":
        """Record how the call ended, in the ledger or in the file."""
        future = self._inner.settle(event, card, others, on_this_thread=on_this_thread)
        return self._or_else(future, lambda: self._append(event, card, others))

    def release(self, call: Call) -> "Future[None]":
        """Undo `reserve`; what the ledger could not take need not be undone in it."""
        return self._or_else(self._inner.release(call), lambda: None)

    def replay(self) -> int:
        """Write the file's records into the ledger and remove it; return how many there were.

        Safe to repeat and to run from several processes: one at a time gets the file.

        Raises: StoreUnavailable when the ledger is away again; the file is kept then.
        """
        with self._lock, _locked(self._path) as lines:
            if not lines:
                return 0
            written = [self._inner.settle(*record) for record in _records(lines)]
            for future in written:
                _settled(future)
            self._path.unlink(missing_ok=True)
            self._failing = False
        logger.warning("wrote %d spooled records into the ledger", len(written))
        return len(written)

    def _append(
        self, event: UsageEvent, card: RateCard | None, others: tuple[RateCard, ...] = ()
    ) -> None:
        line = _line(event, card, others)
        with self._lock, _locked(self._path, read=False):
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                os.write(descriptor, line)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def _or_else(self, future: "Future[Result]", instead: Any) -> "Future[Result]":
        """Return a future that answers `instead()` where the ledger was not available."""
        if future.done() and future.exception() is None:
            return future
        answer: Future[Result] = Future()
        answer.set_running_or_notify_cancel()

        def pass_on(done: "Future[Result]") -> None:
            error = done.exception()
            if error is None:
                answer.set_result(done.result())
                return
            if not isinstance(error, StoreUnavailable):
                answer.set_exception(error)
                return
            if not self._failing:
                self._failing = True
                logger.warning("the ledger is away, records go to %s: %s", self._path, error)
            try:
                answer.set_result(instead())
            except OSError as failure:
                sentence = f"{error}; and the spool {self._path} cannot be written: {failure}"
                answer.set_exception(StoreUnavailable(sentence))

        future.add_done_callback(pass_on)
        return answer


def _settled(future: "Future[None]") -> None:
    """Wait for a replayed record. One that can never be written must not block the others."""
    try:
        future.result()
    except StoreUnavailable:
        raise
    except MeterError as error:
        logger.error("a spooled record is refused by the ledger: %s", error)


def _line(event: UsageEvent, card: RateCard | None, others: tuple[RateCard, ...] = ()) -> bytes:
    record = {
        "event": event_to_row(event),
        "billing_ids": event.billing_ids,
        "card": None if card is None else card_to_row(card),
        "others": [card_to_row(other) for other in others],
    }
    return json.dumps(record, default=str, ensure_ascii=True).encode() + b"\n"


def _records(
    lines: list[bytes],
) -> Iterator[tuple[UsageEvent, RateCard | None, tuple[RateCard, ...]]]:
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
            row = {**NO_BOOKS, **record["event"]}
            for name in ("call_id", "operation_id"):
                row[name] = UUID(row[name]) if row[name] else None
            card = None if record["card"] is None else card_from_row(record["card"])
            event = replace(event_from_row(row), billing_ids=tuple(record["billing_ids"]))
            yield event, card, tuple(card_from_row(other) for other in record.get("others", ()))
        except (ValueError, KeyError, TypeError) as error:
            # The last line of a file whose writer was killed half-way; its call is in the ledger
            # as an open call or was never acknowledged.
            logger.error("line %d of the spool cannot be read: %s", number, error)


@contextmanager
def _locked(path: Path, *, read: bool = True) -> Iterator[list[bytes]]:
    """Hold the spool for this process; yield its lines where `read` is asked and it exists."""
    if read and not path.exists():
        yield []
        return
    lock = path.with_name(path.name + ".lock")
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _lock_file(descriptor)
        yield path.read_bytes().splitlines() if read and path.exists() else []
    finally:
        os.close(descriptor)


def _lock_file(descriptor: int) -> None:
    try:
        import fcntl
    except ImportError:
        return  # Windows: one process keeps the spool.
    fcntl.flock(descriptor, fcntl.LOCK_EX)
