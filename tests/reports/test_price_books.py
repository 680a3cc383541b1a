"""What a call costs and what it is billed at, from the rate file to the ledger and back.

The list price of gpt-4o is 2.50 and 10 USD a million tokens.
"""

import pytest

from meter import Meter, attribute
from meter.cli.main import run
from meter.core.money import nanos_to_text
from meter.errors import CallRefused
from meter.store.checking import check

RATES = """
[[card]]
book = "contract"
issuer = "openai"
providers = ["openai"]
models = ["gpt-4o"]
currency = "USD"
source = "contract 17"
[card.rates.standard]
input_tokens = "2"
output_tokens = "8"

[[rule]]
book = "resale"
name = "everybody"
multiplier = "1.2"
currency = "CNY"

[[rule]]
book = "resale"
name = "gold"
tag = "group=gold"
multiplier = "{gold}"

[[exchange]]
from = "USD"
to = "CNY"
rate = "7.1"
source = "a bank"
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("METER_DATABASE_URL", "sqlite:///own.db")
    monkeypatch.setenv("METER_RATE_FILE", "rates.toml")
    (tmp_path / "rates.toml").write_text(RATES.format(gold="1.1"))
    return tmp_path


def used(meter, subject, given, taken, model="gpt-4o", **tags):
    with attribute(subject, **tags):
        call = meter.reserve(
            provider="openai", model=model, input_tokens=given, max_output_tokens=taken
        )
        call.settle(input_tokens=given, output_tokens=taken)
        return call


def amounts(meter):
    def text(nanos, currency):
        return nanos and f"{nanos_to_text(nanos)} {currency}"

    return {
        row.group[0]: (
            text(row.cost_nanos, row.currency),
            text(row.list_nanos, row.list_currency),
            text(row.billed_nanos, row.billed_currency),
        )
        for row in meter.usage(("subject",))
    }


def sound(meter):
    return list(check(meter._ledger._engine)) == []


def test_each_subject_is_billed_by_its_price(folder):
    with Meter() as meter:
        used(meter, "alice", 1000, 100)
        used(meter, "bob", 1000, 100, group="gold")
        assert amounts(meter) == {
            # cost 1,000 × 2 + 100 × 8; list 1,000 × 2.50 + 100 × 10 = 0.0035;
            # billed 0.0035 × 1.2 × 7.1 = 0.02982 CNY, and 0.0035 × 1.1 = 0.00385 USD
            "alice": ("0.0028 USD", "0.0035 USD", "0.02982 CNY"),
            "bob": ("0.0028 USD", "0.0035 USD", "0.00385 USD"),
        }
        assert sound(meter)


def test_the_lines_of_a_call_are_told_in_every_book(folder):
    with Meter() as meter:
        used(meter, "bob", 1000, 100, group="gold")
        (call,) = meter.calls()
        told = {
            book: [
                (line.unit, nanos_to_text(line.amount_nanos)) for line in meter.lines(call, book)
            ]
            for book in ("cost", "list", "billed")
        }
    assert told == {
        "cost": [("input_tokens", "0.002"), ("output_tokens", "0.0008")],
        "list": [("input_tokens", "0.0025"), ("output_tokens", "0.001")],
        "billed": [("input_tokens", "0.00275"), ("output_tokens", "0.0011")],
    }


def test_a_budget_in_yuan_is_spent_by_what_is_billed(folder):
    with Meter() as meter:
        meter.set_budget("cap", limit="0.05", subject="alice", currency="CNY")
        used(meter, "alice", 1000, 100)
        (row,) = meter.budgets()
        assert nanos_to_text(row.standing.spent) == "0.02982"
        with pytest.raises(CallRefused, match="CNY left of"):
            used(meter, "alice", 1000, 100)
        assert sound(meter)


def test_rating_again_changes_what_is_billed_and_can_be_taken_back(folder):
    with Meter() as meter:
        used(meter, "bob", 1000, 100, group="gold")
        before = amounts(meter)
    (folder / "rates.toml").write_text(RATES.format(gold="1.3"))
    with Meter() as meter:
        listed = [
            (r.book, r.calls, nanos_to_text(r.before_nanos), nanos_to_text(r.after_nanos))
            for r in meter.rerate(apply=True)
        ]
        # 0.0035 × 1.1 and 0.0035 × 1.3; cost and list price stay
        assert listed == [("billed", 1, "0.00385", "0.00455")]
        assert amounts(meter)["bob"] == ("0.0028 USD", "0.0035 USD", "0.00455 USD")
        assert meter.rerate(apply=True) == []
        assert sound(meter)
    (folder / "rates.toml").write_text(RATES.format(gold="1.1"))
    with Meter() as meter:
        meter.rerate(apply=True)
        assert amounts(meter) == before
        assert sound(meter)


def test_a_call_settled_by_hand_is_billed_too(folder):
    with Meter() as meter:
        call = used(meter, "bob", 1000, 100, group="gold")
        meter.settle(
            call.call.id, {"input_tokens": 2000, "output_tokens": 100}, reason="x", author="me"
        )
        # list 2,000 × 2.50 + 100 × 10 = 0.006, × 1.1
        assert amounts(meter)["bob"] == ("0.0048 USD", "0.006 USD", "0.0066 USD")
        assert sound(meter)


def test_without_the_exchange_rate_what_is_billed_is_not_known_and_says_why(folder):
    text = RATES.format(gold="1.1")
    (folder / "rates.toml").write_text(text[: text.index("[[exchange]]")])
    with Meter() as meter:
        used(meter, "alice", 1000, 100)
        assert amounts(meter)["alice"] == ("0.0028 USD", "0.0035 USD", None)
        (call,) = meter.calls()
        assert call.billed.unpriced.startswith("found no exchange rate from USD to CNY")
        assert sound(meter)
    (folder / "rates.toml").write_text(text)
    with Meter() as meter:
        meter.rerate(apply=True)
        assert amounts(meter)["alice"][2] == "0.02982 CNY"
        assert sound(meter)


MONTHLY = """
[[monthly]]
name = "first thousand"
unit = "input_tokens"
models = ["gpt-4o"]
tag = "group=gold"
free = "1000"

