"""`meter rerate`: a price fix reaches recorded calls as corrections, once, all or none."""

import json

import pytest

from meter.attribution import attribute
from meter.cli.main import run
from meter.errors import ConflictingWrite
from meter.meter import Meter
from meter.reports.rerating import rerated

RATES = """
[[card]]
providers = ["openai"]
models = ["gpt-4o"]
currency = "{currency}"
source = "a contract"
checked = "2026-11-22"
[card.rates.standard]
input_tokens = "{input}"
output_tokens = "8"
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """alice: 1,000,000 + 0 and 2,000 + 100 tokens of gpt-4o at 2.50 and 10 USD; one unpriced."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("METER_DATABASE_URL", "sqlite:///own.db")
    monkeypatch.setenv("COLUMNS", "140")
    with Meter() as meter, attribute("alice"):
        for model, given, taken in (
            ("gpt-4o", 1_000_000, 0),
            ("gpt-4o", 2000, 100),
            ("nobody-knows-it", 10, 10),
        ):
            call = meter.reserve(
                provider="openai", model=model, input_tokens=given, max_output_tokens=taken
            )
            call.settle(input_tokens=given, output_tokens=taken)
    return tmp_path


def priced(folder, monkeypatch, given="2", currency="USD"):
    (folder / "rates.toml").write_text(RATES.format(input=given, currency=currency))
    monkeypatch.setenv("METER_RATE_FILE", "rates.toml")


def rerate(capsys, *words):
    assert run(["rerate", "--format", "json", *words]) == 0
    return json.loads(capsys.readouterr().out)


def costs():
    with Meter() as meter:
        return [(call.cost_nanos, call.corrections) for call in meter.calls(newest_first=False)]


def test_without_a_new_price_nothing_changes(folder, capsys):
    assert rerate(capsys) == []
    assert run(["rerate"]) == 0
    assert "already rated" in capsys.readouterr().out


def test_a_preview_writes_nothing(folder, monkeypatch, capsys):
    priced(folder, monkeypatch)
    before = costs()
    (row,) = rerate(capsys)
    # Before 2.5 + 0.005 + 0.001 = 2.506; after 1,002,000 × 2 / 10⁶ + 100 × 8 / 10⁶ = 2.0048.
    assert (row["before"], row["after"], row["difference"]) == ("2.506", "2.0048", "-0.5012")
    assert (row["calls"], row["currency"], row["newly_priced"]) == (2, "USD", 0)
    assert costs() == before


def test_applying_twice_is_applying_once(folder, monkeypatch, capsys):
    priced(folder, monkeypatch)
    rerate(capsys, "--apply", "--author", "carol")
    # 1,000,000 × 2 / 10⁶ = 2 USD; 2,000 × 2 / 10⁶ + 100 × 8 / 10⁶ = 0.0048 USD
    assert costs() == [(2_000_000_000, 1), (4_800_000, 1), (None, 0)]
    assert rerate(capsys, "--apply") == []
    assert costs() == [(2_000_000_000, 1), (4_800_000, 1), (None, 0)]
    assert run(["check"]) == 0


def test_the_old_price_gives_the_first_amounts_back(folder, monkeypatch, capsys):
    first = [cost for cost, _ in costs()]
    priced(folder, monkeypatch)
    rerate(capsys, "--apply")
    monkeypatch.delenv("METER_RATE_FILE")
    rerate(capsys, "--apply")
    assert [cost for cost, _ in costs()] == first
    capsys.readouterr()
    assert run(["check"]) == 0


def test_budgets_follow(folder, monkeypatch, capsys):
    with Meter() as meter:
        meter.set_budget("alice", subject="alice", limit="5")
        assert meter.budgets()[0].standing.spent == 2_506_000_000
    priced(folder, monkeypatch)
    rerate(capsys, "--apply")
    with Meter() as meter:
        assert meter.budgets()[0].standing.spent == 2_004_800_000


def test_another_currency_leaves_the_one_and_enters_the_other(folder, monkeypatch, capsys):
    priced(folder, monkeypatch, given="14", currency="CNY")
    yuan, dollars = rerate(capsys, "--apply")
    # 1,002,000 × 14 / 10⁶ + 100 × 8 / 10⁶ = 14.0288 CNY
    assert (yuan["currency"], yuan["before"], yuan["after"]) == ("CNY", None, "14.0288")
    assert (dollars["currency"], dollars["before"], dollars["after"]) == ("USD", "2.506", None)
    assert run(["check"]) == 0


def test_one_conflict_and_none_is_written(folder, monkeypatch):
    priced(folder, monkeypatch)
    before = costs()
    with Meter() as meter:
        first, second = list(rerated(meter.calls(newest_first=False), meter.prices))
        stale = first.correction("alice")
        meter._ledger.correct_all([(stale, first.cards)])
        clash = first.correction("bob")
        with pytest.raises(ConflictingWrite):
            meter._ledger.correct_all([(second.correction("bob"), second.cards), (clash, ())])
    assert costs() == [(2_000_000_000, 1), before[1], before[2]]


def test_a_filter_narrows(folder, monkeypatch, capsys):
    priced(folder, monkeypatch)
    assert rerate(capsys, "--subject", "bob") == []
    assert run(["rerate", "--since", "nonsense"]) == 2


def test_prices_show_takes_the_rate_file_too(folder, monkeypatch, capsys):
    priced(folder, monkeypatch)
    assert run(["prices", "show", "gpt-4o", "--format", "json"]) == 0
    found = {row["unit"]: row["price"] for row in json.loads(capsys.readouterr().out)}
    assert found == {"input_tokens": "2", "output_tokens": "8"}


def test_a_rate_file_that_is_not_there_is_said(folder, monkeypatch, capsys):
    monkeypatch.setenv("METER_RATE_FILE", "nowhere.toml")
    assert run(["rerate"]) == 2
    assert "nowhere.toml" in capsys.readouterr().err
