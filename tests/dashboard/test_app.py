"""The dashboard's logic, run by Streamlit's own test runner on a ledger of a few calls."""

import pytest
from streamlit import config

from tests.dashboard.conftest import Opened, metrics, spend

PAGES = ("spend", "users", "models", "calls", "budgets", "accuracy", "bills", "exports")


def test_an_empty_ledger_says_what_to_do(ledger_file: str, opened: Opened) -> None:
    app = opened()
    assert not app.exception
    assert "meter demo --once" in app.info[0].value


def test_a_ledger_that_is_not_there_says_what_to_do(tmp_path, monkeypatch, opened: Opened) -> None:
    monkeypatch.setenv("METER_DATABASE_URL", f"sqlite:///{tmp_path / 'none.db'}")
    app = opened()
    assert not app.exception
    assert "meter demo --once" in app.info[0].value
    assert not (tmp_path / "none.db").exists()


def test_spend_is_the_exact_sum_of_the_calls(ledger_file: str, opened: Opened) -> None:
    spend(ledger_file, "alice", 1_000_000)
    spend(ledger_file, "bob", 3_000)
    app = opened()
    assert not app.exception
    # (1,000,000 + 3,000) × 2.50 USD / 10⁶ = 2.5075 USD, in two calls: 1.25375 each.
    assert metrics(app)["Spend"] == "2.51 USD"
    assert "2.5075 USD" in app.metric[0].help
    assert metrics(app)["Calls"] == "2"
    assert metrics(app)["Cost per call"] == "1.25 USD"
    # 2.5075 USD / 1003 thousand tokens = 0.0025 USD
    assert metrics(app)["Per 1,000 tokens"] == "0.00250 USD"


@pytest.mark.parametrize("page", PAGES)
def test_every_page_opens_on_an_empty_and_on_a_used_ledger(
    ledger_file: str, opened: Opened, page: str
) -> None:
    assert not opened(page).exception
    spend(ledger_file, "alice", 1_000)
    app = opened(page)
    assert not app.exception
    assert len(app.title) == 1


def test_without_a_sign_in_it_serves_this_machine_only(ledger_file: str, opened: Opened) -> None:
    config.set_option("server.address", "0.0.0.0")
    app = opened()
    assert "serves this machine only" in app.error[0].value
    assert not app.title
    assert not app.metric
