"""Rows and back: exact for every record, and stable, because stored rows stay for ever."""

import json
from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meter.core.call import Attribution, Basis, Bound, Call, Outcome
from meter.core.event import Correction, UsageEvent
from meter.core.rates import Rate, RateCard, RateWindow
from meter.core.rating import Charge, ChargeLine
from meter.core.units import UNITS
from meter.core.usage import MAX_QUANTITY, Usage
from meter.store import encoding
from meter.store.encoding import (
    believable,
    call_from_open_row,
    card_from_row,
    card_to_row,
    charge_from_row,
    charge_to_row,
    clean,
    correction_from_row,
    correction_to_row,
    event_from_row,
    event_to_row,
    open_call_to_row,
    to_json,
    usage_from_row,
    usage_to_row,
)
from meter.store.types import BASIS_NUMBERS, OUTCOME_NUMBERS
from tests.store.examples import CARD, NOON_US, a_call, an_event, an_unknown_end, call_id

texts = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=12)
some_text = st.none() | texts
numbers = st.integers(0, 2**63 - 1)
pairs = st.dictionaries(texts, texts, max_size=3).map(lambda d: tuple(sorted(d.items())))
whole = st.integers(0, MAX_QUANTITY)
seconds = st.decimals(0, 10**6, places=6) | whole
usages = st.dictionaries(st.sampled_from(sorted(UNITS)), whole).map(
    lambda quantities: Usage(quantities)
) | st.builds(Usage, audio_seconds=seconds, video_seconds=seconds, output_tokens=whole)
lines = st.builds(
    ChargeLine,
    unit=st.sampled_from(sorted(UNITS)),
    quantity=whole | st.decimals(0, 10**6, places=6),
    nanos=numbers,
    per=st.sampled_from([1, 1000, 1_000_000]),
    amount_nanos=st.integers(0, 10**15),
)
charges = st.builds(
    lambda listed, currency, card: Charge(
        tuple(listed), sum(line.amount_nanos for line in listed), currency, card
    ),
    st.lists(lines, max_size=4),
    st.sampled_from(["USD", "EUR", "CNY"]),
    some_text,
) | st.builds(lambda why, card: Charge((), None, None, card, why), texts, some_text)
calls = st.builds(
    Call,
    id=st.uuids(),
    operation_id=st.uuids(),
    started_us=numbers,
    provider=texts,
    endpoint=texts,
    model_requested=some_text,
    attribution=st.builds(Attribution, some_text, pairs, some_text),
    streaming=st.booleans(),
    estimated_input_tokens=st.none() | numbers,
    bound=st.builds(Bound, st.none() | numbers, st.none() | numbers, st.none() | numbers, texts),
    path=some_text,
    upstream=some_text,
)
events = st.builds(
    UsageEvent,
    call=calls,
    ended_us=numbers,
    outcome=st.sampled_from(Outcome),
    basis=st.sampled_from(Basis),
    usage=st.none() | usages,
    charge=charges,
    issuer=texts,
    status=st.none() | st.integers(100, 599),
    first_byte_us=st.none() | numbers,
    model_served=some_text,
    service_tier=some_text,
    traits=pairs,
    counted_output_tokens=st.none() | numbers,
    provider_cost_nanos=st.none() | numbers,
    response_id=some_text,
    defects=st.lists(texts, max_size=3).map(tuple),
)
rates = st.lists(
    st.builds(
        Rate,
        unit=st.sampled_from(sorted(UNITS)),
        nanos=numbers,
        per=st.sampled_from([1, 1000, 1_000_000]),
        above_input_tokens=st.sampled_from([0, 200_000]),
        traits=pairs,
    ),
    min_size=1,
    max_size=3,
).map(tuple)
tiers = st.dictionaries(texts, rates, min_size=1, max_size=2)
windows = st.builds(
    RateWindow,
    start_minute=st.integers(0, 700),
    end_minute=st.integers(701, 1440),
    rates=tiers,
    weekdays=st.frozensets(st.integers(1, 7)),
    tz=st.sampled_from(["UTC", "Asia/Shanghai"]),
    holidays=st.frozensets(st.dates(date(2020, 1, 1)), max_size=2),
)
cards = st.builds(
    RateCard,
    provider=texts,
    model=texts,
    currency=st.sampled_from(["USD", "CNY"]),
    rates=tiers,
    effective_from_us=numbers,
    effective_to_us=st.none() | numbers,
    windows=st.lists(windows, max_size=2).map(tuple),
    max_output_tokens=st.none() | numbers,
    context_tokens=st.none() | numbers,
    book=texts,
    source=texts,
    checked=texts,
)


