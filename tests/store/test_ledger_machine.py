"""Any order of events leaves a sound ledger: a machine plays, and a simple model keeps count.

The model knows what a person with a pencil would know. After each step it is compared with the
ledger: which calls are admitted, what is open and what has ended, what each budget has spent and
holds, what is left of prepaid credit. LEDGER_MACHINE_EXAMPLES says how many games are played.
"""

import os
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
)
from sqlalchemy import Engine

from meter.core.budgets import Budget, Measure, Refusal, Scope, ScopeKind
from meter.core.call import Attribution, Bound, Call
from meter.core.event import Correction
from meter.core.rating import rate
from meter.core.usage import Usage
from meter.core.windows import Window
from meter.errors import ConflictingWrite
from meter.store import reads
from meter.store.checking import check
from meter.store.credit import Credits
from meter.store.encoding import correction_to_row, event_to_row, open_call_to_row
from meter.store.engine import open_engine, write_connection
from meter.store.migrating import require_current
from meter.store.requests import Correct, Release, Request, Reserve, Settle
from meter.store.sweeping import sweep
from meter.store.writing import write_batch
from tests.store.examples import CARD, HOUR_US, NOON_US, NOVEMBER_US, a_call, an_event, call_id

EXAMPLES = int(os.environ.get("LEDGER_MACHINE_EXAMPLES", "200"))
MINUTE_US = HOUR_US // 60
STEP_US = HOUR_US // 24
"""What a rolling hour is kept in."""

SUBJECTS = ("alice", "bob", "carol")
PREPAID = "carol"
SCOPES = (
    Scope(ScopeKind.EVERYTHING),
    Scope(ScopeKind.SUBJECT, "alice"),
    Scope(ScopeKind.TAG, "team=search"),
)
MEASURES = (Measure.MONEY, Measure.TOKENS, Measure.CALLS)
WINDOWS = ("hour", "month", "total", "rolling:1h")
BOUND_TOKENS = 30
AMOUNTS = (0, 10_000, 20_000, 40_000)
"""Few, so that limits are filled to the last nano."""

MINUTES = (1, 3, 20, 60, 61, 62)
"""How long nothing happens: less and more than a step, and around a rolling hour's end."""

OUTPUTS = (0, 5, 10, 20)
"""Their costs are the amounts: 2000 nanos a token."""


@dataclass(frozen=True)
class Known:
    """What is known of a call, whatever becomes of it."""

    call: Call
    subject: str
    is_search: bool

    def is_in(self, scope: Scope) -> bool:
        """Whether a budget of this scope counts the call."""
        if scope.kind is ScopeKind.TAG:
            return self.is_search
        return scope.kind is ScopeKind.EVERYTHING or self.subject == scope.value


@dataclass(frozen=True)
class End:
    """How a call ended: its cost and tokens, None and 0 where nobody knows."""

    cost_nanos: int | None
    tokens: int


@dataclass
class Limit:
    """A budget as the model keeps it."""

    budget: Budget
    window: str
    counts_from_us: int
    holds: dict[int, int] = field(default_factory=dict)
    """What each open call holds."""

    def start_of(self, at_us: int) -> int:
        """Return the start of the window, or of the step, that holds the moment."""
        length_us = {"hour": HOUR_US, "rolling:1h": STEP_US}.get(self.window)
        if length_us is not None:
            return at_us - at_us % length_us
        return NOVEMBER_US if self.window == "month" else 0

    def counts_together(self, started_us: int, at_us: int) -> bool:
        """Whether a call that started then counts for one at the moment."""
        start_us = self.start_of(started_us)
        if self.window == "rolling:1h":
            return start_us >= self.start_of(at_us) - HOUR_US
        return start_us == self.start_of(at_us)

    def taken_by(self, end: End) -> int:
        """Return what a call with this end takes."""
        if self.budget.measure is Measure.CALLS:
            return 1
        return end.tokens if self.budget.measure is Measure.TOKENS else end.cost_nanos or 0

    def needed_by(self, call: Call) -> int:
        """Return the most that a call can take."""
        if self.budget.measure is Measure.CALLS:
            return 1
        nanos = call.bound.cost_nanos
        assert nanos is not None
        return BOUND_TOKENS if self.budget.measure is Measure.TOKENS else nanos


