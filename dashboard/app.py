"""Open the dashboard: who looks, what they ask, and the pages that answer.

Each page is one file in `pages/`. The filter is drawn here, before the page; the view that a
person chose is written into the address after it.
"""

from pathlib import Path

import access
import data
import filters
import streamlit as st
from texts import t

PAGES = ("spend", "users", "models", "calls", "budgets", "accuracy")
ICONS = {
    "spend": "payments", "users": "group", "models": "deployed_code", "calls": "list_alt",
    "budgets": "account_balance_wallet", "accuracy": "target",
}  # fmt: skip
NOT_FOR_CUSTOMERS = ("accuracy",)
_HERE = Path(__file__).resolve().parent


def main() -> None:
    """Draw everything."""
    st.set_page_config(page_title="meter", page_icon=str(_HERE / "icon.png"), layout="wide")
    filters.take_address()
    page, view = st.session_state.pop("_pending", (None, {}))
    st.session_state.update(view)
    try:
        viewer = access.viewer()
        names = [n for n in PAGES if viewer.sees_everything or n not in NOT_FOR_CUSTOMERS]
        pages = {
            name: st.Page(
                f"pages/{name}.py", title=t(f"nav.{name}"), icon=f":material/{ICONS[name]}:",
                url_path=name if name != "spend" else None, default=name == "spend",
            )
            for name in names
        }  # fmt: skip
        current = st.navigation(list(pages.values()), expanded=True)
        if page is not None:
            st.switch_page(pages[page])
        filters.draw(viewer)
        access.draw_sign_out(viewer)
        try:
            current.run()
        finally:
            filters.write_address()
    except data.LedgerError as error:
        if data.is_fresh():
            st.info(t("empty.ledger", place=f"`{data.place()}`"), icon=":material/info:")
            st.stop()
        st.error(t("broken.ledger", error=error), icon=":material/error:")
        if st.button(t("broken.try_again")):
            data.forget()
            st.rerun()


main()
