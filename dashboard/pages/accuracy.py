"""Answer: how far can the numbers be trusted?"""

from zoneinfo import ZoneInfo

import charts
import data
import figures
import filters
import pandas as pd
import parts
import streamlit as st
from data import Question, Viewer
from texts import t, value

_MOST_UNSETTLED = 20
# How many models have a colour of their own in the chart: those with most calls.
_MOST_MODELS = 7


@st.fragment(run_every=filters.every())
def show() -> None:
    """Draw the page."""
    with parts.page(t("title.accuracy")) as (viewer, asked):
        if not viewer.sees_everything:
            st.info(t("accuracy.not_yours"))
            return
        if not data.figures(viewer, asked).totals.calls:
            parts.show_empty(viewer, asked)
            return
        st.subheader(t("accuracy.basis"))
        _show_bases(viewer, asked)
        st.subheader(t("accuracy.estimates"))
        _show_estimates(viewer, asked)
        st.subheader(t("accuracy.calibration"))
        _show_calibration(viewer, asked)
        st.subheader(t("accuracy.unsettled"))
        _show_unsettled(viewer, asked)


def _show_bases(viewer: Viewer, asked: Question) -> None:
    counts = data.basis_counts(viewer, asked)
    whole = sum(counts.values())
    with st.container(horizontal=True, gap="large"):
        for basis in ("reported", "estimated", "unknown"):
            st.metric(
                value(basis), figures.count(counts.get(basis, 0)), width="content",
                delta=figures.share(counts.get(basis, 0), whole), delta_color="off",
                delta_arrow="off",
            )  # fmt: skip
    st.caption(t("accuracy.basis.note"))


def _show_estimates(viewer: Viewer, asked: Question) -> None:
    found = data.estimates(viewer, asked)
    if not found:
        st.caption(t("accuracy.none"))
        return
    left, right = st.columns([2, 3], gap="medium")
    with left:
        frame = pd.DataFrame(found, columns=["name", "estimated", "reported"])
        names = list(frame["name"].value_counts().index)
        others = None
        if len(names) > _MOST_MODELS + 1:
            others = t("others", count=len(names) - _MOST_MODELS)
            names = [*names[:_MOST_MODELS], others]
            frame["name"] = frame["name"].where(frame["name"].isin(names), others)
        scale = charts.chosen(names, charts.colours(data.every_model()), others)
        titles = {
            "name": t("col.model"), "estimated": t("col.estimated"), "reported": t("col.reported"),
        }  # fmt: skip
        st.altair_chart(charts.against_reality(frame, scale, titles=titles), width="stretch")
        parts.show_legend(names, scale)
        st.caption(t("accuracy.estimates.note", count=figures.count(len(found))))
    with right:
        rows = data.accuracy(viewer, asked)
        table = pd.DataFrame(
            [
                {
                    "model": row.model,
                    "endpoint": row.endpoint,
                    "calls": row.calls,
                    "exact": row.exact / row.calls,
                    "median": row.error_median,
                    "p95": row.error_p95,
                }
                for row in rows
            ]
        )
        c = st.column_config
        parts.table(
            table,
            {
                "model": c.TextColumn(t("col.model"), pinned=True), "endpoint": t("col.endpoint"),
                "calls": c.NumberColumn(t("col.calls"), format="localized"),
                "exact": c.ProgressColumn(t("col.exact"), format="percent", min_value=0,
                                          max_value=1, width=105),
                "median": c.NumberColumn(t("col.error_median"), format="percent"),
                "p95": c.NumberColumn(t("col.error_p95"), format="percent"),
            },
        )  # fmt: skip
        if sum(row.calls for row in rows) >= data.MOST_ESTIMATES:
            st.caption(t("accuracy.newest", count=figures.count(data.MOST_ESTIMATES)))


def _show_calibration(viewer: Viewer, asked: Question) -> None:
    found = data.calibrations(viewer, asked)
    if not found:
        st.caption(t("accuracy.calibration.none"))
        return
    frame = pd.DataFrame(
        [
            {
                "model": view.model,
                "kind": t(f"content.{view.kind}"),
                "samples": view.samples,
                "ratio": view.ratio,
                "offset": view.offset,
                "before": view.before,
                "after": view.after,
            }
            for view in found
        ]
    )
    c = st.column_config
    parts.table(
        frame,
        {
            "model": c.TextColumn(t("col.model"), pinned=True), "kind": t("col.content"),
            "samples": c.NumberColumn(t("col.samples"), format="localized"),
            "ratio": c.NumberColumn(t("col.ratio"), format="%.3f"),
            "offset": c.NumberColumn(t("col.offset"), format="localized"),
            "before": c.NumberColumn(t("col.error_before"), format="percent"),
            "after": c.NumberColumn(t("col.error_after"), format="percent"),
        },
        most=300,
    )  # fmt: skip
    st.caption(t("accuracy.calibration.note"))


def _show_unsettled(viewer: Viewer, asked: Question) -> None:
    found = data.calls(viewer, asked, basis="unknown", limit=_MOST_UNSETTLED)
    if not found:
        st.caption(t("accuracy.unsettled.none"))
        return
    zone = ZoneInfo(asked.tz)
    frame = pd.DataFrame(
        [
            {
                "started": figures.moment(data.moment(call.started_us, zone)),
                "user": call.subject or t("nobody"),
                "model": call.model or t("unknown_model"),
                "estimated": call.estimated_input_tokens,
                "bound": figures.money(data.amount(call.bound_cost_nanos), call.bound_currency),
                "outcome": value(call.outcome),
                "id": str(call.id),
            }
            for call in found
        ]
    )
    c = st.column_config
    row = parts.table(
        frame,
        {
            "started": t("col.started"), "user": t("col.user"), "model": t("col.model"),
            "estimated": c.NumberColumn(t("col.estimated"), format="localized"),
            "bound": c.TextColumn(t("call.bound"), alignment="right"),
            "outcome": t("col.outcome"), "id": t("field.id"),
        },
        key="unsettled",
    )  # fmt: skip
    st.caption(t("accuracy.unsettled.note"))
    if row is not None:
        parts.go("calls", call=str(found[row].id))


show()
