"""Make calls of the requests of a batch: each has a record of its own, and a payer. Pure.

Called by the pipeline, when the output of a batch has been read.
"""

import re
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import replace
from uuid import UUID

from meter.core.call import Attribution, Basis, Call, Outcome, Part
from meter.core.event import UsageEvent
from meter.core.rates import Pricing
from meter.core.rating import rate_in_books

CUSTOM_ID = "custom_id"
"""The tag of a batch's request that says what its sender called it."""

SUBJECT = "subject"
"""The group of a pattern that names who pays."""


def named_by(pattern: str, custom_id: str) -> Attribution:
    """Return whom the `custom_id` of a batch's request names, by the operator's convention.

    The group `subject` of the regular expression is the subject, its other named groups are tags;
    what does not match names nobody. Groups that matched nothing are left out.
    """
    found = re.match(pattern, custom_id) if pattern else None
    if found is None:
        return Attribution()
    named = {name: value for name, value in found.groupdict().items() if value}
    return Attribution(named.pop(SUBJECT, None), tuple(sorted(named.items())))


def told(attribution: Attribution, part: Part) -> Attribution:
    """Return the attribution of a batch's request with its `custom_id` as a tag."""
    own = Attribution(tags=((CUSTOM_ID, part.custom_id),) if part.custom_id else ())
    return replace(own.over(attribution), subject=attribution.subject)


def is_billed(part: Part) -> bool:
    """Whether a request of a batch gets a record: it has used something, and is known to."""
    return bool(part.usage) and part.model is not None


def part_call(call_id: UUID, fetch: Call, part: Part, attribution: Attribution) -> Call:
    """Return a request of a batch as a call, made when its answer was fetched."""
    return Call(
        id=call_id,
        operation_id=fetch.id,
        started_us=fetch.started_us,
        provider=fetch.provider,
        endpoint=part.endpoint,
        model_requested=part.model,
        attribution=attribution,
        upstream=fetch.upstream,
    )


def part_event(
    call: Call,
    part: Part,
    pricing: Pricing,
    issuer: str,
    whole: str,
    tier: str | None,
    at_us: int,
) -> UsageEvent:
    """Return the record of a request of the batch of that name, billed under a name of its own."""
    charges = rate_in_books(
        part.usage, pricing, at_us=call.started_us, tier=tier, traits=dict(part.traits)
    )
    return UsageEvent(
        call=call,
        ended_us=at_us,
        outcome=Outcome.COMPLETED,
        basis=Basis.REPORTED,
        usage=part.usage,
        charge=charges.cost,
        issuer=issuer,
        status=part.status,
        model_served=part.model,
        service_tier=tier,
        traits=part.traits,
        response_id=part.name,
        billing_ids=(f"{whole}/{part.name}",),
        listed=charges.listed,
        billed=charges.billed,
    )


def in_turn(steps: Iterator[Future[None]]) -> Future[None]:
    """Return a future of all steps; each is begun when the one before it is done.

    The first that fails ends it. A step begins on the thread that completed the one before.
    """
    whole: Future[None] = Future()
    whole.set_running_or_notify_cancel()

    def go_on(done: Future[None] | None = None) -> None:
        try:
            if done is not None:
                done.result()
            step = next(steps, None)
            while step is not None and step.done():
                step.result()
                step = next(steps, None)
        except BaseException as error:
            whole.set_exception(error)
            return
        if step is None:
            whole.set_result(None)
        else:
            step.add_done_callback(go_on)

    go_on()
    return whole