@dataclass
class Model:
    """The truth on each call, each budget and the prepaid credit."""

    known: dict[int, Known] = field(default_factory=dict)
    open: set[int] = field(default_factory=set)
    ended: dict[int, End] = field(default_factory=dict)
    swept: set[int] = field(default_factory=set)
    limits: dict[str, Limit] = field(default_factory=dict)
    granted_nanos: int = 0
    credit_holds: dict[int, int] = field(default_factory=dict)

    def standing(self, limit: Limit, at_us: int) -> tuple[int, int]:
        """Return what is spent and held of a budget for a call at the moment."""
        spent = sum(
            limit.taken_by(end)
            for number, end in self.ended.items()
            if (known := self.known[number]).is_in(limit.budget.scope)
            and known.call.started_us >= limit.counts_from_us
            and limit.counts_together(known.call.started_us, at_us)
        )
        held = sum(
            amount
            for number, amount in limit.holds.items()
            if limit.counts_together(self.known[number].call.started_us, at_us)
        )
        return spent, held

    def credit_left(self) -> int:
        """Return what is left of the prepaid credit."""
        costs = (
            end.cost_nanos or 0
            for number, end in self.ended.items()
            if self.known[number].subject == PREPAID
        )
        return self.granted_nanos - sum(costs)

    def limits_of(self, known: Known) -> list[Limit]:
        """Return the budgets that count a call."""
        return [
            limit
            for limit in self.limits.values()
            if known.is_in(limit.budget.scope) and known.call.started_us >= limit.counts_from_us
        ]

    def admits(self, number: int) -> bool:
        """Whether all budgets and the credit have room for a call."""
        known = self.known[number]
        for limit in self.limits_of(known):
            spent, held = self.standing(limit, known.call.started_us)
            if spent + held + limit.needed_by(known.call) > limit.budget.limit:
                return False
        if known.subject != PREPAID:
            return True
        needed = known.call.bound.cost_nanos or 0
        return sum(self.credit_holds.values()) + needed <= self.credit_left()

    def begin(self, number: int) -> None:
        """Note that a call leaves, with its holds."""
        known = self.known[number]
        self.open.add(number)
        for limit in self.limits_of(known):
            limit.holds[number] = limit.needed_by(known.call)
        if known.subject == PREPAID:
            self.credit_holds[number] = known.call.bound.cost_nanos or 0

    def close(self, number: int) -> None:
        """Note that a call is not in flight any more."""
        self.open.discard(number)
        self.credit_holds.pop(number, None)
        for limit in self.limits.values():
            limit.holds.pop(number, None)


