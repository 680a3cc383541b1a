"""Answer questions about the ledger: calls one by one, sums, accuracy, budgets.

Corrections are applied everywhere: a call shows as it is now known. Sums are exact integers.
Called by the façade, the reports and the command line.
"""

from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Engine, Select, func, select

from meter.core.call import Basis, Outcome
from meter.core.ledger import NOBODY, SPEND
from meter.core.rates import RateCard
from meter.core.rating import Charge, ChargeLine
from meter.core.usage import Usage
from meter.errors import InputError
from meter.store.archives import require_present
from meter.store.budget_rows import BudgetRow, budgets, remove_budget, set_budget, standing
from meter.store.encoding import (
    AnyRow,
    book_from_row,
    card_from_row,
    charge_from_row,
    pairs_from_json,
    texts_from_json,
    usage_from_row,
)
from meter.store.engine import read_connection
from meter.store.filters import where
from meter.store.grouping import sorting_key
from meter.store.latest import latest_events
from meter.store.rollups import HOUR_US
from meter.store.schema import balances, open_calls, rate_cards, routes, usage_hours
from meter.store.types import BASES, BASIS_NUMBERS, OUTCOME_NUMBERS, OUTCOMES
from meter.store.usage_sums import UsageRow, usage

__all__ = [
    "AccuracyRow",
    "BudgetRow",
    "CallRow",
    "TimingRow",
    "UsageRow",
    "accuracy",
    "budgets",
    "calls",
    "count_calls",
    "count_open",
    "models",
    "rate_card",
    "remove_budget",
    "set_budget",
    "standing",
    "subjects",
    "timings",
    "unsettled",
    "usage",
]

_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class CallRow:
    """One call as it is now known.

    `state` is "settled", "unsettled" (nobody knows its usage) or "in_flight"; a call in flight
    has no end, outcome, basis or cost yet. Times are microseconds UTC, costs nanos; None means
    unknown. `unpriced` says why there is no cost. `bound_cost_nanos` is the most that it could
    cost, in `bound_currency`, which is known before the call has a `currency`. `corrections` counts
    those applied. `listed` is the charge at the published price and `billed` what the subject owes,
    without lines; where a price book says nothing of its own they are the cost, and `is_resold` is
    false.
    """

    id: UUID
    operation_id: UUID
    state: str
    started_us: int
    ended_us: int | None
    first_byte_us: int | None
    provider: str
    issuer: str
    endpoint: str
    model_requested: str | None
    model_served: str | None
    subject: str | None
    key_id: str | None
    tags: tuple[tuple[str, str], ...]
    streaming: bool
    outcome: Outcome | None
    basis: Basis | None
    status: int | None
    usage: Usage | None
    cost_nanos: int | None
    currency: str | None
    lines: tuple[ChargeLine, ...]
    unpriced: str | None
    rate_card_id: str | None
    estimated_input_tokens: int | None
    counted_output_tokens: int | None
    provider_cost_nanos: int | None
    bound_cost_nanos: int | None
    bound_currency: str | None
    service_tier: str | None
    traits: tuple[tuple[str, str], ...]
    response_id: str | None
    defects: tuple[str, ...]
    path: str | None
    upstream: str | None
    corrections: int
    listed: Charge
    billed: Charge
    is_resold: bool

    @property
    def model(self) -> str | None:
        """Return the model that was asked for, else the one that served."""
        return self.model_requested or self.model_served


@dataclass(frozen=True, slots=True)
class AccuracyRow:
    """How input estimates compared with what the provider reported, for one kind of call.

    `exact` counts estimates that met the report. The errors are |estimate - reported| / reported
    (0.02 is two percent): the median and the 95th percentile.
    """

    provider: str
    model: str | None
    endpoint: str
    calls: int
    exact: int
    error_median: float
    error_p95: float


@dataclass(frozen=True, slots=True)
class TimingRow:
    """How long the calls of one model took, in microseconds: the median and the 95th percentile.

    `first_byte_us_median` is over the streamed calls that delivered anything, None without any.
    """

    provider: str
    model: str | None
    calls: int
    duration_us_median: int
    duration_us_p95: int
    first_byte_us_median: int | None


