"""Keep the calls that wait for money which other calls hold: first come, first served.

Knows the order and the time, no SQL. A call joins when it does not fit only because of holds in
flight, and leaves when it is admitted, can fit no more, or has waited long enough. The line is
that of one process: holds of other processes are looked at again in short intervals. Called by
the ledger store, in the turn of whoever writes.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from meter.core.budgets import Refusal
from meter.store.batch import WindowKey
from meter.store.committer import Deferred
from meter.store.requests import Answer, Reserve

MOST_WAITING: Final = 4096
"""How many calls may wait; one more is refused at once."""

_AT_ONCE: Final = 64
_FIRST_PAUSE_S: Final = 0.01
_LONGEST_PAUSE_S: Final = 0.16


@dataclass(slots=True, eq=False)
class Waiter(Deferred[Answer]):
    """A call in the line: what it asked, why it does not fit yet, and when its patience ends."""

    request: Reserve
    refusal: Refusal
    until_s: float

    @property
    def key(self) -> WindowKey:
        """Return the budget window that it waits for."""
        return self.refusal.budget_id, self.refusal.window_start_us


class Line:
    """The calls that wait, by the budget window that blocks them. Times are monotonic seconds."""

    def __init__(self, patience_s: float) -> None:
        """Let each call wait for at most that long; with 0 nobody waits."""
        self.patience_s = patience_s
        self._lines: dict[WindowKey, deque[Waiter]] = {}
        self._by_id: dict[UUID, Waiter] = {}
        self._pause_s = _FIRST_PAUSE_S
        self._look_at_s = 0.0

    def __len__(self) -> int:
        """Return how many calls wait."""
        return len(self._by_id)

    @property
    def windows(self) -> frozenset[WindowKey]:
        """Return the budget windows that calls wait for: newcomers stand behind them."""
        return frozenset(self._lines)

    def join(self, request: Reserve, refusal: Refusal, now_s: float) -> Waiter | None:
        """Let a call wait; None when it may not."""
        if self.patience_s <= 0 or not request.waits or len(self) >= MOST_WAITING:
            return None
        if request.call_id in self._by_id:
            return None
        if not self._by_id:
            self._look_soon(now_s)
        waiter = Waiter(request, refusal, now_s + self.patience_s)
        self._by_id[request.call_id] = waiter
        self._lines.setdefault(waiter.key, deque()).append(waiter)
        return waiter

    def is_due(self, now_s: float) -> bool:
        """Whether it is time to look again, whatever happens in this process."""
        return bool(self._by_id) and now_s >= self._look_at_s

    def pause_s(self, now_s: float) -> float | None:
        """Return how long nothing needs to be looked at, None when nobody waits."""
        return max(self._look_at_s - now_s, 0.0) if self._by_id else None

    def first(self) -> list[Waiter]:
        """Return those whose turn it is: the first few of each line, who came first first."""
        found = [w for line in self._lines.values() for w in list(line)[:_AT_ONCE]]
        return sorted(found, key=lambda waiter: waiter.until_s)

    def tried(self, answers: Sequence[tuple[Waiter, Answer | Exception]], now_s: float) -> None:
        """Take what became of those whose turn it was, and tell those that need not wait on."""
        is_moving = False
        told: list[tuple[Waiter, Answer | Exception]] = []
        for waiter, answer in answers:
            if isinstance(answer, Refusal) and answer.may_fit_later and now_s < waiter.until_s:
                self._move(waiter, answer)
                continue
            is_moving = is_moving or not isinstance(answer, Refusal)
            self._remove(waiter)
            told.append((waiter, answer))
        # All have the same patience: who joined first has waited longest.
        while self._by_id and now_s >= (oldest := next(iter(self._by_id.values()))).until_s:
            self._remove(oldest)
            told.append((oldest, oldest.refusal))
        if is_moving:
            self._look_soon(now_s)
        else:
            self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)
            self._look_at_s = now_s + self._pause_s
            for oldest in self._by_id.values():
                self._look_at_s = min(self._look_at_s, oldest.until_s)
                break
        for waiter, answer in told:
            if isinstance(answer, Exception):
                waiter.future.set_exception(answer)
            else:
                waiter.future.set_result(answer)

    def leave(self, call_id: UUID) -> None:
        """Let a call go that its client has given up."""
        waiter = self._by_id.get(call_id)
        if waiter is not None:
            self._remove(waiter)
            waiter.future.set_result(waiter.refusal)

    def fail(self, error: BaseException) -> None:
        """Tell everyone that the ledger is away."""
        waiters = list(self._by_id.values())
        self.clear()
        for waiter in waiters:
            waiter.future.set_exception(error)

    def end(self) -> None:
        """Refuse everyone who still waits."""
        for call_id in list(self._by_id):
            self.leave(call_id)

    def clear(self) -> None:
        """Forget everyone: in a forked child they are the parent's."""
        self._lines.clear()
        self._by_id.clear()

    def _look_soon(self, now_s: float) -> None:
        self._pause_s = _FIRST_PAUSE_S
        self._look_at_s = now_s + _FIRST_PAUSE_S

    def _move(self, waiter: Waiter, refusal: Refusal) -> None:
        """Let a call that another window blocks now go to the line of that one."""
        before = waiter.key
        if (refusal.budget_id, refusal.window_start_us) == before:
            return
        self._drop_from(before, waiter)
        waiter.refusal = refusal
        line = self._lines.setdefault(waiter.key, deque())
        place = sum(other.until_s <= waiter.until_s for other in line)
        line.insert(place, waiter)

    def _remove(self, waiter: Waiter) -> None:
        if self._by_id.pop(waiter.request.call_id, None) is not None:
            self._drop_from(waiter.key, waiter)

    def _drop_from(self, key: WindowKey, waiter: Waiter) -> None:
        line = self._lines[key]
        line.remove(waiter)
        if not line:
            del self._lines[key]
