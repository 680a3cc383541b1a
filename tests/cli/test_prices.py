"""The commands on prices: what holds, what a file changes, and files that every process uses."""

import json

import pytest

from meter import Meter
from meter.cli.main import run

RATES = """
[[card]]
book = "contract"
issuer = "openai"
providers = ["openai"]
models = ["gpt-4o"]
currency = "USD"
source = "contract 17"
checked = "2026-11-20"
[card.rates.standard]
input_tokens = "2"
output_tokens = "8"

[[rule]]
book = "resale"
name = "gold"
tag = "group=gold"
multiplier = "1.1"
currency = "CNY"

[[exchange]]
from = "USD"
to = "CNY"
rate = "7"
source = "a bank"

[[monthly]]
name = "first million"
unit = "input_tokens"
free = "1000000"
"""

LISTED = """
[[card]]
providers = ["openai"]
models = ["gpt-4o", "own-*"]
currency = "USD"
source = "us"
[card.rates.standard]
input_tokens = "3"
output_tokens = "10"
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("METER_DATABASE_URL", "sqlite:///own.db")
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "rates.toml").write_text(RATES)
    (tmp_path / "listed.toml").write_text(LISTED)
    return tmp_path


def told(capsys, *words, status=0):
    assert run(["prices", *words]) == status
    return capsys.readouterr()


def rows(capsys, *words, status=0):
    return json.loads(told(capsys, *words, "--format", "json", status=status).out)


def prices_of(rows_):
    return {(r["tier"], r["unit"]): r["price"] for r in rows_}


def test_looking_at_prices_makes_no_ledger(folder, capsys):
    # genai-prices: gpt-4o costs 2.50 and 10 USD a million tokens since 2024-08-06.
    shown = rows(capsys, "show", "gpt-4o", "--at", "2025-03-01")
    assert prices_of(shown)["standard", "input_tokens"] == "2.5"
    assert prices_of(shown)["standard", "output_tokens"] == "10"
    assert told(capsys, "list").out.startswith("No price of one's own")
    assert not (folder / "own.db").exists()


def test_a_dry_run_shows_what_would_change_and_keeps_nothing(folder, capsys):
    changes = rows(capsys, "import", "listed.toml", "--dry-run")
    assert [
        (c["change"], c["model"], c["unit"], c["before"], c["after"])
        for c in changes
        if c["tier"] == "standard" and c["unit"].startswith(("input", "output"))
    ] == [
        ("changed", "gpt-4o", "input_tokens", "2.5", "3"),
        ("new", "own-*", "input_tokens", None, "3"),
        ("new", "own-*", "output_tokens", None, "10"),
    ]
    # The file has no batch price, so those that are published go.
    assert ("gone", "batch") in {(c["change"], c["tier"]) for c in changes}
    assert not (folder / "own.db").exists()
    assert "leave out --dry-run" in told(capsys, "import", "listed.toml", "--dry-run").out


def test_an_imported_file_is_used_by_every_process_and_can_be_taken_back(folder, capsys):
    out = told(capsys, "import", "rates.toml", "--author", "alice").out
    assert "Kept 1 card, 1 rule, 1 exchange rate, 1 monthly rule as rates.toml, version 1." in out
    shown = rows(capsys, "show", "gpt-4o", "--book", "resale", "--tag", "group=gold")
    # 2.50 × 1.1 × 7
    assert prices_of(shown)["standard", "input_tokens"] == "19.25"
    shown = rows(capsys, "show", "gpt-4o", "--book", "contract")
    assert prices_of(shown) == {
        ("standard", "input_tokens"): "2", ("standard", "output_tokens"): "8",
    }  # fmt: skip
    with Meter() as meter:
        assert meter.prices.books is not None
        assert [rule.name for rule in meter.prices.monthly] == ["first million"]
    listed = rows(capsys, "list")
    assert [(row["kind"], row["book"], row["who"]) for row in listed] == [
        ("card", "contract", "issuer openai"),
        ("rule", "resale", "tag group=gold"),
        ("exchange", None, "all"),
        ("monthly", "resale", "all"),
    ]
    assert listed[0]["source"] == "contract 17"
    assert told(capsys, "remove", "rates.toml").out == "Removed rates.toml.\n"
    with Meter() as meter:
        assert meter.prices.books is None
    assert "found no imported rate file" in told(capsys, "remove", "rates.toml", status=2).err


def test_a_newer_file_of_the_name_takes_the_place_of_the_one_before(folder, capsys):
    told(capsys, "import", "rates.toml")
    assert "version 1" in told(capsys, "import", "rates.toml").out  # the same again is a no-op
    (folder / "rates.toml").write_text(RATES.replace('"8"', '"9"'))
    assert "version 2" in told(capsys, "import", "rates.toml").out
    shown = rows(capsys, "show", "gpt-4o", "--book", "contract")
    assert prices_of(shown)["standard", "output_tokens"] == "9"


def test_diff_says_with_its_status_whether_anything_differs(folder, capsys):
    told(capsys, "import", "rates.toml")
    assert rows(capsys, "diff", "current", "rates.toml") == []
    (folder / "new.toml").write_text(RATES.replace('"8"', '"9"').replace('"1.1"', '"1.2"'))
    changes = rows(capsys, "diff", "current", "new.toml", status=1)
    assert [(c["change"], c["unit"], c["before"], c["after"]) for c in changes] == [
        ("changed", "output_tokens", "8", "9"),
        ("new", "rule", None, None),
    ]
    changes = rows(capsys, "diff", "listed.toml", "rates.toml", status=1)
    assert {c["change"] for c in changes if c["model"] == "own-*"} == {"gone"}


def test_validate_says_what_is_wrong_and_what_is_left_out(folder, capsys):
    assert "can be used: 1 card" in told(capsys, "validate", "listed.toml").out
    lacking = told(capsys, "validate", "rates.toml").out
    assert "gpt-4o: the contract card has no rates for batch" in lacking
    assert "amends = true" in lacking
    (folder / "bad.toml").write_text(LISTED.replace('"3"', "3.0"))
    err = told(capsys, "validate", "bad.toml", status=1).err
    assert "bad.toml, card 1 (gpt-4o), tier standard, input_tokens has price = 3.0" in err
    price_map = {
        "m": {"litellm_provider": "openai", "input_cost_per_token": 1e-6},
        "x": {"litellm_provider": "openai", "input_cost_per_dream": 1},
    }
    (folder / "map.json").write_text(json.dumps(price_map))
    out = told(capsys, "validate", "map.json").out
    assert "1 models are left out" in out
    assert "x: input_cost_per_dream is not read" in out


def test_a_price_map_is_imported(folder, capsys):
    price_map = {"m": {"litellm_provider": "openai", "input_cost_per_token": 1.5e-6}}
    (folder / "map.json").write_text(json.dumps(price_map))
    told(capsys, "import", "map.json", "--kind", "litellm", "--name", "litellm")
    assert prices_of(rows(capsys, "show", "m")) == {("standard", "input_tokens"): "1.5"}


def test_why_there_is_no_price_is_said(folder, capsys):
    (folder / "rates.toml").write_text(RATES.replace('currency = "CNY"', 'currency = "EUR"'))
    told(capsys, "import", "rates.toml")
    words = ("show", "gpt-4o", "--book", "resale", "--tag", "group=gold")
    assert "found no exchange rate from USD to EUR" in told(capsys, *words, status=2).err
    assert "expected list, contract or resale" in told(
        capsys, "show", "gpt-4o", "--book", "retail", status=2
    ).err  # fmt: skip
