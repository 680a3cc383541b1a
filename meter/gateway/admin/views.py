"""Say what the admin API takes and gives, as types: validation and OpenAPI follow from them.

Amounts are decimal texts without exponent, in the currency beside them; moments are RFC 3339 with
a zone, answers in UTC. A member that is null is unknown or not set.
"""

from datetime import UTC, datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from meter.core.money import nanos_to_text
from meter.core.rates import datetime_of
from meter.gateway.upstreams import Upstream
from meter.store.keys import Key
from meter.store.price_files import PriceFile
from meter.store.reads import BudgetRow, CallRow, UsageRow

Name = Annotated[str, Meta(min_length=1, max_length=256)]
Tag = Annotated[str, Meta(pattern="^[^=]+=.+$", max_length=513)]
Limit = Annotated[int, Meta(ge=0, le=2**53)]
Moment = Annotated[datetime, Meta(tz=True)]
Tags = dict[Name, Name]

_GROUP = (
    "(subject|model|provider|endpoint|key|team|project|outcome|basis|hour|day|week|month"
    "|tag:[^,]{1,256})"
)


class Fault(Struct):
    """Why a request was not carried out: a code for programs and one sentence for people."""

    code: str
    message: str


class Failure(Struct):
    """The answer to a request that was not carried out."""

    error: Fault


class KeyAsked(Struct, forbid_unknown_fields=True):
    """A key to make. `models` and `endpoints`: what it may use, null for everything.

    `team` and `project` are tags of these names.
    """

    subject: Name
    name: Annotated[str, Meta(max_length=256)] = ""
    team: Name | None = None
    project: Name | None = None
    tags: Tags = {}
    models: Annotated[list[Name], Meta(min_length=1)] | None = None
    endpoints: Annotated[list[Name], Meta(min_length=1)] | None = None
    may_name_users: bool = False
    expires_at: Moment | None = None
    calls_per_minute: Limit | None = None
    tokens_per_minute: Limit | None = None


class LimitsAsked(Struct, forbid_unknown_fields=True):
    """The rate limits of a key: both are replaced, null lifts one."""

    calls_per_minute: Limit | None = None
    tokens_per_minute: Limit | None = None


class KeyShown(Struct):
    """A key, without its secret; `begins` is how the secret begins."""

    id: str
    begins: str
    subject: str
    name: str
    team: str | None
    project: str | None
    tags: dict[str, str]
    models: list[str] | None
    endpoints: list[str] | None
    may_name_users: bool
    role: str | None
    state: Literal["active", "expired", "revoked"]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


class KeyMade(Struct):
    """A key that was just made or renewed. The secret is shown only here."""

    key: KeyShown
    secret: str


class KeysShown(Struct):
    """A page of keys, oldest first; `next` is what `after` takes for the page that follows."""

    data: list[KeyShown]
    next: str | None


class BudgetAsked(Struct, forbid_unknown_fields=True):
    """A limit to set. At most one of subject, team, project, tag ("feature=chat"), model and key
    narrows it.

    `limit` is a decimal amount in `currency` for money, else a whole number of tokens or calls.
    """

    limit: Annotated[str, Meta(pattern=r"^[0-9]{1,9}(\.[0-9]{1,9})?$")]
    subject: Name | None = None
    team: Name | None = None
    project: Name | None = None
    tag: Tag | None = None
    model: Name | None = None
    key: Name | None = None
    currency: Annotated[str, Meta(pattern="^[A-Z]{3}$")] = "USD"
    measure: Literal["money", "tokens", "calls"] = "money"
    window: Annotated[
        str,
        Meta(
            pattern=r"^(minute|hour|day|week|month|total|rolling:[1-9][0-9]{0,5}[mhd])$",
            description="minute, hour, day, week, month, total, or rolling:24h (m, h or d)",
        ),
    ] = "month"
    tz: Name = "UTC"


class BudgetShown(Struct):
    """A limit and where it stands in its present window, in its measure."""

    id: str
    scope: str
    scope_value: str
    measure: str
    currency: str | None
    limit: str
    spent: str
    held: str
    left: str
    window: str
    tz: str
    window_start: datetime
    window_end: datetime | None


class BudgetsShown(Struct):
    """Every budget, by id."""

    data: list[BudgetShown]


