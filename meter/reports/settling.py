"""Settle a call by hand: what a person knows of its usage becomes a correction.

For calls that are unsettled because nobody saw their end, and for any other whose record is known
to be wrong. Called by the façade.
"""

from typing import Final

from meter.clock import new_id, now_us
from meter.core import rating
from meter.core.call import Basis
from meter.core.event import Correction
from meter.core.ports import PriceSource
from meter.core.rates import RateCard
from meter.core.usage import Usage
from meter.errors import InputError
from meter.reports.rerating import pricing_of
from meter.store.reads import CallRow


def settled_by_hand(
    call: CallRow,
    usage: Usage,
    basis: Basis,
    prices: PriceSource,
    *,
    reason: str,
    author: str,
) -> tuple[Correction, tuple[RateCard, ...]]:
    """Return the correction that gives a call this usage, and the cards that rate it.

    An empty usage says that nothing is owed. Raises: InputError for a call still in flight, a
    basis of *unknown*, and a reason or an author that is not said.
    """
    if call.state == "in_flight":
        raise InputError(f"found call {call.id} still in flight, expected one that has ended")
    if basis is Basis.UNKNOWN:
        raise InputError("found the basis unknown, expected reported or estimated")
    for name, text in (("a reason", reason), ("an author", author)):
        if not text.strip():
            raise InputError(f"found no text, expected {name} for this correction")
    pricing = pricing_of(call, prices)
    charges = rating.rate_in_books(
        usage,
        pricing,
        at_us=call.started_us,
        tier=call.service_tier,
        traits=dict(call.traits),
    )
    made = Correction(
        id=new_id(),
        call_id=call.id,
        number=call.corrections + 1,
        at_us=now_us(),
        usage=usage,
        basis=basis,
        charge=charges.cost,
        reason=reason,
        author=author,
        listed=charges.listed,
        billed=charges.billed,
    )
    return made, pricing.cards


POLICIES: Final = ("estimate", "nothing")


def owed_by_policy(policy: str, call: CallRow) -> Usage | None:
    """Return what an unsettled call counts as having used, None where the policy cannot say.

    "estimate": the prompt as it was counted before the call, and no output, of which nothing was
    seen; "nothing": nothing. Raises: InputError for another policy.
    """
    if policy not in POLICIES:
        raise InputError(f"found policy {policy!r}, expected one of {', '.join(POLICIES)}")
    if policy == "nothing":
        return Usage()
    tokens = call.estimated_input_tokens
    return None if tokens is None else Usage(input_tokens=tokens)
