"""What the operator's tools can ask and do: every operation of the admin API, with its types.

Each runs on a thread, with the ledger alone: nothing here knows HTTP. A new operation is one
function and one row of `OPERATIONS`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any, Final, Literal
from uuid import UUID

from meter.attribution import checked, placed
from meter.clock import now_us
from meter.config import Settings
from meter.core.budgets import Budget, Measure, Scope, ScopeKind
from meter.core.call import Attribution
from meter.core.money import nanos_from_text
from meter.core.rates import microseconds_of
from meter.core.windows import Span, Window
from meter.errors import InputError
from meter.gateway.admin import views
from meter.gateway.endpoints import NAMES
from meter.gateway.upstreams import Upstreams, checked_table
from meter.imported import ImportedPrices
from meter.prices.formats import read_text
from meter.store.keys import Key
from meter.store.ledger import Ledger

RATES: Final = ("calls", "tokens")


class Missing(Exception):
    """What a path names does not exist."""


@dataclass(frozen=True, slots=True)
class Context:
    """What operations work on."""

    ledger: Ledger
    upstreams: Upstreams
    settings: Settings
    imported: ImportedPrices


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: the names in its path, its query and its body, as their types."""

    path: Mapping[str, str]
    query: Any
    body: Any


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation: where it is, what it takes and gives, and what carries it out.

    `query` and `body` are msgspec types, `body` None where none is taken; `answer` None where
    nothing is given back (204).
    """

    name: str
    method: Literal["GET", "POST", "PUT", "DELETE"]
    path: str
    summary: str
    run: Callable[[Context, Asked], Any]
    answer: type | None
    status: int = 200
    query: type = views.NoQuery
    body: type | None = None


def list_keys(context: Context, asked: Asked) -> views.KeysShown:
    """Return a page of keys."""
    query: views.KeysQuery = asked.query
    keys = [
        key
        for key in context.ledger.keys.all()
        if query.subject in (None, key.subject)
        and query.team in (None, dict(key.tags).get("team"))
        and query.project in (None, dict(key.tags).get("project"))
    ]
    if query.after is not None:
        places = [place for place, key in enumerate(keys) if key.id == query.after]
        if not places:
            raise InputError(f"found no key {query.after!r} to continue after")
        keys = keys[places[0] + 1 :]
    page = keys[: query.limit]
    at_us = now_us()
    more = page[-1].id if len(keys) > len(page) else None
    return views.KeysShown([views.key_shown(key, at_us) for key in page], more)


def make_key(context: Context, asked: Asked) -> views.KeyMade:
    """Make a key."""
    body: views.KeyAsked = asked.body
    tags = placed(tuple(body.tags.items()), body.team, body.project)
    attribution = checked(Attribution(body.subject, tags))
    unknown = sorted(set(body.endpoints or ()) - NAMES)
    if unknown:
        raise InputError(
            f"found endpoint {unknown[0]!r}, expected one of {', '.join(sorted(NAMES))}"
        )
    expires_us = moment_us(body.expires_at)
    if expires_us is not None and expires_us <= now_us():
        raise InputError("found expires_at in the past, expected a moment to come")
    made = context.ledger.keys.create(
        body.subject,
        tags=attribution.tags,
        name=body.name,
        models=body.models,
        endpoints=body.endpoints,
        may_name_users=body.may_name_users,
        expires_us=expires_us,
    )
    _limit(context, made.key.id, body.calls_per_minute, body.tokens_per_minute)
    return views.KeyMade(views.key_shown(made.key, now_us()), made.secret)


def show_key(context: Context, asked: Asked) -> views.KeyShown:
    """Return one key."""
    return views.key_shown(_key(context, asked), now_us())


def rotate_key(context: Context, asked: Asked) -> views.KeyMade:
    """Give a key a new secret."""
    key = _customer_key(context, asked)
    made = context.ledger.keys.rotate(key.id)
    return views.KeyMade(views.key_shown(made.key, now_us()), made.secret)


def revoke_key(context: Context, asked: Asked) -> views.KeyShown:
    """Make a key worthless for good."""
    key = _customer_key(context, asked)
    return views.key_shown(context.ledger.keys.revoke(key.id), now_us())


def limit_key(context: Context, asked: Asked) -> views.BudgetsShown:
    """Replace the rate limits of a key."""
    key = _customer_key(context, asked)
    body: views.LimitsAsked = asked.body
    for measure in RATES:
        context.ledger.remove_budget(f"rate:{key.id}:{measure}")
    _limit(context, key.id, body.calls_per_minute, body.tokens_per_minute)
    rows = (context.ledger.budget(f"rate:{key.id}:{measure}") for measure in RATES)
    return views.BudgetsShown([views.budget_shown(row) for row in rows if row is not None])


def list_budgets(context: Context, asked: Asked) -> views.BudgetsShown:
    """Return every budget as it stands."""
    return views.BudgetsShown([views.budget_shown(row) for row in context.ledger.budgets()])


def show_budget(context: Context, asked: Asked) -> views.BudgetShown:
    """Return one budget as it stands."""
    return _budget(context, asked.path["id"])


def set_budget(context: Context, asked: Asked) -> views.BudgetShown:
    """Set or replace a budget."""
    body: views.BudgetAsked = asked.body
    name = asked.path["id"]
    scopes = [
        Scope(kind, value)
        for kind, value in (
            (ScopeKind.SUBJECT, body.subject),
            (ScopeKind.TAG, body.tag),
            (ScopeKind.TAG, None if body.team is None else f"team={body.team}"),
            (ScopeKind.TAG, None if body.project is None else f"project={body.project}"),
            (ScopeKind.MODEL, body.model),
            (ScopeKind.KEY, body.key),
        )
        if value is not None
    ]
    if len(scopes) > 1:
        raise InputError(
            "found several of subject, team, project, tag, model and key, expected at most one"
        )
    is_money = body.measure == "money"
    budget = Budget(
        id=name,
        scope=scopes[0] if scopes else Scope(ScopeKind.EVERYTHING),
        measure=Measure(body.measure),
        limit=nanos_from_text(body.limit) if is_money else _whole(body.limit),
        currency=body.currency if is_money else None,
        window=Window.named(body.window, body.tz),
    )
    context.ledger.set_budget(budget)
    return _budget(context, name)


def remove_budget(context: Context, asked: Asked) -> None:
    """Remove a budget."""
    if not context.ledger.remove_budget(asked.path["id"]):
        raise Missing(f"found no budget {asked.path['id']!r}")


def show_usage(context: Context, asked: Asked) -> views.UsagesShown:
    """Return sums over calls."""
    query: views.UsageQuery = asked.query
    by = tuple(query.by.split(","))
    if len(set(by)) != len(by):
        raise InputError(f"found groups {query.by!r:.100}, expected different names")
    names = ("subject", "model", "provider", "endpoint", "key", "tag")
    rows = context.ledger.usage(
        by,
        since_us=moment_us(query.since),
        until_us=moment_us(query.until),
        tz=query.tz,
        filters=_filters(query, names),
    )
    return views.UsagesShown([views.usage_shown(row, by) for row in rows])


def list_calls(context: Context, asked: Asked) -> views.CallsShown:
    """Return a page of calls."""
    query: views.CallsQuery = asked.query
    names = ("subject", "model", "provider", "endpoint", "key", "basis", "tag")
    filters = _filters(query, names)
    if query.after is not None:
        filters["older_than"] = query.after
    found = context.ledger.calls(
        since_us=moment_us(query.since),
        until_us=moment_us(query.until),
        limit=query.limit + 1,
        newest_first=True,
        filters=filters,
    )
    rows = list(islice(found, query.limit + 1))
    page = rows[: query.limit]
    more = f"{page[-1].started_us}-{page[-1].id}" if len(rows) > len(page) else None
    return views.CallsShown([views.call_shown(row) for row in page], more)


def show_call(context: Context, asked: Asked) -> views.CallShown:
    """Return one call."""
    try:
        name = str(UUID(asked.path["id"]))
    except ValueError:
        raise Missing(f"found no call {asked.path['id']!r:.80}, expected a UUID") from None
    found = context.ledger.calls(
        since_us=None, until_us=None, limit=1, newest_first=True, filters={"id": name}
    )
    row = next(iter(found), None)
    if row is None:
        raise Missing(f"found no ended call {name}")
    return views.call_shown(row)


def list_prices(context: Context, asked: Asked) -> views.PriceFilesShown:
    """Return the imported rate files in force."""
    files = context.ledger.price_files.in_force()
    return views.PriceFilesShown([views.price_file_shown(file) for file in files])


def import_prices(context: Context, asked: Asked) -> views.PriceFileShown:
    """Import a rate file, in place of the one of its name."""
    body: views.PriceFileAsked = asked.body
    name = asked.path["id"]
    read_text(body.content, body.format, f"rate file {name}")
    kept = context.ledger.price_files.put(
        name, body.format, body.content, "admin API", now_us=now_us()
    )
    context.imported.refresh()
    return views.price_file_shown(kept)


def remove_prices(context: Context, asked: Asked) -> None:
    """Take an imported rate file out of force."""
    if not context.ledger.price_files.remove(asked.path["id"], now_us=now_us()):
        raise Missing(f"found no imported rate file {asked.path['id']!r}")
    context.imported.refresh()


def list_upstreams(context: Context, asked: Asked) -> views.UpstreamsShown:
    """Return where calls are sent."""
    return views.UpstreamsShown([views.upstream_shown(each) for each in context.upstreams.listed])


def set_upstream(context: Context, asked: Asked) -> views.UpstreamAsked:
    """Add an upstream, or replace one that was added."""
    body: views.UpstreamAsked = asked.body
    name = asked.path["id"]
    given = {field: getattr(body, field) for field in body.__struct_fields__}
    table = {field: value for field, value in given.items() if value is not None}
    context.ledger.upstreams.set(name, checked_table(name, table))
    return body


def remove_upstream(context: Context, asked: Asked) -> None:
    """Remove an upstream that was added."""
    if not context.ledger.upstreams.remove(asked.path["id"]):
        raise Missing(f"found no upstream {asked.path['id']!r} that was added: the settings' stay")


def _key(context: Context, asked: Asked) -> Key:
    key = context.ledger.keys.one(asked.path["id"])
    if key is None:
        raise Missing(f"found no key {asked.path['id']!r}")
    return key


def _customer_key(context: Context, asked: Asked) -> Key:
    """Return a key that the API may change: those of the API itself are the command line's."""
    key = _key(context, asked)
    if key.role is not None:
        raise InputError(f"found key {key.id} of the admin API: meter keys changes it")
    return key


