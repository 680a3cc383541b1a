"""Answer: does an issuer's bill agree with the ledger, and if not, why?"""

from decimal import Decimal

import data
import figures
import pandas as pd
import parts
import streamlit as st
from data import LedgerError, Question, Reconciled, Viewer
from texts import t


def show() -> None:
    """Draw the page; a comparison is made when it is asked for and not refreshed by itself."""
    with parts.page(t("title.bills")) as (viewer, asked):
        if not viewer.sees_everything:
            st.info(t("accuracy.not_yours"))
            return
        _show_form(viewer, asked)
        found = st.session_state.get("_reconciled")
        if found is None:
            st.caption(t("bills.first"))
        elif isinstance(found, str):
            st.error(parts.escaped(t("bills.unreadable", error=found)), icon=":material/error:")
        else:
            _show_result(found[0], found[1])


def _show_form(viewer: Viewer, asked: Question) -> None:
    kind = st.segmented_control(
        t("bills.kind"), data.BILL_KINDS, key="bill_kind", default=data.BILL_KINDS[0],
        required=True, format_func=lambda name: t(f"bills.{name}"),
    )  # fmt: skip
    st.caption(t(f"bills.about.{kind}"))
    kept: list[str] = []
    try:
        kept = data.kept_bills(viewer)
    except LedgerError as error:
        st.warning(parts.escaped(str(error)))
    with st.form("bill"):
        picked = (
            st.multiselect(t("bills.kept"), kept, help=t("bills.kept.help"), key="bill_kept")
            if kept
            else []
        )
        files = st.file_uploader(
            t("bills.files"), accept_multiple_files=True, type=list(data.SUFFIXES)
        )
        left, middle, right = st.columns(3)
        known = data.providers(viewer)
        # A file does not say who billed, and a guess would compare it with another's calls.
        place = known.index(kind) if kind in known else None
        provider = left.selectbox(
            t("bills.provider"), known, index=place, accept_new_options=True,
            placeholder=t("bills.provider.choose"),
        )  # fmt: skip
        tolerance = middle.text_input(t("bills.tolerance"), value="0.01")
        currency = right.text_input(t("bills.currency"), max_chars=3, placeholder="USD")
        columns = ""
        if kind == "csv":
            columns = st.text_input(t("bills.columns"), help=t("bills.columns.help"))
        if not st.form_submit_button(t("bills.compare"), type="primary"):
            return
    if not provider:
        st.session_state["_reconciled"] = t("bills.provider.missing")
        return
    try:
        contents = [(name, data.kept_bill(viewer, name)) for name in picked]
        contents += [(file.name, file.getvalue()) for file in files]
        result = data.reconcile(
            viewer, kind, contents, provider=provider,
            tolerance=tolerance.strip(), tz=asked.tz, columns=_pairs(columns),
            currency=currency.strip().upper() or None,
        )  # fmt: skip
    except LedgerError as error:
        st.session_state["_reconciled"] = str(error)
        return
    st.session_state["_reconciled"] = (result, tolerance.strip())


def _pairs(text: str) -> dict[str, str]:
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    return {ours.strip(): theirs.strip() for ours, _, theirs in pairs}


def _show_result(found: Reconciled, tolerance: str) -> None:
    if found.agrees:
        st.success(t("bills.agrees", tolerance=tolerance), icon=":material/check:")
    else:
        st.warning(t("bills.differs", tolerance=tolerance), icon=":material/difference:")
    st.subheader(t("bills.sums"))
    c = st.column_config
    parts.table(
        pd.DataFrame(
            [
                {
                    "name": data.unit_label(total.name),
                    "theirs": _shown(total.theirs),
                    "ours": _shown(total.ours),
                    "difference": _shown(total.difference),
                }
                for total in found.totals
            ]
        ),
        {
            "name": t("col.sum"),
            "theirs": c.TextColumn(t("col.theirs"), alignment="right"),
            "ours": c.TextColumn(t("col.ours"), alignment="right"),
            "difference": c.TextColumn(t("col.difference"), alignment="right"),
        },
    )  # fmt: skip
    st.subheader(t("bills.differences"))
    if not found.differences:
        st.caption(t("bills.nothing"))
        return
    row = parts.table(
        pd.DataFrame(
            [
                {
                    "reason": t(f"reason.{one.reason}"),
                    "model": one.model or t("everything"),
                    "amount": figures.money(one.amount, one.currency, signed=True),
                    "calls": one.calls,
                    "from": figures.moment(one.start)[:16],
                    "to": figures.moment(one.end)[:16],
                    "what": one.sentence,
                }
                for one in found.differences
            ]
        ),
        {
            "reason": t("col.reason"), "model": t("col.model"),
            "amount": c.TextColumn(t("col.difference"), alignment="right", width=130),
            "calls": c.NumberColumn(t("col.calls"), format="localized"),
            "from": t("filter.from"), "to": t("head.until"), "what": t("col.what"),
        },
        key="bill-rows",
    )  # fmt: skip
    told = sum(one.settles for one in found.differences)
    if told:
        st.caption(t("bills.settles", count=figures.count(told)))
    if row is not None:
        _show_calls(found.differences[row].call_ids)


def _shown(number: Decimal | None) -> str:
    return figures.UNKNOWN if number is None else f"{number.normalize():,f}"


def _show_calls(call_ids: tuple[str, ...]) -> None:
    if not call_ids:
        st.caption(t("bills.no_calls"))
        return
    chosen = st.selectbox(t("field.id"), call_ids)
    if chosen and st.button(t("bills.show_call"), icon=":material/open_in_new:"):
        parts.go("calls", call=chosen)


show()
