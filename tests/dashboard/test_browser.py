"""The dashboard in a real Chromium, on the demo's ledger and on one of many days."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from benchmarks.ledgers import fill
from meter.meter import Meter
from tests.dashboard.browsing import Server, Visitor, running_browser
from tests.dashboard.conftest import spend

pytestmark = pytest.mark.timeout(600)

METER = Path(sys.executable).with_name("meter")
PAGES = ("", "users", "models", "calls", "budgets", "accuracy", "bills", "exports")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_browser() as found:
        yield found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("dashboard")


@dataclass(frozen=True)
class Stage:
    """A ledger with the demo's round and two months of synthetic calls, and who shows it.

    `secrets` are keys by whose they are. `guarded` asks for one of them.
    """

    url: str
    secrets: dict[str, str]
    open: Server
    guarded: Server


@pytest.fixture(scope="module")
def stage(folder: Path) -> Iterator[Stage]:
    url = f"sqlite:///{folder / 'meter.db'}"
    kept = folder / "bills"
    kept.mkdir()
    servers = (
        Server(url, folder, dashboard_bills=str(kept)),
        Server(url, folder, dashboard_sign_in="key"),
    )
    try:
        command = [str(METER), "demo", "--once", "--database-url", url]
        subprocess.run(command, check=True, capture_output=True, cwd=folder)
        fill(url, 1_500, days=60, subjects=6, seed=2)
        with Meter(url) as meter:
            secrets = {
                "bob": meter.keys.create("bob", name="bob's").secret,
                "reader": meter.keys.create("ops", role="reader", name="ops").secret,
            }
        yield Stage(url, secrets, *servers)
    finally:
        for server in servers:
            server.stop()


@pytest.fixture
def ledger_url(stage: Stage) -> str:
    return stage.url


@pytest.fixture
def secrets(stage: Stage) -> dict[str, str]:
    return stage.secrets


@pytest.fixture
def address(stage: Stage) -> str:
    return stage.open.address


@pytest.fixture
def visitor(browser: Browser, address: str) -> Iterator[Visitor]:
    context = browser.new_context(timezone_id="UTC", locale="en-GB")
    yield Visitor(context.new_page(), address)
    context.close()


@pytest.fixture
def stranger(browser: Browser, stage: Stage) -> Iterator[Visitor]:
    context = browser.new_context(timezone_id="UTC", locale="en-GB")
    yield Visitor(context.new_page(), stage.guarded.address)
    context.close()


def test_every_page_loads_and_asks_nobody_else(visitor: Visitor) -> None:
    for name in PAGES:
        visitor.open(f"/{name}?period=90d")
        assert visitor.trouble() == [], name
        assert "as of" in visitor.text(), name
    assert visitor.asked_elsewhere == []


def test_a_filter_changes_the_figures_and_stands_in_the_address(visitor: Visitor) -> None:
    visitor.open("/?period=90d")
    everything = visitor.figures()
    visitor.choose("User", "alice")
    visitor.page.wait_for_url(re.compile("subject=alice"))
    visitor.settle()
    narrowed = visitor.figures()
    assert int(narrowed["Calls"].replace(",", "")) < int(everything["Calls"].replace(",", ""))
    assert "subject=alice" in visitor.page.url
    visitor.page.get_by_role("link", name="Calls").click()
    visitor.page.wait_for_url("**/calls?**")
    visitor.settle()
    assert "subject=alice" in visitor.page.url


def test_a_link_shows_the_same_view(visitor: Visitor, ledger_url: str) -> None:
    visitor.open("/?period=90d&tz=Asia/Tokyo&subject=bob&model=gpt-4o&by=subject")
    with Meter(ledger_url, read_only=True) as meter:
        (row,) = meter.usage((), subject="bob", model="gpt-4o")
    assert visitor.figures()["Calls"] == f"{row.calls:,}"
    assert "Asia/Tokyo · bob · gpt-4o" in visitor.text().replace("\\", "")


def test_choosing_a_series_looks_closer(visitor: Visitor) -> None:
    visitor.open("/?period=90d")
    legend = visitor.page.locator("[data-testid=stButtonGroup]").filter(
        has_text="claude-sonnet-4-5"
    )
    legend.get_by_role("radio", name="claude-sonnet-4-5").press("Enter")
    visitor.page.wait_for_url(re.compile("model=claude-sonnet-4-5"))
    visitor.settle()
    assert "by=subject" in visitor.page.url
    assert "claude-sonnet-4-5" in visitor.text()


def test_a_downloaded_file_has_the_bytes_of_the_command(visitor: Visitor, stage: Stage) -> None:
    visitor.open("/exports?period=90d&tz=Asia/Kolkata&model=gpt-4o")
    with visitor.page.expect_download() as coming:
        visitor.page.get_by_role("button", name="Download usage.csv").click()
    downloaded = Path(coming.value.path()).read_bytes()
    command = shlex.split(visitor.page.get_by_test_id("stCode").inner_text())
    written = Path(stage.url.removeprefix("sqlite:///")).with_name("usage.csv")
    command = [str(METER), *command[1:-1], str(written), "--database-url", stage.url]
    subprocess.run(command, check=True, capture_output=True)
    assert downloaded == written.read_bytes()
    assert b"gpt-4o" in downloaded


def test_a_focus_file_has_the_bytes_of_the_command(visitor: Visitor, stage: Stage) -> None:
    visitor.open("/exports?period=90d&tz=Asia/Kolkata&model=gpt-4o")
    visitor.choose("What", "FOCUS (FinOps)")
    with visitor.page.expect_download() as coming:
        visitor.page.get_by_role("button", name="Download focus.csv").click()
    downloaded = Path(coming.value.path()).read_bytes()
    command = shlex.split(visitor.page.get_by_test_id("stCode").first.inner_text())
    written = Path(stage.url.removeprefix("sqlite:///")).with_name("focus.csv")
    command = [str(METER), *command[1:-1], str(written), "--database-url", stage.url]
    subprocess.run(command, check=True, capture_output=True)
    assert downloaded == written.read_bytes()
    assert b"BilledCost" in downloaded


def test_a_bill_is_compared_uploaded_or_picked(
    visitor: Visitor, stage: Stage, folder: Path, tmp_path: Path
) -> None:
    """A month's bill of one provider, as the ledger has it, agrees; a dearer one differs."""
    with Meter(stage.url) as meter:
        rows = [
            row for row in meter.usage(["day", "model"], provider="openai")
            if row.cost_nanos is not None
        ]  # fmt: skip
    days = sorted({row.group[0] for row in rows})[:-2]
    lines = [
        f"{row.group[0]},{row.group[1]},{row.calls},{row.cost_nanos / 10**9:.9f}"
        for row in rows if row.group[0] in days
    ]  # fmt: skip
    header = "date,model,calls,cost"
    (folder / "bills" / "right.csv").write_text("\n".join([header, *lines]) + "\n")
    day, model, calls, cost = lines[0].split(",")
    dearer = f"{day},{model},{calls},{float(cost) + 1:.9f}"
    uploaded = tmp_path / "dearer.csv"
    uploaded.write_text("\n".join([header, dearer, *lines[1:]]) + "\n")

    visitor.open("/bills?tz=UTC")
    page = visitor.page
    page.get_by_role("radio", name=re.compile("CSV")).click()
    visitor.settle()
    page.locator("input[type=file]").set_input_files(str(uploaded))
    page.get_by_text("dearer.csv").wait_for()
    page.get_by_role("textbox", name=re.compile("Currency")).fill("USD")
    visitor.choose("Who billed", "openai")
    page.get_by_role("button", name="Compare").click()
    visitor.settle()
    page.get_by_text("The bill and the ledger do not agree within 0.01.").wait_for()
    page.get_by_role("heading", name="Why they differ").wait_for()

    visitor.open("/bills?tz=UTC")
    page.get_by_role("radio", name=re.compile("CSV")).click()
    visitor.settle()
    visitor.choose("Bills in the folder", "right.csv")
    page.keyboard.press("Escape")
    page.get_by_role("textbox", name=re.compile("Currency")).fill("USD")
    visitor.choose("Who billed", "openai")
    page.get_by_role("button", name="Compare").click()
    visitor.settle()
    page.get_by_text("The bill and the ledger agree within 0.01.").wait_for()


