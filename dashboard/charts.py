"""Turn frames into charts. Pure: rows in, chart out; knows no ledger and no page.

Colours come from a palette of eight that people with any of the three kinds of colour blindness
can tell apart, on white and on dark ground (a test measures it). A name has its colour from its
hash, so it keeps it on every page; where two names of one list meet, the later takes the next free.
"""

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any

import altair as alt
import pandas as pd

PALETTE = (
    "#2484FF", "#F5A226", "#793ABA", "#48CBAA", "#A73130", "#CBA0FD", "#366A7C", "#EE531F",
)  # fmt: skip
OTHERS = "#8C8C8C"
"""The colour of what is put together, and of what is only there to compare with."""

HEIGHT = 320
_GROUND = "rgba(128,128,128,0.25)"


def colours(names: Sequence[str]) -> dict[str, str]:
    """Return a colour for each name: the same name has the same colour in every list it heads.

    Names are served in alphabetical order, so that their order in a list does not matter.
    """
    found: dict[str, str] = {}
    for name in sorted(set(names)):
        first = blake2b(name.encode(), digest_size=2).digest()
        start = int.from_bytes(first) % len(PALETTE)
        order = [PALETTE[(start + step) % len(PALETTE)] for step in range(len(PALETTE))]
        free = [colour for colour in order if colour not in found.values()]
        found[name] = (free or order)[0]
    return found


def chosen(names: Sequence[str], known: Mapping[str, str], others: str | None = None) -> alt.Scale:
    """Return the scale that gives each name its known colour, and `others` grey.

    Where two names of this list share a colour because more names are known than there are
    colours, the later takes one that this list leaves free.
    """
    used: list[str] = []
    for name in names:
        if name == others:
            used.append(OTHERS)
            continue
        colour = known.get(name) or colours([name])[name]
        if colour in used:
            colour = next((free for free in PALETTE if free not in used), colour)
        used.append(colour)
    return alt.Scale(domain=list(names), range=used)


def stacked(
    frame: pd.DataFrame,
    names: Sequence[str],
    scale: alt.Scale,
    *,
    span: str,
    titles: Mapping[str, str],
) -> alt.Chart:
    """Return stacked bars over time, a colour for each name, each clickable.

    `frame` has start (wall clock text), name, value (float), when, amount and calls (texts); `span`
    is "hour", "day", "week" or "month". `titles` names start, value, name, amount and calls.
    """
    order = {name: place for place, name in enumerate(names)}
    shown = frame.assign(place=frame["name"].map(order))
    series = alt.selection_point(name="series", fields=["name"])
    return (
        alt.Chart(shown)
        .mark_bar(stroke="white", strokeWidth=0.4)
        .encode(
            x=_time("start", span, shown["start"]),
            y=alt.Y("value:Q", title=titles["value"], axis=_amounts()),
            color=alt.Color("name:N", scale=scale, legend=None),
            order=alt.Order("place:Q"),
            opacity=alt.condition(series, alt.value(1.0), alt.value(0.35)),
            tooltip=[
                alt.Tooltip("when:N", title=titles["start"]),
                alt.Tooltip("name:N", title=titles["name"]),
                alt.Tooltip("amount:N", title=titles["amount"]),
                alt.Tooltip("calls:N", title=titles["calls"]),
            ],
        )
        .add_params(series)
        .properties(height=HEIGHT)
    )


