"""Answer: which calls were made? And of one call: what was it, and why does it cost this?"""

from typing import Any
from zoneinfo import ZoneInfo

import data
import figures
import filters
import pandas as pd
import parts
import streamlit as st
from data import CallRow, Question, Viewer
from texts import t, value

_AT_ONCE = 50
_BASES = ("reported", "estimated", "unknown")


@st.fragment(run_every=filters.every())
def show() -> None:
    """Draw the list, or the one call that the address names."""
    call_id = st.session_state.get("call")
    title = t("title.call") if call_id else t("title.calls")
    with parts.page(title) as (viewer, asked):
        if call_id:
            _show_one(viewer, asked, call_id)
        else:
            _show_list(viewer, asked)


def _show_list(viewer: Viewer, asked: Question) -> None:
    left, middle, right = st.columns([2, 1, 1])
    search = left.text_input(t("calls.search"), key="search", on_change=_first_page,
                             placeholder=t("calls.search.placeholder"), max_chars=256)  # fmt: skip
    basis = middle.selectbox(
        t("calls.basis"), _BASES, key="basis", index=None, format_func=value,
        placeholder=t("calls.all_bases"), on_change=_first_page,
    )  # fmt: skip
    order = right.selectbox(
        t("calls.order"), filters.ORDERS, key="order", on_change=_first_page,
        format_func=lambda name: t(f"order.{name}"),
    )  # fmt: skip
    page = int(st.session_state.get("page") or 1)
    found = data.calls(
        viewer, asked, search=search.strip(), basis=basis, order=order,
        offset=(page - 1) * _AT_ONCE, limit=_AT_ONCE + 1,
    )  # fmt: skip
    if not found:
        if page == 1 and not search and not basis:
            parts.show_empty(viewer, asked)
        else:
            st.info(t("calls.none"), icon=":material/info:")
        return
    shown = found[:_AT_ONCE]
    chosen = _show_rows(shown, asked, page, data.book_of(viewer, asked))
    _show_paging(page, len(shown), more=len(found) > _AT_ONCE)
    if chosen is not None:
        parts.go(call=str(chosen.id))


def _first_page() -> None:
    st.session_state["page"] = "1"


def _show_rows(found: list[CallRow], asked: Question, page: int, book: data.Book) -> CallRow | None:
    zone = ZoneInfo(asked.tz)
    charges = [data.charge(call, book) for call in found]
    frame = pd.DataFrame(
        [
            {
                "started": figures.moment(data.moment(call.started_us, zone)),
                "user": call.subject or t("nobody"),
                "model": call.model or t("unknown_model"),
                "cost": figures.money(data.amount(charge.amount_nanos), charge.currency),
                "input": (call.usage or {}).get("input_tokens"),
                "output": (call.usage or {}).get("output_tokens"),
                "duration": figures.seconds(data.duration_us(call)),
                "basis": value(call.basis),
                "outcome": _outcome(call),
                "endpoint": call.endpoint,
            }
            for call, charge in zip(found, charges, strict=True)
        ]
    )
    c = st.column_config
    st.caption(t("calls.choose"))
    row = parts.table(
        frame,
        {
            "started": c.TextColumn(t("col.started")),
            "user": t("col.user"), "model": t("col.model"),
            "cost": c.TextColumn(t("col.cost"), alignment="right"),
            "input": c.NumberColumn(t("col.input"), format="localized",
                                    help=t("col.tokens.help")),
            "output": c.NumberColumn(t("col.output"), format="localized",
                                     help=t("col.tokens.help")),
            "duration": c.TextColumn(t("col.duration"), alignment="right"),
            "basis": t("col.basis"), "outcome": t("col.outcome"), "endpoint": t("col.endpoint"),
        },
        key=f"calls-rows-{page}",
    )  # fmt: skip
    return None if row is None else found[row]


def _outcome(call: CallRow) -> str:
    text = value(call.outcome)
    return text if call.status is None or call.status < 400 else f"{text}, {call.status}"


def _show_paging(page: int, shown: int, *, more: bool) -> None:
    first = (page - 1) * _AT_ONCE + 1
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button(t("calls.earlier"), icon=":material/chevron_left:", disabled=page == 1):
            parts.go(page=str(page - 1))
        last = figures.count(first + shown - 1)
        st.caption(t("calls.page", first=figures.count(first), last=last), width="content")
        if st.button(t("calls.later"), icon=":material/chevron_right:", disabled=not more):
            parts.go(page=str(page + 1))


