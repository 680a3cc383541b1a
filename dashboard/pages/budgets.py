"""Answer: how much is left, and until when?"""

import data
import filters
import parts
import streamlit as st
from texts import t


@st.fragment(run_every=filters.every())
def show() -> None:
    """Draw the page."""
    with parts.page(t("title.budgets")) as (viewer, asked):
        found = data.budgets(viewer, subject=asked.subject)
        if not found:
            text = t("budgets.none") if viewer.sees_everything else t("budgets.none.own")
            st.info(text, icon=":material/info:")
            return
        st.caption(t("budgets.nearest"))
        columns = st.columns(2, gap="medium")
        ordered = sorted(found, key=lambda view: -(view.used_permille or 0))
        for place, view in enumerate(ordered):
            with columns[place % 2]:
                parts.budget_card(view)


show()
