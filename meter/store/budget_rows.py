"""Keep budgets: make, change, remove and list them, and say what a call takes from one.

A budget counts every call that started in the window it was made in, whether before or after, and
in all later windows (a rolling one every call since its length before it was made): enforcement
reads what the reports read. Called by the writes, and through `reads` by the façade and the command
line.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, delete, func, insert, select, text, update

from meter.core.budgets import Budget, Measure, Scope, ScopeKind, Standing, measured
from meter.core.call import Outcome
from meter.core.credit import PREFIX
from meter.core.windows import Window
from meter.errors import ConfigError
from meter.store.archives import gone_until, in_words
from meter.store.encoding import AnyRow, Row, clean, is_resold, scopes_of_row
from meter.store.engine import read_connection, write_connection
from meter.store.latest import latest_events
from meter.store.schema import budget_windows, holds
from meter.store.schema import budgets as budgets_table
from meter.store.types import OUTCOME_NUMBERS

_REFUSED = OUTCOME_NUMBERS[Outcome.REFUSED]


@dataclass(frozen=True, slots=True)
class CountedBudget:
    """A budget and the start of the first window that it counts, microseconds UTC."""

    budget: Budget
    counts_from_us: int

    def counts(self, started_us: int) -> bool:
        """Whether a call that started then is counted."""
        return started_us >= self.counts_from_us


@dataclass(frozen=True, slots=True)
class BudgetRow:
    """A budget as it stands in the window [window_start_us, window_end_us).

    `window_end_us` is None where the window never ends. `overrun` is what was spent above the
    limit: facts are recorded in full.
    """

    budget: Budget
    standing: Standing
    window_start_us: int
    window_end_us: int | None
    created_us: int

    @property
    def left(self) -> int:
        """Return what new calls can still take, zero when nothing is left."""
        return max(self.budget.limit - self.standing.spent - self.standing.held, 0)

    @property
    def overrun(self) -> int:
        """Return what was spent above the limit, zero when nothing was."""
        return max(self.standing.spent - self.budget.limit, 0)


def set_budget(engine: Engine, budget: Budget, *, now_us: int) -> None:
    """Make a budget, or change the one with this id.

    Another limit takes effect at once and keeps what is spent and held. Any other change makes a
    new budget under the old id: what its present window has spent is summed anew, and calls in
    flight hold nothing in it. Raises: ConfigError for a limit below zero, for money without a
    currency or with one for a measure that has none; StoreUnavailable.
    """
    _check(budget)
    row = budget_to_row(budget, now_us)
    with write_connection(engine) as connection:
        lock_budgets(connection)
        chosen = budgets_table.c.id == budget.id
        known = connection.execute(select(budgets_table).where(chosen)).mappings().first()
        if known and all(known[name] == row[name] for name in row if name not in _CHANGEABLE):
            changed = update(budgets_table).where(chosen)
            connection.execute(changed.values(limit_amount=budget.limit))
            return
        _remove(connection, budget.id)
        connection.execute(insert(budgets_table), row)
        _count_present_window(connection, budget, now_us)


_CHANGEABLE = ("limit_amount", "created_us")


def remove_budget(engine: Engine, budget_id: str) -> bool:
    """Remove a budget with its windows and holds; return whether there was one.

    Raises: ConfigError for prepaid credit; StoreUnavailable.
    """
    _check_name(budget_id)
    with write_connection(engine) as connection:
        lock_budgets(connection)
        return _remove(connection, budget_id)


def budgets(engine: Engine, *, now_us: int) -> list[BudgetRow]:
    """Return every budget but credit by id, as it stands in the window that holds `now_us`.

    Raises: StoreUnavailable.
    """
    with read_connection(engine) as connection:
        limits = select(budgets_table).where(budgets_table.c.measure != Measure.CREDIT.value)
        found = connection.execute(limits.order_by(budgets_table.c.id))
        listed = [(budget_from_row(row), row["created_us"]) for row in found.mappings().all()]
        return [_as_it_stands(connection, budget, made, now_us) for budget, made in listed]


def standing(engine: Engine, budget_id: str, *, now_us: int) -> BudgetRow | None:
    """Return one budget as it stands, None when there is none of that id.

    Raises: StoreUnavailable.
    """
    with read_connection(engine) as connection:
        chosen = select(budgets_table).where(budgets_table.c.id == budget_id)
        row = connection.execute(chosen).mappings().first()
        if row is None:
            return None
        return _as_it_stands(connection, budget_from_row(row), row["created_us"], now_us)


def taken_by(budgets: Sequence[Budget], ending: AnyRow) -> dict[str, int]:
    """Return what a call that ended like this row takes from each budget, by budget id.

    A refused call was never sent and takes nothing; an unsettled one counts as a call.
    """
    if ending["outcome"] == _REFUSED:
        return {}
    tokens = (ending["input_tokens"] or 0) + (ending["output_tokens"] or 0)
    return measured(
        budgets, tokens, ending["cost_nanos"], ending["currency"], ending["billed_nanos"],
        ending["billed_currency"], is_resold=is_resold(ending),
    )  # fmt: skip


def counted_budget_from_row(row: AnyRow) -> CountedBudget:
    """Return the budget of a row with the start of what it counts."""
    budget = budget_from_row(row)
    created_us = row["created_us"]
    # Credit pays for what comes after it; a limit counts what its window has seen already.
    return CountedBudget(
        budget, created_us if budget.is_credit else budget.window.counted_from(created_us)
    )


def budget_from_row(row: AnyRow) -> Budget:
    """Return the budget of a row."""
    return Budget(
        id=row["id"],
        scope=Scope(ScopeKind(row["scope_kind"]), row["scope_value"]),
        measure=Measure(row["measure"]),
        limit=row["limit_amount"],
        currency=row["currency"],
        window=Window.named(row["span"], row["tz"]),
    )


def budget_to_row(budget: Budget, now_us: int) -> Row:
    """Return the row of a budget that is made now."""
    return {
        "id": budget.id,
        "scope_kind": budget.scope.kind.value,
        "scope_value": clean(budget.scope.value),
        "measure": budget.measure.value,
        "limit_amount": budget.limit,
        "currency": budget.currency,
        "span": budget.window.name,
        "tz": budget.window.tz,
        "created_us": now_us,
    }


def _check(budget: Budget) -> None:
    if not budget.id or "\0" in budget.id:
        raise ConfigError(f"found budget id {budget.id!r}, expected a name")
    _check_name(budget.id)
    if budget.is_credit:
        raise ConfigError("found measure credit, expected money, tokens or calls: grant credit")
    if not 0 <= budget.limit < 2**63:
        raise ConfigError(f"found limit {budget.limit} of budget {budget.id}, expected one >= 0")
    if (budget.measure is Measure.MONEY) != (budget.currency is not None):
        raise ConfigError(
            f"found currency {budget.currency!r} with measure {budget.measure} in budget "
            f"{budget.id}, expected a currency for money and none for anything else"
        )


def _check_name(budget_id: str) -> None:
    if budget_id.startswith(PREFIX):
        raise ConfigError(
            f"found budget id {budget_id!r:.80}, expected one that does not begin with {PREFIX!r}: "
            "that is prepaid credit"
        )


def lock_budgets(connection: Connection) -> None:
    """Wait for the batches that are reading the budgets, and keep new ones waiting.

    SQLite has one writer anyway.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("LOCK TABLE budgets IN ACCESS EXCLUSIVE MODE"))


