"""`meter credits`: what a person types, and what it says."""

import csv
import io
import json

import pytest

from meter.attribution import attribute
from meter.cli.main import run
from meter.errors import CallRefused
from meter.meter import Meter

WHY = ("--reason", "order 17", "--author", "carol")


@pytest.fixture(autouse=True)
def own_ledger(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("METER_DATABASE_URL", "sqlite:///own.db")


def credits(capsys, *words, status=0):
    """Run a command; return what it said, on stderr where it failed."""
    assert run(["credits", *words]) == status
    said = capsys.readouterr()
    return said.err if status else said.out


def use(input_tokens):
    """Make alice use gpt-4o for that many input tokens, at 2.50 USD a million."""
    with Meter() as meter, attribute("alice"):
        call = meter.reserve(
            provider="openai", model="gpt-4o", input_tokens=input_tokens, max_output_tokens=0
        )
        call.settle(input_tokens=input_tokens)


def test_credit_is_granted_used_and_shown(capsys):
    said = credits(capsys, "grant", "alice", "5", "--id", "g1", *WHY)
    assert said == "Grant g1: 5 USD for alice.\nThe balance is 5 USD.\n"
    use(400_000)  # 1 USD
    (row,) = json.loads(credits(capsys, "list", "--format", "json"))
    assert (row["subject"], row["balance"], row["used"], row["free"]) == ("alice", "4", "1", "4")
    shown = json.loads(credits(capsys, "show", "alice", "--format", "json"))
    assert [(g["id"], g["amount"], g["left"], g["state"]) for g in shown["grants"]] == [
        ("g1", "5", "4", "live")
    ]
    assert run(["check"]) == 0


def test_a_call_that_the_credit_cannot_pay_is_refused_in_one_sentence(capsys):
    credits(capsys, "grant", "alice", "0.25")
    with pytest.raises(CallRefused) as refused:
        use(100_001)
    # 100,001 × 2.50 USD / 10⁶ = 0.2500025 USD, and nanos for the rounding of lines.
    assert str(refused.value).startswith(
        "the prepaid credit of alice has 0.25 USD left and this call may need 0.2500025"
    )


def test_a_statement_adds_up_line_by_line(capsys):
    credits(capsys, "grant", "alice", "5", "--id", "g1", *WHY)
    use(400_000)
    use(800_000)
    credits(capsys, "refund", "alice", "0.5", "--id", "r1", *WHY)
    credits(capsys, "adjust", "alice", "-0.25", "--id", "a1", *WHY)
    credits(capsys, "grant", "alice", "7", "--id", "g2", "--expires", "30d", *WHY)
    credits(capsys, "revoke", "g2", *WHY)
    text = credits(capsys, "statement", "alice", "--by", "model", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [(r["kind"], r["of"], r["calls"], r["amount"], r["balance"]) for r in rows] == [
        ("opening balance", "", "", "", "0"),
        ("grant", "g1", "", "5", "5"),
        ("usage", "gpt-4o", "2", "-3", "2"),
        ("refund", "r1", "", "0.5", "2.5"),
        ("adjustment", "a1", "", "-0.25", "2.25"),
        ("grant", "g2", "", "7", "9.25"),
        ("revocation", "g2", "", "-7", "2.25"),
        ("closing balance", "", "", "", "2.25"),
    ]
    assert rows[1]["reason"] == "order 17"
    assert rows[1]["author"] == "carol"
    found = json.loads(credits(capsys, "statement", "alice", "--format", "json"))
    assert found["opening_balance"] == "0"
    assert found["closing_balance"] == "2.25"
    assert found["totals"] == {
        "grant": "12", "usage": "-3", "refund": "0.5", "adjustment": "-0.25", "expiry": "0",
        "revocation": "-7",
    }  # fmt: skip
    table = credits(capsys, "statement", "alice")
    assert "Credit of alice in USD" in table
    # However narrow the terminal, no amount is cut.
    assert [line.split()[-1] for line in table.splitlines() if "adjustment" in line] == ["2.25"]
    assert max(len(line) for line in table.splitlines()) <= 80
    assert run(["check"]) == 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["show", "bob"], "found no prepaid credit of 'bob', expected a grant before"),
        (["statement", "bob"], "found no prepaid credit of 'bob' in any currency"),
        (["statement", "alice", "--currency", "CNY"], "no prepaid credit of 'alice' in CNY"),
        (["statement", "alice", "--by", "shoe"], "found 'shoe' to sum by, expected one of hour"),
        (["grant", "alice", "5", "--id", "g1"], "found id g1 used for a grant of alice of 1 USD"),
        (["grant", "alice", "five"], "found amount 'five', expected a decimal"),
        (["grant", "alice", "-5"], "expected more than zero"),
        (["grant", "alice", "5", "--expires", "2020-01-01"], "expected one in the future"),
        (["refund", "alice", "1", *WHY], "expected at most 0 USD"),
        (["revoke", "g9", *WHY], "found no credit grant 'g9'"),
    ],
)
def test_what_cannot_be_is_said_in_one_sentence(capsys, words, sentence):
    credits(capsys, "grant", "alice", "1", "--id", "g1")
    said = credits(capsys, *words, status=2)
    assert sentence in said
    assert said.count("\n") == 1