class UsageShown(Struct):
    """Sums over ended calls of one group, in one currency."""

    group: dict[str, str | None]
    calls: int
    currency: str | None
    cost: str | None
    list_cost: str | None
    list_currency: str | None
    billed: str | None
    billed_currency: str | None
    input_tokens: int | None
    cache_read_tokens: int | None
    cache_write_tokens: int | None
    output_tokens: int | None
    reasoning_tokens: int | None
    unpriced: int
    estimated: int
    unknown: int
    unmetered: int
    failed: int
    refused: int


class UsagesShown(Struct):
    """The sums that were asked for."""

    data: list[UsageShown]


class LineShown(Struct):
    """One line of a charge: quantity × rate = amount."""

    unit: str
    quantity: str
    amount: str


class CallShown(Struct):
    """One ended call as it is now known."""

    id: str
    operation_id: str
    state: str
    started_at: datetime
    ended_at: datetime | None
    provider: str
    endpoint: str
    model_requested: str | None
    model_served: str | None
    upstream: str | None
    subject: str | None
    key_id: str | None
    tags: dict[str, str]
    status: int | None
    outcome: str | None
    basis: str | None
    estimated_input_tokens: int | None
    usage: dict[str, str] | None
    cost: str | None
    currency: str | None
    list_cost: str | None
    list_currency: str | None
    billed: str | None
    billed_currency: str | None
    lines: list[LineShown]
    unpriced: str | None
    corrections: int
    defects: list[str]


class CallsShown(Struct):
    """A page of calls, newest first; `next` is what `after` takes for the page that follows."""

    data: list[CallShown]
    next: str | None


class PriceFileAsked(Struct, forbid_unknown_fields=True):
    """A rate file to import: its text, in one of the formats that `meter prices` reads."""

    content: Annotated[str, Meta(min_length=1)]
    format: Literal["toml", "yaml", "csv", "litellm"] = "toml"


class PriceFileShown(Struct):
    """An imported rate file; `version` counts those of its name."""

    name: str
    version: int
    format: str
    hash: str
    author: str
    imported_at: datetime


class PriceFilesShown(Struct):
    """The imported rate files in force, the topmost first."""

    data: list[PriceFileShown]


class UpstreamShown(Struct):
    """Where calls are sent, without the credential."""

    name: str
    base_url: str
    dialect: str
    models: list[str] | None
    weight: int | None
    fallbacks: list[str]


class UpstreamsShown(Struct):
    """Every upstream that the answering process sends calls to."""

    data: list[UpstreamShown]