def _budget(context: Context, name: str) -> views.BudgetShown:
    row = context.ledger.budget(name)
    if row is None:
        raise Missing(f"found no budget {name!r}")
    return views.budget_shown(row)


def _limit(context: Context, key_id: str, calls: int | None, tokens: int | None) -> None:
    for measure, limit in zip(RATES, (calls, tokens), strict=True):
        if limit is not None:
            context.ledger.set_budget(
                Budget(
                    id=f"rate:{key_id}:{measure}",
                    scope=Scope(ScopeKind.KEY, key_id),
                    measure=Measure(measure),
                    limit=limit,
                    window=Window(Span.MINUTE),
                )
            )


def _filters(query: Any, names: tuple[str, ...]) -> dict[str, str]:
    return {name: value for name in names if (value := getattr(query, name)) is not None}


def moment_us(moment: datetime | None) -> int | None:
    """Return a moment in microseconds UTC. Raises: InputError for one out of range."""
    if moment is None:
        return None
    try:
        return microseconds_of(moment)
    except (OverflowError, ValueError):
        raise InputError(f"found the moment {moment}, which is out of range") from None


def _whole(text: str) -> int:
    if not text.isdecimal() or not text.isascii():
        raise InputError(f"found a limit of {text!r:.60}, expected a whole number")
    return int(text)


