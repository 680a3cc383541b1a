"""Answer: which models are used, how fast are they, and at what price?"""

from collections.abc import Sequence

import charts
import data
import figures
import filters
import pandas as pd
import parts
import streamlit as st
from data import Question, Viewer
from texts import t

_PRICED = ("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens")


@st.fragment(run_every=filters.every())
def show() -> None:
    """Draw the page."""
    with parts.page(t("title.models")) as (viewer, asked):
        if not data.figures(viewer, asked).totals.calls:
            parts.show_empty(viewer, asked)
            return
        parts.over_time(viewer, asked, "model", key="models")
        chosen = parts.breakdown(viewer, asked, "model", key="models-rows")
        if chosen:
            parts.go(model=chosen)
        if not viewer.sees_everything:
            # Our own prices are not for a customer's eyes.
            st.subheader(t("models.latency"))
            _show_timings(viewer, asked)
            return
        left, right = st.columns(2, gap="large")
        with left:
            st.subheader(t("models.latency"))
            _show_timings(viewer, asked)
        with right:
            st.subheader(t("models.whatif"))
            _show_alternatives(viewer, asked)
        st.subheader(t("models.prices"))
        _show_prices(viewer, asked)


def _show_timings(viewer: Viewer, asked: Question) -> None:
    found = data.timings(viewer, asked)
    if not found:
        st.caption(t("empty.view"))
        return
    frame = pd.DataFrame(
        [
            {
                "model": row.model or t("unknown_model"),
                "calls": row.calls,
                "median": row.duration_us_median / 1_000_000,
                "p95": row.duration_us_p95 / 1_000_000,
                "first": None
                if row.first_byte_us_median is None
                else row.first_byte_us_median / 1_000_000,
            }
            for row in found
        ]
    ).sort_values("median", ascending=False)
    c = st.column_config
    parts.table(
        frame,
        {
            "model": c.TextColumn(t("col.model"), pinned=True),
            "calls": c.NumberColumn(t("col.calls"), format="localized"),
            "median": c.NumberColumn(t("col.median"), format="%.2f s"),
            "p95": c.NumberColumn(t("col.p95"), format="%.2f s"),
            "first": c.NumberColumn(t("col.first_byte"), format="%.2f s"),
        },
    )  # fmt: skip
    count = figures.count(sum(row.calls for row in found))
    st.caption(t("models.latency.note", count=count))


def _show_alternatives(viewer: Viewer, asked: Question) -> None:
    now = data.figures_with_output(viewer, asked)
    found = [
        (model, cost)
        for model, currency, cost in data.alternatives(viewer, asked)
        if cost is not None and currency == asked.currency
    ]
    if not found:
        st.caption(t("empty.priced"))
        return
    rows = [(t("models.as_it_was"), now), *found]
    names = [name for name, _ in rows]
    frame = pd.DataFrame(
        [
            {
                "name": name,
                "value": float(cost or 0),
                "amount": figures.money(cost, asked.currency),
            }
            for name, cost in rows
        ]
    )
    scale = charts.chosen(names, charts.colours(data.every_model()), names[0])
    titles = {
        "value": t("col.cost_in", currency=asked.currency or "–"), "name": t("col.model"),
        "amount": t("col.cost"),
    }  # fmt: skip
    st.altair_chart(charts.horizontal(frame, scale, titles=titles), width="stretch")
    st.caption(t("models.whatif.note"))


def _show_prices(viewer: Viewer, asked: Question) -> None:
    known = [r["name"] for r in data.breakdown(viewer, asked, "model") if r["name"]]
    if not known:
        st.caption(t("empty.view"))
        return
    model = st.selectbox(t("models.choose"), known, key="priced_model")
    providers = data.providers_of(str(model))
    found = data.price_history(providers[0], str(model)) if providers else []
    if not found:
        st.caption(t("models.prices.none", model=model))
        return
    _show_timeline(found)
    _show_price_table(found)
    st.caption(t("models.prices.note"))


def _show_timeline(found: Sequence[data.Price]) -> None:
    units = [unit for unit in _PRICED if any(price.unit == unit for price in found)]
    if not units:
        return
    points = data.price_points(found, units)
    frame = pd.DataFrame(
        [
            {
                "start": point.start,
                "name": data.unit_label(point.unit),
                "value": None if point.price is None else float(point.price),
                "when": figures.moment(point.start)[:10],
                "amount": figures.money(point.price, point.currency),
            }
            for point in points
        ]
    )
    names = [data.unit_label(unit) for unit in units]
    scale = charts.chosen(names, dict(zip(names, charts.PALETTE, strict=False)))
    currency = next((price.currency for price in found if price.currency), "")
    titles = {
        "start": t("col.valid_from"), "name": t("col.unit"), "amount": t("col.price"),
        "value": t("col.per_million", currency=currency),
    }  # fmt: skip
    st.altair_chart(charts.timeline(frame, scale, titles=titles), width="stretch")
    parts.show_legend(names, scale)


def _show_price_table(found: Sequence[data.Price]) -> None:
    frame = pd.DataFrame(
        [
            {
                "from": figures.moment(price.start)[:10] if price.start else t("beginning"),
                "unit": data.unit_label(price.unit),
                "price": figures.exact(price.price, price.currency),
                "source": price.source,
            }
            for price in reversed(found)
        ]
    )
    c = st.column_config
    parts.table(
        frame,
        {
            "from": t("col.valid_from"), "unit": t("col.unit"),
            "price": c.TextColumn(t("col.per_million_price"), alignment="right"),
            "source": t("col.source"),
        },
    )  # fmt: skip


show()
