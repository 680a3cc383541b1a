"""Hold the state of one batch of writes: what was read and locked, and what will change.

Knows rows, budgets and windows, not what a request means; see `writing`. Called by `writing` and
`corrections`.
"""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from meter.core.budgets import Budget, Hold, Scope, Standing
from meter.core.ledger import Entry
from meter.store.budget_rows import CountedBudget, taken_by
from meter.store.encoding import AnyRow, Row, scopes_of_row
from meter.store.prepared import Runner
from meter.store.statements import Statements

WindowKey = tuple[str, int]
"""A budget's id and the start of one of its windows."""

ANCHOR_US = 0
"""The start of the row that everyone locks who admits under a rolling budget: its own steps are
many, and two processes could each make one that the other does not see."""


@dataclass(slots=True)
class BudgetWindow:
    """A budget window: as it stands, and how the batch moves it."""

    spent: int
    held: int
    add_spent: int = 0
    add_held: int = 0

    @property
    def standing(self) -> Standing:
        """Return where the window stands with the batch's own movements."""
        return Standing(self.spent + self.add_spent, self.held + self.add_held)


@dataclass(slots=True)
class Batch:
    """What a batch has read and what it will write.

    `known_routes` are in the database for certain. `scopes` has the scopes of each call.
    `open_holds` has every call of the batch that is open in the database, `ended` those with an
    event there. `opened` and `events` are to be written, `closed` to be removed. `corrected` has
    the ids of its corrections. `claims` says which call billed a piece of work; `claimed` are those
    to be written. `steps` has the starts of the windows that were read, by budget. `queued` are
    windows that
    earlier calls wait for, `blocked` those that a call of this batch did not fit into.
    """

    runner: Runner
    statements: Statements
    known_routes: Container[int] = ()
    scopes: dict[UUID, tuple[Scope, ...]] = field(default_factory=dict)
    budgets: dict[Scope, list[CountedBudget]] = field(default_factory=dict)
    windows: dict[WindowKey, BudgetWindow] = field(default_factory=dict)
    steps: dict[str, set[int]] = field(default_factory=dict)
    open_holds: dict[UUID, tuple[Hold, ...]] = field(default_factory=dict)
    ended: set[UUID] = field(default_factory=set)
    closed: set[UUID] = field(default_factory=set)
    opened: dict[UUID, tuple[Row, tuple[Hold, ...]]] = field(default_factory=dict)
    events: dict[UUID, Row] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    corrected: list[UUID] = field(default_factory=list)
    queued: Container[WindowKey] = ()
    blocked: set[WindowKey] = field(default_factory=set)
    claims: dict[str, UUID] = field(default_factory=dict)
    claimed: dict[str, UUID] = field(default_factory=dict)

    def event(self, call_id: UUID) -> Mapping[str, Any] | None:
        """Return the event of a call, None when it has not ended."""
        known = self.events.get(call_id)
        return known or next(iter(self.runner.ask(self.statements.one_event, id=call_id)), None)

    def budgets_of(self, row: AnyRow) -> list[Budget]:
        """Return the budgets that count the call of this row."""
        if not self.budgets:
            return []
        return [
            counted.budget
            for scope in self.scopes_of(row)
            for counted in self.budgets.get(scope, ())
            if counted.counts(row["started_us"])
        ]

    def scopes_of(self, row: AnyRow) -> tuple[Scope, ...]:
        """Return every scope that a budget for the call of this row could have."""
        known = self.scopes.get(row["call_id"])
        if known is None:
            known = self.scopes[row["call_id"]] = scopes_of_row(row)
        return known

    def window(self, budget: Budget, at_us: int) -> BudgetWindow:
        """Return the window of a budget that holds the moment, locked."""
        key = (budget.id, budget.window.bounds(at_us)[0])
        if key not in self.windows:
            self.lock_windows([key])
        return self.windows[key]

    def standing(self, budget: Budget, at_us: int) -> Standing:
        """Return where a budget stands for a call at the moment, with the batch's own movements.

        Of a rolling window all steps count that are not too old, later ones too: between two
        processes whose clocks differ a little, no span of its length is overspent.
        """
        present = self.window(budget, at_us)
        if not budget.window.is_rolling:
            return present.standing
        from_us = budget.window.counted_from(at_us)
        steps = [
            self.windows[budget.id, start_us].standing
            for start_us in self.steps[budget.id]
            if start_us >= from_us
        ]
        return Standing(sum(step.spent for step in steps), sum(step.held for step in steps))

    def read_steps(self, budget: Budget, from_us: int) -> None:
        """Read the steps of a rolling budget from a moment on; whoever admits has its anchor."""
        found = self.runner.ask(
            self.statements.windows_from, budget_id=budget.id, from_us=max(from_us, ANCHOR_US + 1)
        )
        self._take_windows([row for row in found if (row["budget_id"], row["window_start_us"])
                            not in self.windows])  # fmt: skip

    def lock_windows(self, keys: Iterable[WindowKey]) -> None:
        """Read and lock budget windows; make those that no call has touched yet."""
        wanted = sorted(keys)
        self._read_windows(wanted)
        missing = [key for key in wanted if key not in self.windows]
        if missing:
            made = [
                {"budget_id": budget_id, "window_start_us": start_us, "spent": 0, "held": 0}
                for budget_id, start_us in missing
            ]
            self.runner.put(self.statements.add_windows, made)
            self._read_windows(missing)

    def spend(self, row: AnyRow, ending: AnyRow, sign: int = 1) -> None:
        """Add what a call with this ending takes to its budgets (sign -1: take it back)."""
        budgets = {budget.id: budget for budget in self.budgets_of(row)}
        for budget_id, amount in taken_by(tuple(budgets.values()), ending).items():
            self.window(budgets[budget_id], row["started_us"]).add_spent += sign * amount

    def _read_windows(self, keys: list[WindowKey]) -> None:
        self._take_windows(self._windows_at(keys))

    def _take_windows(self, rows: Iterable[Mapping[str, Any]]) -> None:
        for row in rows:
            budget_id, start_us = row["budget_id"], row["window_start_us"]
            self.windows[budget_id, start_us] = BudgetWindow(row["spent"], row["held"])
            self.steps.setdefault(budget_id, set()).add(start_us)

    def _windows_at(self, keys: list[WindowKey]) -> list[dict[str, Any]]:
        budget_ids, starts_us = [b for b, _ in keys], [s for _, s in keys]
        windows_in = self.statements.windows_in
        if self.runner.native:
            return self.runner.ask(windows_in, budget_ids=budget_ids, starts_us=starts_us)
        return [
            row
            for budget_id, start_us in keys
            for row in self.runner.ask(windows_in, budget_id=budget_id, start_us=start_us)
        ]