OPERATIONS: Final = (
    Operation("list_keys", "GET", "/keys", "List keys, oldest first.", list_keys,
              views.KeysShown, query=views.KeysQuery),
    Operation("make_key", "POST", "/keys", "Make a key; its secret is shown once.", make_key,
              views.KeyMade, 201, body=views.KeyAsked),
    Operation("show_key", "GET", "/keys/{id}", "Show a key.", show_key, views.KeyShown),
    Operation("rotate_key", "POST", "/keys/{id}/rotate", "Give a key a new secret.", rotate_key,
              views.KeyMade),
    Operation("limit_key", "PUT", "/keys/{id}/limits", "Replace the rate limits of a key.",
              limit_key, views.BudgetsShown, body=views.LimitsAsked),
    Operation("revoke_key", "DELETE", "/keys/{id}", "Make a key worthless for good.", revoke_key,
              views.KeyShown),
    Operation("list_budgets", "GET", "/budgets", "List budgets as they stand.", list_budgets,
              views.BudgetsShown),
    Operation("show_budget", "GET", "/budgets/{id}", "Show a budget as it stands.", show_budget,
              views.BudgetShown),
    Operation("set_budget", "PUT", "/budgets/{id}", "Set or replace a budget.", set_budget,
              views.BudgetShown, body=views.BudgetAsked),
    Operation("remove_budget", "DELETE", "/budgets/{id}", "Remove a budget.", remove_budget, None,
              204),
    Operation("show_usage", "GET", "/usage", "Sum calls by subject, model, day and so on.",
              show_usage, views.UsagesShown, query=views.UsageQuery),
    Operation("list_calls", "GET", "/calls", "List ended calls, newest first.", list_calls,
              views.CallsShown, query=views.CallsQuery),
    Operation("show_call", "GET", "/calls/{id}", "Show one ended call.", show_call,
              views.CallShown),
    Operation("list_prices", "GET", "/prices", "List the imported rate files.", list_prices,
              views.PriceFilesShown),
    Operation("import_prices", "PUT", "/prices/{id}",
              "Import a rate file; other gateways take it up within a minute.",
              import_prices, views.PriceFileShown, body=views.PriceFileAsked),
    Operation("remove_prices", "DELETE", "/prices/{id}", "Take a rate file out of force.",
              remove_prices, None, 204),
    Operation("list_upstreams", "GET", "/upstreams", "List where calls are sent.",
              list_upstreams, views.UpstreamsShown),
    Operation("set_upstream", "PUT", "/upstreams/{id}",
              "Add or replace an upstream; gateways take it within seconds.",
              set_upstream, views.UpstreamAsked, body=views.UpstreamAsked),
    Operation("remove_upstream", "DELETE", "/upstreams/{id}", "Remove an upstream that was added.",
              remove_upstream, None, 204),
)  # fmt: skip
