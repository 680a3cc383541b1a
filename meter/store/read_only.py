"""Stand in for the store of a ledger that was opened to read only: every write is refused.

Called by `ledger`.
"""

from concurrent.futures import Future
from typing import Any

from meter.core.budgets import Hold, Refusal
from meter.core.call import Call
from meter.core.event import Parts, UsageEvent
from meter.core.rates import RateCard
from meter.errors import StoreUnavailable

SENTENCE = "found a ledger opened to read only, expected one opened to write"


class ReadOnlyStore:
    """A store whose futures raise StoreUnavailable."""

    def reserve(
        self,
        call: Call,
        issuer: str,
        card: RateCard | None,
        *,
        on_this_thread: bool = False,
        waits: bool = True,
    ) -> Future[tuple[Hold, ...] | Refusal]:
        """Refuse the call's hold."""
        return _refused()

    def settle(
        self,
        event: UsageEvent,
        card: RateCard | None = None,
        others: tuple[RateCard, ...] = (),
        *,
        on_this_thread: bool = False,
    ) -> Future[None]:
        """Refuse the record."""
        return _refused()

    def settle_parts(self, parts: Parts, cards: tuple[RateCard, ...]) -> Future[None]:
        """Refuse the records."""
        return _refused()

    def release(self, call: Call) -> Future[None]:
        """Refuse the release."""
        return _refused()


def _refused() -> Future[Any]:
    future: Future[Any] = Future()
    future.set_exception(StoreUnavailable(SENTENCE))
    return future
