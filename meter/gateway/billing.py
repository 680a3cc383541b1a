"""Answer what a key's subject has left and has used, as existing chat front ends ask for it.

    GET|POST /v1/dashboard/billing/credit_grants
    GET      /v1/dashboard/billing/subscription
    GET      /v1/dashboard/billing/usage?start_date=2026-11-01&end_date=2026-12-01

also without /v1. A key sees its own subject. Where the subject is prepaid that is its credit; else
its money budget; with neither nothing limits it, which front ends know as a hundred million. The
amounts are in the subject's own currency, which the names of the fields do not know of.
`?currency=CNY` chooses where there are several. Called by `app`.

Source: OpenAI's former dashboard API as the front ends of 2023 read it; the same of one-api and
new-api (docs.newapi.pro); docs.zhizengzeng.com for `grants.available_amount` (2026-11).
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec

from meter.clock import now_us
from meter.core.budgets import Measure, ScopeKind
from meter.core.credit import MoveKind
from meter.core.money import NANOS, nanos_to_text
from meter.core.ports import Answer
from meter.core.rates import microseconds_of
from meter.core.windows import zone
from meter.errors import ConfigError
from meter.gateway.rejections import Rejected
from meter.gateway.requests import BILLING, Request
from meter.gateway.services import Services
from meter.store.credit_rows import Credit, Grant
from meter.store.keys import Key
from meter.store.ledger import Ledger
from meter.store.reads import BudgetRow

UNLIMITED_NANOS: Final = 100_000_000 * NANOS
"""What front ends show where nothing limits a key."""

_NOTHING: Final = "nothing"
_SECOND_US: Final = 1_000_000
_MOST_DAYS: Final = 366
_ANSWERS: Final = {
    "credit_grants": ("GET", "POST"),
    "subscription": ("GET", "POST"),
    "usage": ("GET", "POST"),
}


@dataclass(frozen=True, slots=True)
class Means:
    """What a subject can spend: amounts in nanos of `currency`.

    `available_nanos` None: nothing limits it. `ends_us` is when it ends, None: not, or not known.
    `by` is "credit", "budget" or "nothing".
    """

    by: str
    currency: str
    used_nanos: int
    available_nanos: int | None
    grants: tuple[Grant, ...] = ()
    ends_us: int | None = None

    @property
    def granted_nanos(self) -> int:
        """Return what was there to spend, what was used of it included."""
        if self.available_nanos is None:
            return UNLIMITED_NANOS
        return self.used_nanos + self.available_nanos

    @property
    def left_nanos(self) -> int:
        """Return what is left, as front ends want to see it."""
        return self.granted_nanos - self.used_nanos


@dataclass(slots=True)
class _Used:
    """What was used, in nanos, by day (as "2026-11-25") and model."""

    by_day: dict[str, dict[str, int]] = field(default_factory=dict)

    def add(self, day: str | None, model: str | None, nanos: int) -> None:
        """Add an amount."""
        models = self.by_day.setdefault(day or "", {})
        models[model or "other"] = models.get(model or "other", 0) + nanos

    @property
    def total_nanos(self) -> int:
        """Return the sum."""
        return sum(nanos for models in self.by_day.values() for nanos in models.values())


def is_billing(request: Request) -> bool:
    """Whether a request asks for what its key's subject has left or has used."""
    return request.path.removeprefix("/v1").startswith(BILLING)


async def billing_answer(services: Services, request: Request, key: Key) -> Answer:
    """Return the answer. Raises: Rejected, StoreError."""
    name = request.path.removeprefix("/v1").removeprefix(BILLING).rstrip("/")
    if name not in _ANSWERS:
        raise Rejected(404, "unknown_url", f"found nothing here, expected {', '.join(_ANSWERS)}")
    if request.method not in _ANSWERS[name]:
        raise Rejected(405, "method_not_allowed", f"found {request.method}, expected GET or POST")
    query = dict(parse_qsl(request.query))
    loop = asyncio.get_running_loop()
    content = await loop.run_in_executor(
        services.threads, _content, services.ledger, key, name, query
    )
    body = msgspec.json.encode(content)
    fields = {"content-type": "application/json", "content-length": str(len(body))}
    return Answer(200, {**fields, "cache-control": "no-store"}, body)


