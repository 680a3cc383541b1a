"""A ledger and prices in memory, for tests that look at what the wrappers record."""

from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from meter.config import Settings
from meter.core.budgets import Hold, Refusal
from meter.core.call import Call
from meter.core.event import UsageEvent
from meter.core.rates import RateCard
from meter.pipeline import Pipeline


def done(result: Any = None, error: Exception | None = None) -> Future[Any]:
    """A future that has its answer."""
    future: Future[Any] = Future()
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
    return future


@dataclass
class MemoryStore:
    """Remembers what it was told, in order, and answers at once; can be told to refuse or fail.

    `slow_settling`: its answers to `settle` wait in `waiting` until a test gives them.
    """

    verdict: tuple[Hold, ...] | Refusal = ()
    reserve_error: Exception | None = None
    settle_error: Exception | None = None
    slow_reserving: bool = False
    slow_settling: bool = False
    reserved: list[Call] = field(default_factory=list)
    events: list[UsageEvent] = field(default_factory=list)
    released: list[Call] = field(default_factory=list)
    waiting: list[Future[Any]] = field(default_factory=list)

    def reserve(
        self,
        call: Call,
        issuer: str,
        card: RateCard | None,
        *,
        on_this_thread: bool = False,
        waits: bool = True,
    ) -> Future[tuple[Hold, ...] | Refusal]:
        if self.slow_reserving:
            self.waiting.append(Future())
            return self.waiting[-1]
        if self.reserve_error is None and not isinstance(self.verdict, Refusal):
            self.reserved.append(call)
        return done(self.verdict, self.reserve_error)

    def settle(
        self,
        event: UsageEvent,
        card: RateCard | None = None,
        others: tuple[RateCard, ...] = (),
        *,
        on_this_thread: bool = False,
    ) -> Future[None]:
        self.events.append(event)
        if self.slow_settling:
            self.waiting.append(Future())
            return self.waiting[-1]
        return done(None, self.settle_error)

    def release(self, call: Call) -> Future[None]:
        self.released.append(call)
        return done()

    @property
    def event(self) -> UsageEvent:
        """The only event."""
        assert len(self.events) == 1, self.events
        return self.events[0]

    def forget(self) -> None:
        """Begin anew, with every call ended."""
        assert self.unfinished() == []
        self.reserved.clear()
        self.events.clear()

    def unfinished(self) -> list[Call]:
        """Calls that left and never ended."""
        ended = {event.call.id for event in self.events} | {call.id for call in self.released}
        return [call for call in self.reserved if call.id not in ended]


class NoPrices:
    """Knows no price."""

    books = None

    def card_for(self, provider: str, model: str, at_us: int) -> RateCard | None:
        return None


def pipeline_on(store: MemoryStore, **settings: Any) -> Pipeline:
    return Pipeline(store, NoPrices(), Settings(**settings))