class LedgerMachine(RuleBasedStateMachine):
    """Calls are reserved, settled, released, swept and corrected, alone and in batches."""

    numbers: "Bundle[int]" = Bundle("numbers")

    @initialize(
        measure=st.sampled_from(MEASURES),
        window=st.sampled_from(WINDOWS),
        limit=st.integers(1, 4),
    )
    def open_ledger(self, measure: Measure, window: str, limit: int) -> None:
        self.engine = _emptied_engine()
        self.credits = Credits(self.engine)
        self.model = Model()
        self.now_us = NOON_US
        self.waiting: list[tuple[Request, Any]] = []
        self._grant(60_000)
        self.now_us += 10 * MINUTE_US
        # Where nothing is limited, nothing can be overspent.
        self._set_budget(SCOPES[0], measure, window, limit)

    def write(self, request: Request, note: Any) -> None:
        """Put a request aside; `note` takes its answer once it is written."""
        self.waiting.append((request, note))

    @rule(minutes=st.sampled_from(MINUTES))
    def pass_time(self, minutes: int) -> None:
        self.now_us += minutes * MINUTE_US

    @rule(
        target=numbers,
        subject=st.sampled_from(SUBJECTS),
        nanos=st.sampled_from(AMOUNTS),
        behind=st.sampled_from([0, 0, 1, 4]),
        count=st.integers(1, 3),
    )
    def reserve(self, subject: str, nanos: int, behind: int, count: int) -> "MultipleResults[int]":
        return multiple(*(self._new_call(subject, nanos, behind) for _ in range(count)))

    @rule(
        target=numbers,
        minutes=st.sampled_from(MINUTES),
        nanos=st.sampled_from(AMOUNTS),
        output_tokens=st.none() | st.sampled_from(OUTPUTS),
    )
    def come(self, minutes: int, nanos: int, output_tokens: int | None) -> int:
        """Let a call come after a while, and end at once or not: what happens most."""
        return self._come(minutes, nanos, output_tokens)

    @rule(
        target=numbers,
        minutes=st.sampled_from(MINUTES),
        nanos=st.sampled_from(AMOUNTS),
        output_tokens=st.none() | st.sampled_from(OUTPUTS),
    )
    def come_too(self, minutes: int, nanos: int, output_tokens: int | None) -> int:
        """Do the same, so that it happens twice as often."""
        return self._come(minutes, nanos, output_tokens)

    def _come(self, minutes: int, nanos: int, output_tokens: int | None) -> int:
        self.pass_time(minutes)
        number = self._new_call("alice", nanos, 0)
        self.commit()
        if output_tokens is not None and number in self.model.open:
            self.settle(number, output_tokens)
        return number

    def _new_call(self, subject: str, nanos: int, behind: int) -> int:
        number = len(self.model.known) + 1
        is_search = number % 2 == 1
        call = a_call(
            number,
            # The clock of this call's machine may be a little behind.
            started_us=self.now_us + number - behind * MINUTE_US,
            attribution=Attribution(subject, (("team", "search"),) if is_search else ()),
            bound=Bound(10, 20, nanos, "USD"),
        )
        self.model.known[number] = Known(call, subject, is_search)
        self._reserve(number)
        return number

    def _reserve(self, number: int) -> None:
        call = self.model.known[number].call
        expires_us = call.started_us + HOUR_US
        row = open_call_to_row(call, "openai", CARD.id, "me.1:1:1", expires_us)

        def note(answer: Any) -> None:
            assert not isinstance(answer, Exception)
            if number in self.model.ended or number in self.model.open:
                assert not isinstance(answer, Refusal)
            elif self.model.admits(number):
                assert not isinstance(answer, Refusal)
                self.model.begin(number)
            else:
                assert isinstance(answer, Refusal)

        self.write(Reserve(call, row, CARD), note)

    @rule(number=numbers)
    def reserve_again(self, number: int) -> None:
        self._reserve(number)

    @rule(number=numbers, output_tokens=st.sampled_from(OUTPUTS))
    def settle(self, number: int, output_tokens: int) -> None:
        event = an_event(self.model.known[number].call, Usage(output_tokens=output_tokens))
        end = End(2000 * output_tokens, output_tokens)

        def note(answer: Any) -> None:
            assert answer is None
            self.model.close(number)
            self.model.swept.discard(number)
            self.model.ended[number] = end

        self.commit()
        if number in self.model.ended and number not in self.model.swept:
            self._settle_with_other_content(event, end, self.model.ended[number])
            return
        self.write(Settle(event, event_to_row(event), CARD), note)
        self.write(Settle(event, event_to_row(event), CARD), note)
        self.commit()

    def _settle_with_other_content(self, event: Any, end: End, known: End) -> None:
        """Say once more how a call ended that had ended: it is a conflict unless it is the same."""

        def note(answer: Any) -> None:
            if end != known:
                assert answer is None or isinstance(answer, ConflictingWrite)

        self.write(Settle(event, event_to_row(event), CARD), note)
        self.commit()

    @rule(number=numbers)
    def release(self, number: int) -> None:
        def note(answer: Any) -> None:
            assert answer is None
            self.model.close(number)

        self.write(Release(call_id(number)), note)

    @rule(number=numbers, output_tokens=st.none() | st.sampled_from(OUTPUTS))
    def correct(self, number: int, output_tokens: int | None) -> None:
        self.commit()
        if number not in self.model.ended or number in self.model.swept:
            return
        (found,) = reads.calls(self.engine, id=str(call_id(number)))
        event = an_event(self.model.known[number].call, Usage(output_tokens=output_tokens or 0))
        usage = None if output_tokens is None else event.usage
        charge = rate(event.usage, CARD, at_us=NOON_US) if usage else rate(Usage(), None, at_us=0)
        correction = Correction(
            call_id(10_000 + number * 100 + found.corrections), call_id(number),
            found.corrections + 1, self.now_us, usage, event.basis, charge, "counted again", "bob",
        )  # fmt: skip

        def note(answer: Any) -> None:
            assert answer is None
            self.model.ended[number] = (
                End(None, 0) if output_tokens is None else End(2000 * output_tokens, output_tokens)
            )

        self.write(Correct(correction, correction_to_row(correction)), note)
        self.commit()

    @rule(nanos=st.sampled_from(AMOUNTS[1:]))
    def grant(self, nanos: int) -> None:
        self.commit()
        self._grant(nanos)

    def _grant(self, nanos: int) -> None:
        self.credits.grant(
            f"grant {self.model.granted_nanos}", PREPAID, nanos, "USD",
            expires_us=None, reason="paid", author="bob", now_us=self.now_us,
        )  # fmt: skip
        self.model.granted_nanos += nanos

    @rule(
        limit=st.integers(0, 4),
        scope=st.sampled_from(SCOPES),
        measure=st.sampled_from(MEASURES),
        window=st.sampled_from(WINDOWS),
    )
    def set_budget(self, limit: int, scope: Scope, measure: Measure, window: str) -> None:
        self.commit()
        self._set_budget(scope, measure, window, limit)

    def _set_budget(self, scope: Scope, measure: Measure, window: str, calls: int) -> None:
        """Set a budget that so many calls of a middling size fill exactly."""
        name = f"{scope.kind} {measure}"
        limit = calls * {Measure.MONEY: AMOUNTS[2], Measure.TOKENS: BOUND_TOKENS}.get(measure, 1)
        currency = "USD" if measure is Measure.MONEY else None
        budget = Budget(name, scope, measure, limit, currency, Window.named(window))
        reads.set_budget(self.engine, budget, now_us=self.now_us)
        known = self.model.limits.get(name)
        if known is not None and known.window == window:
            known.budget = budget
            return
        made = Limit(budget, window, 0)
        made.counts_from_us = made.start_of(self.now_us)
        if window == "rolling:1h":
            made.counts_from_us -= HOUR_US
        self.model.limits[name] = made

    @rule(scope=st.sampled_from(SCOPES), measure=st.sampled_from(MEASURES))
    def remove_budget(self, scope: Scope, measure: Measure) -> None:
        self.commit()
        name = f"{scope.kind} {measure}"
        assert reads.remove_budget(self.engine, name) is (name in self.model.limits)
        self.model.limits.pop(name, None)

    @rule()
    def sweep(self) -> None:
        self.commit()
        lost = {
            number
            for number in self.model.open
            if self.model.known[number].call.started_us + HOUR_US <= self.now_us
        }
        assert sweep(self.engine, self.now_us, dead_owners=False) == len(lost)
        for number in lost:
            self.model.close(number)
            self.model.ended[number] = End(None, 0)
            self.model.swept.add(number)

    @rule()
    def commit(self) -> None:
        """Write what waits, in one transaction."""
        if self.waiting:
            with write_connection(self.engine) as connection:
                answers = write_batch(connection, [request for request, _ in self.waiting]).answers
            for (_, note), answer in zip(self.waiting, answers, strict=True):
                note(answer)
            self.waiting.clear()

    @invariant()
    def the_ledger_is_sound(self) -> None:
        if not self.waiting:
            assert list(check(self.engine)) == []

    @invariant()
    def every_call_is_known_as_it_is(self) -> None:
        if self.waiting:
            return
        found = {call.id: call for call in reads.calls(self.engine, state="any")}
        open_ids = {name for name, call in found.items() if call.state == "in_flight"}
        assert open_ids == {call_id(number) for number in self.model.open}
        assert {
            identity: call.cost_nanos
            for identity, call in found.items()
            if identity not in open_ids
        } == {call_id(number): end.cost_nanos for number, end in self.model.ended.items()}

    @invariant()
    def every_budget_stands_where_its_calls_have_put_it(self) -> None:
        if self.waiting:
            return
        rows = {row.budget.id: row for row in reads.budgets(self.engine, now_us=self.now_us)}
        for name, limit in self.model.limits.items():
            standing = rows[name].standing
            # Seen from now: a call that starts later than now is in a window to come.
            assert (standing.spent, standing.held) == self._seen_now(limit)

    def _seen_now(self, limit: Limit) -> tuple[int, int]:
        return self.model.standing(limit, self.now_us)

    @invariant()
    def what_is_left_of_the_credit_is_what_was_not_used(self) -> None:
        if self.waiting:
            return
        (credit,) = self.credits.accounts(now_us=self.now_us)
        held = sum(self.model.credit_holds.values())
        assert (credit.balance_nanos, credit.held_nanos) == (self.model.credit_left(), held)


def _emptied_engine() -> Engine:
    """Return the engine of all games, on an empty ledger: compiling statements takes time."""
    template, engine = _template()
    with engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
        template.driver_connection.backup(driver)
    return engine


@cache
def _template() -> tuple[Any, Engine]:
    """Return a connection to a migrated, empty ledger in memory, and another engine."""
    migrated = open_engine("sqlite://")
    require_current(migrated)
    return migrated.raw_connection(), open_engine("sqlite://")


GAME = settings(max_examples=EXAMPLES, stateful_step_count=15, deadline=None)
LedgerMachine.TestCase.settings = GAME
TestLedger = pytest.mark.timeout(36_000 if EXAMPLES > 200 else 1200)(LedgerMachine.TestCase)
