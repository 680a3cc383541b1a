"""The dashboard's logic, run by Streamlit's own test runner on a ledger of a few calls."""

import sys
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from meter.attribution import attribute
from meter.meter import Meter

DASHBOARD = Path(__file__).resolve().parents[2] / "dashboard"


@pytest.fixture
def page(tmp_path, monkeypatch):
    url = f"sqlite:///{tmp_path / 'meter.db'}"
    monkeypatch.setenv("METER_DATABASE_URL", url)
    monkeypatch.syspath_prepend(str(DASHBOARD))

    def opened():
        for name in ("data", "charts"):
            sys.modules.pop(name, None)
        return AppTest.from_file(str(DASHBOARD / "app.py"), default_timeout=60).run()

    yield url, opened
    data = sys.modules.pop("data", None)
    if data is not None:
        data.ledger().close()
        data.ledger.clear()
        data.spend.clear()


def spend(url, subject, input_tokens):
    with Meter(url) as meter, attribute(subject):
        call = meter.reserve(
            provider="openai", model="gpt-4o", input_tokens=input_tokens, max_output_tokens=0
        )
        call.settle(input_tokens=input_tokens, output_tokens=0)


def test_an_empty_ledger_says_what_to_do(page):
    _, opened = page
    app = opened()
    assert not app.exception
    assert "meter demo --once" in app.info[0].value


def test_spend_is_the_exact_sum_of_the_calls(page):
    url, opened = page
    spend(url, "alice", 1_000_000)
    spend(url, "bob", 3_000)
    app = opened()
    assert not app.exception
    # (1,000,000 + 3,000) × 2.50 USD / 10⁶ = 2.5075 USD
    assert app.metric[0].value == "2.507500"
    assert sorted(app.dataframe[0].value["subject"]) == ["alice", "bob"]
