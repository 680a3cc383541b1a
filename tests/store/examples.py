"""Calls, events, a rate card and budgets to test with; all amounts can be done in one's head.

The card: 1 USD a million input tokens, 2 USD a million output tokens, so that one input token is
1000 nanos and one output token 2000.
"""

from dataclasses import replace
from uuid import UUID

from meter.core.budgets import Budget, Measure, Scope, ScopeKind
from meter.core.call import Attribution, Basis, Bound, Call, Outcome
from meter.core.event import Correction, UsageEvent
from meter.core.rates import Rate, RateCard
from meter.core.rating import Charge, rate
from meter.core.usage import Usage
from meter.core.windows import Span, Window

NOON_US = 1_795_348_800_000_000
"""2026-11-22 12:00:00 UTC."""

SECOND_US = 1_000_000
HOUR_US = 3600 * SECOND_US
NOVEMBER_US = 1_793_491_200_000_000
"""2026-11-01 00:00:00 UTC."""

CARD = RateCard(
    "openai",
    "small",
    "USD",
    {"standard": (Rate("input_tokens", 10**9), Rate("output_tokens", 2 * 10**9))},
    source="made up",
    checked="2026-11-22",
)

TEN_TOKENS_NANOS = 4 * 1000 + 6 * 2000
"""What 4 input and 6 output tokens cost."""


def call_id(number: int) -> UUID:
    """Return a version 7 UUID that sorts by its number."""
    return UUID(int=(0x01A0_0000_0000 + number) << 80 | 7 << 76 | 2 << 62)


def a_call(number: int = 1, **changes: object) -> Call:
    """Return a call by alice that is bounded at 10 input and 20 output tokens, 50 000 nanos."""
    made = Call(
        id=call_id(number),
        operation_id=call_id(number),
        started_us=NOON_US + number,
        provider="openai",
        endpoint="chat",
        model_requested="small",
        attribution=Attribution("alice", (("team", "search"),)),
        estimated_input_tokens=4,
        bound=Bound(10, 20, 50_000, "USD"),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def an_event(call: Call | None = None, usage: Usage | None = None, **changes: object) -> UsageEvent:
    """Return the completed end of a call that used 4 input and 6 output tokens."""
    call = call or a_call()
    usage = Usage(input_tokens=4, output_tokens=6) if usage is None else usage
    made = UsageEvent(
        call=call,
        ended_us=call.started_us + SECOND_US,
        outcome=Outcome.COMPLETED,
        basis=Basis.REPORTED,
        usage=usage,
        charge=rate(usage, CARD, at_us=call.started_us),
        issuer="openai",
        status=200,
        first_byte_us=call.started_us + SECOND_US // 2,
        model_served="small-2026",
        response_id=f"resp-{call.id}",
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def a_correction(call: int, number: int, usage: Usage | None = None) -> Correction:
    """Return a correction of the call of that number, reported an hour after it."""
    usage = Usage(input_tokens=1) if usage is None else usage
    return Correction(
        id=UUID(int=(0x01A1_0000_0000 + call) << 80 | 7 << 76 | 2 << 62 | number),
        call_id=call_id(call),
        number=number,
        at_us=NOON_US + HOUR_US,
        usage=usage,
        basis=Basis.REPORTED,
        charge=rate(usage, CARD, at_us=NOON_US),
        reason="the bill says so",
        author="test",
    )


def an_unknown_end(call: Call) -> UsageEvent:
    """Return the end of a call whose usage nobody knows."""
    return replace(
        an_event(call),
        usage=None,
        outcome=Outcome.TIMED_OUT,
        basis=Basis.UNKNOWN,
        charge=Charge((), None, None, CARD.id, "the usage is not known"),
    )


def a_budget(limit: int, **changes: object) -> Budget:
    """Return a monthly money budget on everything, in nanos of USD."""
    made = Budget("all", Scope(ScopeKind.EVERYTHING), Measure.MONEY, limit, "USD",
                  Window(Span.MONTH))  # fmt: skip
    return replace(made, **changes)  # type: ignore[arg-type]