def calls(
    engine: Engine,
    *,
    since_us: int | None = None,
    until_us: int | None = None,
    limit: int | None = None,
    newest_first: bool = True,
    state: str = "ended",
    order: str = "started",
    offset: int = 0,
    **filters: str | None,
) -> Iterator[CallRow]:
    """Yield calls that started in [since_us, until_us), streamed.

    `state`: "ended", "in_flight", or "any" (those in flight first). `order`: "started", "cost",
    "duration", "input_tokens" or "output_tokens" (the last four for ended calls only), the greatest
    first with `newest_first`, unknown ones last; the first `offset` calls are left out. `filters`
    are exact: subject, model, provider, endpoint, key, outcome, basis, tag ("team=search"), id;
    but `search` finds a part of subject, model, key, response id or path.

    Raises: InputError for a filter or a state that is not one of these, and where calls of the
    interval were archived; StoreUnavailable.
    """
    wanted = {name: text for name, text in filters.items() if text is not None}
    if state not in _STATES:
        raise InputError(f"found state {state!r}, expected one of {', '.join(_STATES)}")
    if order not in _ORDERS:
        raise InputError(f"found order {order!r}, expected one of {', '.join(_ORDERS)}")
    if state != "ended" and (order != "started" or offset):
        raise InputError(f"found state {state!r}, expected 'ended' with an order or an offset")
    tables: list[tuple[Any, Callable[[AnyRow], CallRow]]] = []
    # A call in flight has no outcome or basis yet.
    if state != "ended" and not wanted.keys() & {"outcome", "basis"}:
        tables.append((open_calls, _open_call_row))
    if state != "in_flight":
        tables.append((latest_events(), call_from_row))
    chosen = [
        (
            select(table)
            .where(where(table, since_us, until_us, wanted))
            .order_by(*_ordering(table, order, newest_first))
            .offset(offset or None),
            make,
        )
        for table, make in tables
    ]
    return _stream_calls(engine, chosen, limit, since_us)


def unsettled(engine: Engine, *, until_us: int) -> Iterator[CallRow]:
    """Yield the calls that started before then and whose usage nobody knows, the oldest first.

    Those that are in the rollups, which say in which hours to look. What the caller writes between
    two calls is in nobody's way: nothing is being read by then. Raises: StoreUnavailable.
    """
    hours = (
        select(usage_hours.c.started_us)
        .where(usage_hours.c.started_us < until_us)
        .group_by(usage_hours.c.started_us)
        .having(func.sum(usage_hours.c.unknown) > 0)
        .order_by(usage_hours.c.started_us)
    )
    with read_connection(engine) as connection:
        starts_us = list(connection.execute(hours).scalars())
    for since_us in starts_us:
        yield from list(
            calls(
                engine, since_us=since_us, until_us=min(until_us, since_us + HOUR_US),
                newest_first=False, basis=Basis.UNKNOWN.value,
            )
        )  # fmt: skip


_STATES = ("ended", "in_flight", "any")
_ORDERS = ("started", "cost", "duration", "input_tokens", "output_tokens")


def _ordering(table: Any, order: str, newest_first: bool) -> list[ColumnElement[Any]]:
    def directed(column: Any) -> ColumnElement[Any]:
        found: ColumnElement[Any] = column.desc() if newest_first else column.asc()
        return found

    by_time = [directed(table.c.started_us), directed(table.c.call_id)]
    if order == "started":
        return by_time
    columns = {"cost": "cost_nanos"}
    value = (
        table.c.ended_us - table.c.started_us
        if order == "duration"
        else table.c[columns.get(order, order)]
    )
    return [directed(value).nulls_last(), *by_time]


def _stream_calls(
    engine: Engine,
    chosen: Sequence[tuple[Select[Any], Callable[[AnyRow], CallRow]]],
    limit: int | None,
    since_us: int | None,
) -> Iterator[CallRow]:
    left = limit
    with read_connection(engine) as connection:
        require_present(connection, since_us)
        for statement, make in chosen:
            if left is not None:
                statement = statement.limit(left)
            streamed = statement.execution_options(yield_per=_AT_ONCE)
            with connection.execute(streamed) as found:
                for row in found.mappings():
                    left = None if left is None else left - 1
                    yield make(row)


