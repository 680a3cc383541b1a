"""Take the records of calls and keep them: the writing side of the ledger.

Implements `meter.core.ports.Store`. All writes of a process go through one committer; what they
mean is in `writing`. Called by the façade, which hands it to the pipeline.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Any, TypeVar, cast
from uuid import UUID

from sqlalchemy import Engine

from meter.clock import now_us
from meter.core.budgets import Hold, Refusal
from meter.core.call import Call
from meter.core.event import Correction, Parts, UsageEvent
from meter.core.rates import RateCard
from meter.errors import StoreError
from meter.store import owners, sweeping
from meter.store.committer import BATCH_SIZE, QUEUE_SIZE, Committer, Deferred
from meter.store.encoding import (
    Row,
    believable,
    correction_to_row,
    event_to_row,
    open_call_to_row,
)
from meter.store.engine import is_memory, write_connection
from meter.store.failures import ConnectionLost, Interrupted
from meter.store.forking import begin_anew_in_children
from meter.store.kept_connection import KeptConnection
from meter.store.known import Known
from meter.store.queueing import Line
from meter.store.requests import (
    Answer,
    Correct,
    Release,
    Request,
    Reserve,
    Settle,
    SettleParts,
)
from meter.store.statements import statements_for
from meter.store.writing import write, write_batch

LEASE_S = 900.0
"""How long a call may be in flight before it counts as lost; a later end is still recorded."""

Result = TypeVar("Result")
Record = TypeVar("Record", UsageEvent, Correction)

_MOST_KNOWN = 10_000
_ATTEMPTS_WHEN_INTERRUPTED = 8
_SWEEP_AGAIN_S = 1.0


class LedgerStore:
    """The store of the pipeline, on an engine whose schema is current.

    Every write has an id chosen by the caller; repeating one is a no-op. The futures raise
    StoreUnavailable, ConflictingWrite. Safe to use from all threads, and after a fork.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        lease_s: float = LEASE_S,
        hold_wait_s: float = 0.0,
        queue_size: int = QUEUE_SIZE,
        batch_size: int = BATCH_SIZE,
    ) -> None:
        """Take the engine; `lease_s` is how long a call may be in flight, in seconds.

        `hold_wait_s` is how long a call that does not fit only because of holds in flight waits
        for them to end (see `queueing`).
        """
        self._engine = engine
        self._lease_us = int(lease_s * 1_000_000)
        self._connection = KeptConnection(engine)
        self._statements = statements_for(engine.dialect)
        self._known = Known() if engine.dialect.name == "sqlite" and not is_memory(engine) else None
        if self._known is not None:
            begin_anew_in_children(self._known, Known.forget)
        self._known_cards: set[str] = set()
        self._known_routes: set[int] = set()
        self._line = Line(hold_wait_s)
        self._swept_s = 0.0
        self._committer: Committer[Request, Answer] = Committer(
            self._write, pause_s=self._pause_s, queue_size=queue_size, batch_size=batch_size
        )
        begin_anew_in_children(self._line, Line.clear)

    def reserve(
        self,
        call: Call,
        issuer: str,
        card: RateCard | None,
        *,
        on_this_thread: bool = False,
        waits: bool = True,
    ) -> "Future[tuple[Hold, ...] | Refusal]":
        """Durably note that the call is about to leave, with its holds: all budgets or none.

        `card` is the rate card that will rate it; it is stored the first time a call uses it.
        `waits` False: it is refused at once where holds of other calls are in its way.
        """
        row = self.row_of(call, issuer, card)
        request = Reserve(call, row, self._unless_known(card), waits)
        answer = self._committer.submit(request, on_this_thread=on_this_thread)
        return cast("Future[tuple[Hold, ...] | Refusal]", answer)

    def row_of(self, call: Call, issuer: str, card: RateCard | None) -> Row:
        """Return the row of a call that this process is about to send."""
        return open_call_to_row(
            call, issuer, card.id if card else None, owners.this_process(),
            call.started_us + self._lease_us,
        )  # fmt: skip

    def note(self, call: Call, row: Row, card: RateCard | None) -> "Future[Any]":
        """Durably note that a call has left, which no budget was asked for: it has no holds."""
        request = Reserve(call, row, self._unless_known(card), is_fact=True)
        return cast("Future[Any]", self._committer.submit(request))

    def settle(
        self,
        event: UsageEvent,
        card: RateCard | None = None,
        others: tuple[RateCard, ...] = (),
        *,
        on_this_thread: bool = False,
        otherwise: Callable[[BaseException], None] | None = None,
    ) -> "Future[None]":
        """Durably record how the call ended; its holds end in the same transaction.

        A fact is never refused: usage above the hold counts in full, and the end of a call that
        the sweep had given up becomes a correction. `card` is for a call that was not reserved,
        `others` are those of other price books that its charges name. `otherwise` takes the error
        where it cannot be recorded, and raises unless it has recorded it elsewhere.
        """
        event = _believable(event)
        new = tuple(card for card in others if card.id not in self._known_cards)
        request = Settle(event, event_to_row(event), self._unless_known(card), new)
        answer = self._committer.submit(request, on_this_thread=on_this_thread, otherwise=otherwise)
        return cast("Future[None]", answer)

    def settle_parts(self, parts: Parts, cards: tuple[RateCard, ...]) -> "Future[None]":
        """Durably record what requests of a batch used, each once, in one transaction.

        `cards` are those that their charges name.
        """
        parts = replace(parts, events=tuple(_believable(event) for event in parts.events))
        rows = tuple(event_to_row(event) for event in parts.events)
        new = tuple(card for card in cards if card.id not in self._known_cards)
        request = SettleParts(parts, rows, new)
        return cast("Future[None]", self._committer.submit(request))

    def release(self, call: Call) -> "Future[None]":
        """Undo `reserve` for a call that was never sent: nothing is owed."""
        return self.forget(call.id)

    def forget(self, call_id: UUID) -> "Future[None]":
        """Do the same as `release` for a call of which only the id is known."""
        return cast("Future[None]", self._committer.submit(Release(call_id)))

    def correct(
        self,
        correction: Correction,
        card: RateCard | None = None,
        others: tuple[RateCard, ...] = (),
    ) -> "Future[None]":
        """Durably add a later truth on an ended call, with entries for the difference.

        `card` and `others` are those that the correction's charges name, when new to the ledger.
        """
        made = _believable(correction)
        answer = self._committer.submit(
            Correct(made, correction_to_row(made), self._unless_known(card), others)
        )
        return cast("Future[None]", answer)

    def correct_all(self, corrections: Sequence[tuple[Correction, tuple[RateCard, ...]]]) -> None:
        """Durably add many corrections in one transaction: all of them or, on an error, none.

        Each comes with the cards that its charges name. Raises: StoreUnavailable,
        ConflictingWrite when a call was corrected meanwhile.
        """
        requests = [
            Correct(made, correction_to_row(made), None, cards)
            for made, cards in ((_believable(each), cards) for each, cards in corrections)
        ]

        def write() -> None:
            with write_connection(self._engine) as connection:
                for start in range(0, len(requests), BATCH_SIZE):
                    batch = requests[start : start + BATCH_SIZE]
                    for answer in write_batch(connection, batch).answers:
                        if isinstance(answer, Exception):
                            raise answer

        self._persistently(write)

    def sweep(self, now_us: int, *, dead_owners: bool = True) -> int:
        """Close the calls that nobody will end any more (see `sweeping`); return how many.

        Raises: StoreUnavailable.
        """
        return self._persistently(
            lambda: sweeping.sweep(self._engine, now_us, dead_owners=dead_owners)
        )

    def close(self, timeout_s: float | None = 10.0) -> bool:
        """Write what is queued and stop; return whether that ended within the timeout.

        The engine stays open: whoever opened it closes it.
        """
        ended = self._committer.close(timeout_s)
        if ended:
            self._line.end()
            self._connection.close()
        return ended

    def _unless_known(self, card: RateCard | None) -> RateCard | None:
        return None if card is None or card.id in self._known_cards else card

    def _pause_s(self) -> float | None:
        return self._line.pause_s(time.monotonic())

    def _write(self, requests: Sequence[Request]) -> "list[Answer | Deferred[Answer] | Exception]":
        """Write a batch, and let those have their turn that wait for holds to end.

        Runs on the committer's thread, or on that of a caller that writes alone.
        """
        given_up: set[UUID] = set()
        frees = False
        for request in requests:
            frees = frees or not isinstance(request, Reserve)
            if isinstance(request, Release):
                given_up.add(request.call_id)
                self._line.leave(request.call_id)
        now_s = time.monotonic()
        is_due = self._line.is_due(now_s)
        turns = self._line.first() if frees or is_due else []
        again: list[Request] = [replace(turn.request, has_waited=True) for turn in turns]
        try:
            if is_due:
                self._sweep_for_waiters(now_s)
            answers = self._commit([*requests, *again]) if requests or again else []
            self._retry_after_sweep(requests, answers)
        except BaseException as error:
            self._line.fail(error)
            raise
        self._line.tried(list(zip(turns, answers[len(requests) :], strict=True)), time.monotonic())
        return [
            answer if request.call_id in given_up else self._unless_it_waits(request, answer, now_s)
            for request, answer in zip(requests, answers, strict=False)
        ]

    def _unless_it_waits(
        self, request: Request, answer: Answer | Exception, now_s: float
    ) -> "Answer | Deferred[Answer] | Exception":
        if isinstance(request, Reserve) and isinstance(answer, Refusal) and answer.may_fit_later:
            return self._line.join(request, answer, now_s) or answer
        return answer

    def _retry_after_sweep(
        self, requests: Sequence[Request], answers: list[Answer | Exception]
    ) -> None:
        """Ask again for newcomers: the hold of an expired call refuses nobody."""
        blocked = [
            place
            for place, answer in enumerate(answers[: len(requests)])
            if isinstance(answer, Refusal) and answer.may_fit_later
        ]
        if blocked and self._freed_by_sweep([requests[place] for place in blocked]):
            again = self._commit([requests[place] for place in blocked])
            for place, answer in zip(blocked, again, strict=True):
                answers[place] = answer

    def _sweep_for_waiters(self, now_s: float) -> None:
        """Close the calls of dead processes that others wait for, at most once a second."""
        if now_s - self._swept_s >= _SWEEP_AGAIN_S:
            self._swept_s = now_s
            self.sweep(now_us())

    def _freed_by_sweep(self, blocked: Sequence[Request]) -> bool:
        """Whether holds of expired calls stood in the way."""
        at_us = max(request.row["started_us"] for request in blocked if type(request) is Reserve)
        if not sweeping.any_expired(self._engine, at_us):
            return False
        return self.sweep(at_us, dead_owners=False) > 0

    def _commit(self, requests: Sequence[Request]) -> list[Answer | Exception]:
        try:
            return self._persistently(lambda: self._transact(requests))
        except Exception as error:
            if isinstance(error, StoreError) and not isinstance(error, Interrupted):
                raise
            if len(requests) == 1:
                what = f"found a record that the ledger cannot take: {error}"
                return [StoreError(" ".join(what.split()))]
        # One of them cannot be written at all. Alone, it fails alone.
        return [answer for request in requests for answer in self._commit([request])]

    def _transact(self, requests: Sequence[Request]) -> list[Answer | Exception]:
        # That a call leaves must outlive this process before it does, and a power loss as soon as
        # anything ends: waiting for the disk here as well would double what a call costs.
        soft = all(isinstance(request, Reserve) for request in requests)
        known = self._known
        try:
            with self._connection.transaction(soft=soft) as runner:
                written = write(
                    runner,
                    self._statements,
                    requests,
                    self._known_routes,
                    self._line.windows,
                    known,
                )
        except BaseException:
            if known is not None:
                known.forget()
            raise
        if known is not None:
            known.learn(requests, written.answers, written.windows)
        # Only now: what is not committed is not known to be there.
        for request in requests:
            if not isinstance(request, Release) and request.card is not None:
                self._known_cards.add(request.card.id)
            if isinstance(request, Settle | SettleParts | Correct) and request.others:
                self._known_cards.update(card.id for card in request.others)
        if len(self._known_cards) > _MOST_KNOWN:
            self._known_cards.clear()
        if len(self._known_routes) > _MOST_KNOWN:
            self._known_routes.clear()
        self._known_routes |= written.route_ids
        return written.answers

    def _persistently(self, write: Callable[[], Result]) -> Result:
        """Run a write, once more when its connection broke, a few times when it was interrupted.

        Repeating is safe: what did get written is found by its ids.
        """
        interrupted = lost = 0
        while True:
            try:
                return write()
            except ConnectionLost:
                lost += 1
                if lost > 1:
                    raise
                self._engine.dispose()
            except Interrupted:
                interrupted += 1
                if interrupted >= _ATTEMPTS_WHEN_INTERRUPTED:
                    raise


def _believable(record: Record) -> Record:
    """Return the record with every charge unpriced that 64 bits could not sum."""
    charge = believable(record.charge)
    if charge is not record.charge:
        record = replace(record, charge=charge)
    if record.listed is not None:
        record = replace(record, listed=believable(record.listed))
    if record.billed is not None:
        record = replace(record, billed=believable(record.billed))
    return record
