"""Keep what the ledger cannot take just now: an append-only file, replayed when it is back.

How a call ended is kept always: its answer may go out, for its record is on disk. Where calls are
to go on without the ledger, the library's way, the file also takes that they leave. Each line is
one write with the id that its caller chose, so replaying a line twice is a no-op, and a replay that
breaks off begins again from the start. A file that is being replayed has another name, so that
records can be added meanwhile. What not even the file can take, on a full disk, is kept in memory
and written as soon as the ledger takes records again. Called through `meter.core.ports.Store`.
"""

import json
import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, Final, TypeVar
from uuid import UUID, uuid4

from meter.core.budgets import Hold, Refusal
from meter.core.call import Call
from meter.core.event import Parts, UsageEvent
from meter.core.rates import RateCard
from meter.errors import MeterError, StoreUnavailable
from meter.store.encoding import (
    NO_BOOKS,
    Row,
    call_from_open_row,
    card_from_row,
    card_to_row,
    event_from_row,
    event_to_row,
)
from meter.store.ledger_store import LedgerStore

logger = logging.getLogger("meter")

Result = TypeVar("Result")

_AT_ONCE: Final = 256
_MOST_KEPT: Final = 10_000
"""How many ends of calls are kept in memory where even the file cannot be written: some 20 MB."""

_TAKEN: Final = ".taken-"
_IDS: Final = ("call_id", "operation_id")


