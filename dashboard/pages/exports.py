"""Answer: what do others need of it? Files of any view, and invoices."""

import re
from datetime import datetime
from zoneinfo import ZoneInfo

import data
import figures
import filters
import pandas as pd
import parts
import streamlit as st
from data import Export, InvoiceView, LedgerError, Question, Viewer
from texts import language, t, value

_SHOWN = 20
_TYPES = {
    "csv": "text/csv",
    "jsonl": "application/jsonl",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "parquet": "application/vnd.apache.parquet",
}


@st.fragment(run_every=filters.every())
def show() -> None:
    """Draw the page."""
    with parts.page(t("title.exports")) as (viewer, asked):
        if viewer.sees_everything:
            st.subheader(t("exports.file"))
            _show_export(viewer, asked)
        _show_statements(viewer, asked)
        st.subheader(t("invoices.title"))
        _show_invoices(viewer, asked)
        if viewer.sees_everything:
            st.subheader(t("invoices.draft"))
            _show_draft(viewer, asked)


def _show_export(viewer: Viewer, asked: Question) -> None:
    left, middle, right = st.columns([1, 2, 1])
    of = left.selectbox(
        t("exports.of"), data.EXPORTS, key="export_of", format_func=lambda n: t(f"exports.{n}")
    )
    by, version = [], data.FOCUS_VERSIONS[0]
    if of == "focus":
        version = middle.selectbox(
            t("exports.focus_version"), data.FOCUS_VERSIONS, key="export_focus_version"
        )
    else:
        by = middle.multiselect(
            t("exports.by"), data.GROUPS, default=["subject", "model", "day"], key="export_by",
            format_func=lambda n: t(f"group.{n}"), disabled=of != "usage",
        )  # fmt: skip
    format = right.selectbox(t("exports.format"), data.FORMATS, key="export_format")
    wanted = Export(of, format, tuple(by), version)
    if of == "usage" and not by:
        st.warning(t("exports.no_group"))
        return
    if of in ("entries", "focus"):
        st.caption(t(f"exports.{of}.note"))
    count = data.count_calls(viewer, asked)
    command = data.export_command(asked, wanted)
    if not count and of != "entries":
        parts.show_empty(viewer, asked)
        return
    if of != "usage" and count > data.MOST_EXPORTED:
        st.info(t("exports.too_many", count=figures.count(count)), icon=":material/info:")
        st.code(command, language="sh", wrap_lines=True)
        return
    name = f"{of}.{format}"
    st.download_button(
        t("exports.download", name=name), lambda: data.export_bytes(viewer, asked, wanted),
        file_name=name, mime=_TYPES[format], icon=":material/download:", type="primary",
        on_click="ignore",
    )  # fmt: skip
    names, rows = data.export_preview(viewer, asked, wanted, _SHOWN)
    st.caption(t("exports.preview", count=len(rows)))
    parts.table(pd.DataFrame(rows, columns=names), {}, most=300)
    st.caption(t("exports.same"))
    st.code(command, language="sh", wrap_lines=True)


def _show_statements(viewer: Viewer, asked: Question) -> None:
    subject = asked.subject if viewer.sees_everything else viewer.subject
    if subject is None:
        return
    for view in data.statements(viewer, asked, subject):
        st.subheader(t("statement.title", currency=view.currency))
        parts.statement(view, asked.tz)


def _show_invoices(viewer: Viewer, asked: Question) -> None:
    found = data.invoices(viewer, subject=asked.subject)
    if not found:
        st.caption(t("invoices.none") if viewer.sees_everything else t("invoices.none.own"))
        return
    frame = pd.DataFrame(
        [
            {
                "number": view.number,
                "kind": value(view.kind),
                "subject": view.subject,
                "period": view.period,
                "issued": figures.moment(view.issued)[:16],
                "total": figures.money(view.total, view.currency),
                "remark": t("invoices.voided", number=view.voided_by) if view.voided_by else "",
            }
            for view in found
        ]
    )
    st.caption(t("invoices.choose"))
    row = parts.table(
        frame,
        {
            "number": t("col.number"), "kind": t("col.kind"), "subject": t("col.user"),
            "period": t("col.period"), "issued": t("col.issued"),
            "total": st.column_config.TextColumn(t("col.total"), alignment="right"),
            "remark": t("col.remark"),
        },
        key="invoice-rows", most=400,
    )  # fmt: skip
    if row is not None:
        _show_invoice(found[row])