[[monthly]]
name = "volume"
unit = "money"
currency = "USD"
tiers = [{ above = "0.002", multiplier = "0.5" }]
"""


def test_what_the_month_changes_is_worked_out_from_what_was_billed(folder, capsys):
    text = RATES.format(gold="1") + MONTHLY
    (folder / "rates.toml").write_text(text)
    with Meter() as meter:
        used(meter, "bob", 1500, 100, group="gold")
        used(meter, "bob", 500, 100, model="gpt-4o-2024-08-06", group="gold")
        made = meter.adjustments("bob")
        assert meter.adjustments("nobody") == []
    # 2,000 × 2.50 = 0.005 for input, of which half is free; 200 × 10 = 0.002 for output.
    # Left are 0.0025 + 0.002 = 0.0045, of which 0.0025 are above 0.002, at half.
    assert [(line.rule, nanos_to_text(line.amount_nanos), line.currency) for line in made] == [
        ("first thousand", "-0.0025", "USD"),
        ("volume", "-0.00125", "USD"),
    ]
    assert run(["prices", "month", "bob"]) == 0
    assert "first thousand" in capsys.readouterr().out
    assert run(["prices", "month", "bob", "--month", "2026-Q4"]) == 2
    assert "expected a month" in capsys.readouterr().err


def test_the_tables_show_what_is_billed_where_it_differs(folder, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "150")
    with Meter() as meter:
        used(meter, "alice", 1000, 100)
    assert run(["usage"]) == 0
    out = capsys.readouterr().out
    heading = out.splitlines()[0]
    assert all(word in heading for word in ("Cost USD", "List USD", "Billed CNY"))
    assert "0.029820" in out
    assert "Billed 0.02982 CNY." in out
    assert run(["calls"]) == 0
    assert "Billed CNY" in capsys.readouterr().out
    (folder / "rates.toml").write_text('[[monthly]]\nunit = "requests"\nfree = "1"\n')
    with Meter() as meter:
        meter.rerate(apply=True)
    assert run(["usage"]) == 0
    assert "Billed" not in capsys.readouterr().out
