"""Open the dashboard: who looks, what they ask, and the pages that answer.

Each page is one file in `pages/`. The filter is drawn here, before the page; the view that a
person chose is written into the address after it.
"""

from pathlib import Path

import access
import data
import filters
import parts
import streamlit as st
from data import Viewer
from texts import t

PAGES = ("spend", "users", "models", "calls", "budgets", "accuracy", "bills", "exports")
ICONS = {
    "spend": "payments", "users": "group", "models": "deployed_code", "calls": "list_alt",
    "budgets": "account_balance_wallet", "accuracy": "target", "bills": "balance",
    "exports": "download",
}  # fmt: skip
NOT_FOR_CUSTOMERS = ("accuracy", "bills")
_HERE = Path(__file__).resolve().parent


def main() -> None:
    """Draw everything."""
    st.set_page_config(page_title="meter", page_icon=str(_HERE / "icon.png"), layout="wide")
    st.html(_HERE / "style.css")
    filters.take_address()
    page, view = st.session_state.pop("_pending", (None, {}))
    st.session_state.update(view)
    st.session_state["_opened"] = True
    try:
        _draw(page)
    except data.LedgerError as error:
        _draw_trouble(error)


def _draw(page: str | None) -> None:
    viewer = access.known()
    pages = {
        name: st.Page(
            f"pages/{name}.py", title=t(f"nav.{name}"), icon=f":material/{ICONS[name]}:",
            url_path=name, default=name == PAGES[0],
        )
        for name in PAGES
        if _may_open(viewer, name)
    }  # fmt: skip
    position = "sidebar" if viewer else "hidden"
    current = st.navigation(list(pages.values()), position=position, expanded=True)
    if page in pages:
        st.switch_page(pages[page])
    if viewer is None:
        access.draw_sign_in()
        return
    filters.draw(viewer)
    access.draw_sign_out(viewer)
    try:
        current.run()
    finally:
        filters.write_address()


def _may_open(viewer: Viewer | None, name: str) -> bool:
    """Whether a page is there; before a person has signed in every address is kept."""
    return viewer is None or viewer.sees_everything or name not in NOT_FOR_CUSTOMERS


def _draw_trouble(error: Exception) -> None:
    st.title(t("broken.title"))
    if data.is_fresh():
        st.info(t("empty.ledger", place=f"`{data.place()}`"), icon=":material/info:")
        return
    parts.show_trouble(error)


main()
