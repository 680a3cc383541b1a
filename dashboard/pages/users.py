"""Answer: who spends how much? And of one user: on what, under which limits, with which keys?"""

import data
import figures
import filters
import pandas as pd
import parts
import streamlit as st
from data import Question, Viewer
from texts import t, value


@st.fragment(run_every=filters.every())
def show() -> None:
    """Draw the page."""
    with parts.page(_title) as (viewer, asked):
        if asked.subject:
            _show_one(viewer, asked, asked.subject)
            return
        if not data.figures(viewer, asked).totals.calls:
            parts.show_empty(viewer, asked)
            return
        parts.over_time(viewer, asked, "subject", key="users")
        st.caption(t("users.table.note"))
        chosen = parts.breakdown(viewer, asked, "subject", key="users-rows")
        if chosen:
            parts.go(subject=chosen)


def _title(asked: Question) -> str:
    return t("title.user", name=asked.subject) if asked.subject else t("title.users")


def _show_one(viewer: Viewer, asked: Question, subject: str) -> None:
    if viewer.sees_everything and st.button(t("users.back"), icon=":material/arrow_back:"):
        parts.go(subject=None)
    found = data.figures(viewer, asked)
    if found.totals.calls:
        with st.container(horizontal=True, gap="medium"):
            currency = asked.currency
            st.metric(t("spend.cost"), figures.money(found.cost, currency), width="content",
                      help=figures.exact(found.cost, currency))  # fmt: skip
            st.metric(t("spend.calls"), figures.count(found.totals.calls), width="content")
            st.metric(t("spend.per_call"), figures.money(found.per_call, currency),
                      help=t("spend.per_call.help"), width="content")  # fmt: skip
            st.metric(t("call.input"), figures.short(found.totals.input_tokens), width="content")
            st.metric(
                t("call.output_tokens"), figures.short(found.totals.output_tokens), width="content"
            )
        parts.show_remarks(found)
        left, right = st.columns(2, gap="large")
        with left:
            st.subheader(t("spend.over_time"))
            parts.over_time(viewer, asked, "model", key="user")
        with right:
            st.subheader(t("spend.breakdown"))
            chosen = parts.breakdown(viewer, asked, "model", key="user-rows")
            if chosen:
                parts.go(model=chosen)
    else:
        parts.show_empty(viewer, asked)
    left, right = st.columns(2, gap="large")
    with left:
        st.subheader(t("nav.budgets"))
        _show_budgets(viewer, asked, subject)
        st.subheader(t("users.unusual"))
        _show_unusual(viewer, asked)
    with right:
        st.subheader(t("users.keys"))
        _show_keys(viewer, asked, subject)
    for view in data.statements(viewer, asked, subject):
        st.subheader(t("statement.title", currency=view.currency))
        parts.statement(view, asked.tz)


def _show_budgets(viewer: Viewer, asked: Question, subject: str) -> None:
    found = data.budgets(viewer, subject=subject)
    if not found:
        own = t("budgets.none.own")
        st.caption(t("users.budgets.none", name=subject) if viewer.sees_everything else own)
    for view in found:
        parts.budget_card(view)
    for credit in data.credits(viewer, subject=subject):
        parts.credit_card(credit, asked.tz)


def _show_unusual(viewer: Viewer, asked: Question) -> None:
    found = data.unusual_days(viewer, asked)
    if not found:
        st.caption(t("users.unusual.none"))
        return
    frame = pd.DataFrame(
        [
            {
                "day": day,
                "cost": figures.money(cost, asked.currency),
                "usual": figures.money(usual, asked.currency),
            }
            for day, cost, usual in found
        ]
    )
    c = st.column_config
    parts.table(
        frame,
        {
            "day": c.DateColumn(t("col.day")),
            "cost": c.TextColumn(t("col.cost"), alignment="right"),
            "usual": c.TextColumn(t("col.usual"), alignment="right"),
        },
    )  # fmt: skip
    st.caption(t("users.unusual.note"))


def _show_keys(viewer: Viewer, asked: Question, subject: str) -> None:
    found = data.keys(viewer, subject)
    if not found:
        st.caption(t("users.keys.none", name=subject) if viewer.sees_everything else "–")
        return
    frame = pd.DataFrame(
        [
            {
                "key": f"{view.name} ({view.prefix}…)" if view.name else f"{view.prefix}…",
                "state": value(view.state),
                "created": view.created,
                "expires": figures.moment(view.expires)[:16] if view.expires else t("never"),
                "may_use": ", ".join(view.models) if view.models else t("everything"),
            }
            for view in found
        ]
    )
    c = st.column_config
    parts.table(
        frame,
        {
            "key": t("col.key"), "state": t("col.state"),
            "created": c.DatetimeColumn(t("col.created"), timezone=asked.tz,
                                        format="YYYY-MM-DD HH:mm"),
            "expires": t("col.expires"), "may_use": t("col.may_use"),
        },
    )  # fmt: skip


show()