def cumulative(
    frame: pd.DataFrame,
    band: pd.DataFrame,
    limits: pd.DataFrame,
    *,
    now_name: str,
    before_name: str,
    forecast_name: str,
    titles: Mapping[str, str],
) -> alt.LayerChart:
    """Return the running sum of this period and of the one before, with forecast and limits.

    `frame` has step (day of the period from 1), name, value, when and amount. `band` has step,
    value, low, high, when and amount for the forecast; `limits` has value and label. Each may be
    empty. Line style tells the series apart as well as colour does.
    """
    names = [now_name, before_name, forecast_name]
    colour = alt.Color(
        "name:N",
        legend=None,
        scale=alt.Scale(domain=names, range=[PALETTE[0], OTHERS, PALETTE[0]]),
    )
    dash = alt.StrokeDash(
        "name:N",
        legend=None,
        scale=alt.Scale(domain=names, range=[[1, 0], [5, 3], [2, 3]]),
    )
    step = alt.X(
        "step:Q",
        title=titles["step"],
        axis=alt.Axis(format="d", tickMinStep=1, grid=False, labelFlush=True),
        scale=alt.Scale(nice=False, zero=False),
    )
    value = alt.Y("value:Q", title=titles["value"], axis=_amounts())
    tips = [
        alt.Tooltip("name:N", title=titles["name"]),
        alt.Tooltip("when:N", title=titles["start"]),
        alt.Tooltip("amount:N", title=titles["amount"]),
    ]
    layers: list[Any] = []
    if not band.empty:
        area = alt.Chart(band).mark_area(opacity=0.2, color=PALETTE[0])
        layers.append(area.encode(x=step, y=alt.Y("low:Q", title=titles["value"]), y2="high:Q"))
        line = alt.Chart(band).mark_line(strokeWidth=2)
        layers.append(line.encode(x=step, y=value, color=colour, strokeDash=dash, tooltip=tips))
    line = alt.Chart(frame).mark_line(strokeWidth=2.5, interpolate="monotone")
    layers.append(line.encode(x=step, y=value, color=colour, strokeDash=dash))
    points = alt.Chart(frame).mark_point(filled=True, size=28)
    layers.append(points.encode(x=step, y=value, color=colour, tooltip=tips))
    if not limits.empty:
        rule = alt.Chart(limits).mark_rule(color=PALETTE[7], strokeWidth=1.5, strokeDash=[8, 3])
        layers.append(rule.encode(y="value:Q", tooltip=[alt.Tooltip("label:N")]))
        text = alt.Chart(limits).mark_text(
            align="left", baseline="bottom", dx=4, dy=-3, fontSize=12, color=PALETTE[7]
        )
        layers.append(text.encode(x=alt.value(0), y="value:Q", text="label:N"))
    return alt.layer(*layers).properties(height=HEIGHT)


def moves(frame: pd.DataFrame, *, titles: Mapping[str, str]) -> alt.LayerChart:
    """Return bars to the right for what grew and to the left for what shrank.

    `frame` has name, value (float), amount, before and after (texts), greatest first.
    """
    names = list(frame["name"])
    base = alt.Chart(frame).encode(
        y=alt.Y("name:N", sort=names, title=None, axis=_names(150)),
        x=alt.X("value:Q", title=titles["value"], axis=_amounts()),
        tooltip=[
            alt.Tooltip("name:N", title=titles["name"]),
            alt.Tooltip("before:N", title=titles["before"]),
            alt.Tooltip("after:N", title=titles["after"]),
            alt.Tooltip("amount:N", title=titles["amount"]),
        ],
    )
    bars = base.mark_bar(height=16).encode(
        color=alt.condition("datum.value > 0", alt.value(PALETTE[7]), alt.value(PALETTE[0]))
    )
    return alt.layer(bars).properties(height=alt.Step(30))


def horizontal(
    frame: pd.DataFrame, scale: alt.Scale, *, titles: Mapping[str, str], unit: str = ""
) -> alt.Chart:
    """Return one bar for each name; `frame` has name, value (float) and amount (text)."""
    names = list(frame["name"])
    return (
        alt.Chart(frame)
        .mark_bar(height=18)
        .encode(
            y=alt.Y("name:N", sort=names, title=None, axis=_names(170)),
            x=alt.X("value:Q", title=titles["value"] + unit, axis=_amounts()),
            color=alt.Color("name:N", scale=scale, legend=None),
            tooltip=[
                alt.Tooltip("name:N", title=titles["name"]),
                alt.Tooltip("amount:N", title=titles["amount"]),
            ],
        )
        .properties(height=alt.Step(30))
    )