def _show_invoice(view: InvoiceView) -> None:
    with st.container(border=True):
        name = view.number or value("draft")
        st.markdown(f"**{parts.escaped(name)}** · {parts.escaped(view.subject)} · {view.period}")
        with st.container(horizontal=True, gap="medium"):
            sums = [("subtotal", view.subtotal), ("tax", view.tax), ("total", view.total)]
            if view.paid is not None:
                sums += [("paid", view.paid), ("due", view.due)]
            for label, amount in sums:
                st.metric(t(f"sum.{label}"), figures.money(amount, view.currency), width="content",
                          help=figures.exact(amount, view.currency))  # fmt: skip
        frame = pd.DataFrame(
            [
                {
                    "model": model,
                    "unit": _unit(unit, effect),
                    "quantity": quantity,
                    "price": figures.exact(price, None),
                    "per": figures.UNKNOWN if per is None else figures.count(per),
                    "amount": figures.exact(amount, None),
                }
                for model, unit, effect, quantity, price, per, amount in view.lines
            ]
        )
        c = st.column_config
        parts.table(
            frame,
            {
                "model": t("col.model"), "unit": t("col.unit"),
                "quantity": c.TextColumn(t("col.quantity"), alignment="right"),
                "price": c.TextColumn(t("col.price"), alignment="right"),
                "per": c.TextColumn(t("col.per"), alignment="right"),
                "amount": c.TextColumn(t("col.amount_in", currency=view.currency),
                                       alignment="right"),
            },
        )  # fmt: skip
        if view.unpriced_calls:
            st.caption(t("invoices.unpriced", count=figures.count(view.unpriced_calls)))
        if view.number is not None:
            _offer(view, view.number)


def _unit(name: str, effect: str | None) -> str:
    """Return what a line is about: a unit, or what a monthly rule makes of one."""
    label = t("invoices.money") if name == "money" else data.unit_label(name)
    return label if effect is None else t(f"invoices.{effect}", unit=label)


def _offer(view: InvoiceView, number: str) -> None:
    safe = re.sub(r"[^\w.-]", "_", number)
    words = language()
    with st.container(horizontal=True):
        for format, mime in (("pdf", "application/pdf"), ("json", "application/json")):
            st.download_button(
                t("exports.download", name=f"{safe}.{format}"),
                lambda format=format: data.invoice_file(view, format, words),
                file_name=f"{safe}.{format}", mime=mime, icon=":material/download:",
                on_click="ignore", key=f"invoice-{format}-{number}",
            )  # fmt: skip


def _show_draft(viewer: Viewer, asked: Question) -> None:
    known = data.subjects(viewer)
    if not known:
        st.caption(t("empty.view"))
        return
    left, right = st.columns(2)
    place = known.index(asked.subject) if asked.subject in known else 0
    subject = left.selectbox(t("filter.subject"), known, index=place, key="draft_subject")
    months = _months(asked.tz)
    period = right.selectbox(t("invoices.month"), months, key="draft_month")
    try:
        found = data.invoice_draft(viewer, subject, period, asked.tz)
    except LedgerError as error:
        st.warning(parts.escaped(t("invoices.draft.cannot", error=error)))
        return
    if not found:
        st.caption(parts.escaped(t("invoices.draft.nothing", name=subject, period=period)))
        return
    for view in found:
        _show_invoice(view)
    command = data.invoice_command(subject, period, asked.tz)
    st.caption(t("invoices.draft.note", command=command))


def _months(tz: str) -> list[str]:
    """Return the last twelve months, the present one first."""
    now = datetime.now(ZoneInfo(tz))
    numbers = [now.year * 12 + now.month - 1 - back for back in range(12)]
    return [f"{number // 12}-{number % 12 + 1:02d}" for number in numbers]


show()
