"""Draw what several pages have in common: their head, figures, series with a legend, tables."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import access
import charts
import data
import figures
import filters
import pandas as pd
import streamlit as st
from data import Question, Viewer
from texts import t, value

MOST_SERIES = 7
_EMPTY_STEPS = 6


@contextmanager
def page(title: str | Callable[[Question], str]) -> Iterator[tuple[Viewer, Question]]:
    """Draw a page's head, and when its figures were read; yield who asks and what.

    What is yielded is already narrowed to what this viewer may ask.
    """
    if "_opened" not in st.session_state:
        # The first visitor of a fresh server may land in the page's file itself, before the app
        # has said which pages there are.
        name = urlsplit(st.context.url or "").path.rpartition("/")[2]
        st.session_state["_pending"] = (name or None, {})
        st.switch_page("app.py", query_params=dict(st.query_params))
    viewer = access.viewer()
    data.begin_run()
    try:
        known = data.currencies(viewer, filters.question())
    except data.LedgerError as error:
        show_trouble(error)
        st.stop()
    asked = data.allowed(viewer, filters.question(known))
    st.title(escaped(title if isinstance(title, str) else title(asked)))
    line = st.empty()
    try:
        yield viewer, asked
    except data.LedgerError as error:
        show_trouble(error)
    line.caption(head_line(asked))


def show_trouble(error: Exception) -> None:
    """Say what is wrong with the ledger, and how to try again."""
    st.error(escaped(t("broken.ledger", error=error)), icon=":material/error:")
    if st.button(t("broken.try_again"), key="try_again"):
        data.forget()
        st.rerun(scope="app")


def head_line(asked: Question) -> str:
    """Return the interval, what narrows it, and when it was read."""
    zone = ZoneInfo(asked.tz)
    first = asked.since.astimezone(zone).date()
    last = (asked.until.astimezone(zone) - timedelta(microseconds=1)).date()
    if first == last:
        parts = [t("head.one_day", first=first, tz=asked.tz)]
    else:
        parts = [t("head.from_to", first=first, last=last, tz=asked.tz)]
    parts += [text for text in (asked.subject, asked.model, asked.tag) if text]
    at = data.as_of()
    if at is not None:
        parts.append(t("head.as_of", at=figures.moment(at.astimezone(zone))[11:]))
    return " · ".join(escaped(part) for part in parts)


def escaped(text: str) -> str:
    """Return a text so that Markdown shows it as it is."""
    return "".join(f"\\{c}" if c in r"\`*_{}[]()#+-!|<>~$:" else c for c in text)


def go(page: str | None = None, **view: str | None) -> None:
    """Change the view from within a page, and draw everything anew."""
    st.session_state["_pending"] = (page, view)
    st.rerun(scope="app")


def named(name: str | None, group: str) -> str:
    """Return what a group's value is called; calls may have none."""
    if name is not None:
        return name
    return t("nobody") if group == "subject" else t("unknown_model")


def remarks(found: data.Figures) -> str:
    """Return what some of the calls are, in one line, "" for nothing."""
    totals = found.totals
    counts = {
        "estimated": totals.estimated, "unsettled": totals.unsettled, "failed": totals.failed,
        "unpriced": max(totals.unpriced - totals.failed - totals.refused, 0),
        "refused": totals.refused,
    }  # fmt: skip
    parts = [t(f"remark.{name}", count=figures.count(n)) for name, n in counts.items() if n]
    if not parts:
        return ""
    return t("remark.of_these", count=figures.count(totals.calls)) + ", ".join(parts)


def show_remarks(found: data.Figures) -> None:
    """Draw what some of the calls are."""
    text = remarks(found)
    if text:
        st.caption(text)


def show_empty(viewer: Viewer, asked: Question) -> None:
    """Say why there is nothing to see, and what to do."""
    if viewer.sees_everything and not data.every_model():
        st.info(t("empty.ledger", place=f"`{data.place()}`"), icon=":material/info:")
        return
    st.info(t("empty.view"), icon=":material/info:")
    if st.button(t("filter.clear"), key="clear_filter"):
        go(period="90d", subject=None, model=None, tag=None)