def test_live_figures_follow_the_ledger(visitor: Visitor, stage: Stage) -> None:
    visitor.open("/?period=today&subject=live&live=on")
    spend(stage.url, "live", 1_000)
    calls = visitor.page.locator("[data-testid=stMetric]", has_text="Calls")
    calls.get_by_text("1", exact=True).wait_for()
    spend(stage.url, "live", 3_000)
    calls.get_by_text("2", exact=True).wait_for()
    # (1,000 + 3,000) × 2.50 USD / 10⁶
    assert visitor.figures()["Spend"] == "0.0100 USD"


def sign_in(visitor: Visitor, path: str, secret: str) -> None:
    visitor.open(path)
    assert visitor.page.get_by_role("heading", name="Sign in").is_visible()
    assert visitor.figures() == {}
    visitor.page.get_by_role("textbox", name="Key").fill(secret)
    visitor.page.get_by_role("button", name="Sign in").click()


def test_a_wrong_key_shows_nothing(stranger: Visitor) -> None:
    sign_in(stranger, "/", "mk-not-a-key")
    stranger.page.get_by_text("No active key is this one").wait_for()
    assert stranger.figures() == {}


def test_a_customer_sees_nothing_of_another_by_any_address(
    stranger: Visitor, secrets: dict[str, str], ledger_url: str
) -> None:
    with Meter(ledger_url, read_only=True) as meter:
        (own,) = meter.usage((), subject="bob")
        other = next(meter.calls(subject="alice", limit=1))
    sign_in(stranger, "/?period=90d&subject=alice", secrets["bob"])
    stranger.page.get_by_text("Signed in as").wait_for()
    stranger.settle()
    assert stranger.figures()["Calls"] == f"{own.calls:,}"
    for name in ("Users", "Models & prices", "Calls", "Budgets & credit", "Exports & invoices"):
        stranger.page.get_by_role("link", name=name).click()
        stranger.settle()
        assert stranger.trouble() == []
        shown = stranger.text()
        assert not re.search(r"\b(alice|dora|erik|fatima)\b|陈静", shown), name
    assert stranger.page.get_by_role("link", name="Accuracy").count() == 0
    sign_in(stranger, f"/calls?call={other.id}&period=90d", secrets["bob"])
    stranger.page.get_by_text("There is no ended call").wait_for()
    sign_in(stranger, "/accuracy?period=90d", secrets["bob"])
    stranger.page.get_by_text("Signed in as").wait_for()
    assert "trusted" not in stranger.text()


def test_a_reader_sees_everything(
    stranger: Visitor, secrets: dict[str, str], ledger_url: str
) -> None:
    with Meter(ledger_url, read_only=True) as meter:
        calls = sum(row.calls for row in meter.usage(()))
    sign_in(stranger, "/?period=90d", secrets["reader"])
    stranger.page.get_by_text("Signed in as").wait_for()
    stranger.settle()
    assert stranger.figures()["Calls"] == f"{calls:,}"


def test_it_speaks_chinese_where_the_browser_does(browser: Browser, address: str) -> None:
    context = browser.new_context(locale="zh-CN", timezone_id="Asia/Shanghai")
    visitor = Visitor(context.new_page(), address)
    visitor.open("/")
    assert visitor.page.get_by_role("heading", name="花了多少钱，花在哪里？").is_visible()
    assert f"{datetime.now(UTC).year}" in visitor.text()
    context.close()