@given(usages)
def test_usage_survives(usage: Usage) -> None:
    found = usage_from_row(usage_to_row(usage))
    assert found == usage
    # 3 and Decimal("3.0") are equal, and yet they were not stored alike.
    assert {name: str(q) for name, q in (found or {}).items()} == {
        name: str(q) for name, q in usage.items()
    }


@given(charges)
def test_charges_survive(charge: Charge) -> None:
    assert charge_from_row(charge_to_row(charge)) == charge


@given(events)
def test_events_survive_but_for_the_bounds(event: UsageEvent) -> None:
    row = event_to_row(event)
    found = event_from_row(row)
    assert replace(found, call=replace(found.call, bound=event.call.bound)) == event
    assert event_to_row(found) == row


@given(calls, texts, texts, numbers)
def test_open_calls_survive(call: Call, issuer: str, owner: str, expires_us: int) -> None:
    row = open_call_to_row(call, issuer, "card", owner, expires_us)
    assert call_from_open_row(row) == call
    assert (row["issuer"], row["owner"], row["expires_us"]) == (issuer, owner, expires_us)


@given(cards)
def test_rate_cards_survive_with_their_ids(card: RateCard) -> None:
    row = card_to_row(card)
    found = card_from_row(row)
    assert found == card
    assert found.id == card.id
    assert card_from_row(row, keep_id=False).id == card.id


@given(events, texts, texts, st.none() | st.sampled_from(Outcome))
def test_corrections_survive(
    event: UsageEvent, reason: str, author: str, outcome: Outcome | None
) -> None:
    correction = Correction(
        call_id(1), call_id(2), 3, NOON_US, event.usage, event.basis, event.charge, reason, author,
        outcome,
    )  # fmt: skip
    assert correction_from_row(correction_to_row(correction)) == correction


@given(st.text())
def test_cleaned_text_can_be_kept_and_stays(text: str) -> None:
    kept = clean(text)
    assert kept is not None
    kept.encode()
    assert "\0" not in kept
    assert clean(kept) == kept
    if "\0" not in text and text.isascii():
        assert kept == text


def test_halves_of_one_character_are_put_together() -> None:
    assert clean("\ud83d\ude00") == "😀"


def test_an_event_is_stored_like_this_for_ever() -> None:
    """A change here changes what is stored: write a migration and keep reading the old form."""
    usage = Usage(input_tokens=4, output_tokens=6, audio_seconds=Decimal("1.50"), searches=0)
    charge = Charge(
        (
            ChargeLine("input_tokens", 4, 10**9, 1_000_000, 4000),
            ChargeLine("audio_seconds", Decimal("1.50"), 6_000_000, 60, 150_000),
        ),
        154_000,
        "USD",
        CARD.id,
    )
    call = a_call(attribution=Attribution("陈静", (("team", 'a"b'), ("x", "1")), None))
    row = event_to_row(an_event(call, usage, charge=charge, defects=("odd",)))
    stored = {
        "call_id": call_id(1),
        "operation_id": None,
        "started_us": NOON_US + 1,
        "ended_us": NOON_US + 1_000_001,
        "first_byte_us": NOON_US + 500_001,
        "outcome": 0,
        "basis": 0,
        "swept": None,
        "streaming": 0,
        "provider": "openai",
        "issuer": "openai",
        "endpoint": "chat",
        "model_requested": "small",
        "model_served": "small-2026",
        "subject": "陈静",
        "key_id": None,
        "tags": '{"team":"a\\"b","x":"1"}',
        "input_tokens": 4,
        "cache_read_tokens": None,
        "cache_write_tokens": None,
        "output_tokens": 6,
        "reasoning_tokens": None,
        "other_units": '{"searches":0,"audio_seconds":"1.50"}',
        "lines": '[["i",4,1000000000,4000],["audio_seconds","1.50",6000000,150000,60]]',
        "cost_nanos": 154_000,
        "currency": "USD",
        "rate_card_id": CARD.id,
        "unpriced": None,
        "status": 200,
        "estimated_input_tokens": 4,
        "counted_output_tokens": None,
        "provider_cost_nanos": None,
        "bound_cost_nanos": 50_000,
        "service_tier": None,
        "traits": None,
        "response_id": f"resp-{call_id(1)}",
        "defects": '["odd"]',
        "path": None,
        "upstream": None,
        "list_nanos": None,
        "list_currency": None,
        "list_card_id": None,
        "list_unpriced": None,
        "billed_nanos": None,
        "billed_currency": None,
        "billed_card_id": None,
        "billed_unpriced": None,
    }
    assert row == stored