def _remove(connection: Connection, budget_id: str) -> bool:
    connection.execute(delete(holds).where(holds.c.budget_id == budget_id))
    connection.execute(delete(budget_windows).where(budget_windows.c.budget_id == budget_id))
    removed = connection.execute(delete(budgets_table).where(budgets_table.c.id == budget_id))
    return removed.rowcount > 0


def _count_present_window(connection: Connection, budget: Budget, now_us: int) -> None:
    """Sum what the calls of the present window took from a new budget."""
    start_us = budget.window.counted_from(now_us)
    if start_us < (gone_us := gone_until(connection)):
        raise ConfigError(
            f"found a budget whose window began before {in_words(gone_us)}, expected a later one: "
            "the calls before are archived, and it would not count them"
        )
    events = latest_events()
    chosen = select(events).where(events.c.started_us >= start_us)
    if budget.scope.kind is ScopeKind.SUBJECT:
        chosen = chosen.where(events.c.subject == budget.scope.value)
    spent: dict[int, int] = {}
    with connection.execute(chosen.execution_options(yield_per=1000)) as found:
        for row in found.mappings():
            if budget.scope in scopes_of_row(row):
                key = budget.window.bounds(row["started_us"])[0]
                spent[key] = spent.get(key, 0) + taken_by((budget,), row).get(budget.id, 0)
    rows = [
        {"budget_id": budget.id, "window_start_us": key, "spent": amount, "held": 0}
        for key, amount in spent.items()
    ]
    if rows:
        connection.execute(insert(budget_windows), rows)


def _as_it_stands(
    connection: Connection, budget: Budget, created_us: int, now_us: int
) -> BudgetRow:
    start_us, end_us = budget.window.counted_from(now_us), budget.window.bounds(now_us)[1]
    row = connection.execute(
        select(func.sum(budget_windows.c.spent), func.sum(budget_windows.c.held)).where(
            budget_windows.c.budget_id == budget.id,
            budget_windows.c.window_start_us >= start_us,
            budget_windows.c.window_start_us < (2**63 - 1 if end_us is None else end_us),
        )
    ).one()
    standing = Standing(int(row[0] or 0), int(row[1] or 0))
    return BudgetRow(budget, standing, start_us, end_us, created_us)
