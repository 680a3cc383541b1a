"""Hold what a caller asks of the ledger, already as rows; the answers are plain values.

Made by the ledger store on the caller's thread, read by the batch on the committer's.
"""

from dataclasses import dataclass
from uuid import UUID

from meter.core.budgets import Hold, Refusal
from meter.core.call import Call
from meter.core.event import Correction, Parts, UsageEvent
from meter.core.rates import RateCard
from meter.store.encoding import Row


@dataclass(frozen=True, slots=True)
class Reserve:
    """Note that a call is about to leave, with holds. Answer: its holds, or the refusal.

    `waits`: it may wait for holds of other calls. `has_waited`: it stands in the line already.
    `is_fact`: it has left already, so that no budget can refuse it; nothing is held for it.
    """

    call: Call
    row: Row
    card: RateCard | None
    waits: bool = False
    has_waited: bool = False
    is_fact: bool = False

    @property
    def call_id(self) -> UUID:
        """Return the id of the call."""
        return self.call.id


@dataclass(frozen=True, slots=True)
class Settle:
    """Record how a call ended. Answer: None. `others` are cards of other price books."""

    event: UsageEvent
    row: Row
    card: RateCard | None = None
    others: tuple[RateCard, ...] = ()

    @property
    def call_id(self) -> UUID:
        """Return the id of the call."""
        return self.event.call.id


@dataclass(frozen=True, slots=True)
class SettleParts:
    """Record what requests of a batch used. Answer: None. `others` are the cards of all of them."""

    parts: Parts
    rows: tuple[Row, ...]
    others: tuple[RateCard, ...] = ()
    card: RateCard | None = None

    @property
    def call_id(self) -> UUID:
        """Return the id of the call that fetched the batch's output."""
        return self.parts.fetch_id


@dataclass(frozen=True, slots=True)
class Release:
    """Forget a call that was never sent. Answer: None."""

    call_id: UUID


@dataclass(frozen=True, slots=True)
class Correct:
    """Add a later truth on a call that has its event. Answer: None."""

    correction: Correction
    row: Row
    card: RateCard | None = None
    others: tuple[RateCard, ...] = ()

    @property
    def call_id(self) -> UUID:
        """Return the id of the corrected call."""
        return self.correction.call_id


Request = Reserve | Settle | SettleParts | Release | Correct
Answer = tuple[Hold, ...] | Refusal | None
