"""What needs no ledger: numbers as texts, intervals, colours, the words of both languages."""

import ast
import math
import string
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from types import ModuleType
from zoneinfo import ZoneInfo

import pandas as pd
import pytest

from tests.dashboard.conftest import DASHBOARD, forget


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(DASHBOARD))
    forget()
    yield
    forget()


def module(name: str) -> ModuleType:
    __import__(name)
    return sys.modules[name]


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        (None, "–"),
        ("0", "0.00 USD"),
        ("1234.5", "1,234.50 USD"),
        ("1", "1.00 USD"),
        ("0.5", "0.500 USD"),
        ("0.0532", "0.0532 USD"),
        ("0.0002134", "0.000213 USD"),
        ("-0.25", "-0.250 USD"),
        ("0.000000001", "0.000000001 USD"),
    ],
)
def test_amounts_have_the_digits_that_mean_something(amount: str | None, shown: str) -> None:
    figures = module("figures")
    assert figures.money(None if amount is None else Decimal(amount), "USD") == shown


def test_other_figures_have_their_units() -> None:
    figures = module("figures")
    assert [figures.short(n) for n in (None, 987, 9_999, 12_345, 4_560_000, 7_890_000_000)] == [
        "–", "987", "9,999", "12.3 k", "4.56 M", "7.89 G",
    ]  # fmt: skip
    assert [figures.seconds(n) for n in (None, 85_000, 1_240_000, 125_000_000)] == [
        "–", "85 ms", "1.24 s", "2 min 5 s",
    ]  # fmt: skip
    assert figures.share(1, 8) == "12.5 %"
    assert figures.share(3, 1, signed=True) == "+300 %"
    assert figures.share(1, 0) == figures.share(None, 5) == "–"
    assert figures.exact(Decimal("1234.5000"), "USD") == "1,234.5 USD"


NOON = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("period", "tz", "since", "until", "before"),
    [
        ("today", "UTC", "2026-11-25", "2026-11-26", ("2026-11-24T00:00", "2026-11-24T12:00")),
        ("yesterday", "UTC", "2026-11-24", "2026-11-25", ("2026-11-23T00:00", "2026-11-24T00:00")),
        ("7d", "UTC", "2026-11-19", "2026-11-26", ("2026-11-12T00:00", "2026-11-18T12:00")),
        ("month", "UTC", "2026-11-01", "2026-12-01", ("2026-10-01T00:00", "2026-10-25T12:00")),
        ("last_month", "UTC", "2026-10-01", "2026-11-01", ("2026-09-01T00:00", "2026-10-01T00:00")),
        # At noon UTC it is 20:00 in Shanghai and 04:00 in Los Angeles.
        ("today", "Asia/Shanghai", "2026-11-25", "2026-11-26",
         ("2026-11-24T00:00", "2026-11-24T20:00")),
        ("today", "America/Los_Angeles", "2026-11-25", "2026-11-26",
         ("2026-11-24T00:00", "2026-11-24T04:00")),
    ],
)  # fmt: skip
def test_a_period_is_whole_days_of_its_zone_and_is_compared_up_to_the_same_moment(
    period: str, tz: str, since: str, until: str, before: tuple[str, str]
) -> None:
    found = module("filters").interval(period, (None, None), tz, NOON)
    zone = ZoneInfo(tz)
    expected = [datetime.fromisoformat(text).replace(tzinfo=zone) for text in (since, until)]
    assert list(found[:2]) == expected
    assert list(found[2]) == [datetime.fromisoformat(t).replace(tzinfo=zone) for t in before]


def test_chosen_days_include_the_last_and_are_compared_with_as_many_before() -> None:
    days = date(2026, 3, 28), date(2026, 3, 30)
    since, until, before = module("filters").interval("custom", days, "Europe/Berlin", NOON)
    # The clock changed on the 29th: three days of 71 hours.
    assert (until.astimezone(UTC) - since.astimezone(UTC)).total_seconds() == 71 * 3600
    assert [day.date() for day in (since, until, *before)] == [
        date(2026, 3, 28), date(2026, 3, 31), date(2026, 3, 25), date(2026, 3, 28),
    ]  # fmt: skip
    backwards = module("filters").interval("custom", (days[1], days[0]), "UTC", NOON)
    assert [day.date() for day in backwards[:2]] == [date(2026, 3, 30), date(2026, 3, 31)]


def test_a_name_keeps_its_colour_on_every_page() -> None:
    charts = module("charts")
    models = ["gpt-4o", "gpt-4o-mini", "claude-sonnet-4-5", "gemini-2.5-flash"]
    known = charts.colours(models)
    assert charts.colours(reversed(models)) == known
    for shown in (models, models[2:], models[::-1]):
        scale = charts.chosen(shown, known)
        assert dict(zip(scale.domain, scale.range, strict=True)) == {n: known[n] for n in shown}