class SpoolingStore:
    """A ledger store that writes to a file what the ledger cannot take. Thread-safe.

    With `keeps_intents` calls go ahead while the ledger is away, without holds, as no budget can
    be asked; else their reservations fail. As soon as the ledger takes a record again, the file is
    replayed beside the calls. The futures raise StoreUnavailable when neither the ledger nor the
    file can take a record: it is not durable then, though the end of a call is still tried again
    as long as this process lives.
    """

    def __init__(self, inner: LedgerStore, path: Path, *, keeps_intents: bool = True) -> None:
        """Take the ledger's store and the file's path; the file is made when it is needed."""
        self._keeps_intents = keeps_intents
        self._inner = inner
        self._path = path
        self._lock = threading.Lock()
        self._one_replay = threading.Lock()
        self._failing = False
        self._spooled: set[UUID] = set()
        self._kept: deque[tuple[UsageEvent, RateCard | None, tuple[RateCard, ...]]] = deque()

    def reserve(
        self,
        call: Call,
        issuer: str,
        card: RateCard | None,
        *,
        on_this_thread: bool = False,
        waits: bool = True,
    ) -> "Future[tuple[Hold, ...] | Refusal]":
        """Note that the call is about to leave, in the ledger with its holds or in the file."""
        future = self._inner.reserve(call, issuer, card, on_this_thread=on_this_thread, waits=waits)

        if not self._keeps_intents:
            return future

        def spool() -> tuple[Hold, ...]:
            self._append("intent", self._inner.row_of(call, issuer, card), card)
            self._spooled.add(call.id)
            return ()

        return self._or_else(future, spool)

    def settle(
        self,
        event: UsageEvent,
        card: RateCard | None = None,
        others: tuple[RateCard, ...] = (),
        *,
        on_this_thread: bool = False,
    ) -> "Future[None]":
        """Record how the call ended, in the ledger or in the file."""
        self._spooled.discard(event.call.id)
        if self._failing:
            future = self._inner.settle(event, card, others, on_this_thread=on_this_thread)
            return self._or_else(future, lambda: self._append_event(event, card, others))

        def spool(error: BaseException) -> None:
            self._instead(error, lambda: self._append_event(event, card, others))

        # What nearly always holds costs no future of its own.
        return self._inner.settle(
            event, card, others, on_this_thread=on_this_thread, otherwise=spool
        )

    def settle_parts(self, parts: Parts, cards: tuple[RateCard, ...]) -> "Future[None]":
        """Record what requests of a batch used, in the ledger or in the file."""
        future = self._inner.settle_parts(parts, cards)
        return self._or_else(future, lambda: self._append_parts(parts, cards))

    def release(self, call: Call) -> "Future[None]":
        """Undo `reserve`, also where it has only come as far as the file."""
        if call.id in self._spooled:
            self._spooled.discard(call.id)
            try:
                self._append("release", {"call_id": call.id})
            except OSError as failure:
                logger.error("call %s was not sent and stays open: %s", call.id, failure)
        # What the ledger could not take need not be undone in it.
        return self._or_else(self._inner.release(call), lambda: None)

    def replay(self) -> int:
        """Write the file's records into the ledger and remove it; return how many there were.

        Safe to repeat and to run from several processes: each file is one process's at a time.

        Raises: StoreUnavailable when the ledger is away again; the file is kept then.
        """
        written = 0
        with self._one_replay:
            self._take()
            for taken in sorted(self._path.parent.glob(f"{self._path.name}{_TAKEN}*")):
                with _own(taken) as file:
                    if file is not None:
                        written += self._replay(file)
                        taken.unlink()
            while self._kept:
                _settled(self._inner.settle(*self._kept[0]))
                self._kept.popleft()
                written += 1
            self._failing = False
        if written:
            logger.warning("wrote %d spooled records into the ledger", written)
        return written

    def replay_what_waits(self) -> int:
        """Replay where anything waits, also what other processes left; return how many there were.

        For when no call comes whose record would show that the ledger is back. Raises: as `replay`.
        """
        waits = self._kept or any(self._path.parent.glob(f"{self._path.name}{_TAKEN}*"))
        return self.replay() if waits or self._path.exists() else 0

    def _take(self) -> None:
        """Give the file another name, so that it does not grow while it is replayed."""
        if self._path.exists():
            with self._lock, _locked(self._path):
                if self._path.exists():
                    self._path.rename(self._path.with_name(f"{self._path.name}{_TAKEN}{uuid4()}"))

    def _replay(self, file: IO[bytes]) -> int:
        waiting: deque[Future[Any]] = deque()
        count = 0
        for number, line in enumerate(file, 1):
            future = self._resubmitted(number, line)
            if future is None:
                continue
            count += 1
            waiting.append(future)
            if len(waiting) >= _AT_ONCE:
                _settled(waiting.popleft())
        while waiting:
            _settled(waiting.popleft())
        return count

    def _resubmitted(self, number: int, line: bytes) -> "Future[Any] | None":
        try:
            record = json.loads(line)
            card = None if record.get("card") is None else card_from_row(record["card"])
            others = tuple(card_from_row(other) for other in record.get("others", ()))
            kinds = ("event", "parts", "intent", "release")
            kind = next(name for name in kinds if name in record)
            if kind == "parts":
                return self._inner.settle_parts(_parts_from(record), others)
            row = _with_ids(record[kind])
            if kind == "release":
                return self._inner.forget(row["call_id"])
            if kind == "intent":
                return self._inner.note(call_from_open_row(row), row, card)
            event = _event_from(row, record["billing_ids"])
        except (ValueError, KeyError, TypeError, StopIteration, AttributeError) as error:
            # The last line of a file whose writer was killed half-way: nobody was told that it
            # had been kept.
            logger.error("line %d of the spool cannot be read: %s", number, error)
            return None
        return self._inner.settle(event, card, others)

    def _append_event(
        self, event: UsageEvent, card: RateCard | None, others: tuple[RateCard, ...] = ()
    ) -> None:
        try:
            self._append(
                "event",
                event_to_row(event),
                card,
                billing_ids=event.billing_ids,
                others=[card_to_row(other) for other in others],
            )
        except OSError:
            if len(self._kept) < _MOST_KEPT:
                self._kept.append((event, card, others))
            raise

    def _append_parts(self, parts: Parts, cards: tuple[RateCard, ...]) -> None:
        self._append(
            "parts",
            {"fetch_id": parts.fetch_id, "at_us": parts.at_us, "is_all": parts.is_all},
            whole=parts.whole,
            events=[(event_to_row(event), event.billing_ids) for event in parts.events],
            others=[card_to_row(card) for card in cards],
        )

    def _append(self, kind: str, row: Row, card: RateCard | None = None, **more: object) -> None:
        card_row = None if card is None else card_to_row(card)
        record = {kind: row, "card": card_row, **more}
        line = json.dumps(record, default=str, ensure_ascii=True).encode() + b"\n"
        with self._lock, _locked(self._path):
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                _write_whole(descriptor, line)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def _or_else(self, future: "Future[Result]", instead: Callable[[], Result]) -> "Future[Result]":
        """Return a future that answers `instead()` where the ledger was not available."""
        if future.done() and future.exception() is None:
            if self._failing:
                self._recover()
            return future
        answer: Future[Result] = Future()
        answer.set_running_or_notify_cancel()

        def pass_on(done: "Future[Result]") -> None:
            error = done.exception()
            if error is None:
                if self._failing:
                    self._recover()
                answer.set_result(done.result())
                return
            try:
                answer.set_result(self._instead(error, instead))
            except BaseException as failure:
                answer.set_exception(failure)

        future.add_done_callback(pass_on)
        return answer

    def _instead(self, error: BaseException, instead: Callable[[], Result]) -> Result:
        """Return what `instead` returns where the ledger was not available; else raise the error.

        Raises: StoreUnavailable when the file cannot be written either.
        """
        if not isinstance(error, StoreUnavailable):
            raise error
        if not self._failing:
            self._failing = True
            logger.warning("the ledger is away, records go to %s: %s", self._path, error)
        try:
            return instead()
        except OSError as failure:
            sentence = f"{error}; and the spool {self._path} cannot be written: {failure}"
            raise StoreUnavailable(sentence) from failure

    def _recover(self) -> None:
        """Replay in a thread of its own, now that the ledger takes records again."""
        self._failing = False
        threading.Thread(target=self._replay_quietly, name="meter-spool", daemon=True).start()

    def _replay_quietly(self) -> None:
        try:
            self.replay()
        except StoreUnavailable as error:
            self._failing = True
            logger.warning("the ledger is away again, the spool is kept: %s", error)
        except OSError as error:
            logger.error("the spool %s cannot be replayed: %s", self._path, error)

    def close(self) -> None:
        """Replay what is spooled, where the ledger can take it; else it waits for the next start.

        Called before the inner store is closed.
        """
        self._replay_quietly()
        if self._kept:
            lost = len(self._kept)
            logger.error("found no place for the ends of %d calls: they become unsettled", lost)


