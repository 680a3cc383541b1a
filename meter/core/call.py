"""Name what one call is: its attribution, its outcome, and how sure its usage is.

A call is one HTTP exchange with a model API. An SDK's retry is another call with the same
operation id. Nothing here knows HTTP, a provider or the store.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from uuid import UUID

from meter.core.usage import Usage


class Outcome(StrEnum):
    """How a call ended."""

    COMPLETED = "completed"
    CLIENT_CLOSED = "client_closed"
    UPSTREAM_FAILED = "upstream_failed"
    TIMED_OUT = "timed_out"
    REFUSED = "refused"


class Basis(StrEnum):
    """How the usage of a record is known."""

    REPORTED = "reported"
    ESTIMATED = "estimated"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Attribution:
    """Who pays for a call, and its cost dimensions.

    `subject` is the user (None: nobody was named). `tags` are sorted (name, value) pairs.
    `key_id` is the gateway key that authenticated the call, None in the library.
    """

    subject: str | None = None
    tags: tuple[tuple[str, str], ...] = ()
    key_id: str | None = None

    def over(self, hint: "Attribution") -> "Attribution":
        """Return this attribution, with what it leaves open filled in from `hint`."""
        if hint.subject is None and not hint.tags and hint.key_id is None:
            return self
        tags = {**dict(hint.tags), **dict(self.tags)}
        return Attribution(
            subject=self.subject if self.subject is not None else hint.subject,
            tags=tuple(sorted(tags.items())),
            key_id=self.key_id if self.key_id is not None else hint.key_id,
        )


NOBODY = Attribution()
"""The attribution of a call for which nobody was named."""


@dataclass(frozen=True, slots=True)
class Bound:
    """What a call may consume at most, as its request says; the basis of a hold.

    `input_tokens` and `output_tokens` are upper bounds in tokens; None means that nothing in the
    request or in the model's limits bounds it. `cost_nanos` is the bound in money, None when no
    rate card covers it. Hosted tools are not bounded by anything. `billed_nanos` bounds what the
    subject is billed, where that is not the cost: `billed_currency` says so (None: it is the same;
    empty: a resale price ought to cover the call and does not).
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_nanos: int | None = None
    currency: str | None = None
    billed_nanos: int | None = None
    billed_currency: str | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """One call as it is known when it leaves; written durably before it is sent.

    `id` is a UUIDv7 chosen where the call was intercepted, and the idempotency key of every
    later write. `started_us` is microseconds since 1970-01-01 UTC. `endpoint` is the API surface
    ("chat", "completions", "responses", "embeddings", "messages", "generateContent") or
    "unmetered". `path` is the URL path, kept for unmetered calls so that they can be seen.
    `estimated_input_tokens` is the estimate from the request alone, None when not made.
    """

    id: UUID
    operation_id: UUID
    started_us: int
    provider: str
    endpoint: str
    model_requested: str | None
    attribution: Attribution = field(default_factory=Attribution)
    streaming: bool = False
    estimated_input_tokens: int | None = None
    bound: Bound = field(default_factory=Bound)
    path: str | None = None
    upstream: str | None = None

    def estimated(self, input_tokens: int | None, bound: Bound) -> "Call":
        """Return the call with its estimate and its bound; `replace` takes three times as long."""
        return Call(
            self.id, self.operation_id, self.started_us, self.provider, self.endpoint,
            self.model_requested, self.attribution, self.streaming, input_tokens, bound,
            self.path, self.upstream,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Part:
    """What one request of a batch used, as a line of the batch's output says.

    `name` is the provider's own for it, the same in every fetch. `endpoint` answered it, "unknown"
    where it failed. `usage` is None where an answer came without one; a failed request has used
    nothing. `model` is None where the answer names none.
    """

    name: str
    custom_id: str
    endpoint: str
    status: int | None
    usage: Usage | None
    model: str | None
    traits: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Observation:
    """What was seen of an answer when it ended; what `settlement.owed` decides from.

    `usage` is what the provider reported in the end, None when it reported nothing usable.
    `running` is a report that a broken stream left unfinished (Anthropic's `message_start`).
    `counted` is our own count of the prompt and of the output seen, None when nothing could be
    counted. `status` is the HTTP status, None when no answer began. `received_bytes` counts body
    bytes.
    `error_in_body` marks an error that came with a status below 400. `defects` are sentences on
    what was malformed in the answer. `created_s` is when the answer says that it was made, in
    seconds since 1970 UTC. `billing_ids` are the provider's names for work that can be
    looked at again (a batch and its files, a job, a background response): it is billed once.
    `parts` are the requests of a batch whose output this is, and `usage` is then their sum;
    `has_all_parts`: no request of the batch that used something is missing there.
    """

    status: int | None = None
    usage: Usage | None = None
    running: Usage | None = None
    counted: Usage | None = None
    model_served: str | None = None
    service_tier: str | None = None
    traits: tuple[tuple[str, str], ...] = ()
    received_bytes: int = 0
    finished: bool = False
    error_in_body: bool = False
    counted_output_tokens: int | None = None
    provider_cost_nanos: int | None = None
    response_id: str | None = None
    created_s: int | None = None
    billing_ids: tuple[str, ...] = ()
    defects: tuple[str, ...] = ()
    parts: tuple[Part, ...] = ()
    has_all_parts: bool = False
