"""Any order of events leaves a sound ledger: a machine plays, and a simple model keeps count."""

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
)
from sqlalchemy import Engine

from meter.core.budgets import Measure, Refusal, Scope, ScopeKind
from meter.core.call import Attribution, Bound, Call
from meter.core.event import Correction
from meter.core.rating import rate
from meter.core.usage import Usage
from meter.core.windows import Span, Window
from meter.errors import ConflictingWrite, InputError
from meter.store import reads
from meter.store.checking import check
from meter.store.credit import Credits
from meter.store.encoding import correction_to_row, event_to_row, open_call_to_row
from meter.store.engine import open_engine, write_connection
from meter.store.migrating import require_current
from meter.store.requests import Correct, Release, Request, Reserve, Settle
from meter.store.sweeping import sweep
from meter.store.writing import write_batch
from tests.store.examples import CARD, HOUR_US, NOON_US, a_budget, a_call, an_event, call_id

SUBJECTS = ("alice", "bob")
LIMITS = (Measure.MONEY, Measure.TOKENS, Measure.CALLS)
WHY = {"reason": "why", "author": "bob"}
SCOPES = (
    Scope(ScopeKind.EVERYTHING),
    Scope(ScopeKind.SUBJECT, "alice"),
    Scope(ScopeKind.TAG, "team=search"),
)


@dataclass
class Model:
    """What a person with a pencil would know: the truth on each call."""

    open: dict[int, Call] = field(default_factory=dict)
    ended: dict[int, int | None] = field(default_factory=dict)
    swept: dict[int, Call] = field(default_factory=dict)
    subjects: dict[int, str] = field(default_factory=dict)


