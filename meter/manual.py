"""Meter a call that does not pass through a wrapped client or the gateway.

    with meter.reserve(provider="openai", model="gpt-4o", input_tokens=900,
                       max_output_tokens=500) as call:
        answer = some_other_client(...)
        call.settle(input_tokens=903, output_tokens=212)

Leaving the block without `settle` releases the hold: nothing is owed.
"""

from concurrent.futures import Future
from types import TracebackType
from uuid import UUID

from meter.clock import new_id, now_us
from meter.core import estimating, rating
from meter.core.budgets import Hold, Refusal
from meter.core.call import Attribution, Basis, Call, Outcome
from meter.core.event import UsageEvent
from meter.core.money import Quantity
from meter.core.rates import Pricing, RateCard
from meter.core.usage import Usage
from meter.errors import CallRefused
from meter.pipeline import Pipeline


class ManualCall:
    """A reserved call that its caller settles by hand. Not thread-safe."""

    def __init__(self, pipeline: Pipeline, call: Call, pricing: Pricing, issuer: str):
        """Keep a call with its prices; `open` and `prepared` make these."""
        self.call = call
        self._issuer = issuer
        self._pipeline = pipeline
        self._pricing = pricing
        self._closed = False

    @classmethod
    def prepared(
        cls,
        pipeline: Pipeline,
        *,
        attribution: Attribution,
        provider: str,
        model: str,
        endpoint: str,
        input_tokens: int,
        max_output_tokens: int | None,
        issuer: str | None = None,
        upstream: str | None = None,
        operation_id: UUID | None = None,
    ) -> "ManualCall":
        """Return a call with its bound and prices, not yet reserved. Waits for nothing."""
        started_us = now_us()
        call_id = new_id()
        pricing = pipeline.pricing_of(
            provider=provider,
            issuer=issuer or provider,
            upstream=upstream,
            model=model,
            attribution=attribution,
            at_us=started_us,
        )
        bound = estimating.bound(
            pricing.cost_card,
            input_tokens=input_tokens,
            output_tokens=max_output_tokens,
            at_us=started_us,
        )
        if isinstance(pricing.billed, RateCard):
            bound = estimating.bound_billed(bound, pricing.billed, at_us=started_us)
        call = Call(
            id=call_id,
            operation_id=operation_id or call_id,
            started_us=started_us,
            provider=provider,
            endpoint=endpoint,
            model_requested=model,
            attribution=attribution,
            estimated_input_tokens=input_tokens,
            bound=bound,
            upstream=upstream,
        )
        return cls(pipeline, call, pricing, issuer or provider)

    @classmethod
    def open(
        cls,
        pipeline: Pipeline,
        *,
        attribution: Attribution,
        provider: str,
        model: str,
        endpoint: str,
        input_tokens: int,
        max_output_tokens: int,
    ) -> "ManualCall":
        """Reserve durably. Raises: CallRefused, StoreError."""
        made = cls.prepared(
            pipeline,
            attribution=attribution,
            provider=provider,
            model=model,
            endpoint=endpoint,
            input_tokens=input_tokens,
            max_output_tokens=max_output_tokens,
        )
        verdict = made.reserved().result(pipeline.settings.reserve_seconds)
        if isinstance(verdict, Refusal):
            raise CallRefused(verdict.message)
        return made

    def __enter__(self) -> "ManualCall":
        """Return this call; leaving the block unsettled releases it."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Release the call unless it was settled."""
        self.release()

    def reserved(self) -> "Future[tuple[Hold, ...] | Refusal]":
        """Reserve durably. The future raises StoreError."""
        return self._pipeline.store.reserve(self.call, self._issuer, self._pricing.cost_card)

    def settle(self, *, basis: str = "reported", **quantities: Quantity) -> None:
        """Record what the call used, by unit (`input_tokens=…, output_tokens=…`), durably.

        Raises: UnitError for an unknown unit or quantity, StoreError when the ledger is away.
        """
        settled = self.settled(Outcome.COMPLETED, Usage(quantities), Basis(basis))
        settled.result(self._pipeline.settings.store_seconds)

    def settled(
        self,
        outcome: Outcome,
        usage: Usage | None,
        basis: Basis,
        *,
        service_tier: str | None = None,
        response_id: str | None = None,
        billing_ids: tuple[str, ...] = (),
        defects: tuple[str, ...] = (),
    ) -> "Future[None]":
        """Record durably how the call ended; usage None: nobody knows (basis unknown).

        The future raises StoreError.
        """
        card = self._pricing.cost_card
        charges = rating.rate_in_books(
            usage, self._pricing, at_us=self.call.started_us, tier=service_tier
        )
        event = UsageEvent(
            call=self.call,
            ended_us=now_us(),
            outcome=outcome,
            basis=basis,
            usage=usage,
            charge=charges.cost,
            issuer=self._issuer,
            service_tier=service_tier,
            response_id=response_id,
            billing_ids=tuple(f"{self._issuer}/{name}" for name in billing_ids),
            defects=defects,
            listed=charges.listed,
            billed=charges.billed,
        )
        self._closed = True
        return self._pipeline.store.settle(event, card, self._pricing.other_cards)

    def release(self) -> None:
        """Give the hold back: the call was not made. Does nothing once settled or released."""
        if not self._closed:
            self._closed = True
            self._pipeline.store.release(self.call).result(self._pipeline.settings.store_seconds)
