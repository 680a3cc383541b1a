"""The order of one call, and nothing else: read this first.

`clients/` and `gateway/` drive it; every step is a call into one room of the floors below.

    call = pipeline.open_call(...)      the request is read; the call's id is chosen
    call.estimate()                     input tokens and the bound on its cost
    call.reserve()  -> future           durable intent and holds, before anything is sent
    call.judge(verdict)                 None, or the refusal to hand to the client
    call.start(status, headers)         the answer begins
    call.feed(data) -> bytes            each chunk, as it passes by
    call.finish()                       the body ended
    call.close(outcome) -> future       exactly once: settled, rated, recorded
    call.release()  -> chunks           what waited for the record, each as it came
"""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

from meter.clock import new_id, now_us
from meter.config import Settings
from meter.core import estimating, rating, settlement
from meter.core.budgets import Hold, Refusal
from meter.core.call import NOBODY, Attribution, Basis, Bound, Call, Observation, Outcome, Part
from meter.core.event import Parts, UsageEvent
from meter.core.parts import in_turn, is_billed, named_by, part_call, part_event, told
from meter.core.ports import Answer, AnswerObserver, Calibrator, Dialect, PriceSource, Store
from meter.core.rates import Pricing, RateCard
from meter.core.rating import Charges
from meter.core.reading import Reading
from meter.core.usage import Usage
from meter.providers.advice import advice_on
from meter.providers.registry import dialect_for, dialect_named, dialect_shaped
from meter.providers.unreading import UnreadingObserver
from meter.tokens.estimates import counted_units, estimate_input
from meter.tokens.kinds import kind_of
from meter.tokens.models import encoding_for
from meter.tokens.outputs import OutputTally

HEAVY_BODY_BYTES = 32_768
"""A request body above this size is estimated off the event loop."""

_TRAINING: Final = "fine_tuning.jobs"

HELD_BYTES: Final = 1_048_576
"""How much of an answer that seemed whole and goes on waits for its end; the rest is handed on."""

PARTS_AT_FIRST: Final = 50
PARTS_AT_ONCE: Final = 250
"""How many requests of a batch are recorded in one transaction: the first are rated on the thread
that closes the call, which may be an event loop's, all others on the ledger's own."""

Attributing = Attribution | Callable[[Attribution], Attribution]
"""Who pays: named by the surroundings, or by a function of what the request says."""


@dataclass(frozen=True, slots=True)
class Pipeline:
    """One engine for the wrapper and the gateway: a store, prices and settings.

    `calibrator` corrects estimates of prompts; None: they stay as they are.
    """

    store: Store
    prices: PriceSource
    settings: Settings
    calibrator: Calibrator | None = None

    def dialect_at(self, host: str, path: str) -> Dialect:
        """Return the dialect spoken at a host (with its port where one is given) and path."""
        named = self.settings.hosts.get(host)
        if named is None:
            return dialect_for(host, path)
        return dialect_shaped(path) if named == "auto" else dialect_named(named)

    def pricing_of(
        self,
        *,
        provider: str,
        issuer: str,
        upstream: str | None,
        model: str,
        attribution: Attribution,
        at_us: int,
    ) -> Pricing:
        """Return what a call of this model would be rated with, in each price book."""
        card, books = self.prices.card_for(provider, model, at_us), self.prices.books
        if books is None:
            return Pricing(card)
        return books.pricing(
            card,
            provider=provider,
            issuer=issuer,
            upstream=upstream,
            model=model,
            attribution=attribution,
            at_us=at_us,
        )

    def open_call(
        self,
        dialect: Dialect,
        *,
        method: str,
        path: str,
        content_type: str | None,
        body: bytes,
        attribution: Attributing,
        operation_id: UUID | None = None,
        count_always: bool = False,
        upstream: str | None = None,
    ) -> "OpenCall":
        """Read a request that is about to leave. Sends, writes and waits for nothing.

        `attribution` wins over the hints in the request, or is made of them by a function.
        """
        reading = dialect.read(method, path, content_type, body)
        if not self.settings.inject_usage and reading.strip_usage:
            reading = replace(reading, body=None, strip_usage=False)
        call_id = new_id()
        call = Call(
            id=call_id,
            operation_id=operation_id or call_id,
            started_us=now_us(),
            provider=reading.provider,
            endpoint=reading.endpoint,
            model_requested=reading.model,
            attribution=(
                attribution.over(reading.hint)
                if isinstance(attribution, Attribution)
                else attribution(reading.hint)
            ),
            streaming=reading.streaming,
            path=None if reading.metered else path.partition("?")[0],
            upstream=upstream,
        )
        return OpenCall(self, dialect, reading, call, body, count_always, attribution)


