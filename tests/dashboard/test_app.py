"""The dashboard's logic, run by Streamlit's own test runner on a ledger of a few calls."""

import pytest
from streamlit import config

from meter.core.calibrating import Sample
from meter.meter import Meter
from meter.store.calibration import Place
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


def test_a_user_s_statement_adds_up_from_line_to_line(ledger_file: str, opened: Opened) -> None:
    with Meter(ledger_file) as meter:
        meter.credits.grant("alice", "5", "USD", id="one", reason="paid", author="ann")
    spend(ledger_file, "alice", 1_000_000)
    for page in ("users", "exports"):
        app = opened(page, subject="alice")
        assert not app.exception
        (frame,) = [f.value for f in app.dataframe if "balance" in f.value]
        # 5 USD came, a million tokens at 2.50 USD went.
        assert list(frame["balance"]) == ["0", "5", "2.5", "2.5"]
        assert list(frame["amount"])[1:3] == ["5", "-2.5"]
        assert any("meter credits statement alice" in code.value for code in app.code)


def test_corrections_of_estimates_are_on_the_page_on_accuracy(
    ledger_file: str, opened: Opened
) -> None:
    with Meter(ledger_file) as meter:
        for number in range(20):
            call = meter.reserve(
                provider="anthropic", model="claude-haiku-4-5", input_tokens=100,
                max_output_tokens=0,
            )  # fmt: skip
            call.settle(input_tokens=100, output_tokens=0)
            place = Place("anthropic", "claude-haiku-4-5", "text")
            meter._ledger.calibrations.add([(place, Sample(100 + number, 150 + number * 3 // 2))])
    app = opened("accuracy")
    assert not app.exception
    (frame,) = [f.value for f in app.dataframe if "ratio" in f.value]
    assert list(frame["ratio"].round(1)) == [1.5]
    with Meter(ledger_file) as meter:
        # A new sample takes a place at random, so that two may have taken the same.
        assert list(frame["samples"]) == [found.samples for _, found in meter.calibrations()]


def test_many_users_are_summed_one_by_one_and_the_dearest_drawn_apart(
    ledger_file: str, opened: Opened
) -> None:
    for number in range(60):
        spend(ledger_file, f"user-{number:02d}", 1_000 * (number + 1))
    app = opened("users")
    assert not app.exception
    (frame,) = [f.value for f in app.dataframe if "trend" in f.value]
    assert len(frame) == 60
    # Of 1,000 to 60,000 tokens at 2.50 USD a million, the dearest first.
    assert frame["cost"].iloc[0] == pytest.approx(0.15)
    assert frame["cost"].sum() == pytest.approx(0.0025 * 60 * 61 / 2)
    assert [bool(len(trend)) for trend in frame["trend"]] == [True] * 50 + [False] * 10


def test_bills_of_the_folder_can_be_picked_and_nothing_else(
    ledger_file: str, opened: Opened, tmp_path, monkeypatch
) -> None:
    folder = tmp_path / "bills"
    folder.mkdir()
    (folder / "november.csv").write_text("date,model,calls,amount\n2020-01-01,gpt-4o,1,2.5\n")
    (folder / "notes.pdf").write_text("no bill")
    (tmp_path / "secret.csv").write_text("date,model,amount\n")
    monkeypatch.setenv("METER_DASHBOARD_BILLS", str(folder))
    app = opened("bills")
    assert not app.exception
    assert app.multiselect(key="bill_kept").options == ["november.csv"]
    import data

    viewer = data.Viewer(sees_everything=True)
    with pytest.raises(data.LedgerError, match=r"found no bill '\.\./secret\.csv'"):
        data.kept_bill(viewer, "../secret.csv")
    with pytest.raises(PermissionError):
        data.kept_bills(data.Viewer("bob"))
    monkeypatch.setenv("METER_DASHBOARD_BILLS", str(tmp_path / "none"))
    app = opened("bills")
    assert not app.exception
    assert [w.value.replace("\\", "")[:15] for w in app.warning] == ["found no folder"]