def timeline(frame: pd.DataFrame, scale: alt.Scale, *, titles: Mapping[str, str]) -> alt.Chart:
    """Return prices as steps over time; `frame` has start, name (the unit), value and amount."""
    return (
        alt.Chart(frame)
        .mark_line(interpolate="step-after", strokeWidth=2.5, point=alt.OverlayMarkDef(size=45))
        .encode(
            x=alt.X(
                "start:T",
                title=titles["start"],
                axis=alt.Axis(format="%Y-%m", grid=False, labelOverlap=True),
            ),
            y=alt.Y("value:Q", title=titles["value"], axis=_amounts(), scale=alt.Scale(zero=True)),
            color=alt.Color("name:N", scale=scale, legend=None),
            strokeDash=alt.StrokeDash("name:N", legend=None),
            tooltip=[
                alt.Tooltip("name:N", title=titles["name"]),
                alt.Tooltip("when:N", title=titles["start"]),
                alt.Tooltip("amount:N", title=titles["amount"]),
            ],
        )
        .properties(height=240)
    )


def against_reality(
    frame: pd.DataFrame, scale: alt.Scale, *, titles: Mapping[str, str]
) -> alt.LayerChart:
    """Return estimated against reported tokens, with the line on which both are the same.

    `frame` has estimated, reported (whole numbers above 0) and name.
    """
    least = max(int(min(frame["estimated"].min(), frame["reported"].min())), 1)
    most = int(max(frame["estimated"].max(), frame["reported"].max()))
    log = alt.Scale(type="log", nice=False, domain=[least * 0.9, most * 1.1])
    line = (
        alt.Chart(pd.DataFrame({"x": [least, most], "y": [least, most]}))
        .mark_line(color=OTHERS, strokeDash=[4, 3])
        .encode(x=alt.X("x:Q", scale=log), y=alt.Y("y:Q", scale=log))
    )
    points = (
        alt.Chart(frame)
        .mark_point(filled=True, size=30, opacity=0.55)
        .encode(
            x=alt.X("reported:Q", title=titles["reported"], scale=log, axis=_amounts()),
            y=alt.Y("estimated:Q", title=titles["estimated"], scale=log, axis=_amounts()),
            color=alt.Color("name:N", scale=scale, legend=None),
            tooltip=[
                alt.Tooltip("name:N", title=titles["name"]),
                alt.Tooltip("reported:Q", title=titles["reported"], format=",d"),
                alt.Tooltip("estimated:Q", title=titles["estimated"], format=",d"),
            ],
        )
    )
    return alt.layer(line, points).properties(height=HEIGHT)


def _time(field: str, span: str, starts: "pd.Series[str]") -> alt.X:
    """Return an axis of wall clock texts; it shows the part of them that differs."""
    parts = {"hour": "slice(datum.value, 11, 16)", "day": "slice(datum.value, 5)"}
    parts["week"] = parts["day"]
    return alt.X(
        f"{field}:O",
        title=None,
        axis=alt.Axis(
            labelExpr=parts.get(span, "datum.value"),
            labelAngle=0,
            labelOverlap="greedy",
            labelSeparation=8,
            ticks=starts.nunique() <= 40,
            domainColor=_GROUND,
        ),
    )


def _names(most: int) -> alt.Axis:
    """Return an axis of names, each of which is written."""
    return alt.Axis(labelLimit=most, labelOverlap=False)


def _amounts() -> alt.Axis:
    """Return an axis of numbers: 0.0005, 45, 12k."""
    text = "abs(datum.value) < 10000 ? format(datum.value, '~g') : format(datum.value, '~s')"
    return alt.Axis(labelExpr=text, tickCount=5, gridColor=_GROUND, domain=False, labelLimit=80)
