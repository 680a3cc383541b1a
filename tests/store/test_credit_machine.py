"""Time passes, grants end and are revoked, calls come and go: prepaid credit always adds up.

No call costs more than its hold here, and nobody takes credit away but by revoking: so nothing may
ever be overrun, whatever ends while calls are in flight. CREDIT_MACHINE_EXAMPLES says how many
games are played.
"""

import os
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from sqlalchemy import Engine, select

from meter.core.budgets import Refusal
from meter.core.call import Bound, Call
from meter.core.event import Correction
from meter.core.rating import Charge
from meter.errors import InputError
from meter.store.checking import check
from meter.store.credit import Credits
from meter.store.encoding import correction_to_row, event_to_row, open_call_to_row
from meter.store.engine import open_engine, write_connection
from meter.store.migrating import require_current
from meter.store.requests import Correct, Release, Request, Reserve, Settle
from meter.store.schema import credit_grants, credit_moves
from meter.store.sweeping import sweep
from meter.store.writing import write_batch
from tests.store.examples import HOUR_US, NOON_US, a_call, an_event, call_id

EXAMPLES = int(os.environ.get("CREDIT_MACHINE_EXAMPLES", "8"))
WHY = {"reason": "why", "author": "bob"}
MADE_UP = {"charge lines sum to the cost", "costs follow from usage and rate card"}
"""The costs of these calls are made up, so that any share of a hold can be played."""


class CreditMachine(RuleBasedStateMachine):
    """Alice has credit and makes calls; the clock counts microseconds from noon."""

    @initialize()
    def open_ledger(self) -> None:
        self.engine: Engine = open_engine("sqlite://")
        require_current(self.engine)
        self.credits = Credits(self.engine)
        self.now, self.count, self.deeds = 0, 0, 0
        self.flying: dict[int, Call] = {}
        self.ended: dict[int, Call] = {}
        self.grant(20_000, None)

    def teardown(self) -> None:
        if hasattr(self, "engine"):
            self.engine.dispose()

    def write(self, *requests: Request) -> list[Any]:
        with write_connection(self.engine) as connection:
            answers = write_batch(connection, requests).answers
        assert [each for each in answers if isinstance(each, Exception)] == []
        return answers

    @rule(nanos=st.integers(1, 50_000), lasts=st.none() | st.integers(1, 6))
    def grant(self, nanos: int, lasts: int | None) -> None:
        self.deeds += 1
        now_us = NOON_US + self.now
        self.credits.grant(
            f"g{self.deeds}", "alice", nanos, "USD", now_us=now_us,
            expires_us=None if lasts is None else now_us + lasts, **WHY,
        )  # fmt: skip

    @rule(passed=st.integers(1, 4))
    def wait(self, passed: int) -> None:
        self.now += passed

    @rule(bounds=st.lists(st.integers(0, 30_000), min_size=1, max_size=3))
    def reserve(self, bounds: list[int]) -> None:
        """Ask for several calls in one batch."""
        made = []
        for nanos in bounds:
            self.count += 1
            bound = Bound(10, 20, nanos, "USD")
            made.append(a_call(self.count, started_us=NOON_US + self.now + 1, bound=bound))
        rows = [open_call_to_row(c, "openai", None, "me.1:1:1", NOON_US + HOUR_US) for c in made]
        asked = [Reserve(call, row, None) for call, row in zip(made, rows, strict=True)]
        numbers = range(self.count - len(made) + 1, self.count + 1)
        for number, call, answer in zip(numbers, made, self.write(*asked), strict=True):
            if not isinstance(answer, Refusal):
                self.flying[number] = call

    @rule(pick=st.integers(0, 9), share=st.integers(0, 100))
    def settle(self, pick: int, share: int) -> None:
        if not self.flying:
            return
        number = sorted(self.flying)[pick % len(self.flying)]
        call = self.ended[number] = self.flying.pop(number)
        nanos = (call.bound.cost_nanos or 0) * share // 100
        event = an_event(call, charge=Charge((), nanos, "USD", None))
        self.write(Settle(event, event_to_row(event)))

    @rule(pick=st.integers(0, 9))
    def release(self, pick: int) -> None:
        if self.flying:
            number = sorted(self.flying)[pick % len(self.flying)]
            self.write(Release(self.flying.pop(number).id))

    @rule(pick=st.integers(0, 9))
    def free(self, pick: int) -> None:
        """Correct an ended call: it cost nothing."""
        if not self.ended:
            return
        number = sorted(self.ended)[pick % len(self.ended)]
        call = self.ended.pop(number)
        made = Correction(
            call_id(10_000 + number), call.id, 1, NOON_US + self.now, None, an_event(call).basis,
            Charge((), 0, "USD", None), "a gift", "bob",
        )  # fmt: skip
        self.write(Correct(made, correction_to_row(made)))

    @rule(number=st.integers(1, 9))
    def revoke(self, number: int) -> None:
        if number <= self.deeds:
            try:
                self.credits.revoke(f"g{number}", now_us=NOON_US + self.now, **WHY)
            except InputError as error:
                assert "no credit grant" in str(error)

    @rule(nanos=st.integers(1, 20_000), back=st.booleans())
    def add(self, nanos: int, back: bool) -> None:
        """Adjust upwards, or refund what was used."""
        self.deeds += 1
        change = self.credits.refund if back else self.credits.adjust
        try:
            change(f"a{self.deeds}", "alice", nanos, "USD", now_us=NOON_US + self.now, **WHY)
        except InputError as error:
            assert back and "expected at most" in str(error)

    @rule()
    def lapse(self) -> None:
        self.credits.lapse(NOON_US + self.now)

    @rule()
    def lose_all(self) -> None:
        """The calls in flight are never heard of again."""
        assert sweep(self.engine, NOON_US + HOUR_US, dead_owners=False) == len(self.flying)
        self.flying.clear()

    @invariant()
    def credit_adds_up_and_is_not_overrun(self) -> None:
        if not hasattr(self, "engine"):
            return
        at_us = NOON_US + self.now
        (found,) = self.credits.accounts(now_us=at_us)
        held = sum(call.bound.cost_nanos or 0 for call in self.flying.values())
        assert found.held_nanos == held
        assert found.free_nanos <= found.balance_nanos
        with self.engine.connect() as connection:
            grants = connection.execute(select(credit_grants.c.id, credit_grants.c.left_nanos))
            left = {row.id: row.left_nanos for row in grants}
            moved = sum(connection.execute(select(credit_moves.c.amount_nanos)).scalars())
        assert sum(left.values()) == moved
        assert min(left.values()) >= 0
        ever = self.credits.statement(
            "alice", since_us=None, until_us=at_us + HOUR_US, tz="UTC", by=("model",)
        )
        assert ever.closing_nanos == moved

    @invariant()
    def the_ledger_is_sound(self) -> None:
        if hasattr(self, "engine") and self.deeds % 3 == 0:
            found = [each for each in check(self.engine) if each.invariant not in MADE_UP]
            assert found == []


CreditMachine.TestCase.settings = settings(
    max_examples=EXAMPLES, stateful_step_count=20, deadline=None
)
TestCredit = pytest.mark.timeout(36_000 if EXAMPLES > 8 else 300)(CreditMachine.TestCase)