def count_calls(
    engine: Engine,
    *,
    since_us: int | None = None,
    until_us: int | None = None,
    **filters: str | None,
) -> int:
    """Return how many ended calls `calls` would yield. Raises: as `calls`."""
    events = latest_events()
    wanted = {name: text for name, text in filters.items() if text is not None}
    counted = (
        select(func.count()).select_from(events).where(where(events, since_us, until_us, wanted))
    )
    with read_connection(engine) as connection:
        require_present(connection, since_us)
        return int(connection.execute(counted).scalar_one())


def models(engine: Engine) -> list[tuple[str, str]]:
    """Return (provider, model) of every model that a call ever asked for, sorted.

    Raises: StoreUnavailable.
    """
    statement = select(routes.c.provider, routes.c.model_requested).distinct()
    statement = statement.where(routes.c.model_requested.is_not(None))
    with read_connection(engine) as connection:
        return sorted((provider, model) for provider, model in connection.execute(statement))


def subjects(engine: Engine, *, limit: int) -> list[str]:
    """Return the subjects that spent anything, the greatest spender first.

    Raises: StoreUnavailable.
    """
    first, prefix = balances.c.account, SPEND
    statement = (
        select(first)
        .where(first >= prefix, first < prefix[:-1] + chr(ord(prefix[-1]) + 1))
        .where(first != prefix + NOBODY)
        .group_by(first)
        .order_by(func.max(balances.c.debits - balances.c.credits).desc(), first)
        .limit(limit)
    )
    with read_connection(engine) as connection:
        return [account.removeprefix(prefix) for (account,) in connection.execute(statement)]


def count_open(engine: Engine) -> int:
    """Return how many calls are in flight. Raises: StoreUnavailable."""
    with read_connection(engine) as connection:
        return int(connection.execute(select(func.count()).select_from(open_calls)).scalar_one())


def rate_card(engine: Engine, card_id: str) -> RateCard | None:
    """Return a stored rate card, None when there is none of that id. Raises: StoreUnavailable."""
    with read_connection(engine) as connection:
        found = connection.execute(select(rate_cards).where(rate_cards.c.id == card_id))
        row = found.mappings().first()
        return None if row is None else card_from_row(row)


