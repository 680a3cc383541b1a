"""Tell what is left: budgets with their pace, prepaid credit, and the keys of a subject."""

import shlex
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import streamlit as st

from data.asking import (
    KEY_SECONDS,
    REFRESH_SECONDS,
    Question,
    Viewer,
    allowed,
    ledger,
    note,
    opened,
    settings,
)
from meter.clock import now_us
from meter.core import statements as core_statements
from meter.core.money import nanos_to_decimal
from meter.core.rates import datetime_of
from meter.core.statements import Statement
from meter.reports import pacing
from meter.store.credit_rows import Credit, Grant
from meter.store.keys import Key
from meter.store.reads import BudgetRow


@dataclass(frozen=True)
class BudgetView:
    """A budget as the pages show it; amounts in `unit`, which is a currency, tokens or calls."""

    name: str
    scope: str
    measure: str
    unit: str
    window: str
    tz: str
    limit: Decimal
    spent: Decimal
    held: Decimal
    left: Decimal
    used_permille: int | None
    window_start: datetime
    window_end: datetime | None
    runs_out: datetime | None
    expected: Decimal | None
    is_rolling: bool


@st.cache_data(ttl=REFRESH_SECONDS, show_spinner=False)
def _budgets(url: str) -> tuple[list[BudgetRow], datetime]:
    return opened(url).budgets(), datetime.now(UTC)


def budgets(viewer: Viewer, *, subject: str | None = None) -> list[BudgetView]:
    """Return the budgets that this viewer may see; of one subject only where it is named."""
    rows, at = _budgets(settings().database_url)
    note(at)
    wanted = subject if viewer.sees_everything else viewer.subject
    if wanted is not None:
        own = {key.id for key in stored_keys(settings().database_url) if key.subject == wanted}
        rows = [row for row in rows if _belongs(row, wanted, own)]
    return [_budget_view(row) for row in rows]


def _belongs(row: BudgetRow, subject: str, key_ids: set[str]) -> bool:
    scope = row.budget.scope
    if scope.kind == "subject":
        return scope.value == subject
    return scope.kind == "key" and scope.value in key_ids


def _budget_view(row: BudgetRow) -> BudgetView:
    budget, standing = row.budget, row.standing
    is_money = budget.measure == "money"

    def shown(number: int) -> Decimal:
        return nanos_to_decimal(number) if is_money else Decimal(number)

    paced = pacing.pace(row, now_us())
    zone = ZoneInfo(budget.window.tz)

    def local(at_us: int | None) -> datetime | None:
        return None if at_us is None else datetime_of(at_us).astimezone(zone)

    start = local(row.window_start_us)
    assert start is not None
    return BudgetView(
        name=budget.id,
        scope=f"{budget.scope.kind} {budget.scope.value}".strip(),
        measure=str(budget.measure),
        unit=(budget.currency or "") if is_money else str(budget.measure),
        window=budget.window.name,
        tz=budget.window.tz,
        limit=shown(budget.limit),
        spent=shown(standing.spent),
        held=shown(standing.held),
        left=shown(row.left),
        used_permille=paced.used_permille,
        window_start=start,
        window_end=local(row.window_end_us),
        runs_out=local(paced.runs_out_us),
        expected=None if paced.expected is None else shown(paced.expected),
        is_rolling=budget.window.is_rolling,
    )


def limits_of(viewer: Viewer, question: Question, window: str) -> list[BudgetView]:
    """Return the money budgets over exactly what the question asks about, in such a window."""
    asked = allowed(viewer, question)
    scope = "everything"
    if asked.subject:
        scope = f"subject {asked.subject}"
    if asked.model:
        scope = f"model {asked.model}"
    if asked.tag:
        scope = f"tag {asked.tag}"
    if sum(bool(part) for part in (asked.subject, asked.model, asked.tag)) > 1:
        return []
    return [
        view
        for view in budgets(viewer)
        if view.scope == scope and view.unit == asked.currency and view.window == window
        and view.tz == asked.tz
    ]  # fmt: skip


@dataclass(frozen=True)
class CreditView:
    """The prepaid credit of a subject in one currency, and its grants; exact amounts."""

    subject: str
    currency: str
    balance: Decimal
    held: Decimal
    free: Decimal
    used: Decimal
    grants: tuple["GrantView", ...]


@dataclass(frozen=True)
class GrantView:
    """One credit grant; `ends` None: it never ends."""

    amount: Decimal
    left: Decimal
    granted: datetime
    ends: datetime | None
    state: str
    reason: str


@st.cache_data(ttl=REFRESH_SECONDS, show_spinner=False)
def _credits(url: str, subject: str | None) -> tuple[list[Credit], list[Grant], datetime]:
    kept = opened(url).credits
    return kept.balances(subject), kept.grants(subject), datetime.now(UTC)