def over_time(viewer: Viewer, asked: Question, group: str, key: str) -> None:
    """Draw stacked bars by time and group; choosing a series narrows the view to it."""
    steps, kept = data.steps(viewer, asked, group)
    others = ""
    folded = {step.name for step in steps if step.folded}
    names = [named(name, group) for name in kept]
    if folded or any(step.folded for step in steps):
        others = t("others", count=data.count_values(viewer, asked, group) - len(kept))
        names.append(others)
    known = charts.colours(data.every_model()) if group == "model" else {}
    scale = charts.chosen(names, known, others or None)
    records = [
        {
            "start": step.start,
            "when": step.start.replace("T", " "),
            "name": others if step.folded else named(step.name, group),
            "value": float(cost or 0),
            "amount": figures.money(cost, asked.currency),
            "calls": figures.count(step.calls),
        }
        for step, cost in zip(steps, data.costs_of(steps), strict=True)
    ]
    frame = pd.DataFrame(filled(records, shown_steps(data.starts(asked), records)))
    titles = {
        "start": t("col.day"), "value": t("col.cost_in", currency=asked.currency or "–"),
        "name": t(f"by.{group}"), "amount": t("col.cost"), "calls": t("col.calls"),
    }  # fmt: skip
    chart = charts.stacked(frame, names, scale, span=asked.span, titles=titles)
    event = st.altair_chart(chart, width="stretch", on_select="rerun", selection_mode="series",
                            key=f"{key}-{group}-{asked.subject}-{asked.model}")  # fmt: skip
    clicked = [point.get("name") for point in event["selection"].get("series", [])]
    picked = legend(names, scale, key=f"{key}-legend-{group}-{asked.subject}-{asked.model}")
    chosen = picked or (clicked[0] if clicked else None)
    real = {named(name, group): name for name in kept if name is not None}
    if chosen in real:
        look_closer(group, real[chosen])


def look_closer(group: str, name: str) -> None:
    """Narrow the view to one value of a group, and group by the other."""
    other = "subject" if group == "model" else "model"
    go(**{group: name, "by": other})


def legend(names: Sequence[str], scale: Any, key: str) -> str | None:
    """Draw a legend whose entries can be chosen by mouse and by keyboard; return the chosen."""
    colour = dict(zip(scale.domain, scale.range, strict=True))

    def shown(name: str) -> str:
        return f':color[■]{{foreground="{colour[name]}"}} {escaped(name)}'

    return st.pills(
        t("spend.drill"), list(names), key=key, format_func=shown, wrap=True,
        label_visibility="collapsed",
    )  # fmt: skip


def show_legend(names: Sequence[str], scale: Any) -> None:
    """Draw a legend that is only there to read."""
    colour = dict(zip(scale.domain, scale.range, strict=True))
    with st.container(horizontal=True, gap="small"):
        for name in names:
            st.markdown(
                f':color[■]{{foreground="{colour[name]}"}} {escaped(name)}', width="content"
            )


def shown_steps(starts: Sequence[str], records: Sequence[dict[str, Any]]) -> Sequence[str]:
    """Return the steps of time to show: a little of the empty time before the first call."""
    known = {record["start"] for record in records if record["value"]}
    first = next((place for place, start in enumerate(starts) if start in known), 0)
    return starts[max(first - _EMPTY_STEPS, 0) :]


def filled(records: list[dict[str, Any]], starts: Sequence[str]) -> list[dict[str, Any]]:
    """Return the records with an empty one for each step of time that has none."""
    if not records:
        return records
    known = {record["start"] for record in records}
    template = {**records[0], "value": 0.0, "amount": "0", "calls": "0"}
    return records + [
        {**template, "start": start, "when": start.replace("T", " ")}
        for start in starts
        if start not in known
    ]


