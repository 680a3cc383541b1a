"""Answer: how much is left, and until when?"""

import data
import filters
import parts
import streamlit as st
from data import Question, Viewer
from texts import t

_MOST_CARDS = 40


@st.fragment(run_every=filters.every())
def show() -> None:
    """Draw the page."""
    with parts.page(t("title.budgets")) as (viewer, asked):
        _show_budgets(viewer, asked)
        st.subheader(t("credit.title"))
        _show_credit(viewer, asked)


def _show_budgets(viewer: Viewer, asked: Question) -> None:
    found = data.budgets(viewer, subject=asked.subject)
    if not found:
        text = t("budgets.none") if viewer.sees_everything else t("budgets.none.own")
        st.info(text, icon=":material/info:")
        return
    st.caption(t("budgets.nearest"))
    columns = st.columns(2, gap="medium")
    ordered = sorted(found, key=lambda view: -(view.used_permille or 0))
    for place, view in enumerate(ordered[:_MOST_CARDS]):
        with columns[place % 2]:
            parts.budget_card(view)
    parts.show_rest(len(ordered) - _MOST_CARDS)


def _show_credit(viewer: Viewer, asked: Question) -> None:
    found = data.credits(viewer, subject=asked.subject)
    if not found:
        st.caption(t("credit.none") if viewer.sees_everything else t("credit.none.own"))
        return
    columns = st.columns(2, gap="medium")
    ordered = sorted(found, key=lambda view: view.balance)
    for place, view in enumerate(ordered[:_MOST_CARDS]):
        with columns[place % 2]:
            parts.credit_card(view, asked.tz)
    parts.show_rest(len(ordered) - _MOST_CARDS)


show()