def credits(viewer: Viewer, *, subject: str | None = None) -> list[CreditView]:
    """Return the prepaid credit that this viewer may see; of one subject where it is named."""
    wanted = subject if viewer.sees_everything else viewer.subject
    accounts, grants, at = _credits(settings().database_url, wanted)
    note(at)
    return [
        CreditView(
            subject=one.subject,
            currency=one.currency,
            balance=nanos_to_decimal(one.balance_nanos),
            held=nanos_to_decimal(one.held_nanos),
            free=nanos_to_decimal(one.free_nanos),
            used=nanos_to_decimal(one.used_nanos),
            grants=tuple(
                GrantView(
                    amount=nanos_to_decimal(grant.amount_nanos),
                    left=nanos_to_decimal(grant.left_nanos),
                    granted=datetime_of(grant.granted_us),
                    ends=None if grant.ends_us is None else datetime_of(grant.ends_us),
                    state=grant.state_at(now_us()),
                    reason=grant.reason,
                )
                for grant in grants
                if (grant.subject, grant.currency) == (one.subject, one.currency)
            ),
        )
        for one in accounts
    ]


@st.cache_data(ttl=KEY_SECONDS, show_spinner=False)
def stored_keys(url: str) -> list[Key]:
    """Return every key of the ledger."""
    return opened(url).keys.all()


@dataclass(frozen=True)
class KeyView:
    """A key as the pages show it, without its secret."""

    prefix: str
    name: str
    state: str
    created: datetime
    expires: datetime | None
    models: tuple[str, ...] | None


def keys(viewer: Viewer, subject: str | None) -> list[KeyView]:
    """Return the keys of a subject that this viewer may see."""
    wanted = subject if viewer.sees_everything else viewer.subject
    return [
        KeyView(
            prefix=key.prefix,
            name=key.name,
            state=key.state_at(now_us()),
            created=datetime_of(key.created_us),
            expires=None if key.expires_us is None else datetime_of(key.expires_us),
            models=key.models,
        )
        for key in stored_keys(settings().database_url)
        if key.subject == wanted
    ]


def key_of(secret: str) -> Key | None:
    """Return the active key of a secret, None for any other text."""
    key = ledger().keys.find(secret.strip())
    return key if key is not None and key.state_at(now_us()) == "active" else None


@st.cache_data(ttl=KEY_SECONDS, show_spinner=False)
def still_active(url: str, key_id: str) -> bool:
    """Whether a key may still look."""
    key = opened(url).keys.one(key_id)
    return key is not None and key.state_at(now_us()) == "active"


@dataclass(frozen=True)
class StatementLine:
    """One line of a statement: what moved credit, and the balance after it; exact amounts.

    `of` is the day of usage, or the id that a person chose; `calls` None where it is not usage.
    """

    at: datetime
    kind: str
    of: str
    calls: int | None
    amount: Decimal
    balance: Decimal
    reason: str


@dataclass(frozen=True)
class StatementView:
    """The prepaid credit of a subject in one currency over an interval, line by line."""

    currency: str
    opening: Decimal
    closing: Decimal
    lines: tuple[StatementLine, ...]
    command: str


@st.cache_data(ttl=REFRESH_SECONDS, max_entries=100, show_spinner=False)
def _statement(
    url: str, subject: str, currency: str, since: datetime, until: datetime, tz: str
) -> Statement:
    return opened(url).statement(subject, currency, since=since, until=until, tz=tz)


def statements(viewer: Viewer, question: Question, subject: str) -> list[StatementView]:
    """Return the statement of a subject over the interval, one for each currency of its credit."""
    found = []
    for account in credits(viewer, subject=subject):
        told = _statement(
            settings().database_url, account.subject, account.currency, question.since,
            question.until, question.tz,
        )  # fmt: skip
        found.append(
            StatementView(
                currency=account.currency,
                opening=nanos_to_decimal(told.opening_nanos),
                closing=nanos_to_decimal(told.closing_nanos),
                lines=tuple(_statement_line(line) for line in told.lines),
                command=_statement_command(account, question),
            )
        )
    return found


def _statement_line(line: core_statements.StatementLine) -> StatementLine:
    moved = line.movement
    return StatementLine(
        at=datetime_of(moved.at_us),
        kind=moved.kind.value,
        of=", ".join(text or "–" for text in moved.groups) or (moved.name or ""),
        calls=moved.calls,
        amount=nanos_to_decimal(moved.amount_nanos),
        balance=nanos_to_decimal(line.balance_nanos),
        reason=moved.reason or "",
    )


def _statement_command(account: CreditView, question: Question) -> str:
    """Return the command that writes the same lines to a file."""
    zone = ZoneInfo(question.tz)
    since, until = (
        moment.astimezone(zone).date().isoformat() for moment in (question.since, question.until)
    )
    return shlex.join(
        ["meter", "credits", "statement", account.subject, "--currency", account.currency,
         "--since", since, "--until", until, "--tz", question.tz, "--format", "csv"]
    )  # fmt: skip
