"""Name what the pipeline needs from the floors around it: the protocols, with their errors."""

from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol

from meter.core.budgets import Hold, Refusal
from meter.core.call import Attribution, Call, Observation
from meter.core.event import Parts, UsageEvent
from meter.core.rates import Pricing, RateCard
from meter.core.reading import Reading


class OutputSink(Protocol):
    """Takes delivered output piece by piece, to count it where no usage is reported."""

    def text(self, choice: int, kind: str, piece: str) -> None:
        """Take a piece of text of one choice; an empty one says that there is some, unseen.

        `kind` is "content", "refusal", "reasoning", "tool_name" or "tool_arguments".
        """

    def tool_call(self, choice: int) -> None:
        """Note that one more tool call begins in this choice."""


class AnswerObserver(Protocol):
    """Watches one answer go by. Never raises on foreign bytes, never keeps unbounded memory.

    `finished` turns true when the answer is known to be whole, though its end marker may follow.
    `ended` turns true when the answer's own end marker (`[DONE]`, `message_stop`, the last byte
    of a body of known length) is among the bytes fed so far: nothing of weight can follow.
    `hands_out_identity`: the bytes handed out are no longer content-encoded as the headers say.
    """

    ended: bool
    hands_out_identity: bool

    @property
    def finished(self) -> bool:
        """Whether the answer is known to be whole. Asked for with each chunk."""

    def start(self, status: int, headers: Mapping[str, str]) -> None:
        """Take the status and the headers (lower-case names) of the answer."""

    def feed(self, data: bytes) -> bytes:
        """Take body bytes as they came over the wire; return those to hand to the client."""

    def finish(self) -> bytes:
        """End the body; return bytes that were still held back for the client."""

    def result(self) -> Observation:
        """Return what was seen, once the body ended or was given up."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole HTTP answer that the meter gives itself: a refusal."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Dialect(Protocol):
    """How one provider's API is read. One object for a provider."""

    name: str
    issuer: str

    def read(self, method: str, path: str, content_type: str | None, body: bytes) -> Reading:
        """Read a request. Never raises: what cannot be read is unmetered and says why."""

    def observe(
        self, reading: Reading, sink: OutputSink | None = None, *, count_always: bool = False
    ) -> AnswerObserver:
        """Return an observer for the answer to that request.

        Delivered output goes to `sink` where no usage is reported, or always if `count_always`.
        """

    def refuse(
        self,
        reading: Reading,
        status: int,
        message: str,
        budget_id: str | None,
        again_s: int | None = None,
    ) -> Answer:
        """Return a refusal in this API's own error shape, which its SDKs do not retry."""


class PriceSource(Protocol):
    """Where rate cards come from.

    `books` are the prices beside the published ones; None: what is published is owed and billed.
    """

    @property
    def books(self) -> "Books | None":
        """The contract and resale prices, None where there are none."""

    def card_for(self, provider: str, model: str, at_us: int) -> RateCard | None:
        """Return the card in force at the moment, None when no price is known."""


class Books(Protocol):
    """What prices there are beside the published ones."""

    def pricing(
        self,
        listed: RateCard | None,
        *,
        provider: str,
        issuer: str,
        upstream: str | None,
        model: str,
        attribution: Attribution,
        at_us: int,
    ) -> Pricing:
        """Return what a call to this model is rated with; `listed` is its published card."""


class Store(Protocol):
    """Where records go. Every write has an id chosen by the caller; repeating one is a no-op.

    The futures raise StoreUnavailable when the ledger cannot be reached, is locked or full, and
    ConflictingWrite when the same id came with other content.
    """

    def reserve(
        self,
        call: Call,
        issuer: str,
        card: RateCard | None,
        *,
        on_this_thread: bool = False,
        waits: bool = True,
    ) -> Future[tuple[Hold, ...] | Refusal]:
        """Durably note that the call is about to leave, with its holds: all budgets or none.

        A call that does not fit only because of holds in flight waits for them, bounded, first
        come first served, unless `waits` is False. `on_this_thread`: the caller is going to wait
        anyway, so it may do the writing itself.
        """

    def settle(
        self,
        event: UsageEvent,
        card: RateCard | None = None,
        others: tuple[RateCard, ...] = (),
        *,
        on_this_thread: bool = False,
    ) -> Future[None]:
        """Durably record how the call ended; its holds end in the same transaction.

        `card` is the one that rated its cost, `others` those that rated it in other price books.
        """

    def settle_parts(self, parts: Parts, cards: tuple[RateCard, ...]) -> Future[None]:
        """Durably record what requests of a batch used, each once; `cards` rated them."""

    def release(self, call: Call) -> Future[None]:
        """Undo `reserve` for a call that was never sent: nothing is owed."""


class Calibrator(Protocol):
    """Where it is learnt how far estimates of prompts are off. Never waits, never raises."""

    def corrected(self, provider: str, model: str, kind: str, tokens: int) -> int:
        """Return an estimate as corrected by what was learnt; unchanged where nothing was."""

    def learn(self, provider: str, model: str, kind: str, estimated: int, reported: int) -> None:
        """Take the estimate of a call, before any correction, and what was reported for it."""


JSON = Mapping[str, Any]
"""A parsed JSON object."""