def breakdown(viewer: Viewer, asked: Question, group: str, key: str) -> str | None:
    """Draw a table of a group's values; return the one whose row was chosen."""
    records = data.breakdown(viewer, asked, group)
    names = [record["name"] for record in records]
    sums: list[data.Figures] = [record["figures"] for record in records]  # type: ignore[misc]
    whole = data.figures(viewer, asked).cost
    trends = data.trends(viewer, asked, group)
    frame = pd.DataFrame(
        {
            "name": [named(name, group) for name in names],  # type: ignore[arg-type]
            "cost": [_number(one.cost) for one in sums],
            "share": [_share(one.cost, whole) for one in sums],
            "trend": [trends.get(name, []) for name in names],  # type: ignore[call-overload]
            "calls": [one.totals.calls for one in sums],
            "per_call": [_number(one.per_call) for one in sums],
            "per_thousand": [_number(one.per_thousand_tokens) for one in sums],
            "input": [one.totals.input_tokens for one in sums],
            "cached": [one.totals.cache_read_tokens for one in sums],
            "output": [one.totals.output_tokens for one in sums],
        }
    )
    c = st.column_config
    row = table(
        frame,
        {
            "name": c.TextColumn(t(f"by.{group}"), pinned=True),
            "cost": money_column(t("col.cost_in", currency=asked.currency or "–"), frame["cost"]),
            "share": c.ProgressColumn(
                t("col.share"), format="percent", min_value=0, max_value=1, width=105
            ),
            "trend": c.BarChartColumn(t("col.trend"), y_min=0, width=105),
            "calls": c.NumberColumn(t("col.calls"), format="localized"),
            "per_call": money_column(t("col.per_call"), frame["per_call"]),
            "per_thousand": money_column(t("col.per_thousand"), frame["per_thousand"]),
            "input": c.NumberColumn(t("col.input"), format="localized", help=t("col.tokens.help")),
            "cached": c.NumberColumn(
                t("col.cached"), format="localized", help=t("col.tokens.help")
            ),
            "output": c.NumberColumn(
                t("col.output"), format="localized", help=t("col.tokens.help")
            ),
        },
        key=key,
    )
    chosen = None if row is None else names[row]
    return chosen if isinstance(chosen, str) else None


def table(
    frame: pd.DataFrame, columns: dict[str, Any], *, key: str | None = None, most: int = 600
) -> int | None:
    """Draw a table as high as its rows, `most` pixels at most.

    With a `key` its rows can be chosen; returns the place of the chosen one, None without.
    """
    height = min(38 + 35 * max(len(frame), 1), most)
    shared: dict[str, Any] = {
        "hide_index": True, "width": "stretch", "height": height, "column_config": columns,
        "placeholder": figures.UNKNOWN,
    }  # fmt: skip
    if key is None:
        st.dataframe(frame, **shared)
        return None
    event = st.dataframe(frame, key=key, on_select="rerun", selection_mode="single-row", **shared)
    rows = event["selection"]["rows"]
    return int(rows[0]) if rows and rows[0] < len(frame) else None


def money_column(title: str, values: "pd.Series[float]") -> Any:
    """Return a column of amounts with as many decimals as its values need."""
    known = values.dropna()
    most = Decimal(str(float(known.max()))) if len(known) else Decimal(0)
    return st.column_config.NumberColumn(title, format=f"%.{min(figures.decimals(most) + 2, 9)}f")


def _number(amount: Decimal | None) -> float | None:
    return None if amount is None else float(amount)


def _share(part: Decimal | None, whole: Decimal | None) -> float | None:
    return None if part is None or not whole else float(part / whole)


def budget_card(view: data.BudgetView) -> None:
    """Draw one budget: what is spent, held and left, and when it runs out."""
    is_money = view.measure == "money"

    def shown(number: Decimal) -> str:
        if is_money:
            return figures.money(number, view.unit)
        return f"{figures.count(int(number))} {t(f'value.{view.measure}')}"

    with st.container(border=True):
        kind, _, narrowed_to = view.scope.partition(" ")
        scope = t("budgets.everything") if kind == "everything" else f"{kind} {narrowed_to}"
        st.markdown(f"**{escaped(view.name)}** · {escaped(t('budgets.scope', scope=scope))}")
        window = window_name(view)
        used = (view.used_permille or 0) / 1000
        share = figures.share(view.spent, view.limit)
        st.progress(min(used, 1.0), text=f"{t('budgets.used', share=share)} · {escaped(window)}")
        st.metric(t("budgets.left"), shown(view.left))
        parts = t("budgets.parts", spent=shown(view.spent), held=shown(view.held),
                  limit=shown(view.limit))  # fmt: skip
        st.caption(f"{escaped(parts)}<br>{escaped(_outlook(view, shown))}", unsafe_allow_html=True)


