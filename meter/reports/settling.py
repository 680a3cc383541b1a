"""Settle calls by hand or by a policy: what is said of their usage becomes a correction.

By hand: calls that are unsettled because nobody saw their end, and any other whose record is known
to be wrong. By a policy: all unsettled ones of some age. Called by the façade and by the gateway.
"""

from collections.abc import Callable
from typing import Final
from uuid import UUID

from meter.clock import new_id, now_us
from meter.config import Settings
from meter.core import rating
from meter.core.call import Basis
from meter.core.event import Correction
from meter.core.ports import PriceSource
from meter.core.rates import RateCard
from meter.core.usage import Usage
from meter.errors import ConflictingWrite, InputError
from meter.reports.rerating import pricing_of
from meter.store.corrections import policy_settle_id
from meter.store.ledger import Ledger
from meter.store.reads import CallRow


def settled_by_hand(
    call: CallRow,
    usage: Usage,
    basis: Basis,
    prices: PriceSource,
    *,
    reason: str,
    author: str,
    correction_id: UUID | None = None,
) -> tuple[Correction, tuple[RateCard, ...]]:
    """Return the correction that gives a call this usage, and the cards that rate it.

    An empty usage says that nothing is owed. `correction_id` None: a new one. Raises: InputError
    for a call still in flight, a basis of *unknown*, and a reason or an author that is not said.
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
        id=correction_id or new_id(),
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


def settle_unsettled(
    ledger: Ledger,
    prices: PriceSource,
    policy: Callable[[CallRow], Usage | None],
    *,
    name: str,
    until_us: int,
    author: str,
) -> tuple[list[UUID], int]:
    """Settle the unsettled calls that started before then; return which, and how many are left.

    `policy` says what a call counts as having used, None where it cannot say; `name` stands in the
    reason. One that another process settles at the same time, or whose end comes meanwhile, is
    left to it: each is settled once. Raises: StoreUnavailable.
    """
    settled, left = [], 0
    for call in ledger.unsettled(until_us):
        usage = policy(call)
        if usage is None:
            left += 1
            continue
        made = settled_by_hand(
            call, usage, Basis.ESTIMATED, prices, author=author,
            reason=f"nobody saw how this call ended; settled by policy: {name}",
            correction_id=policy_settle_id(call.id),
        )  # fmt: skip
        try:
            ledger.correct_all([made])
        except ConflictingWrite:
            continue
        settled.append(call.id)
    return settled, left


def settle_as_set(ledger: Ledger, prices: PriceSource, settings: Settings) -> int:
    """Settle what the settings `on_unsettled` and `unsettled_seconds` say; return how many calls.

    Raises: StoreUnavailable.
    """
    name = settings.on_unsettled
    if name == "list":
        return 0
    settled, _ = settle_unsettled(
        ledger,
        prices,
        lambda call: owed_by_policy(name, call),
        name=name,
        until_us=now_us() - settings.unsettled_seconds * 1_000_000,
        author=f"on_unsettled = {name}",
    )
    return len(settled)
