"""Every figure on Spend is the one that `meter usage` prints for the same question."""

import json
import re
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from benchmarks.ledgers import fill
from meter.cli.main import run
from tests.dashboard.conftest import Opened, metrics

Row = dict[str, Any]
ZONES = ("UTC", "Asia/Kolkata", "America/Los_Angeles")
FIRST, LAST, AFTER = "2026-11-03", "2026-11-20", "2026-11-21"


@pytest.fixture(scope="module")
def filled_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    url = f"sqlite:///{tmp_path_factory.mktemp('equal') / 'meter.db'}"
    fill(url, 700, days=30, until=datetime(2026, 11, 25, 12, tzinfo=UTC), subjects=4, seed=4)
    return url


def usage(capsys: pytest.CaptureFixture[str], url: str, tz: str, *more: str) -> list[Row]:
    """Return what `meter usage` prints of each day, model and subject."""
    command = ["usage", "--by", "day,model,subject", "--since", FIRST, "--until", AFTER]
    command += ["--tz", tz, "--format", "json", "--database-url", url, *more]
    assert run(command) == 0
    found: list[Row] = json.loads(capsys.readouterr().out)
    return found


def cost(rows: Iterable[Row]) -> Decimal:
    return sum((Decimal(row["cost"] or 0) for row in rows), start=Decimal(0))


def table(app: AppTest) -> dict[str, tuple[Decimal, int]]:
    """Return cost (to a millionth) and calls of the table's rows by name."""
    frame = app.dataframe[0].value
    return {
        row["name"]: (Decimal(str(row["cost"])).quantize(Decimal("1e-6")), row["calls"])
        for _, row in frame.iterrows()
    }


def summed(rows: list[Row], by: str) -> dict[str, tuple[Decimal, int]]:
    """Return cost and calls by the values of one column."""
    found = {}
    for name in {row[by] for row in rows}:
        of_name = [row for row in rows if row[by] == name]
        calls = sum(row["calls"] for row in of_name)
        found[name] = (cost(of_name).quantize(Decimal("1e-6")), calls)
    return found


@pytest.mark.parametrize("tz", ZONES)
def test_every_figure_on_spend_is_that_of_meter_usage(
    filled_url: str,
    monkeypatch: pytest.MonkeyPatch,
    opened: Opened,
    tz: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("METER_DATABASE_URL", filled_url)
    view = {"period": "custom", "from": FIRST, "to": LAST, "tz": tz}
    rows = usage(capsys, filled_url, tz)
    app = opened(**view)
    assert not app.exception
    exact = re.search(r"Exactly ([\d.,]+) USD", app.metric[0].help)
    assert exact is not None
    assert Decimal(exact[1].replace(",", "")) == cost(rows)
    assert metrics(app)["Spend"] == f"{cost(rows):.2f} USD"
    calls = sum(row["calls"] for row in rows)
    assert metrics(app)["Calls"] == f"{calls:,}"
    tokens = sum((row["input_tokens"] or 0) + (row["output_tokens"] or 0) for row in rows)
    per_thousand = metrics(app)["Per 1,000 tokens"].removesuffix(" USD")
    assert abs(Decimal(per_thousand) - cost(rows) * 1000 / tokens) < Decimal("0.000005")
    assert table(app) == summed(rows, "model")
    app = opened(**view, by="subject")
    assert table(app) == summed(rows, "subject")

    data, filters = sys.modules["data"], sys.modules["filters"]
    since, until, before = filters.interval(
        "custom", (datetime.fromisoformat(FIRST).date(), datetime.fromisoformat(LAST).date()), tz,
        datetime.now(UTC),
    )  # fmt: skip
    question = data.Question(since, until, before, tz, currency="USD")
    steps, _ = data.steps(data.Viewer(sees_everything=True), question, "model")
    drawn: dict[str, Decimal] = {}
    for step, amount in zip(steps, data.costs_of(steps), strict=True):
        drawn[step.start] = drawn.get(step.start, Decimal(0)) + (amount or 0)
    assert drawn == {
        day: cost([row for row in rows if row["day"] == day])
        for day in {row["day"] for row in rows}
    }
    running = data.running(data.Viewer(sees_everything=True), question)
    assert running.sums[-1] == cost(rows)


def test_narrowed_figures_are_those_of_meter_usage_too(
    filled_url: str,
    monkeypatch: pytest.MonkeyPatch,
    opened: Opened,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("METER_DATABASE_URL", filled_url)
    narrowed = ("--subject", "alice", "--model", "gpt-4o", "--tag", "feature=chat")
    rows = usage(capsys, filled_url, "UTC", *narrowed)
    view = {"period": "custom", "from": FIRST, "to": LAST, "tz": "UTC"}
    app = opened(**view, subject="alice", model="gpt-4o", tag="feature=chat")
    assert metrics(app)["Calls"] == f"{sum(row['calls'] for row in rows):,}"
    assert f"{cost(rows).normalize():f} USD" in app.metric[0].help