def test_unknown_usage_is_not_empty_usage() -> None:
    assert usage_to_row(None)["other_units"] is None
    assert usage_to_row(Usage())["other_units"] == "{}"
    assert usage_from_row(usage_to_row(None)) is None
    assert usage_from_row(usage_to_row(Usage())) == Usage()


def test_an_id_of_its_own_is_stored_for_an_operation_of_several_calls() -> None:
    row = event_to_row(an_event(a_call(2, operation_id=call_id(1))))
    assert row["operation_id"] == call_id(1)


def test_short_names_of_units_are_distinct_from_each_other_and_from_all_units() -> None:
    short = list(encoding._SHORT.values())
    assert len(set(short)) == len(short)
    assert not set(short) & set(UNITS)
    assert set(encoding._SHORT) <= set(UNITS)


def test_numbers_of_enumerations_never_change() -> None:
    assert {outcome.value: number for outcome, number in OUTCOME_NUMBERS.items()} == {
        "completed": 0,
        "client_closed": 1,
        "upstream_failed": 2,
        "timed_out": 3,
        "refused": 4,
    }
    assert set(OUTCOME_NUMBERS) == set(Outcome)
    assert {basis.value: number for basis, number in BASIS_NUMBERS.items()} == {
        "reported": 0,
        "estimated": 1,
        "unknown": 2,
    }
    assert set(BASIS_NUMBERS) == set(Basis)


@pytest.mark.parametrize("amount_nanos", [None, 0, 10**17])
def test_believable_amounts_are_left_alone(amount_nanos: int | None) -> None:
    charge = Charge((), amount_nanos, "USD", "card")
    assert believable(charge) is charge


def test_an_amount_above_what_can_be_summed_is_unpriced() -> None:
    charge = believable(Charge((), 10**17 + 1, "USD", "card"))
    assert (charge.amount_nanos, charge.currency, charge.card_id) == (None, None, "card")
    assert charge.unpriced is not None


def test_a_bound_in_another_currency_is_not_kept_with_the_event() -> None:
    call = a_call(bound=Bound(1, 1, 5, "EUR"))
    assert event_to_row(an_event(call))["bound_cost_nanos"] is None


def test_a_bound_is_kept_where_the_card_says_its_currency() -> None:
    unknown = an_unknown_end(a_call(bound=Bound(1, 1, 5, "USD")))
    row = event_to_row(unknown)
    assert (row["currency"], row["rate_card_id"], row["bound_cost_nanos"]) == (None, CARD.id, 5)
    assert event_to_row(event_from_row(row)) == row
    without_a_card = replace(unknown, charge=Charge((), None, None, None, "no price"))
    assert event_to_row(without_a_card)["bound_cost_nanos"] is None


@given(st.recursive(st.none() | st.integers(-(2**70), 2**70) | st.text(),
                    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))  # fmt: skip
def test_json_texts_are_those_of_the_standard_library(value):
    expected = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    assert to_json(value) == expected