def _content(ledger: Ledger, key: Key, name: str, query: Mapping[str, str]) -> dict[str, Any]:
    at_us = now_us()
    means = means_of(ledger, key, query.get("currency"), at_us)
    if name == "credit_grants":
        return _summary(means, at_us)
    if name == "subscription":
        return _subscription(means, key)
    span = _span(query)
    used = _used(ledger, key, means, span, query.get("tz", "UTC"), at_us)
    return _usage(means, used, span)


def means_of(ledger: Ledger, key: Key, currency: str | None, at_us: int) -> Means:
    """Return what the subject of a key can spend. Raises: StoreUnavailable."""
    ledger.credits.lapse(at_us, key.subject)
    accounts = ledger.credits.accounts(now_us=at_us, subject=key.subject)
    if currency is not None:
        accounts = [each for each in accounts if each.currency == currency]
    if accounts:
        return _from_credit(ledger, _chosen(accounts), at_us)
    budget = _tightest(ledger.budgets(), key, currency)
    if budget is not None:
        return Means(
            "budget",
            budget.budget.currency or "",
            budget.standing.spent,
            budget.budget.limit - budget.standing.spent,
            ends_us=budget.window_end_us,
        )
    used = sums_by_currency(ledger, key, None, None)
    # The currency that most is used in: a subject without limits has no currency of its own.
    shown = currency or max(used, key=lambda name: (used[name].total_nanos, name), default="USD")
    spent = used[shown].total_nanos if shown in used else 0
    return Means(_NOTHING, shown, spent, None)


def _chosen(accounts: list[Credit]) -> Credit:
    """Return the first account that has something left, else the first."""
    return next((each for each in accounts if each.balance_nanos > 0), accounts[0])


def _from_credit(ledger: Ledger, credit: Credit, at_us: int) -> Means:
    grants = tuple(ledger.credits.grants(credit.subject, credit.currency))
    living = [grant for grant in grants if grant.state_at(at_us) == "live"]
    ends = [grant.ends_us for grant in living]
    last_us = max((end for end in ends if end is not None), default=None)
    return Means(
        "credit",
        credit.currency,
        credit.used_nanos,
        credit.balance_nanos,
        grants,
        None if None in ends else last_us,
    )


def _tightest(rows: Iterable[BudgetRow], key: Key, currency: str | None) -> BudgetRow | None:
    """Return the money budget of the subject or of the key that has least left."""
    mine = [
        row
        for row in rows
        if row.budget.measure is Measure.MONEY
        and (row.budget.scope.kind, row.budget.scope.value)
        in ((ScopeKind.SUBJECT, key.subject), (ScopeKind.KEY, key.id))
        and currency in (None, row.budget.currency)
    ]
    return min(mine, key=lambda row: (row.left, row.budget.id), default=None)


def sums_by_currency(
    ledger: Ledger, key: Key, since_us: int | None, until_us: int | None, tz: str = "UTC"
) -> dict[str, _Used]:
    """Return what a key's subject was billed, by currency."""
    found: dict[str, _Used] = {}
    rows = ledger.usage(
        ("day", "model"), since_us=since_us, until_us=until_us, tz=tz,
        filters={"subject": key.subject},
    )  # fmt: skip
    for row in rows:
        if row.billed_nanos and row.billed_currency is not None:
            day, model = row.group
            found.setdefault(row.billed_currency, _Used()).add(day, model, row.billed_nanos)
    return found