class UpstreamAsked(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """An upstream to add or replace. `key_env` names the variable that holds its credential
    (empty: it needs none), `key_file` the file; the credential itself is never taken or kept.
    """

    base_url: Annotated[str, Meta(pattern="^https?://", max_length=2048)]
    dialect: Name | None = None
    key_env: Annotated[str, Meta(max_length=256)] | None = None
    key_file: Annotated[str, Meta(min_length=1, max_length=4096)] | None = None
    models: list[Name] | None = None
    seconds: Annotated[int, Meta(ge=1, le=86400)] | None = None
    weight: Annotated[int, Meta(ge=0, le=1_000_000)] | None = None
    fallbacks: list[Name] | None = None


class NoQuery(Struct, forbid_unknown_fields=True):
    """No parameters."""


class KeysQuery(Struct, forbid_unknown_fields=True):
    """Which keys."""

    subject: Name | None = None
    team: Name | None = None
    project: Name | None = None
    after: Name | None = None
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100


class UsageQuery(Struct, forbid_unknown_fields=True):
    """Which calls [since, until), how grouped. `by`: names separated by commas."""

    by: Annotated[str, Meta(pattern=f"^{_GROUP}(,{_GROUP}){{0,7}}$")] = "subject,model"
    since: Moment | None = None
    until: Moment | None = None
    tz: Name = "UTC"
    subject: Name | None = None
    model: Name | None = None
    provider: Name | None = None
    endpoint: Name | None = None
    key: Name | None = None
    tag: Tag | None = None


class CallsQuery(Struct, forbid_unknown_fields=True):
    """Which calls started in [since, until)."""

    since: Moment | None = None
    until: Moment | None = None
    subject: Name | None = None
    model: Name | None = None
    provider: Name | None = None
    endpoint: Name | None = None
    key: Name | None = None
    basis: Literal["reported", "estimated", "unknown"] | None = None
    tag: Tag | None = None
    after: Annotated[str, Meta(pattern="^[0-9]{1,18}-[0-9a-f-]{36}$")] | None = None
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100


def moment(at_us: int | None) -> datetime | None:
    """Return microseconds UTC as a moment."""
    return None if at_us is None else datetime_of(at_us).astimezone(UTC)


def key_shown(key: Key, at_us: int) -> KeyShown:
    """Return a key as it stands at a moment."""
    created = moment(key.created_us)
    assert created is not None
    return KeyShown(
        id=key.id,
        begins=key.prefix,
        subject=key.subject,
        name=key.name,
        team=dict(key.tags).get("team"),
        project=dict(key.tags).get("project"),
        tags=dict(key.tags),
        models=None if key.models is None else list(key.models),
        endpoints=None if key.endpoints is None else list(key.endpoints),
        may_name_users=key.may_name_users,
        role=key.role,
        state=msgspec.convert(key.state_at(at_us), Literal["active", "expired", "revoked"]),
        created_at=created,
        expires_at=moment(key.expires_us),
        revoked_at=moment(key.revoked_us),
    )


def budget_shown(row: BudgetRow) -> BudgetShown:
    """Return a budget as it stands."""
    budget, standing = row.budget, row.standing
    is_money = budget.currency is not None
    start = moment(row.window_start_us)
    assert start is not None

    def text(amount: int) -> str:
        return nanos_to_text(amount) if is_money else str(amount)

    return BudgetShown(
        id=budget.id,
        scope=budget.scope.kind.value,
        scope_value=budget.scope.value,
        measure=budget.measure.value,
        currency=budget.currency,
        limit=text(budget.limit),
        spent=text(standing.spent),
        held=text(standing.held),
        left=text(row.left),
        window=budget.window.name,
        tz=budget.window.tz,
        window_start=start,
        window_end=moment(row.window_end_us),
    )


def usage_shown(row: UsageRow, by: tuple[str, ...]) -> UsageShown:
    """Return one row of sums."""
    sums = {
        name: getattr(row, name)
        for name in UsageShown.__struct_fields__
        if name not in ("group", "cost", "list_cost", "billed")
    }
    return UsageShown(
        group=dict(zip(by, row.group, strict=True)),
        cost=_amount(row.cost_nanos),
        list_cost=_amount(row.list_nanos),
        billed=_amount(row.billed_nanos),
        **sums,
    )


def _amount(nanos: int | None) -> str | None:
    return None if nanos is None else nanos_to_text(nanos)


def call_shown(row: CallRow) -> CallShown:
    """Return one call."""
    started = moment(row.started_us)
    assert started is not None
    usage = None if row.usage is None else {name: str(n) for name, n in row.usage.items()}
    return CallShown(
        id=str(row.id),
        operation_id=str(row.operation_id),
        state=row.state,
        started_at=started,
        ended_at=moment(row.ended_us),
        provider=row.provider,
        endpoint=row.endpoint,
        model_requested=row.model_requested,
        model_served=row.model_served,
        upstream=row.upstream,
        subject=row.subject,
        key_id=row.key_id,
        tags=dict(row.tags),
        status=row.status,
        outcome=None if row.outcome is None else row.outcome.value,
        basis=None if row.basis is None else row.basis.value,
        estimated_input_tokens=row.estimated_input_tokens,
        usage=usage,
        cost=_amount(row.cost_nanos),
        currency=row.currency,
        list_cost=_amount(row.listed.amount_nanos),
        list_currency=row.listed.currency,
        billed=_amount(row.billed.amount_nanos),
        billed_currency=row.billed.currency,
        lines=[
            LineShown(line.unit, str(line.quantity), nanos_to_text(line.amount_nanos))
            for line in row.lines
        ],
        unpriced=row.unpriced,
        corrections=row.corrections,
        defects=list(row.defects),
    )


def price_file_shown(file: PriceFile) -> PriceFileShown:
    """Return an imported rate file without its text."""
    imported = moment(file.imported_us)
    assert imported is not None
    return PriceFileShown(file.name, file.number, file.format, file.hash, file.author, imported)


def upstream_shown(upstream: Upstream) -> UpstreamShown:
    """Return an upstream without what is secret."""
    models = None if upstream.models is None else list(upstream.models)
    return UpstreamShown(
        upstream.name,
        upstream.base_url,
        upstream.dialect.name,
        models,
        upstream.weight,
        list(upstream.fallbacks),
    )
