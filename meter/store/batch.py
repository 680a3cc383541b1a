"""Hold the state of one batch of writes: what was read and locked, and what will change.

Knows rows, budgets and windows, not what a request means; see `writing`. Called by `writing` and
`corrections`.
"""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any
from uuid import UUID

from meter.clock import now_us
from meter.core.budgets import Budget, Hold, Scope, Standing
from meter.core.credit import MoveKind
from meter.core.ledger import Entry
from meter.errors import StoreError
from meter.store.archives import SURELY_OPEN_US, in_words
from meter.store.budget_rows import CountedBudget, taken_by
from meter.store.encoding import AnyRow, Row, scopes_of_row
from meter.store.prepaid import Cause, CreditAccount, account_from_rows, burns, entries_between
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

    `known_routes` are in the database for certain. `counting` has the budgets of those who
    have made calls, by subject, tags, key and model.
    `open_holds` has every call of the batch that is open in the database, `ended` those with an
    event there. `opened` and `events` are to be written, `closed` to be removed. `corrected` has
    the ids of its corrections. `claims` says which call billed a piece of work; `claimed` are those
    to be written, `works` the ids under which work is held that these requests may show. `steps`
    has the starts of the windows that were read, by budget, `recalled` what is known of windows
    without reading: spent and held. `queued` are windows that earlier calls wait for, `blocked`
    those that a call of this batch did not fit into.
    `credit` has the prepaid credit that the batch needs, by the id of its budget. `closed_us` is
    from when on months are open, None when no call needed to know.
    """

    runner: Runner
    statements: Statements
    known_routes: Container[int] = ()
    budgets: dict[Scope, list[CountedBudget]] = field(default_factory=dict)
    counting: dict[tuple[str | None, ...], list[CountedBudget]] = field(default_factory=dict)
    windows: dict[WindowKey, BudgetWindow] = field(default_factory=dict)
    steps: dict[str, set[int]] = field(default_factory=dict)
    open_holds: dict[UUID, tuple[Hold, ...]] = field(default_factory=dict)
    ended: set[UUID] = field(default_factory=set)
    closed: set[UUID] = field(default_factory=set)
    opened: dict[UUID, tuple[Row, tuple[Hold, ...]]] = field(default_factory=dict)
    events: dict[UUID, Row] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    corrected: list[UUID] = field(default_factory=list)
    recalled: Mapping[WindowKey, tuple[int, int]] = field(default_factory=dict)
    queued: Container[WindowKey] = ()
    blocked: set[WindowKey] = field(default_factory=set)
    claims: dict[str, UUID] = field(default_factory=dict)
    claimed: dict[str, UUID] = field(default_factory=dict)
    works: set[UUID] = field(default_factory=set)
    credit: dict[str, CreditAccount] = field(default_factory=dict)
    credit_numbers: dict[UUID, int] = field(default_factory=dict)
    closed_us: int | None = None

    def claim(self, call_id: UUID, *names: str) -> None:
        """Let a call bill the work of these names, unless they are claimed already."""
        new = {name: call_id for name in names if name not in self.claims}
        self.claims |= new
        self.claimed |= new

    def event(self, call_id: UUID) -> Mapping[str, Any] | None:
        """Return the event of a call, None when it has not ended."""
        known = self.events.get(call_id)
        return known or next(iter(self.runner.ask(self.statements.one_event, id=call_id)), None)

    def is_closed(self, started_us: int) -> bool:
        """Whether a call's month is closed; only old calls need to ask."""
        if started_us >= now_us() - SURELY_OPEN_US:
            return False
        if self.closed_us is None:
            found = self.runner.ask(self.statements.closed)
            self.closed_us = found[0]["value"] if found else 0
        return started_us < self.closed_us

    def require_open(self, started_us: int) -> None:
        """Raise StoreError for a call of a month that is closed."""
        if self.is_closed(started_us):
            raise StoreError(
                f"found a record of a call that started at {in_words(started_us)}, expected none "
                f"before {in_words(self.closed_us or 0)}: those months are archived"
            )

    def budgets_of(self, row: AnyRow) -> list[Budget]:
        """Return the budgets that count the call of this row."""
        if not self.budgets:
            return []
        whose = (row["subject"], row["tags"], row["key_id"], row["model_requested"])
        counting = self.counting.get(whose)
        if counting is None:
            scopes = scopes_of_row(row)
            counting = [each for scope in scopes for each in self.budgets.get(scope, ())]
            self.counting[whose] = counting
        at_us = row["started_us"]
        return [each.budget for each in counting if at_us >= each.counts_from_us]

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

    def take_budget(self, counted: CountedBudget) -> None:
        """Note a budget that calls of this batch may count in."""
        self.budgets.setdefault(counted.budget.scope, []).append(counted)

    def lock_windows(self, keys: Iterable[WindowKey]) -> None:
        """Read and lock budget windows; make those that no call has touched yet."""
        wanted = []
        for key in sorted(keys):
            if key in self.recalled:
                self._take_window(key, *self.recalled[key])
            else:
                wanted.append(key)
        if not wanted:
            return
        self._read_windows(wanted)
        missing = [key for key in wanted if key not in self.windows]
        if missing:
            made = [
                {"budget_id": budget_id, "window_start_us": start_us, "spent": 0, "held": 0}
                for budget_id, start_us in missing
            ]
            self.runner.put(self.statements.add_windows, made)
            self._read_windows(missing)

    def as_it_stands(self, budget: Budget, at_us: int) -> tuple[Budget, Standing]:
        """Return a budget and where it stands for a call that starts at that moment."""
        if not budget.is_credit:
            return budget, self.standing(budget, at_us)
        window = self.window(budget, at_us)
        account = self.account(budget)
        in_flight = self._in_flight(budget.id) if account.needs_starts(at_us) else ()
        return account.funded(at_us, window.standing.held, in_flight)

    def account(self, budget: Budget) -> CreditAccount:
        """Return the prepaid credit of a credit budget, locked."""
        if budget.id not in self.credit:
            self.window(budget, 0)
            self.load_credit([budget])
        return self.credit[budget.id]

    def load_credit(self, budgets: Iterable[Budget]) -> None:
        """Read the prepaid credit of credit budgets whose windows are locked."""
        wanted = {budget.id: budget for budget in budgets if budget.id not in self.credit}
        if not wanted:
            return
        subjects = sorted({budget.scope.value for budget in wanted.values()})
        rows = self.runner.ask(self.statements.credit_in, subjects=subjects)
        of_subject: dict[str, list[AnyRow]] = {}
        for row in rows:
            of_subject.setdefault(row["subject"], []).append(row)
        for budget in wanted.values():
            known = of_subject.get(budget.scope.value, ())
            self.credit[budget.id] = account_from_rows(budget, known, self.credit_numbers)

    def spend(self, row: AnyRow, ending: AnyRow, before: AnyRow | None = None) -> None:
        """Add what a call with this ending takes to its budgets, less what it took `before`.

        `ending` is the call's own row, or that of the correction which comes after `before`. The
        entries that it makes are in the batch already.
        """
        budgets = {budget.id: budget for budget in self.budgets_of(row)}
        if not budgets:
            return
        counting = tuple(budgets.values())
        taken = taken_by(counting, ending)
        for budget_id, amount in taken_by(counting, before).items() if before else ():
            taken[budget_id] = taken.get(budget_id, 0) - amount
        for budget_id, amount in taken.items():
            budget = budgets[budget_id]
            self.window(budget, row["started_us"]).add_spent += amount
            if budget.is_credit:
                self._burn(budget, row, ending, before)

    def _burn(self, budget: Budget, row: AnyRow, ending: AnyRow, before: AnyRow | None) -> None:
        """Take what a call uses from the prepaid credit of its subject, with the entries."""
        source_id, at_us = row["call_id"], row["started_us"]
        if before is not None:
            source_id, at_us = ending["id"], ending["at_us"]
        cause = Cause(source_id, at_us, MoveKind.USAGE, row["call_id"])
        account = self.account(budget)
        changes = burns(budget, row, ending, before)
        account.take(sum(changes.values()), cause)
        of_source = takewhile(lambda entry: entry.source_id == source_id, reversed(self.entries))
        earlier = sum(1 for _ in of_source)
        self.entries += entries_between(
            account.name, budget.currency or "", cause, changes, earlier
        )

    def _in_flight(self, budget_id: str) -> list[tuple[int, int]]:
        """Return the start and the hold of every call that holds in this budget now."""
        stored = self.runner.ask(self.statements.holds_of, budget_id=budget_id)
        found = [
            (held["started_us"], held["amount"])
            for held in stored
            if held["call_id"] not in self.closed
        ]
        for row, made in self.opened.values():
            found += [
                (row["started_us"], hold.amount) for hold in made if hold.budget_id == budget_id
            ]
        return found

    def _read_windows(self, keys: list[WindowKey]) -> None:
        self._take_windows(self._windows_at(keys))

    def _take_windows(self, rows: Iterable[Mapping[str, Any]]) -> None:
        for row in rows:
            key = (row["budget_id"], row["window_start_us"])
            self._take_window(key, row["spent"], row["held"])

    def _take_window(self, key: WindowKey, spent: int, held: int) -> None:
        self.windows[key] = BudgetWindow(spent, held)
        self.steps.setdefault(key[0], set()).add(key[1])

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
