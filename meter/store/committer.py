"""Gather the writes of all threads into few transactions: one thread, one bounded queue.

Knows no SQL and no ledger: it hands batches to a function and gives each caller its own answer.
While one batch commits the next one gathers, so a busy process shares each wait for the disk, and
an idle one waits only for its own. Called by the ledger store.
"""

import atexit
import threading
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from meter.errors import StoreUnavailable
from meter.store.forking import begin_anew_in_children

Request = TypeVar("Request")
Answer = TypeVar("Answer")

QUEUE_SIZE = 4096
BATCH_SIZE = 512
_DRAIN_AT_EXIT_S = 10.0


@dataclass(slots=True, eq=False)
class Deferred(Generic[Answer]):
    """Stands for an answer that comes later: the writer keeps it, and completes its future.

    The committer puts the caller's future in. It is completed in a later turn of writing.
    """

    future: "Future[Answer]" = field(init=False)


Otherwise = Callable[[BaseException], Answer]
"""Answers a request that failed, or raises."""

Waiting = tuple[Request, "Future[Answer]", Otherwise[Answer] | None]
"""A request with the future of its answer, and what to do where it fails."""


class Committer(Generic[Request, Answer]):
    """A thread that writes what others submit, in their order.

    `write` takes a batch and returns one answer for each request: an exception where that one
    failed, a `Deferred` where the writer will answer by itself; what it raises fails the whole
    batch. `pause_s` says for how long the writer need not be called without requests, None when
    it has nothing of its own to do; after that it gets an empty batch. Only one thread writes at a
    time. The thread starts with the first request. A forked child begins with an empty queue and
    a thread of its own: what the parent had queued, the parent writes.
    """

    def __init__(
        self,
        write: Callable[[Sequence[Request]], Sequence[Answer | Deferred[Answer] | Exception]],
        *,
        pause_s: Callable[[], float | None] = lambda: None,
        queue_size: int = QUEUE_SIZE,
        batch_size: int = BATCH_SIZE,
    ) -> None:
        """Take the writing function; `queue_size` bounds what waits, `batch_size` one batch."""
        self._write = write
        self._pause_s = pause_s
        self._queue_size = queue_size
        self._batch_size = batch_size
        self._closed = False
        self._writing = False
        self._thread: threading.Thread | None = None
        self._begin_anew()
        begin_anew_in_children(self, Committer._begin_anew)
        _drain_at_exit(self)

    def submit(
        self,
        request: Request,
        *,
        on_this_thread: bool = False,
        otherwise: "Otherwise[Answer] | None" = None,
    ) -> "Future[Answer]":
        """Queue a request; wait while the queue is full.

        With `on_this_thread` the caller writes it at once where nobody else is writing, which
        spares two changes of threads; it has an answer then when this returns.

        The future cannot be cancelled: what a caller has handed over will be written, even when
        nobody waits for it any more. After `close` it raises StoreUnavailable. Where the request
        fails, `otherwise` has the last word: it takes the error and returns an answer, or raises.
        """
        future: Future[Answer] = Future()
        future.set_running_or_notify_cancel()
        with self._lock:
            # The thread itself, in the callback of a future, must not wait for its own work.
            is_own = threading.current_thread() is self._thread
            while len(self._queue) >= self._queue_size and not self._closed and not is_own:
                self._has_room.wait()
            if self._closed:
                alone = False
            else:
                alone = on_this_thread and not self._writing and not self._queue
                if alone:
                    self._writing = True
                else:
                    self._queue.append((request, future, otherwise))
                    self._wake_thread()
            is_closed = self._closed
        if is_closed:
            sentence = "the ledger is closed, expected it open: make a new Meter"
            _fail(future, otherwise, StoreUnavailable(sentence))
        elif alone:
            self._write_alone((request, future, otherwise))
        return future

    def _write_alone(self, waiting: "Waiting[Request, Answer]") -> None:
        """Write one request on the caller's thread; then let the thread have its turn."""
        try:
            self._answer([waiting])
        finally:
            with self._lock:
                self._writing = False
                if self._queue or self._pause_s() is not None:
                    self._wake_thread()
                if self._closed:
                    self._has_work.notify_all()
                    self._has_room.notify_all()

    def _wake_thread(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="meter-committer", daemon=True)
            self._thread.start()
        elif self._idle and not self._writing:
            self._has_work.notify()

    def close(self, timeout_s: float | None = None) -> bool:
        """Take no more requests, write what is queued, and end the thread.

        Return whether all of it ended within the timeout (None: wait for it).
        """
        with self._lock:
            self._closed = True
            self._has_work.notify_all()
            self._has_room.notify_all()
            thread = self._thread
            if thread is None and not self._has_room.wait_for(self._is_at_rest, timeout_s):
                return False
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout_s)
            return not thread.is_alive()
        return True

    def _is_at_rest(self) -> bool:
        return not self._writing

    def _run(self) -> None:
        while (batch := self._next_batch()) is not None:
            self._answer(batch)
            with self._lock:
                self._writing = False

    def _answer(self, batch: "Sequence[Waiting[Request, Answer]]") -> None:
        try:
            answers = self._write([request for request, _, _ in batch])
        except BaseException as error:
            for _, future, otherwise in batch:
                _fail(future, otherwise, error)
            return
        for (_, future, otherwise), answer in zip(batch, answers, strict=True):
            if isinstance(answer, Exception):
                _fail(future, otherwise, answer)
            elif isinstance(answer, Deferred):
                answer.future = future
            else:
                future.set_result(answer)

    def _next_batch(self) -> "list[Waiting[Request, Answer]] | None":
        """Wait for requests and return them in order; None means the end.

        Empty means that there are none, and that the writer has something of its own to do.
        """
        with self._lock:
            while self._writing or not (self._queue or self._closed):
                pause_s = None if self._writing else self._pause_s()
                if pause_s == 0:
                    break
                self._idle = True
                self._has_work.wait(pause_s)
            self._idle = False
            if self._closed and not self._queue:
                return None
            self._writing = True
            was_full = len(self._queue) >= self._queue_size
            count = min(len(self._queue), self._batch_size)
            batch = [self._queue.popleft() for _ in range(count)]
            if was_full:
                self._has_room.notify_all()
            return batch

    def _begin_anew(self) -> None:
        self._lock = threading.Lock()
        self._has_work = threading.Condition(self._lock)
        self._has_room = threading.Condition(self._lock)
        self._queue: deque[Waiting[Request, Answer]] = deque()
        self._thread = None
        self._idle = False
        self._writing = False


def _fail(
    future: "Future[Answer]", otherwise: "Otherwise[Answer] | None", error: BaseException
) -> None:
    if otherwise is None:
        future.set_exception(error)
        return
    try:
        answer = otherwise(error)
    except BaseException as failure:
        future.set_exception(failure)
    else:
        future.set_result(answer)


def _drain_at_exit(committer: Committer[Request, Answer]) -> None:
    """Write what is queued when the process ends, without keeping the committer alive."""
    known = weakref.ref(committer)

    def drain() -> None:
        mine = known()
        if mine is not None:
            mine.close(_DRAIN_AT_EXIT_S)

    atexit.register(drain)
    # Not at exit as well: it would forget the draining just before its turn.
    weakref.finalize(committer, atexit.unregister, drain).atexit = False