def accuracy(
    engine: Engine,
    *,
    since_us: int | None = None,
    until_us: int | None = None,
    limit: int | None = None,
) -> list[AccuracyRow]:
    """Return how input estimates compared with reports, by provider, model and endpoint.

    Only calls whose usage was reported count; the newest `limit` of them, None: all. Raises:
    StoreUnavailable.
    """
    events = latest_events()
    model = func.coalesce(events.c.model_requested, events.c.model_served)
    statement = select(
        events.c.provider, model, events.c.endpoint, events.c.estimated_input_tokens,
        events.c.input_tokens,
    ).where(
        where(events, since_us, until_us, {}),
        events.c.basis == BASIS_NUMBERS[Basis.REPORTED],
        events.c.estimated_input_tokens.is_not(None),
        events.c.input_tokens > 0,
    ).execution_options(yield_per=_AT_ONCE)  # fmt: skip
    if limit is not None:
        statement = statement.order_by(events.c.started_us.desc()).limit(limit)
    errors: dict[tuple[str, str | None, str], array[float]] = {}
    with read_connection(engine) as connection:
        require_present(connection, since_us)
        for provider, name, endpoint, estimated, reported in connection.execute(statement):
            group = errors.setdefault((provider, name, endpoint), array("d"))
            group.append(abs(estimated - reported) / reported)
    rows = []
    for key in sorted(errors, key=sorting_key):
        ordered = sorted(errors[key])
        exact = sum(1 for error in ordered if error == 0)
        p95 = ordered[min(len(ordered) * 95 // 100, len(ordered) - 1)]
        rows.append(AccuracyRow(*key, len(ordered), exact, ordered[(len(ordered) - 1) // 2], p95))
    return rows


def timings(
    engine: Engine,
    *,
    since_us: int | None = None,
    until_us: int | None = None,
    limit: int = 20_000,
    **filters: str | None,
) -> list[TimingRow]:
    """Return how long the newest `limit` completed calls took, by provider and model.

    Raises: InputError for a filter that is not one, StoreUnavailable.
    """
    events = latest_events()
    wanted = {name: text for name, text in filters.items() if text is not None}
    statement = (
        select(
            events.c.provider,
            func.coalesce(events.c.model_requested, events.c.model_served),
            events.c.ended_us - events.c.started_us,
            events.c.first_byte_us - events.c.started_us,
            events.c.streaming,
        )
        .where(
            where(events, since_us, until_us, wanted),
            events.c.outcome == OUTCOME_NUMBERS[Outcome.COMPLETED],
            func.coalesce(events.c.status, 200) < 400,
        )
        .order_by(events.c.started_us.desc())
        .limit(limit)
    ).execution_options(yield_per=_AT_ONCE)
    took: dict[tuple[str, str | None], list[int]] = {}
    began: dict[tuple[str, str | None], list[int]] = {}
    with read_connection(engine) as connection:
        require_present(connection, since_us)
        for provider, model, duration_us, first_byte_us, streaming in connection.execute(statement):
            took.setdefault((provider, model), []).append(duration_us)
            if streaming and first_byte_us is not None:
                began.setdefault((provider, model), []).append(first_byte_us)
    rows = []
    for key in sorted(took, key=sorting_key):
        durations, firsts = sorted(took[key]), sorted(began.get(key, []))
        rows.append(
            TimingRow(
                *key,
                calls=len(durations),
                duration_us_median=_at_share(durations, 50),
                duration_us_p95=_at_share(durations, 95),
                first_byte_us_median=_at_share(firsts, 50) if firsts else None,
            )
        )
    return rows


def _at_share(ordered: Sequence[int], percent: int) -> int:
    """Return the least value that at least that share of the ordered values does not exceed."""
    return ordered[max(-(-len(ordered) * percent // 100) - 1, 0)]


# --- rows -------------------------------------------------------------------------------------


def call_from_row(row: AnyRow) -> CallRow:
    charge = charge_from_row(row)
    bare = Charge((), charge.amount_nanos, charge.currency, charge.card_id, charge.unpriced)
    billed = book_from_row(row, "billed")
    basis = BASES[row["basis"]]
    return CallRow(
        id=row["call_id"],
        operation_id=row["operation_id"] or row["call_id"],
        state="unsettled" if basis is Basis.UNKNOWN else "settled",
        ended_us=row["ended_us"],
        first_byte_us=row["first_byte_us"],
        model_served=row["model_served"],
        outcome=OUTCOMES[row["outcome"]],
        basis=basis,
        status=row["status"],
        usage=usage_from_row(row),
        cost_nanos=charge.amount_nanos,
        currency=charge.currency,
        lines=charge.lines,
        unpriced=charge.unpriced,
        counted_output_tokens=row["counted_output_tokens"],
        provider_cost_nanos=row["provider_cost_nanos"],
        service_tier=row["service_tier"],
        traits=pairs_from_json(row["traits"]),
        response_id=row["response_id"],
        defects=texts_from_json(row["defects"]),
        corrections=row["corrections"],
        listed=book_from_row(row, "list") or bare,
        billed=billed or bare,
        is_resold=billed is not None,
        **_of_both(row),
    )


_NO_CHARGE = Charge((), None, None, None)


def _open_call_row(row: AnyRow) -> CallRow:
    return CallRow(
        id=row["call_id"],
        operation_id=row["operation_id"],
        state="in_flight",
        ended_us=None,
        first_byte_us=None,
        model_served=None,
        outcome=None,
        basis=None,
        status=None,
        usage=None,
        cost_nanos=None,
        currency=None,
        lines=(),
        unpriced=None,
        counted_output_tokens=None,
        provider_cost_nanos=None,
        service_tier=None,
        traits=(),
        response_id=None,
        defects=(),
        corrections=0,
        listed=_NO_CHARGE,
        billed=_NO_CHARGE,
        is_resold=False,
        **_of_both(row),
    )


def _of_both(row: AnyRow) -> dict[str, Any]:
    same = (
        "started_us", "provider", "issuer", "endpoint", "model_requested", "subject", "key_id",
        "rate_card_id", "estimated_input_tokens", "bound_cost_nanos", "path", "upstream",
    )  # fmt: skip
    return {
        **{name: row[name] for name in same},
        "bound_currency": row["bound_currency"] if "bound_currency" in row else row["currency"],
        "tags": pairs_from_json(row["tags"]),
        "streaming": bool(row["streaming"]),
    }
