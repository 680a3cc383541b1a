"""`meter settle`: a call that nobody saw the end of is settled by a person."""

from datetime import timedelta

import pytest

from meter.attribution import attribute
from meter.cli.main import run
from meter.core.call import Basis
from meter.meter import Meter


@pytest.fixture
def lost(tmp_path, monkeypatch):
    """The id of an unsettled call of alice on gpt-4o, whose budget it counts in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("METER_DATABASE_URL", "sqlite:///own.db")
    with Meter(hold_seconds=1) as meter, attribute("alice"):
        meter.set_budget("alice", subject="alice", limit="5")
        call = meter.reserve(
            provider="openai", model="gpt-4o", input_tokens=100, max_output_tokens=10
        )
        expired = call.call.started_us + 2_000_000
        assert meter._ledger._inner.sweep(expired) == 1
        (found,) = meter.calls()
        assert found.state == "unsettled"
        return str(found.id)


def settle(*words):
    return run(["settle", *words, "--reason", "the bill lists it", "--author", "carol"])


def the_call():
    with Meter() as meter:
        (call,) = meter.calls()
        return call


def test_a_lost_call_is_settled_with_what_the_bill_says(lost, capsys):
    assert settle(lost, "input_tokens=2000", "output_tokens=100") == 0
    # 2,000 × 2.50 USD / 10⁶ + 100 × 10 USD / 10⁶ = 0.006 USD
    assert capsys.readouterr().out == f"Call {lost} is settled: 0.006 USD.\n"
    call = the_call()
    assert (call.state, call.basis, call.cost_nanos) == ("settled", Basis.REPORTED, 6_000_000)
    assert dict(call.usage) == {"input_tokens": 2000, "output_tokens": 100}
    with Meter() as meter:
        assert meter.budgets()[0].standing.spent == 6_000_000
    assert run(["check"]) == 0


def test_a_second_word_replaces_the_first(lost, capsys):
    assert settle(lost, "input_tokens=2000") == 0
    assert settle(lost, "input_tokens=1000", "--basis", "estimated") == 0
    call = the_call()
    assert (call.cost_nanos, call.corrections, call.basis) == (2_500_000, 2, Basis.ESTIMATED)
    assert run(["check"]) == 0


def test_no_units_mean_that_nothing_is_owed(lost, capsys):
    assert settle(lost) == 0
    call = the_call()
    assert (call.state, call.cost_nanos) == ("settled", 0)
    assert run(["check"]) == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["input_tokens"], "input_tokens=1200"),
        (["input_tokens=many"], "'many'"),
        (["input_tokens=-1"], "-1"),
        (["input_tokens=1.5"], "1.5"),
        (["input_tokens=NaN"], "NaN"),
        (["tokens=1"], "'tokens'"),
        (["input_tokens=1", "--basis", "unknown"], "unknown"),
        (["input_tokens=1", "--basis", "guess"], "guess"),
    ],
)
def test_what_cannot_be_is_said_and_changes_nothing(lost, capsys, words, told):
    assert settle(lost, *words) == 2
    error = capsys.readouterr().err
    assert told in error and "fault of meter" not in error
    assert the_call().corrections == 0


def test_a_call_that_is_not_there_and_a_reason_that_is_missing(lost, capsys):
    assert settle("018f0000-0000-7000-8000-000000000000", "input_tokens=1") == 2
    assert settle("nonsense", "input_tokens=1") == 2
    assert run(["settle", lost, "input_tokens=1", "--author", "carol"]) == 2
    assert run(["settle", lost, "input_tokens=1", "--reason", "so"]) == 2
    error = capsys.readouterr().err
    assert error.count("expected") == 4
    assert the_call().corrections == 0


def test_all_lost_calls_are_settled_by_a_policy_once(lost, capsys):
    assert run(["settle", "--policy", "estimate", "--older-than", "0s"]) == 0
    # 100 tokens of gpt-4o's input at 2.50 USD a million: 0.00025 USD.
    assert capsys.readouterr().out == "1 calls are settled: 0.00025 USD.\n"
    call = the_call()
    assert (call.state, call.basis, call.cost_nanos) == ("settled", Basis.ESTIMATED, 250_000)
    assert run(["settle", "--policy", "estimate", "--older-than", "0s"]) == 0
    assert capsys.readouterr().out == "0 calls are settled.\n"
    assert run(["check"]) == 0


def test_a_young_call_is_left_alone_by_a_policy(lost, capsys):
    assert run(["settle", "--policy", "nothing", "--older-than", "1h"]) == 0
    assert the_call().state == "unsettled"
    assert run(["settle", "--policy", "nothing", "--older-than", "0s"]) == 0
    assert (the_call().state, the_call().cost_nanos) == ("settled", 0)


def test_a_function_can_be_the_policy(lost):
    bill = {lost: {"input_tokens": 2000, "output_tokens": 100}}
    with Meter() as meter:
        (settled,), left = meter.settle_unsettled(
            lambda call: bill.get(str(call.id)), older_than=timedelta(0)
        )
        # 2000 at 2.50 and 100 at 10 USD a million: 0.005 and 0.001 USD.
        assert (settled.cost_nanos, left) == (6_000_000, 0)


@pytest.mark.parametrize(
    "words",
    [[], ["{lost}", "--policy", "nothing"], ["--policy", "guess", "--older-than", "0s"],
     ["--policy", "nothing", "--older-than", "long"]],
)  # fmt: skip
def test_a_policy_that_cannot_be_is_said(lost, capsys, words):
    assert run(["settle", *(word.replace("{lost}", lost) for word in words)]) == 2
    assert "expected" in capsys.readouterr().err
    assert the_call().corrections == 0