class LedgerMachine(RuleBasedStateMachine):
    """Calls are reserved, settled, released, swept and corrected, alone and in batches."""

    numbers: "Bundle[int]" = Bundle("numbers")

    @initialize()
    def open_ledger(self) -> None:
        self.engine: Engine = open_engine("sqlite://")
        require_current(self.engine)
        self.model = Model()
        self.count = self.grants = 0
        self.waiting: list[tuple[Request, Any]] = []

    def teardown(self) -> None:
        if hasattr(self, "engine"):
            self.engine.dispose()

    def write(self, request: Request, note: Any) -> None:
        """Put a request aside; `note` takes its answer once it is written."""
        self.waiting.append((request, note))

    @rule(target=numbers, subject=st.sampled_from(SUBJECTS), nanos=st.integers(0, 40_000))
    def reserve(self, subject: str, nanos: int) -> int:
        self.count += 1
        number = self.count
        call = a_call(
            number,
            attribution=Attribution(subject, (("team", "search"),) if number % 2 else ()),
            bound=Bound(10, 20, nanos, "USD"),
        )
        self.model.subjects[number] = subject
        self._reserve(number, call)
        return number

    def _reserve(self, number: int, call: Call) -> None:
        row = open_call_to_row(call, "openai", CARD.id, "me.1:1:1", NOON_US + HOUR_US)

        def note(answer: Any) -> None:
            assert not isinstance(answer, Exception)
            if not isinstance(answer, Refusal) and number not in self.model.ended:
                self.model.open[number] = call

        self.write(Reserve(call, row, CARD), note)

    @rule(number=numbers)
    def reserve_again(self, number: int) -> None:
        if number in self.model.open:
            self._reserve(number, self.model.open[number])

    @rule(number=numbers, output_tokens=st.integers(0, 20))
    def settle(self, number: int, output_tokens: int) -> None:
        call = self._call(number)
        usage = Usage(input_tokens=1, output_tokens=output_tokens)
        event = an_event(call, usage)
        cost_nanos = 1000 + 2000 * output_tokens

        def note(answer: Any) -> None:
            known = self.model.ended.get(number)
            if number in self.model.swept:
                assert answer is None
                del self.model.swept[number]
                self.model.ended[number] = cost_nanos
            elif number in self.model.ended:
                assert isinstance(answer, ConflictingWrite) or known is not None
            else:
                assert answer is None
                self.model.open.pop(number, None)
                self.model.ended[number] = cost_nanos

        if number in self.model.ended and number not in self.model.swept:
            return  # repeated below, where its first content is known
        self.write(Settle(event, event_to_row(event), CARD), note)
        self.write(Settle(event, event_to_row(event), CARD), lambda answer: None)
        self.commit()

    def _call(self, number: int) -> Call:
        known = self.model.open.get(number) or self.model.swept.get(number)
        subject = self.model.subjects[number]
        tags = (("team", "search"),) if number % 2 else ()
        return known or a_call(number, attribution=Attribution(subject, tags))

    @rule(number=numbers)
    def release(self, number: int) -> None:
        def note(answer: Any) -> None:
            assert answer is None
            self.model.open.pop(number, None)

        self.write(Release(call_id(number)), note)

    @rule(number=numbers, output_tokens=st.none() | st.integers(0, 20))
    def correct(self, number: int, output_tokens: int | None) -> None:
        self.commit()
        if number not in self.model.ended:
            return
        (found,) = reads.calls(self.engine, id=str(call_id(number)))
        event = an_event(self._call(number), Usage(output_tokens=output_tokens or 0))
        usage = None if output_tokens is None else event.usage
        charge = rate(event.usage, CARD, at_us=NOON_US) if usage else rate(Usage(), None, at_us=0)
        correction = Correction(
            call_id(10_000 + number * 100 + found.corrections), call_id(number),
            found.corrections + 1, NOON_US, usage, event.basis, charge, "counted again", "bob",
        )  # fmt: skip

        def note(answer: Any) -> None:
            assert answer is None
            self.model.swept.pop(number, None)
            self.model.ended[number] = None if output_tokens is None else 2000 * output_tokens

        if number not in self.model.swept:
            self.write(Correct(correction, correction_to_row(correction)), note)
            self.commit()

    @rule(
        limit=st.integers(0, 100_000),
        scope=st.sampled_from(SCOPES),
        measure=st.sampled_from(LIMITS),
        span=st.sampled_from([Span.MONTH, Span.TOTAL]),
    )
    def set_budget(self, limit: int, scope: Scope, measure: Measure, span: Span) -> None:
        self.commit()
        budget = a_budget(
            limit,
            id=f"{scope.kind} {measure}",
            scope=scope,
            measure=measure,
            currency="USD" if measure is Measure.MONEY else None,
            window=Window(span),
        )
        reads.set_budget(self.engine, budget, now_us=NOON_US)

    @rule(scope=st.sampled_from(SCOPES), measure=st.sampled_from(LIMITS))
    def remove_budget(self, scope: Scope, measure: Measure) -> None:
        self.commit()
        reads.remove_budget(self.engine, f"{scope.kind} {measure}")

    @rule(
        subject=st.sampled_from(SUBJECTS),
        nanos=st.integers(1, 100_000),
        lasts=st.none() | st.integers(1, 10),
    )
    def grant(self, subject: str, nanos: int, lasts: int | None) -> None:
        """Grant credit that ends after a few calls, or never."""
        self.commit()
        self.grants += 1
        now_us = NOON_US + self.count
        Credits(self.engine).grant(
            f"g{self.grants}", subject, nanos, "USD", now_us=now_us,
            expires_us=None if lasts is None else now_us + lasts, **WHY,
        )  # fmt: skip

    @rule(subject=st.sampled_from(SUBJECTS), nanos=st.integers(-30_000, 30_000), back=st.booleans())
    def change_credit(self, subject: str, nanos: int, back: bool) -> None:
        """Adjust credit, or refund what was used."""
        self.commit()
        self.grants += 1
        credits = Credits(self.engine)
        change = credits.refund if back else credits.adjust
        with suppress(InputError):
            change(f"c{self.grants}", subject, nanos, "USD", now_us=NOON_US + self.count, **WHY)

    @rule(number=st.integers(1, 3))
    def revoke(self, number: int) -> None:
        self.commit()
        with suppress(InputError):
            Credits(self.engine).revoke(f"g{number}", now_us=NOON_US + self.count, **WHY)

    @rule()
    def lapse(self) -> None:
        self.commit()
        Credits(self.engine).lapse(NOON_US + self.count)

    @rule()
    def sweep(self) -> None:
        self.commit()
        assert sweep(self.engine, NOON_US + HOUR_US, dead_owners=False) == len(self.model.open)
        for number, call in self.model.open.items():
            self.model.ended[number] = None
            self.model.swept[number] = call
        self.model.open.clear()

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
        if self.waiting:
            return
        assert list(check(self.engine)) == []
        found = {call.id: call for call in reads.calls(self.engine, state="any")}
        expected = {call_id(number): cost for number, cost in self.model.ended.items()}
        assert {
            identity: call.cost_nanos
            for identity, call in found.items()
            if call.state != "in_flight"
        } == expected
        in_flight = {identity for identity, call in found.items() if call.state == "in_flight"}
        assert in_flight == {call_id(number) for number in self.model.open}
        for subject in SUBJECTS:
            cost = sum(
                nanos or 0
                for number, nanos in self.model.ended.items()
                if self.model.subjects[number] == subject
            )
            rows = reads.usage(self.engine, by=["subject"], subject=subject)
            assert sum(row.cost_nanos or 0 for row in rows) == cost


LedgerMachine.TestCase.settings = settings(max_examples=15, stateful_step_count=20, deadline=None)
TestLedger = pytest.mark.timeout(300)(LedgerMachine.TestCase)
