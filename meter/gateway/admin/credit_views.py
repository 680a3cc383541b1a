"""Say what the admin API takes and gives of prepaid credit, as types.

As in `views`: amounts are decimal texts, moments RFC 3339.
"""

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from meter.core.credit import MoveKind
from meter.core.money import nanos_to_text
from meter.core.statements import Statement, StatementLine
from meter.gateway.admin.views import Moment, Name, moment
from meter.store.credit_rows import Credit, Grant

Amount = Annotated[str, Meta(pattern=r"^[0-9]{1,7}(\.[0-9]{1,9})?$")]
Signed = Annotated[str, Meta(pattern=r"^-?[0-9]{1,7}(\.[0-9]{1,9})?$")]
Currency = Annotated[str, Meta(pattern="^[A-Z]{3}$")]

_GROUP = "(hour|day|week|month|model|provider|endpoint|key)"


class GrantAsked(Struct, forbid_unknown_fields=True):
    """Credit to grant; from the first grant on, its subject is prepaid in the currency."""

    amount: Amount
    author: Name
    reason: Name = "prepaid"
    currency: Currency = "USD"
    expires_at: Moment | None = None


class RefundAsked(Struct, forbid_unknown_fields=True):
    """What calls have used and is given back, at most as much as they did."""

    amount: Amount
    reason: Name
    author: Name
    currency: Currency = "USD"


class AdjustmentAsked(Struct, forbid_unknown_fields=True):
    """What is added by hand or, below zero, taken off."""

    amount: Signed
    reason: Name
    author: Name
    currency: Currency = "USD"


class RevocationAsked(Struct, forbid_unknown_fields=True):
    """Why a grant ends now, and who says so."""

    reason: Name
    author: Name


class CreditShown(Struct):
    """The prepaid credit of a subject in one currency.

    `balance` is below zero where usage overran it; `held` is set aside for calls in flight, `free`
    what a new call can take, `used` what all calls used. `id` is what refusals name.
    """

    id: str
    subject: str
    currency: str
    balance: str
    held: str
    free: str
    used: str
    since: datetime


class CreditsShown(Struct):
    """A page of balances, by subject; `next` is what `after` takes for the page that follows."""

    data: list[CreditShown]
    next: str | None


class GrantShown(Struct):
    """One grant; `left` is what can still be used of it."""

    id: str
    subject: str
    currency: str
    amount: str
    left: str
    state: Literal["live", "used up", "expired", "revoked"]
    granted_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    reason: str
    author: str


class SubjectCreditShown(Struct):
    """The balances of a subject, one for each currency, and its grants, the oldest first."""

    balances: list[CreditShown]
    grants: list[GrantShown]


class StatementLineShown(Struct):
    """One line: what moved, and the balance after it. Usage is summed by the statement's `by`."""

    at: datetime
    kind: str
    amount: str
    balance: str
    groups: dict[str, str | None] | None
    calls: int | None
    id: str | None
    reason: str | None
    author: str | None


class StatementShown(Struct):
    """The credit of a subject line by line, so that it adds up."""

    subject: str
    currency: str
    since: datetime | None
    until: datetime
    opening_balance: str
    lines: list[StatementLineShown]
    closing_balance: str


class CreditsQuery(Struct, forbid_unknown_fields=True):
    """Which balances."""

    after: Name | None = None
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100


class StatementQuery(Struct, forbid_unknown_fields=True):
    """Which part [since, until) of a statement; `by`: what usage is summed by, with commas."""

    currency: Currency | None = None
    since: Moment | None = None
    until: Moment | None = None
    tz: Name = "UTC"
    by: Annotated[str, Meta(pattern=f"^{_GROUP}(,{_GROUP}){{0,7}}$")] = "day"


def credit_shown(credit: Credit) -> CreditShown:
    """Return a balance."""
    since = moment(credit.since_us)
    assert since is not None
    return CreditShown(
        id=credit.id,
        subject=credit.subject,
        currency=credit.currency,
        balance=nanos_to_text(credit.balance_nanos),
        held=nanos_to_text(credit.held_nanos),
        free=nanos_to_text(max(credit.free_nanos, 0)),
        used=nanos_to_text(credit.used_nanos),
        since=since,
    )


def grant_shown(grant: Grant, at_us: int) -> GrantShown:
    """Return a grant as it stands at a moment."""
    granted = moment(grant.granted_us)
    assert granted is not None
    states = Literal["live", "used up", "expired", "revoked"]
    return GrantShown(
        id=grant.id,
        subject=grant.subject,
        currency=grant.currency,
        amount=nanos_to_text(grant.amount_nanos),
        left=nanos_to_text(grant.left_at(at_us)),
        state=msgspec.convert(grant.state_at(at_us), states),
        granted_at=granted,
        expires_at=moment(grant.expires_us),
        revoked_at=moment(grant.revoked_us),
        reason=grant.reason,
        author=grant.author,
    )


def statement_shown(found: Statement) -> StatementShown:
    """Return a statement."""
    until = moment(found.until_us)
    assert until is not None
    return StatementShown(
        subject=found.subject,
        currency=found.currency,
        since=moment(found.since_us),
        until=until,
        opening_balance=nanos_to_text(found.opening_nanos),
        lines=[_line(line, found.by) for line in found.lines],
        closing_balance=nanos_to_text(found.closing_nanos),
    )


def _line(line: StatementLine, by: tuple[str, ...]) -> StatementLineShown:
    moved = line.movement
    at = moment(moved.at_us)
    assert at is not None
    is_usage = moved.kind is MoveKind.USAGE
    return StatementLineShown(
        at=at,
        kind=moved.kind.value,
        amount=nanos_to_text(moved.amount_nanos),
        balance=nanos_to_text(line.balance_nanos),
        groups=dict(zip(by, moved.groups, strict=True)) if is_usage else None,
        calls=moved.calls,
        id=moved.name,
        reason=moved.reason,
        author=moved.author,
    )