def _with_ids(row: Row) -> Row:
    """Return a row that was read from JSON with its ids as UUIDs."""
    ids = {name: UUID(row[name]) if row.get(name) else None for name in _IDS}
    return {**row, **ids}


def _event_from(row: Row, billing_ids: Sequence[str]) -> UsageEvent:
    return replace(event_from_row({**NO_BOOKS, **row}), billing_ids=tuple(billing_ids))


def _parts_from(record: Mapping[str, Any]) -> Parts:
    told = record["parts"]
    return Parts(
        whole=tuple(record["whole"]),
        fetch_id=UUID(told["fetch_id"]),
        at_us=told["at_us"],
        events=tuple(_event_from(_with_ids(row), names) for row, names in record["events"]),
        is_all=told["is_all"],
    )


def _settled(future: "Future[Any]") -> None:
    """Wait for a replayed record. One that can never be written must not block the others."""
    try:
        future.result()
    except StoreUnavailable:
        raise
    except MeterError as error:
        logger.error("a spooled record is refused by the ledger: %s", error)


def _write_whole(descriptor: int, line: bytes) -> None:
    """Append the line, or nothing of it: what a full disk cut off would spoil the next line."""
    before = os.lseek(descriptor, 0, os.SEEK_END)
    try:
        left = memoryview(line)
        while left:
            left = left[os.write(descriptor, left) :]
    except OSError:
        os.ftruncate(descriptor, before)
        raise


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the spool for this process."""
    lock = path.with_name(path.name + ".lock")
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _lock_file(descriptor, waits=True)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _own(taken: Path) -> Iterator[IO[bytes] | None]:
    """Yield a taken file for reading, None where another process has it or has just removed it."""
    try:
        file = taken.open("rb")
    except FileNotFoundError:
        yield None
        return
    with file:
        is_mine = _lock_file(file.fileno(), waits=False) and taken.exists()
        yield file if is_mine else None


def _lock_file(descriptor: int, *, waits: bool) -> bool:
    """Lock an open file; return whether that was possible."""
    try:
        import fcntl
    except ImportError:
        return True  # Windows: one process keeps the spool.
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if waits else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True