class OpenCall:
    """One call on its way. Not thread-safe; used by one task or thread at a time."""

    __slots__ = (
        "_attributing", "_card", "_closing", "_estimated", "_first_byte_us", "_held",
        "_held_bytes", "_observer",
        "_pipeline", "_pricing", "_started", "_status", "_tally", "call", "dialect", "reading",
        "request_body",
    )  # fmt: skip

    def __init__(
        self,
        pipeline: Pipeline,
        dialect: Dialect,
        reading: Reading,
        call: Call,
        body: bytes,
        count_always: bool,
        attributing: Attributing = NOBODY,
    ):
        """Keep what was read; `Pipeline.open_call` makes these."""
        self.call = call
        self._attributing = attributing
        self.dialect = dialect
        self.reading = reading
        self.request_body = body
        self._pipeline = pipeline
        self._card: RateCard | None = None
        self._pricing: Pricing | None = None
        self._tally = OutputTally(
            encoding_for(reading.model or ""), reading.endpoint, request=reading.request
        )
        self._observer: AnswerObserver = dialect.observe(
            reading, self._tally, count_always=count_always
        )
        self._started = False
        self._status: int | None = None
        self._estimated: tuple[str, int] | None = None
        self._first_byte_us: int | None = None
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._closing: Future[None] | None = None

    @property
    def body(self) -> bytes:
        """The request body to send: the client's own bytes, unless usage was asked for."""
        return self.request_body if self.reading.body is None else self.reading.body

    @property
    def pricing(self) -> Pricing:
        """What the call is rated with, as its request says; known once it was estimated."""
        return Pricing(self._card) if self._pricing is None else self._pricing

    @property
    def is_heavy(self) -> bool:
        """Whether `estimate` may take long enough to stall an event loop."""
        return len(self.request_body) > HEAVY_BODY_BYTES

    @property
    def ended(self) -> bool:
        """Whether the answer's own end has been fed: close, then hand out what waits."""
        return self._observer.ended

    @property
    def hands_out_identity(self) -> bool:
        """Whether `feed` hands out decoded bytes, so that content-encoding must be dropped."""
        return self._observer.hands_out_identity

    def estimate(self) -> None:
        """Count the input and bound the cost from the request alone; pick the rate card."""
        reading, call = self.reading, self.call
        if not reading.metered or reading.free:
            return
        if reading.model is not None:
            self._card, self._pricing = self._priced(reading.model)
        counted = estimate_input(
            reading.endpoint, reading.request, reading.model or "", call.provider
        )
        estimated = counted.tokens if counted else None
        most = counted.upper_bound if counted else None
        if counted is not None and not counted.exact:
            estimated = self._corrected(counted.tokens)
            most = max(counted.upper_bound, estimated)
        units = counted_units(reading.endpoint, reading.request, reading.model or "")
        limit = reading.max_output_tokens
        bound = self._bound_of(
            units.get("input_tokens") if most is None else most,
            units.get("output_tokens") if limit is None else limit,
            units,
        )
        self.call = call.estimated(estimated, bound)

    def bound_of(self, units: Mapping[str, int]) -> Bound:
        """Return the most that these quantities cost, where the call consumes nothing else."""
        return self._bound_of(None, None, units)

    def _bound_of(
        self, input_tokens: int | None, output_tokens: int | None, units: Mapping[str, int]
    ) -> Bound:
        reading, at_us = self.reading, self.call.started_us
        if reading.endpoint == _TRAINING and not units:
            # Its file says how much it takes, and not the model's context.
            return Bound()
        bound = estimating.bound(
            self._card,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            choices=reading.choices,
            at_us=at_us,
            tier=reading.service_tier,
            counted=units,
        )
        if self._pricing is not None and isinstance(self._pricing.billed, RateCard):
            return estimating.bound_billed(
                bound,
                self._pricing.billed,
                at_us=at_us,
                tier=reading.service_tier,
                counted=units,
            )
        if self._pricing is not None and self._pricing.billed is not None:
            return replace(bound, billed_currency="")
        return bound

    def reserve(
        self, *, on_this_thread: bool = False, waits: bool = True
    ) -> Future[tuple[Hold, ...] | Refusal]:
        """Durably note that the call is about to leave. The future raises StoreError.

        `on_this_thread`: the caller waits anyway, and may do the writing itself. `waits` False:
        holds of other calls are not waited for.
        """
        if self.reading.free:
            free: Future[tuple[Hold, ...] | Refusal] = Future()
            free.set_result(())
            return free
        return self._pipeline.store.reserve(
            self.call, self.dialect.issuer, self._card, on_this_thread=on_this_thread, waits=waits
        )

    def judge(self, verdict: tuple[Hold, ...] | Refusal) -> Answer | None:
        """Return the answer to give instead of sending, None when the call may go ahead.

        A refused call is recorded and closed here.
        """
        if not isinstance(verdict, Refusal):
            return None
        self._settle(Outcome.REFUSED, Observation(status=429))
        if verdict.again_us is None:
            message = f"This call was refused by a spending limit: {verdict.message}."
            if verdict.is_unbounded:
                message += f" {advice_on(self.reading, is_priced=self._card is not None)}"
            return self.dialect.refuse(self.reading, 429, message, verdict.budget_id)
        again_s = max(1, -((now_us() - verdict.again_us) // 1_000_000))
        message = f"This call was refused by a rate limit: {verdict.message}."
        return self.dialect.refuse(self.reading, 429, message, verdict.budget_id, again_s)

    def refuse_without_store(self, reason: str) -> Answer:
        """Return the answer to give when the ledger is away and calls must not go unrecorded."""
        self._closing = _done()
        message = f"The usage ledger is not available, so this call was not sent: {reason}"
        return self.dialect.refuse(self.reading, 503, message, None)

    def start(self, status: int, headers: Mapping[str, str]) -> None:
        """Take the answer's status and headers (lower-case names)."""
        self._started = True
        self._status = status
        try:
            self._observer.start(status, headers)
        except Exception as error:
            # Nothing was fed, so nothing was kept back.
            self._unread(error)

    def feed(self, data: bytes) -> bytes:
        """Observe a chunk of the answer's body; return the bytes to hand to the client at once.

        From the chunk on that makes the answer whole they wait for its record: see `release`.
        """
        if self._first_byte_us is None and data:
            self._first_byte_us = now_us()
        observer = self._observer
        try:
            handed = observer.feed(data)
        except Exception as error:
            handed = self._unread(error) + data
            observer = self._observer
        if observer.finished or observer.ended or self._held:
            return self._hold(handed)
        return handed

    def finish(self) -> None:
        """End the answer's body: close, then hand out what waits."""
        try:
            self._hold(self._observer.finish())
        except Exception as error:
            self._hold(self._unread(error))

    def release(self) -> list[bytes]:
        """Return the chunks that waited for the record, as they came; each is returned once."""
        released, self._held, self._held_bytes = self._held, [], 0
        return released

    def _hold(self, handed: bytes) -> bytes:
        """Keep a chunk back; return the earlier ones where the answer goes on for too long."""
        too_many = b""
        if self._held_bytes > HELD_BYTES:
            too_many = b"".join(self.release())
        if handed:
            self._held.append(handed)
            self._held_bytes += len(handed)
        return too_many

    def close(self, outcome: Outcome, *, on_this_thread: bool = False) -> Future[None]:
        """End the call, exactly once; a second close returns the first one's future.

        The future is done when the record is durable, and raises StoreError when it is not.
        """
        if self._closing is None:
            seen = self._seen() if self._started else Observation()
            self._teach(outcome, seen)
            self._settle(outcome, self._counted(seen), on_this_thread)
        assert self._closing is not None
        return self._closing

    def abandon(self) -> Future[None]:
        """Close a call that was never sent: its holds are released and nothing is owed."""
        if self._closing is None:
            if self.reading.free:
                self._closing = _done()
            else:
                self._closing = self._pipeline.store.release(self.call)
        return self._closing

    def event(self, outcome: Outcome, seen: Observation) -> UsageEvent:
        """Return the record of the call: what is owed, and its money. Writes nothing."""
        return self._event(outcome, seen, *self._priced_as_served(seen.model_served))

    def _event(
        self,
        outcome: Outcome,
        seen: Observation,
        card: RateCard | None,
        pricing: Pricing | None,
    ) -> UsageEvent:
        owed = settlement.owed(outcome, seen)
        names = tuple(f"{self.dialect.issuer}/{name}" for name in seen.billing_ids)
        tells_nothing = self.reading.free and owed.usage is None and seen.status is not None
        if tells_nothing:
            owed = settlement.Owed(settlement.NOTHING, Basis.REPORTED)
        charges = self._charges(owed.usage, seen, card, pricing)
        return UsageEvent(
            call=self.call,
            ended_us=now_us(),
            outcome=outcome if seen.status is None or seen.status < 400 else _failed(outcome),
            basis=owed.basis,
            usage=owed.usage,
            charge=charges.cost,
            issuer=self.dialect.issuer,
            status=seen.status,
            first_byte_us=self._first_byte_us,
            model_served=seen.model_served,
            service_tier=seen.service_tier,
            traits=seen.traits,
            counted_output_tokens=seen.counted_output_tokens,
            provider_cost_nanos=seen.provider_cost_nanos,
            response_id=seen.response_id,
            billing_ids=() if tells_nothing else names,
            defects=(*self.reading.defects, *seen.defects),
            listed=charges.listed,
            billed=charges.billed,
            shown_ids=names if tells_nothing else (),
        )

    def observed(self) -> Observation:
        """Return what was seen of the answer so far, with our own count of it."""
        return self._counted(self._seen())

    def _seen(self) -> Observation:
        try:
            return self._observer.result()
        except Exception as error:
            self._unread(error)
            return self._observer.result()

    def _unread(self, error: Exception) -> bytes:
        """Read no more of the answer; return what its observer kept back.

        A fault of our own never reaches the client. It is recorded with the call, whose usage is
        then what was counted so far.
        """
        unreading = UnreadingObserver(self._observer, self._status, error)
        self._observer = unreading
        return unreading.held

    def _corrected(self, tokens: int) -> int:
        """Correct an estimate by what calls before this one have shown, and remember it as it was.

        The bound that holds are made of is never lowered by this.
        """
        calibrator, model = self._pipeline.calibrator, self.reading.model
        kind = kind_of(self.reading.request) if calibrator is not None and model else None
        if calibrator is None or model is None or kind is None:
            return tokens
        self._estimated = (kind, tokens)
        return calibrator.corrected(self.call.provider, model, kind, tokens)

    def _teach(self, outcome: Outcome, seen: Observation) -> None:
        """Let the next calls learn from what was reported for this one."""
        calibrator, model = self._pipeline.calibrator, self.reading.model
        if calibrator is None or model is None or self._estimated is None:
            return
        reported = seen.usage.get("input_tokens") if seen.usage is not None else None
        if outcome is Outcome.COMPLETED and isinstance(reported, int) and reported > 0:
            kind, tokens = self._estimated
            calibrator.learn(self.call.provider, model, kind, tokens, reported)

    def _settle(self, outcome: Outcome, seen: Observation, on_this_thread: bool = False) -> None:
        if seen.parts and seen.billing_ids:
            self._closing = in_turn(self._settled_by_parts(outcome, seen))
            return
        card, pricing = self._priced_as_served(seen.model_served)
        event = self._event(outcome, seen, card, pricing)
        others = () if pricing is None else pricing.other_cards
        self._closing = self._pipeline.store.settle(
            event, card, others, on_this_thread=on_this_thread
        )

    def _settled_by_parts(self, outcome: Outcome, seen: Observation) -> Iterator[Future[None]]:
        """Record the requests of a batch, some at a time, and then the call that showed them.

        The call itself owes nothing: it can be made again. Rating goes on between the writes.
        """
        store, billed = self._pipeline.store, [part for part in seen.parts if is_billed(part)]
        whole = tuple(f"{self.dialect.issuer}/{name}" for name in seen.billing_ids)
        is_complete = outcome is Outcome.COMPLETED and seen.has_all_parts
        later = range(PARTS_AT_FIRST, len(billed), PARTS_AT_ONCE)
        for start in (0, *later) if billed or is_complete else ():
            end = start + (PARTS_AT_ONCE if start else PARTS_AT_FIRST)
            chosen, is_last = billed[start:end], end >= len(billed)
            made = [self._rated_part(part, seen, whole[0]) for part in chosen]
            cards = {card.id: card for _, pricing in made for card in pricing.cards}
            events = tuple(event for event, _ in made)
            parts = Parts(whole, self.call.id, now_us(), events, is_all=is_last and is_complete)
            yield store.settle_parts(parts, tuple(cards.values()))
        own = replace(seen, usage=Usage(), traits=(), billing_ids=(), parts=())
        yield store.settle(self._event(outcome, own, None, None))

    def _rated_part(self, part: Part, seen: Observation, whole: str) -> tuple[UsageEvent, Pricing]:
        """Return the record of one request of a batch, and what it was rated with."""
        call = part_call(new_id(), self.call, part, self._attribution_of(part))
        pricing = self._pipeline.pricing_of(
            provider=call.provider,
            issuer=self.dialect.issuer,
            upstream=call.upstream,
            model=part.model or "",
            attribution=call.attribution,
            at_us=call.started_us,
        )
        event = part_event(
            call, part, pricing, self.dialect.issuer, whole, seen.service_tier, now_us()
        )
        return event, pricing

    def _attribution_of(self, part: Part) -> Attribution:
        """Return who pays for a request of a batch: its `custom_id` says more than a block does.

        What a key may not name, its function ignores.
        """
        hint = named_by(self._pipeline.settings.custom_id_pattern, part.custom_id)
        known = self._attributing
        named = hint.over(known) if isinstance(known, Attribution) else known(hint)
        return told(named, part)

    def _counted(self, seen: Observation) -> Observation:
        """Add our own count of the prompt and of the output that was delivered."""
        if not self.reading.metered or seen.status is None or seen.status >= 400:
            return seen
        served = seen.model_served
        output_tokens = self._tally.tokens(
            encoding_for(served) if served else None, self.call.provider, seen.created_s
        )
        if output_tokens:
            seen = replace(seen, counted_output_tokens=output_tokens)
        if seen.usage is not None:
            return seen
        running = seen.running
        if running is not None:
            reported = int(running.get("output_tokens", 0))
            counted = Usage({**running, "output_tokens": max(reported, output_tokens)})
            return replace(seen, counted=counted)
        estimated = self.call.estimated_input_tokens
        if estimated is None:
            return seen
        if self.reading.endpoint == "embeddings":
            return replace(seen, counted=Usage(input_tokens=estimated))
        counted = Usage(input_tokens=estimated, output_tokens=output_tokens)
        return replace(seen, counted=counted)

    def _charges(
        self, usage: Usage | None, seen: Observation, card: RateCard | None, pricing: Pricing | None
    ) -> Charges:
        at_us, tier, traits = self.call.started_us, seen.service_tier, dict(seen.traits)
        if pricing is not None:
            return rating.rate_in_books(usage, pricing, at_us=at_us, tier=tier, traits=traits)
        return Charges(rating.rate_ended(usage, card, at_us=at_us, tier=tier, traits=traits))

    def _priced_as_served(self, model_served: str | None) -> tuple[RateCard | None, Pricing | None]:
        """Return the price of the model that served; the requested one's for its snapshots."""
        requested = self.reading.model
        if model_served is None or model_served == requested:
            return self._card, self._pricing
        card, pricing = self._priced(model_served)
        if card is None and requested is not None and model_served.startswith(requested):
            return self._card, self._pricing
        return card, pricing

    def _priced(self, model: str) -> tuple[RateCard | None, Pricing | None]:
        """Return the card of a model's cost, and what other price books make of the call."""
        call = self.call
        pricing = self._pipeline.pricing_of(
            provider=call.provider,
            issuer=self.dialect.issuer,
            upstream=call.upstream,
            model=model,
            attribution=call.attribution,
            at_us=call.started_us,
        )
        has_books = self._pipeline.prices.books is not None
        return pricing.cost_card, pricing if has_books else None


def _done() -> Future[None]:
    done: Future[None] = Future()
    done.set_result(None)
    return done


def _failed(outcome: Outcome) -> Outcome:
    return outcome if outcome is Outcome.REFUSED else Outcome.UPSTREAM_FAILED