def test_no_two_names_of_one_chart_share_a_colour() -> None:
    charts = module("charts")
    many = [f"model-{number}" for number in range(40)]
    known = charts.colours(many)
    assert len(set(known.values())) == len(charts.PALETTE)
    for start in range(0, 33):
        scale = charts.chosen([*many[start : start + 7], "33 others"], known, "33 others")
        assert len(set(scale.range)) == 8
        assert scale.range[-1] == charts.OTHERS


# Machado, Oliveira and Fernandes 2009: what people see who lack one kind of cone, in linear RGB.
SIGHTS = {
    "all cones": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "no L": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216),
             (-0.003882, -0.048116, 1.051998)),
    "no M": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413),
             (-0.011820, 0.042940, 0.968881)),
    "no S": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602),
             (0.004733, 0.691367, 0.303900)),
}  # fmt: skip


def linear(colour: str) -> list[float]:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    return [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]


def oklab(rgb: list[float]) -> tuple[float, float, float]:
    """Return the colour in a space where distances are what people see (Ottosson 2020)."""
    r, g, b = rgb
    long, middle, short = (
        math.cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b),
        math.cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b),
        math.cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b),
    )
    return (
        0.2104542553 * long + 0.7936177850 * middle - 0.0040720468 * short,
        1.9779984951 * long - 2.4285922050 * middle + 0.4505937099 * short,
        0.0259040371 * long + 0.7827717662 * middle - 0.8086757660 * short,
    )


@pytest.mark.parametrize("sight", SIGHTS)
def test_a_colour_blind_person_can_tell_the_palette_apart(sight: str) -> None:
    charts = module("charts")
    seen = []
    for colour in (*charts.PALETTE, charts.OTHERS):
        rgb = linear(colour)
        mixed = [sum(f * c for f, c in zip(row, rgb, strict=True)) for row in SIGHTS[sight]]
        seen.append(oklab([min(max(part, 0), 1) for part in mixed]))
    nearest = min(math.dist(a, b) for n, a in enumerate(seen) for b in seen[:n])
    # 0.02 is about the least difference that anybody sees side by side.
    assert nearest > 0.09


def test_the_palette_stands_out_from_white_and_from_dark_ground() -> None:
    charts = module("charts")
    for colour in charts.PALETTE:
        r, g, b = linear(colour)
        light = 0.2126 * r + 0.7152 * g + 0.0722 * b
        assert 1.05 / (light + 0.05) >= 2.0, colour
        assert (light + 0.05) / (0.0087 + 0.05) >= 2.5, colour  # on #171614


def test_both_languages_say_everything_with_the_same_gaps() -> None:
    texts = module("texts")
    for name, (english, chinese) in texts.TEXTS.items():
        assert english, name
        assert chinese, name
        gaps = [{g for _, g, _, _ in string.Formatter().parse(text) if g is not None}
                for text in (english, chinese)]  # fmt: skip
        assert gaps[0] == gaps[1], name


def test_every_text_that_the_pages_ask_for_is_there() -> None:
    texts = module("texts")
    asked = set()
    for path in DASHBOARD.rglob("*.py"):
        source = path.read_text()
        for piece in source.split(' t("')[1:] + source.split('(t("')[1:] + source.split('{t("')[1:]:
            asked.add(piece.split('"')[0])
    assert {name for name in asked if "{" not in name} - set(texts.TEXTS) == set()


def test_charts_are_made_from_rows_alone() -> None:
    charts = module("charts")
    frame = pd.DataFrame(
        [{"start": "2026-11-01", "when": "2026-11-01", "name": "a", "value": 1.5, "amount": "1.5",
          "calls": "3"}]
    )  # fmt: skip
    titles = {"start": "s", "value": "v", "name": "n", "amount": "a", "calls": "c"}
    chart = charts.stacked(frame, ["a"], charts.chosen(["a"], {}), span="day", titles=titles)
    told = chart.to_dict()
    assert told["encoding"]["color"]["scale"]["domain"] == ["a"]
    assert "http" not in str(told).replace(told["$schema"], "")


def test_no_page_shows_a_bare_text() -> None:
    """Streamlit shows each expression that stands alone in a page, a docstring of a name too."""
    for page in sorted((DASHBOARD / "pages").glob("*.py")):
        body = ast.parse(page.read_text()).body[1:]
        bare = [n.value.value for n in body if isinstance(n, ast.Expr)
                and isinstance(n.value, ast.Constant)]  # fmt: skip
        assert bare == [], page.name
