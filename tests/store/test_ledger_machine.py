"""Any order of events leaves a sound ledger: a machine plays, and a simple model keeps count.

The model knows what a person with a pencil would know. After each step it is compared with the
ledger: which calls are admitted, what is open and what has ended, what each budget has spent and
holds, what is left of each grant of prepaid credit. LEDGER_MACHINE_EXAMPLES says how many games are
played on SQLite, LEDGER_MACHINE_POSTGRESQL_EXAMPLES on PostgreSQL.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
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
    run_state_machine_as_test,
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
from meter.store.engine import write_connection
from meter.store.requests import Correct, Release, Request, Reserve, Settle
from meter.store.rollups import fold
from meter.store.sweeping import sweep
from meter.store.writing import write_batch
from tests.store.examples import (
    CARD,
    HOUR_US,
    NOON_US,
    NOVEMBER_US,
    a_call,
    an_event,
    call_id,
)

EXAMPLES = {
    "sqlite": int(os.environ.get("LEDGER_MACHINE_EXAMPLES", "200")),
    "postgresql": int(os.environ.get("LEDGER_MACHINE_POSTGRESQL_EXAMPLES", "10")),
}
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

LASTS = (2, 15, 25, 70)
"""After how many minutes a grant ends: calls that were admitted before it are in flight then."""

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
class Granted:
    """What is left of a credit grant; `ends_us` None: it never ends."""

    name: str
    left_nanos: int
    ends_us: int | None
    granted_us: int
    is_closed: bool = False

    def lives_at(self, at_us: int) -> bool:
        """Whether it pays for what happens at the moment."""
        return self.ends_us is None or at_us < self.ends_us


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
    grants: list[Granted] = field(default_factory=list)
    loose_nanos: int = 0
    """Credit of no grant: what corrections gave back, and below zero the overrun."""
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

    def credit_left(self, at_us: int) -> int:
        """Return what is left of the prepaid credit at the moment."""
        return self.loose_nanos + sum(g.left_nanos for g in self.grants if g.lives_at(at_us))

    def credit_free(self, at_us: int) -> int:
        """Return what a call that starts at the moment can set aside.

        Whoever started at some time or later can be paid by what ended after that time only: for
        every time until now, all of them together must be.
        """
        times = [0, *(g.ends_us for g in self.grants if g.ends_us and g.ends_us <= at_us)]
        return min(
            self.credit_left(since_us)
            - sum(
                held
                for number, held in self.credit_holds.items()
                if self.known[number].call.started_us >= since_us
            )
            for since_us in times
        )

    def burn(self, nanos: int, at_us: int) -> None:
        """Take what was used at the moment, from what ends first; below zero: give it back."""
        living = [grant for grant in self.grants if grant.lives_at(at_us)]
        for grant in sorted(living, key=lambda g: (g.ends_us or 2**62, g.granted_us, g.name)):
            part = min(max(nanos, 0), grant.left_nanos)
            grant.left_nanos -= part
            nanos -= part
        self.loose_nanos -= nanos

    def end(self, number: int, end: End, at_us: int | None = None) -> None:
        """Note how a call ended, or ended in truth; `at_us`: when that was said, of a second."""
        before = self.ended.get(number)
        self.ended[number] = end
        if self.known[number].subject == PREPAID:
            more = (end.cost_nanos or 0) - ((before and before.cost_nanos) or 0)
            self.burn(more, at_us or self.known[number].call.started_us)

    def grant(self, grant: Granted) -> None:
        """Take in a grant, which pays an overrun first."""
        paid = min(max(-self.loose_nanos, 0), grant.left_nanos)
        self.loose_nanos += paid
        grant.left_nanos -= paid
        self.grants.append(grant)

    def lapse(self, now_us: int) -> int:
        """Take off what has ended and cannot be needed any more; return how many grants that is."""
        starts = [self.known[number].call.started_us for number in self.credit_holds]
        closed = 0
        for grant in self.grants:
            ends_us = grant.ends_us
            if grant.is_closed or ends_us is None or ends_us > now_us:
                continue
            if not grant.left_nanos or all(start >= ends_us for start in starts):
                grant.is_closed, grant.left_nanos = True, 0
                closed += 1
        return closed

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
        # While nothing is left of it nothing goes out, not even what costs nothing.
        started_us, needed = known.call.started_us, known.call.bound.cost_nanos or 0
        return self.credit_left(started_us) > 0 and needed <= self.credit_free(started_us)

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

    def __init__(self, new_ledger: Callable[[], Engine]) -> None:
        """Take what gives the engine of an empty ledger."""
        super().__init__()
        self.new_ledger = new_ledger

    @initialize(
        measure=st.sampled_from(MEASURES),
        window=st.sampled_from(WINDOWS),
        limit=st.integers(1, 4),
        paid=st.sampled_from([5_000, 60_000]),
        lasts=st.none() | st.sampled_from(LASTS),
    )
    def open_ledger(
        self, measure: Measure, window: str, limit: int, paid: int, lasts: int | None
    ) -> None:
        self.engine = self.new_ledger()
        self.credits = Credits(self.engine)
        self.model = Model()
        self.now_us = NOON_US
        self.waiting: list[tuple[Request, Any]] = []
        self._grant(paid, lasts)
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
        return self._come("alice", minutes, nanos, output_tokens)

    @rule(
        target=numbers,
        minutes=st.sampled_from(MINUTES),
        nanos=st.sampled_from(AMOUNTS),
        output_tokens=st.none() | st.sampled_from(OUTPUTS),
    )
    def come_prepaid(self, minutes: int, nanos: int, output_tokens: int | None) -> int:
        """Do the same for who has prepaid credit, of which grants end meanwhile."""
        return self._come(PREPAID, minutes, nanos, output_tokens)

    def _come(self, subject: str, minutes: int, nanos: int, output_tokens: int | None) -> int:
        self.pass_time(minutes)
        number = self._new_call(subject, nanos, 0)
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
            if number not in self.model.ended:
                self.model.end(number, end)
            elif number in self.model.swept:
                self.model.end(number, end, event.ended_us)
            self.model.swept.discard(number)

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
            end = End(2000 * (output_tokens or 0), output_tokens or 0)
            self.model.end(number, End(None, 0) if output_tokens is None else end, self.now_us)

        self.write(Correct(correction, correction_to_row(correction)), note)
        self.commit()

    @rule(nanos=st.sampled_from(AMOUNTS[1:]), lasts=st.none() | st.sampled_from(LASTS))
    def grant(self, nanos: int, lasts: int | None) -> None:
        self.commit()
        self._grant(nanos, lasts)

    def _grant(self, nanos: int, lasts: int | None) -> None:
        name = f"grant {len(self.model.grants)}"
        expires_us = None if lasts is None else self.now_us + lasts * MINUTE_US
        for _ in range(2):
            self.credits.grant(
                name, PREPAID, nanos, "USD", expires_us=expires_us, reason="paid", author="bob",
                now_us=self.now_us,
            )  # fmt: skip
        self.model.grant(Granted(name, nanos, expires_us, self.now_us))

    @rule(
        target=numbers,
        nanos=st.sampled_from(AMOUNTS[1:]),
        lasts=st.sampled_from(LASTS),
        minutes=st.sampled_from(MINUTES),
    )
    def grant_and_call(self, nanos: int, lasts: int, minutes: int) -> int:
        """Let a prepaid call be in flight while what may have to pay for it ends."""
        self.commit()
        self._grant(nanos, lasts)
        number = self._new_call(PREPAID, nanos, 0)
        self.commit()
        self.pass_time(minutes)
        return number

    @rule()
    def lapse(self) -> None:
        self.commit()
        assert self.credits.lapse(self.now_us) == self.model.lapse(self.now_us)

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
    def fold(self) -> None:
        """Add what was committed to the rollups, which are checked beside what is not folded."""
        self.commit()
        fold(self.engine)

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
        model = self.model
        (credit,) = self.credits.accounts(now_us=self.now_us)
        assert (credit.balance_nanos, credit.held_nanos, credit.free_nanos) == (
            model.credit_left(self.now_us),
            sum(model.credit_holds.values()),
            model.credit_free(self.now_us),
        )
        left = {grant.id: grant.left_nanos for grant in self.credits.grants(PREPAID)}
        assert left == {grant.name: grant.left_nanos for grant in model.grants}


@pytest.mark.timeout(36_000 if max(EXAMPLES.values()) > 200 else 1800)
def test_any_order_of_events_leaves_a_sound_ledger(
    game_ledger: tuple[str, Callable[[], Engine]],
) -> None:
    database, new_ledger = game_ledger
    run_state_machine_as_test(
        lambda: LedgerMachine(new_ledger),
        settings=settings(max_examples=EXAMPLES[database], stateful_step_count=15, deadline=None),
    )
