"""Meter a call that does not pass through a wrapped client or the gateway.

    with meter.reserve(provider="openai", model="gpt-4o", input_tokens=900,
                       max_output_tokens=500) as call:
        answer = some_other_client(...)
        call.settle(input_tokens=903, output_tokens=212)

Leaving the block without `settle` releases the hold: nothing is owed.
"""

from types import TracebackType

from meter.clock import new_id, now_us
from meter.core import estimating, rating
from meter.core.budgets import Refusal
from meter.core.call import Attribution, Basis, Call, Outcome
from meter.core.event import UsageEvent
from meter.core.money import Quantity
from meter.core.rates import Pricing, RateCard
from meter.core.usage import Usage
from meter.errors import CallRefused
from meter.pipeline import Pipeline


class ManualCall:
    """A reserved call that its caller settles by hand. Not thread-safe."""

    def __init__(self, pipeline: Pipeline, call: Call, pricing: Pricing):
        """Keep a call that was reserved; `open` makes these."""
        self.call = call
        self._pipeline = pipeline
        self._pricing = pricing
        self._closed = False

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
        started_us = now_us()
        call_id = new_id()
        pricing = Pricing(pipeline.prices.card_for(provider, model, started_us))
        if pipeline.books is not None:
            pricing = pipeline.books.pricing(
                pricing.cost_card,
                provider=provider,
                issuer=provider,
                upstream=None,
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
            operation_id=call_id,
            started_us=started_us,
            provider=provider,
            endpoint=endpoint,
            model_requested=model,
            attribution=attribution,
            estimated_input_tokens=input_tokens,
            bound=bound,
        )
        verdict = pipeline.store.reserve(call, provider, pricing.cost_card).result(
            pipeline.settings.reserve_seconds
        )
        if isinstance(verdict, Refusal):
            raise CallRefused(verdict.message)
        return cls(pipeline, call, pricing)

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

    def settle(self, *, basis: str = "reported", **quantities: Quantity) -> None:
        """Record what the call used, by unit (`input_tokens=…, output_tokens=…`), durably.

        Raises: UnitError for an unknown unit or quantity, StoreError when the ledger is away.
        """
        usage = Usage(quantities)
        charges = rating.rate_in_books(usage, self._pricing, at_us=self.call.started_us)
        event = UsageEvent(
            call=self.call,
            ended_us=now_us(),
            outcome=Outcome.COMPLETED,
            basis=Basis(basis),
            usage=usage,
            charge=charges.cost,
            issuer=self.call.provider,
            listed=charges.listed,
            billed=charges.billed,
        )
        self._closed = True
        self._pipeline.store.settle(
            event, self._pricing.cost_card, self._pricing.other_cards
        ).result(self._pipeline.settings.store_seconds)

    def release(self) -> None:
        """Give the hold back: the call was not made. Does nothing once settled or released."""
        if not self._closed:
            self._closed = True
            self._pipeline.store.release(self.call).result(self._pipeline.settings.store_seconds)