def _used(
    ledger: Ledger, key: Key, means: Means, span: tuple[date, date] | None, tz: str, at_us: int
) -> _Used:
    """Return what was used in a span of days, or ever. Raises: Rejected for an unknown zone."""
    try:
        since_us, until_us = (None, None) if span is None else (_us(span[0], tz), _us(span[1], tz))
    except ConfigError as error:
        raise Rejected(400, "invalid_value", str(error)) from None
    if means.by != "credit":
        return sums_by_currency(ledger, key, since_us, until_us, tz).get(means.currency, _Used())
    statement = ledger.credits.statement(
        key.subject,
        means.currency,
        since_us=since_us,
        until_us=at_us + 1 if until_us is None else until_us,
        tz=tz,
        by=("day", "model"),
    )
    used = _Used()
    for line in statement.lines:
        if line.movement.kind is MoveKind.USAGE:
            day, model = line.movement.groups
            used.add(day, model, -line.movement.amount_nanos)
    return used


def _span(query: Mapping[str, str]) -> tuple[date, date] | None:
    """Return the days [start, end) that a query asks for, None without one. Raises: Rejected."""
    if "start_date" not in query and "end_date" not in query:
        return None
    start = _day(query, "start_date")
    end = _day(query, "end_date")
    if not 0 < (end - start).days <= _MOST_DAYS:
        raise Rejected(
            400,
            "invalid_value",
            f"found end_date {end} after start_date {start}, expected 1 to {_MOST_DAYS} days "
            "between them",
        )
    return start, end


def _day(query: Mapping[str, str], name: str) -> date:
    text = query.get(name, "")
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise Rejected(
            400, "invalid_value", f"found {text!r:.40} for {name}, expected a date as 2026-11-01"
        ) from None


def _us(day: date, tz: str) -> int:
    return microseconds_of(datetime.combine(day, time(), tzinfo=zone(tz)))


def _summary(means: Means, at_us: int) -> dict[str, Any]:
    return {
        "code": 0,
        "msg": "ok",
        "object": "credit_summary",
        "total_granted": _number(means.granted_nanos),
        "total_used": _number(means.used_nanos),
        "total_available": _number(means.left_nanos),
        "total_paid_available": _number(means.left_nanos),
        "currency": means.currency,
        "unlimited": means.available_nanos is None,
        "grants": {
            "available_amount": nanos_to_text(means.left_nanos),
            "object": "list",
            "data": [
                _grant(grant, at_us)
                for grant in means.grants
                if grant.state_at(at_us) in ("live", "used up")
            ],
        },
    }


def _grant(grant: Grant, at_us: int) -> dict[str, Any]:
    left = grant.left_nanos
    return {
        "object": "credit_grant",
        "id": grant.id,
        "grant_amount": _number(grant.amount_nanos),
        "used_amount": _number(grant.amount_nanos - left),
        "left_amount": _number(left),
        "state": grant.state_at(at_us),
        "effective_at": grant.granted_us // _SECOND_US,
        "expires_at": None if grant.ends_us is None else grant.ends_us // _SECOND_US,
    }


def _subscription(means: Means, key: Key) -> dict[str, Any]:
    limit = _number(means.granted_nanos)
    ends = [end for end in (means.ends_us, key.expires_us) if end is not None]
    return {
        "object": "billing_subscription",
        "has_payment_method": True,
        "soft_limit_usd": limit,
        "hard_limit_usd": limit,
        "system_hard_limit_usd": limit,
        "access_until": min(ends) // _SECOND_US if ends else 0,
        "account_name": key.subject,
        "currency": means.currency,
        "unlimited": means.available_nanos is None,
        "plan": {"title": f"limited by {means.by}", "id": means.by},
    }


def _usage(means: Means, used: _Used, span: tuple[date, date] | None) -> dict[str, Any]:
    content: dict[str, Any] = {
        "object": "list",
        "total_usage": _number(100 * used.total_nanos),
        "currency": means.currency,
    }
    if span is not None:
        content["daily_costs"] = [
            {
                "timestamp": _us(date.fromisoformat(day), "UTC") // _SECOND_US,
                "line_items": [
                    {"name": model, "cost": _number(100 * nanos)}
                    for model, nanos in sorted(models.items())
                ],
            }
            for day, models in sorted(used.by_day.items())
        ]
    return content


def _number(nanos: int) -> msgspec.Raw:
    """Return an exact amount as a JSON number with all its digits."""
    return msgspec.Raw(nanos_to_text(nanos).encode())