def _show_one(viewer: Viewer, asked: Question, call_id: str) -> None:
    if st.button(t("calls.back"), icon=":material/arrow_back:"):
        parts.go(call=None)
    call = data.call(viewer, call_id)
    if call is None:
        st.warning(t("calls.not_found", id=f"`{call_id}`"))
        return
    book = data.book_of(viewer, asked)
    charge = data.charge(call, book)
    cost = data.amount(charge.amount_nanos)
    usage: Any = call.usage or {}
    with st.container(horizontal=True, gap="medium"):
        st.metric(t("col.cost"), figures.money(cost, charge.currency), width="content",
                  help=figures.exact(cost, charge.currency))  # fmt: skip
        st.metric(t("call.estimate"), figures.count(call.estimated_input_tokens), width="content")
        st.metric(t("call.reported"), figures.count(usage.get("input_tokens")), width="content")
        st.metric(t("call.output"), figures.count(usage.get("output_tokens")), width="content")
        st.metric(t("call.duration"), figures.seconds(data.duration_us(call)), width="content")
        st.metric(t("call.basis"), value(call.basis), width="content")
        st.metric(t("call.outcome"), _outcome(call), width="content")
    left, right = st.columns(2, gap="large")
    with left:
        st.subheader(t("call.lines"))
        _show_lines(call, book)
        st.subheader(t("call.usage"))
        _show_usage(call)
        st.subheader(t("call.timing"))
        _show_timing(call, asked)
    with right:
        st.subheader(t("call.who"))
        _show_fields(viewer, call)


def _show_lines(call: CallRow, book: data.Book) -> None:
    charge = data.charge(call, book)
    lines = data.lines(call, book)
    if lines:
        frame = pd.DataFrame(
            [
                {
                    "unit": data.unit_label(line.unit),
                    "quantity": figures.count(line.quantity) if isinstance(line.quantity, int)
                    else str(line.quantity),
                    "rate": t("call.rate", price=figures.exact(price, None), per=f"{line.per:,}"),
                    "amount": figures.exact(amount, None),
                }
                for line, price, amount in lines
            ]
        )  # fmt: skip
        c = st.column_config
        parts.table(
            frame,
            {
                "unit": t("col.unit"),
                "quantity": c.TextColumn(t("col.quantity"), alignment="right"),
                "rate": c.TextColumn(t("col.rate_in", currency=charge.currency), alignment="right"),
                "amount": c.TextColumn(t("col.amount_in", currency=charge.currency),
                                       alignment="right"),
            },
        )  # fmt: skip
    elif charge.amount_nanos == 0:
        st.caption(t("call.nothing_owed"))
    if charge.unpriced and call.state != "unsettled":
        st.caption(parts.escaped(t("call.unpriced", reason=charge.unpriced)))
    if charge.card_id:
        source = data.card_source(call, charge.card_id)
        known = t("call.card", card=charge.card_id, source=source)
        text = known if source else t("call.card.unknown", card=charge.card_id)
        st.caption(parts.escaped(text))
    if call.corrections:
        st.caption(t("call.corrections", count=call.corrections))


def _show_usage(call: CallRow) -> None:
    if call.usage is None:
        st.caption(t("call.no_usage"))
        return
    if not call.usage:
        st.caption(t("call.nothing_owed"))
        return
    pairs = [(data.unit_label(name), f"{quantity:,}") for name, quantity in call.usage.items()]
    if call.counted_output_tokens is not None:
        pairs.append((t("call.counted"), figures.count(call.counted_output_tokens)))
    _show_pairs(pairs, t("col.unit"), t("col.quantity"), alignment="right")


def _show_timing(call: CallRow, asked: Question) -> None:
    zone = ZoneInfo(asked.tz)
    first_us = None if call.first_byte_us is None else call.first_byte_us - call.started_us
    pairs = [
        (t("call.started"), figures.moment(data.moment(call.started_us, zone))),
        (t("call.first_byte"), figures.seconds(first_us)),
        (t("call.ended"), figures.moment(data.moment(call.ended_us, zone))),
        (t("call.duration"), figures.seconds(data.duration_us(call))),
    ]
    _show_pairs(pairs, t("call.field"), t("call.value"))


def _show_fields(viewer: Viewer, call: CallRow) -> None:
    fields = {
        "id": call.id, "operation": call.operation_id, "subject": call.subject,
        "key": call.key_id, "tags": ", ".join(f"{k}={v}" for k, v in call.tags),
        "provider": call.provider, "issuer": call.issuer if viewer.sees_everything else None,
        "endpoint": call.endpoint, "model_requested": call.model_requested,
        "model_served": call.model_served, "tier": call.service_tier, "status": call.status,
        "streaming": t("yes") if call.streaming else t("no"), "response_id": call.response_id,
        "path": call.path, "upstream": call.upstream if viewer.sees_everything else None,
        "defects": "; ".join(call.defects),
    }  # fmt: skip
    pairs = [(t(f"field.{name}"), str(text)) for name, text in fields.items() if text]
    bound = data.amount(call.bound_cost_nanos)
    if bound is not None and viewer.sees_everything:
        pairs.append((t("call.bound"), figures.exact(bound, call.bound_currency)))
    _show_pairs(pairs, t("call.field"), t("call.value"))


def _show_pairs(
    pairs: list[tuple[str, str]], left: str, right: str, *, alignment: Any = "left"
) -> None:
    parts.table(
        pd.DataFrame(pairs, columns=["left", "right"]),
        {
            "left": left, "right": st.column_config.TextColumn(right, alignment=alignment),
        },
    )  # fmt: skip


show()
