"""Answer: how much is spent, and on what?"""

import charts
import data
import figures
import filters
import pandas as pd
import parts
import streamlit as st
from data import Figures, Question, Viewer
from texts import t


@st.fragment(run_every=filters.every())
def show() -> None:
    """Draw the page."""
    with parts.page(t("title.spend")) as (viewer, asked):
        found = data.figures(viewer, asked)
        if not found.totals.calls:
            parts.show_empty(viewer, asked)
            return
        # Of many users the sums take longest, and are shown last.
        data.ask_ahead(viewer, asked, "subject")
        _show_figures(viewer, asked, found)
        if asked.currency is None:
            st.info(t("empty.priced"), icon=":material/info:")
        group = st.segmented_control(
            t("filter.by"), filters.GROUPS, key="by", format_func=lambda g: t(f"by.{g}"),
            label_visibility="collapsed", required=True,
        )  # fmt: skip
        left, right = st.columns(2, gap="large")
        with left:
            st.subheader(t("spend.over_time"))
            parts.over_time(viewer, asked, group, key="spend")
        with right:
            st.subheader(t("spend.cumulative"))
            _show_running(viewer, asked)
        st.subheader(t("spend.breakdown"))
        chosen = parts.breakdown(viewer, asked, group, key=f"spend-rows-{group}")
        if chosen:
            parts.look_closer(group, chosen)
        st.subheader(t("spend.movers"))
        for column, each in zip(st.columns(2, gap="large"), filters.GROUPS, strict=True):
            with column:
                _show_moves(viewer, asked, each)
        st.caption(t("spend.movers.note"))


def _show_figures(viewer: Viewer, asked: Question, found: Figures) -> None:
    before = data.figures_before(viewer, asked)
    currency = asked.currency
    with st.container(horizontal=True, gap="medium"):
        st.metric(
            t("spend.cost"), figures.money(found.cost, currency),
            delta=_change(found, before), delta_color="off", width="content",
            help=t("spend.cost.help", exact=figures.exact(found.cost, currency),
                   before=figures.money(before.cost, currency)),
        )  # fmt: skip
        forecast = data.forecast(viewer, asked)
        if forecast is not None:
            low, high = (figures.money(data.amount(nanos), currency) for nanos in
                         (forecast.low_nanos, forecast.high_nanos))  # fmt: skip
            st.metric(
                t("spend.forecast"), figures.money(data.amount(forecast.expected_nanos), currency),
                delta=t("spend.band", low=low.removesuffix(f" {currency}"), high=high),
                delta_color="off", delta_arrow="off", width="content",
                help=t("spend.forecast.help", days=forecast.days, low=low, high=high),
            )  # fmt: skip
        st.metric(
            t("spend.calls"), figures.count(found.totals.calls), delta_color="off",
            delta=_difference(found.totals.calls, before.totals.calls), width="content",
        )  # fmt: skip
        st.metric(t("spend.per_call"), figures.money(found.per_call, currency),
                  help=t("spend.per_call.help"), width="content")  # fmt: skip
        st.metric(t("spend.per_thousand"), figures.money(found.per_thousand_tokens, currency),
                  help=t("spend.per_thousand.help"), width="content")  # fmt: skip
        saved = data.savings(viewer, asked)
        if saved is None:
            st.metric(t("spend.cache"), figures.UNKNOWN, help=t("spend.cache.none"),
                      width="content")  # fmt: skip
        else:
            st.metric(
                t("spend.cache"), figures.money(saved.net, currency),
                delta=figures.share(saved.net, saved.full), delta_color="off", delta_arrow="off",
                width="content",
                help=t("spend.cache.help", read=figures.money(saved.read, currency),
                       written=figures.money(saved.written, currency)),
            )  # fmt: skip
    parts.show_remarks(found)


def _change(found: Figures, before: Figures) -> str | None:
    if not found.cost or not before.cost:
        return None
    return figures.share(found.cost - before.cost, before.cost, signed=True)


def _difference(now: int, before: int) -> str | None:
    return figures.share(now - before, before, signed=True) if before else None


def _show_running(viewer: Viewer, asked: Question) -> None:
    found = data.running(viewer, asked)
    now, before, forecast_name = (
        t("spend.this_period"), t("spend.last_period"), t("spend.forecast_line"),
    )  # fmt: skip
    lines = ((now, found.starts, found.sums), (before, found.before_starts, found.before_sums))
    frame = pd.DataFrame(
        [
            {
                "step": step,
                "name": name,
                "value": float(total),
                "when": start.replace("T", " "),
                "amount": figures.money(total, asked.currency),
            }
            for name, starts, totals in lines
            for step, (start, total) in enumerate(zip(starts, totals, strict=True), start=1)
        ]
    )
    limits = pd.DataFrame(
        [
            {
                "value": float(view.limit),
                "label": t("spend.budget_line", name=view.name,
                           limit=figures.money(view.limit, view.unit)),
            }
            for view in data.limits_of(viewer, asked, _window())
        ]
    )  # fmt: skip
    chart = charts.cumulative(
        frame, _band(viewer, asked, found, forecast_name), limits,
        now_name=now, before_name=before, forecast_name=forecast_name,
        titles={
            "step": t(f"col.step_{asked.span}"), "name": t("col.name"), "start": t("col.day"),
            "value": t("col.total_in", currency=asked.currency or "–"), "amount": t("col.cost"),
        },
    )  # fmt: skip
    st.altair_chart(chart, width="stretch", key="running")
    st.caption(t("spend.cumulative.note"))


def _window() -> str:
    return {"month": "month", "today": "day"}.get(st.session_state["period"], "none")


def _band(viewer: Viewer, asked: Question, running: data.Running, name: str) -> pd.DataFrame:
    """Return the forecast from the end of yesterday on; empty where there is none."""
    passed = len(running.starts)
    found = data.forecast(viewer, asked)
    if found is None:
        return pd.DataFrame()
    amounts = [[data.amount(nanos) for nanos in nanos_of_day] for _, *nanos_of_day in found.path]
    until_today = [
        {
            "step": passed - 1, "name": name, "value": float(total), "low": float(total),
            "high": float(total), "when": start, "amount": figures.money(total, asked.currency),
        }
        for start, total in zip(running.starts[-2:-1], running.sums[-2:-1], strict=True)
    ]  # fmt: skip
    return pd.DataFrame(
        until_today
        + [
            {
                "step": passed + place,
                "name": name,
                "value": float(expected or 0),
                "low": float(low or 0),
                "high": float(high or 0),
                "when": day.isoformat(),
                "amount": f"{figures.money(low, None)} – {figures.money(high, asked.currency)}",
            }
            for place, ((day, *_), (expected, low, high)) in enumerate(
                zip(found.path, amounts, strict=True)
            )
        ]
    )


def _show_moves(viewer: Viewer, asked: Question, group: str) -> None:
    found = data.moves(viewer, asked, group)
    if not found:
        st.caption(t("spend.movers.none"))
        return
    frame = pd.DataFrame(
        [
            {
                "name": parts.named(move["name"], group),
                "value": float(move["difference"]),
                "amount": figures.money(move["difference"], asked.currency, signed=True),
                "before": figures.money(move["before"], asked.currency),
                "after": figures.money(move["after"], asked.currency),
            }
            for move in found
        ]
    )
    chart = charts.moves(
        frame,
        titles={
            "value": t("col.change_in", currency=asked.currency or "–"), "name": t(f"by.{group}"),
            "before": t("col.before"), "after": t("col.after"), "amount": t("col.change"),
        },
    )  # fmt: skip
    st.altair_chart(chart, width="stretch", key=f"moves-{group}")


show()