def show_rest(count: int) -> None:
    """Say how many more there are than are drawn."""
    if count > 0:
        st.caption(t("rest", count=figures.count(count)))


def window_name(view: data.BudgetView) -> str:
    """Return what a budget's window is called."""
    if view.is_rolling:
        return t("budgets.rolling", window=view.window.partition(":")[2])
    if view.window_end is None:
        return t("budgets.window.total")
    return t("budgets.window", window=t(f"value.{view.window}"), tz=view.tz)


def credit_card(view: data.CreditView, tz: str) -> None:
    """Draw the prepaid credit of a subject, with its grants."""
    with st.container(border=True):
        st.markdown(f"**{escaped(view.subject)}** · {t('credit.title')}")
        with st.container(horizontal=True, gap="medium"):
            for name in ("balance", "free", "held", "used"):
                label = t("budgets.held") if name == "held" else t(f"credit.{name}")
                text = figures.money(getattr(view, name), view.currency)
                st.metric(label, text, width="content")
        if view.balance < 0:
            st.warning(t("credit.overrun"))
        frame = pd.DataFrame(
            [
                {
                    "granted": grant.granted,
                    "amount": figures.money(grant.amount, view.currency),
                    "left": figures.money(grant.left, view.currency),
                    "ends": figures.moment(grant.ends)[:16] if grant.ends else t("never"),
                    "state": value(grant.state),
                    "reason": grant.reason,
                }
                for grant in view.grants
            ]
        )
        if not frame.empty:
            c = st.column_config
            table(
                frame,
                {
                    "granted": c.DatetimeColumn(t("col.granted"), timezone=tz,
                                                format="YYYY-MM-DD HH:mm"),
                    "amount": c.TextColumn(t("col.amount"), alignment="right"),
                    "left": c.TextColumn(t("col.left"), alignment="right"),
                    "ends": t("col.ends"), "state": t("col.state"), "reason": t("col.reason"),
                },
            )  # fmt: skip


def statement(view: data.StatementView, tz: str) -> None:
    """Draw the credit of a subject over the period line by line, so that it adds up."""
    edges = (("opening", view.opening), ("closing", view.closing))
    rows = [
        {
            "at": figures.moment(line.at.astimezone(ZoneInfo(tz)))[:16],
            "kind": value(line.kind),
            "of": line.of,
            "calls": line.calls,
            "amount": figures.exact(line.amount, None),
            "balance": figures.exact(line.balance, None),
            "reason": line.reason,
        }
        for line in view.lines
    ]
    first, last = (
        {"kind": t(f"statement.{name}"), "balance": figures.exact(balance, None)}
        for name, balance in edges
    )
    c = st.column_config
    table(
        pd.DataFrame([first, *rows, last],
                     columns=["at", "kind", "amount", "balance", "of", "calls", "reason"]),
        {
            "at": t("col.day"), "kind": t("col.kind"), "of": t("col.of"),
            "calls": c.NumberColumn(t("col.calls"), format="localized"),
            "amount": c.TextColumn(t("col.amount_in", currency=view.currency), alignment="right"),
            "balance": c.TextColumn(t("col.balance"), alignment="right"),
            "reason": t("col.reason"),
        },
        most=400,
    )  # fmt: skip
    st.code(view.command, language="sh", wrap_lines=True)


def _outlook(view: data.BudgetView, shown: Any) -> str:
    end = figures.moment(view.window_end)[:16]
    if view.left <= 0 and not view.is_rolling:
        return t("budgets.ran_out", end=end) if view.window_end else t("budgets.ran_out.total")
    if view.is_rolling:
        return t("budgets.rolls")
    if view.runs_out is not None:
        return t("budgets.runs_out", at=figures.moment(view.runs_out)[:16])
    if not view.spent:
        return t("budgets.unused")
    return t("budgets.lasts", expected=shown(view.expected or view.spent), end=end)


def narrowed(asked: Question, **changes: Any) -> Question:
    """Return the question with some of its parts replaced."""
    return replace(asked, **changes)
