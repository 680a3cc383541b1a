"""Hold the immutable record of one call's consumption, and the corrections that may follow it."""

from dataclasses import dataclass, field
from uuid import UUID

from meter.core.call import Basis, Call, Outcome
from meter.core.rating import Charge
from meter.core.usage import Usage


@dataclass(frozen=True, slots=True)
class UsageEvent:
    """One call, ended. Written once; its id is the call's id.

    `ended_us` is microseconds UTC; `first_byte_us` when the first byte of the answer's body came
    (None: none came). `usage` is None when nobody knows it (*unsettled*). `charge.amount_nanos`
    is None when the call is unpriced. `charge` is the cost: what is owed to the `issuer`, who bills
    us. `listed` is the same usage at the published price, `billed` what the subject owes; None
    there means the same as `charge`, and `listed_charge` and `billed_charge` answer either way.
    `counted_output_tokens` is our own
    count of the delivered output, None when it was not counted. `provider_cost_nanos` is the cost
    that the provider itself reported, kept beside ours. `defects` are sentences on what was
    malformed in the answer. `billing_ids` name work that other calls may show again: the first
    event with one of them bills it, the others owe nothing. `shown_ids` name work that has ended
    and of which the answer does not tell what it used.
    """

    call: Call
    ended_us: int
    outcome: Outcome
    basis: Basis
    usage: Usage | None
    charge: Charge
    issuer: str
    status: int | None = None
    first_byte_us: int | None = None
    model_served: str | None = None
    service_tier: str | None = None
    traits: tuple[tuple[str, str], ...] = ()
    counted_output_tokens: int | None = None
    provider_cost_nanos: int | None = None
    response_id: str | None = None
    billing_ids: tuple[str, ...] = ()
    defects: tuple[str, ...] = ()
    listed: Charge | None = None
    billed: Charge | None = None
    shown_ids: tuple[str, ...] = ()

    @property
    def listed_charge(self) -> Charge:
        """Return the charge at the published price."""
        return self.charge if self.listed is None else self.listed

    @property
    def billed_charge(self) -> Charge:
        """Return the charge that the subject owes."""
        return self.charge if self.billed is None else self.billed


@dataclass(frozen=True, slots=True)
class Parts:
    """Some requests of a batch, each as the record of a call of its own.

    `whole` are names of the batch as in `billing_ids`; each event's own name begins with the first
    of them and a slash. A request that has its record gets no other one. What it used is taken
    from the record of the batch, where there is one, so that the sum is billed once. `fetch_id` is
    the call whose answer shows them. `is_all`: no request of the batch has used anything besides
    these and those that have their record.
    """

    whole: tuple[str, ...]
    fetch_id: UUID
    at_us: int
    events: tuple[UsageEvent, ...]
    is_all: bool


@dataclass(frozen=True, slots=True)
class Correction:
    """A further statement on a call that already has its record: the whole truth as now known.

    `number` counts a call's corrections from 1. Nothing is edited: reports take the latest.
    `reason` is one sentence, `author` who or what made it ("late settle", "alice"). `listed` and
    `billed` as in `UsageEvent`.
    """

    id: UUID
    call_id: UUID
    number: int
    at_us: int
    usage: Usage | None
    basis: Basis
    charge: Charge
    reason: str
    author: str
    outcome: Outcome | None = None
    listed: Charge | None = None
    billed: Charge | None = None


@dataclass(frozen=True, slots=True)
class OpenCall:
    """A call that left and has not ended yet, as the store remembers it.

    `owner` names the process that sent it; `expires_us` is when its holds expire and it becomes
    unsettled, whatever became of that process.
    """

    call: Call
    issuer: str
    owner: str
    expires_us: int
    rate_card_id: str | None = None
    holds: tuple[tuple[str, int, int], ...] = field(default=())
