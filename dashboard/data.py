"""Ask `meter` for what the pages show: the only file here that does.

Every question is asked for a viewer, and what a viewer may see is decided here: a customer's
question is narrowed to that customer before it is asked, whatever page or address it came from.
Answers are cached by their arguments for a few seconds. Amounts are exact decimals, None where
unknown. The ledger is opened to read only: the database refuses everything else.
"""

import csv
import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from io import BytesIO, StringIO
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from zoneinfo import ZoneInfo

import streamlit as st

from meter import Meter
from meter.clock import now_us
from meter.config import Settings, load_settings
from meter.core.money import nanos_to_decimal
from meter.core.rates import STANDARD, RateCard, datetime_of
from meter.core.rating import Charge, ChargeLine
from meter.core.units import UNITS
from meter.core.windows import Span, Window
from meter.errors import MeterError
from meter.exports.invoice_pdf import to_pdf
from meter.reports import comparing, forecasting, pacing, saving, unusual, whatif
from meter.reports.charging import Book, charge_in
from meter.reports.comparing import Move, Step, Totals
from meter.reports.forecasting import Forecast
from meter.reports.invoicing import Document
from meter.reports.reconciling.differences import Total
from meter.reports.reconciling.reading import KINDS, read_bill
from meter.store.credit_rows import Credit, Grant
from meter.store.keys import Key
from meter.store.reads import AccuracyRow, BudgetRow, CallRow, TimingRow, UsageRow

LedgerError = MeterError
"""What goes wrong in here, in one sentence for a person."""

REFRESH_SECONDS = 10
"""How old an answer may be."""

KEY_SECONDS = 5
"""How long a revoked key may still look."""

_MOST_NAMES = 500
_MOST_CALLS_LOOKED_AT = 2_000


@dataclass(frozen=True)
class Viewer:
    """Who looks: `subject` is None for one who may see everything.

    `name` is what the page shows of who is signed in, "" where nobody has to sign in.
    """

    subject: str | None = None
    name: str = ""
    sees_everything: bool = False


@dataclass(frozen=True)
class Question:
    """What the pages are about: a half-open interval, a zone, and what narrows the calls.

    `book` says whose amounts are shown: "cost" (what we owe), "list" (the published price) or
    "billed" (what the subjects owe); a customer only ever sees the last. `span` is the step of time
    in which the interval is shown. `before` is the interval that it is compared with, cut where
    this one is not over yet.
    """

    since: datetime
    until: datetime
    before: tuple[datetime, datetime]
    tz: str
    span: str = "day"
    book: str = "cost"
    currency: str | None = None
    subject: str | None = None
    model: str | None = None
    tag: str | None = None

    def filters(self) -> tuple[tuple[str, str], ...]:
        """Return what narrows the calls, as `Meter.usage` takes it."""
        given = {"subject": self.subject, "model": self.model, "tag": self.tag}
        return tuple((name, text) for name, text in given.items() if text)


@dataclass(frozen=True)
class Figures:
    """The figures of one interval in one currency. Amounts are exact."""

    totals: Totals
    cost: Decimal | None
    per_call: Decimal | None
    per_thousand_tokens: Decimal | None


# --- the ledger ------------------------------------------------------------------------------


@st.cache_resource(show_spinner=False)
def _opened(url: str) -> Meter:
    meter = Meter(url, read_only=True)
    _OPEN.append(meter)
    return meter


_OPEN: list[Meter] = []
"""What `close` closes."""


def close() -> None:
    """Close every ledger that was opened here; the next question opens it again."""
    while _OPEN:
        _OPEN.pop().close()
    _opened.clear()


def ledger() -> Meter:
    """Return the ledger that the settings name, opened once for this server."""
    return _opened(settings().database_url)


def settings() -> Settings:
    """Return the settings in force. Raises: LedgerError."""
    return load_settings()


def is_fresh() -> bool:
    """Whether the ledger is an SQLite file that does not exist yet."""
    url = settings().database_url
    path = url.removeprefix("sqlite:///")
    return url.startswith("sqlite:///") and not os.path.exists(path)


def as_of() -> datetime | None:
    """Return when the oldest answer of this run was read, None when none was."""
    found: datetime | None = st.session_state.get("_as_of")
    return found


def begin_run() -> None:
    """Forget when the answers of the run before were read."""
    st.session_state.pop("_as_of", None)


def _note(asked: datetime) -> None:
    known = st.session_state.get("_as_of")
    st.session_state["_as_of"] = asked if known is None else min(known, asked)


# --- sums ------------------------------------------------------------------------------------


@st.cache_data(ttl=REFRESH_SECONDS, max_entries=500, show_spinner=False)
def _usage(
    url: str,
    by: tuple[str, ...],
    since: datetime | None,
    until: datetime | None,
    tz: str,
    filters: tuple[tuple[str, str], ...],
) -> tuple[list[UsageRow], datetime]:
    asked = datetime.now(UTC)
    return _opened(url).usage(by, since=since, until=until, tz=tz, **dict(filters)), asked


def allowed(viewer: Viewer, question: Question) -> Question:
    """Return the question as this viewer may ask it."""
    if viewer.sees_everything:
        return question
    if viewer.subject is None:
        raise PermissionError("found a viewer without a subject, expected one to narrow to")
    return replace(question, subject=viewer.subject, book="billed")


def _rows(
    viewer: Viewer,
    question: Question,
    *by: str,
    since: datetime | None = None,
    until: datetime | None = None,
) -> list[UsageRow]:
    asked = allowed(viewer, question)
    start, end = since or asked.since, until or asked.until
    rows, at = _usage(settings().database_url, by, start, end, asked.tz, asked.filters())
    _note(at)
    return comparing.in_book(rows, asked.book)


def _cube(viewer: Viewer, question: Question, group: str = "model") -> list[UsageRow]:
    """Return the sums by step of time and group: most figures of a page follow from this answer.

    Rows by model have the provider as a third name.
    """
    by = (question.span, group, "provider") if group == "model" else (question.span, group)
    return _rows(viewer, question, *by)


def books_differ(viewer: Viewer, question: Question) -> bool:
    """Whether cost, published price and what is billed are not the same in the interval."""
    return comparing.books_differ(_cube(viewer, replace(question, book="cost")))


def currencies(viewer: Viewer, question: Question) -> list[str]:
    """Return the currencies of the interval, the one of most calls first."""
    calls: dict[str, int] = {}
    for row in _cube(viewer, question):
        if row.currency is not None:
            calls[row.currency] = calls.get(row.currency, 0) + row.calls
    return sorted(calls, key=lambda currency: (-calls[currency], currency))


def figures(viewer: Viewer, question: Question) -> Figures:
    """Return the figures of the interval."""
    return _figures(_cube(viewer, question), question.currency)


def figures_before(viewer: Viewer, question: Question) -> Figures:
    """Return the figures of the interval that this one is compared with."""
    since, until = question.before
    return _figures(_rows(viewer, question, since=since, until=until), question.currency)


def _figures(rows: Iterable[UsageRow], currency: str | None) -> Figures:
    found = comparing.totals(rows, currency)
    return Figures(
        totals=found,
        cost=_decimal(found.cost_nanos),
        per_call=_decimal(found.nanos_per_call),
        per_thousand_tokens=_decimal(found.nanos_per_thousand_tokens),
    )


def steps(viewer: Viewer, question: Question, group: str) -> tuple[list[Step], list[str | None]]:
    """Return what each step of time cost by "model" or "subject", the lesser groups folded."""
    return comparing.steps(
        comparing.regrouped(_cube(viewer, question, group), 0, 1), question.currency
    )


def breakdown(viewer: Viewer, question: Question, group: str) -> list[dict[str, object]]:
    """Return a record for each value of a group, the dearest first."""
    rows: dict[str | None, list[UsageRow]] = {}
    for row in _cube(viewer, question, group):
        if row.currency in (question.currency, None):
            rows.setdefault(row.group[1], []).append(row)
    records = []
    for name, found in rows.items():
        sums = _figures(found, question.currency)
        records.append({"name": name, "figures": sums})
    records.sort(key=lambda r: (-(r["figures"].cost or 0), -r["figures"].totals.calls))
    return records


def moves(viewer: Viewer, question: Question, group: str) -> list[dict[str, object]]:
    """Return which values of a group cost more or less than in the interval before."""
    if question.currency is None:
        return []
    since, until = question.before
    before = _rows(viewer, question, group, since=since, until=until)
    now = _rows(viewer, question, group)
    if group == "model":
        now = comparing.regrouped(_cube(viewer, question), 1)
    return [_move(move) for move in comparing.moves(before, now, question.currency)]


def _move(move: Move) -> dict[str, object]:
    return {
        "name": move.name,
        "before": nanos_to_decimal(move.before_nanos),
        "after": nanos_to_decimal(move.after_nanos),
        "difference": nanos_to_decimal(move.difference_nanos),
    }


@dataclass(frozen=True)
class Running:
    """The running sum of the interval, step by step, and of the one before; exact amounts."""

    starts: list[str]
    sums: list[Decimal]
    before_starts: list[str]
    before_sums: list[Decimal]


def running(viewer: Viewer, question: Question) -> Running:
    """Return the running sums, up to the present step."""
    currency = question.currency or ""
    now = datetime.now(UTC)
    starts = _starts(question.since, min(question.until, now), question)
    earlier = question.before[0]
    before_starts = _starts(earlier, question.since, question)
    sums = comparing.running(_cube(viewer, question), currency, starts)
    rows = _rows(viewer, question, question.span, since=earlier, until=question.since)
    before = comparing.running(rows, currency, before_starts)
    return Running(
        starts, [nanos_to_decimal(n) for n in sums],
        before_starts, [nanos_to_decimal(n) for n in before],
    )  # fmt: skip


def _starts(since: datetime, until: datetime, question: Question) -> list[str]:
    """Return every step of the interval, written as the sums write it."""
    window = Window(Span(question.span), question.tz)
    zone = ZoneInfo(question.tz)
    at_us = _microseconds(since)
    end_us = _microseconds(until)
    found: list[str] = []
    while at_us < end_us:
        start_us, next_us = window.bounds(at_us)
        local = datetime_of(start_us).astimezone(zone)
        if question.span == "hour":
            found.append(local.isoformat(timespec="minutes"))
        elif question.span == "month":
            found.append(local.strftime("%Y-%m"))
        else:
            found.append(local.date().isoformat())
        at_us = next_us or end_us
    return found


def _microseconds(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


@dataclass(frozen=True)
class Savings:
    """What caching saved in the interval; approximate where a rate card has thresholds."""

    net: Decimal
    read: Decimal
    written: Decimal
    full: Decimal


def savings(viewer: Viewer, question: Question) -> Savings | None:
    """Return what cached input has saved, None where nothing was cached."""
    if question.currency is None or not _is_cost(viewer, question):
        return None
    zone = ZoneInfo(question.tz)

    def card_of(provider: str, model: str, start: str) -> RateCard | None:
        moment = datetime.fromisoformat(start)
        at = moment if moment.tzinfo else moment.replace(tzinfo=zone)
        return ledger().prices.card_for(provider, model, _microseconds(at))

    found = saving.saving(_cube(viewer, question), question.currency, card_of)
    if not found.read_nanos and not found.write_nanos:
        return None
    return Savings(
        net=nanos_to_decimal(found.net_nanos),
        read=nanos_to_decimal(found.read_nanos),
        written=nanos_to_decimal(found.write_nanos),
        full=nanos_to_decimal(found.full_nanos),
    )


def _is_cost(viewer: Viewer, question: Question) -> bool:
    """Whether the amounts of the question are those that the stored rate cards made."""
    if allowed(viewer, question).book == "cost":
        return True
    asked = allowed(viewer, question)
    rows, _ = _usage(
        settings().database_url, (question.span, "model", "provider"), question.since,
        question.until, question.tz, asked.filters(),
    )  # fmt: skip
    return not comparing.books_differ(rows)


def _card(provider: str, model: str, card_id: str) -> RateCard | None:
    """Return the card of that id, as the price book knows the model's cards."""
    for _, _, card in ledger().prices.history(provider, model):
        if card is not None and card.id == card_id:
            return card
    return None


# --- forecasts and habits --------------------------------------------------------------------


def by_day(viewer: Viewer, question: Question, days: int) -> dict[date, int]:
    """Return what each whole day before today cost, in nanos, since the first one with a call."""
    zone = ZoneInfo(question.tz)
    today = datetime.now(zone).date()
    since = datetime.combine(today - timedelta(days=days), datetime.min.time(), zone)
    until = datetime.combine(today, datetime.min.time(), zone)
    rows = _rows(viewer, question, "day", since=since, until=until)
    known = {
        date.fromisoformat(row.group[0]): row.cost_nanos or 0
        for row in rows
        if row.group[0] is not None and row.currency == question.currency
    }
    if not known:
        return {}
    first = min(known)
    return {
        first + timedelta(days=n): known.get(first + timedelta(days=n), 0)
        for n in range((today - first).days)
    }


def forecast(viewer: Viewer, question: Question) -> Forecast | None:
    """Return the forecast of a running interval of days, None where there is nothing to go by."""
    if question.currency is None or question.span != "day":
        return None
    zone = ZoneInfo(question.tz)
    today = datetime.now(zone).date()
    rows = [row for row in _cube(viewer, question) if row.currency == question.currency]
    spent = sum(row.cost_nanos or 0 for row in rows)
    of_today = sum(row.cost_nanos or 0 for row in rows if row.group[0] == today.isoformat())
    end = question.until.astimezone(zone).date()
    past = by_day(viewer, question, forecasting.MOST_DAYS)
    return forecasting.forecast(past, today, spent, of_today, end)


def unusual_days(viewer: Viewer, question: Question) -> list[tuple[date, Decimal, Decimal]]:
    """Return (day, cost, usual cost) of the unusual days of the last weeks, the latest first."""
    found = unusual.unusual_days(by_day(viewer, question, 90))
    return [
        (day.day, nanos_to_decimal(day.cost_nanos), nanos_to_decimal(day.usual_nanos))
        for day in found
    ]


def amount(nanos: int | None) -> Decimal | None:
    """Return nanos as an exact amount, None for unknown."""
    return _decimal(nanos)


def _decimal(nanos: int | None) -> Decimal | None:
    return None if nanos is None else nanos_to_decimal(nanos)


# --- names -----------------------------------------------------------------------------------


@st.cache_data(ttl=60, show_spinner=False)
def _names(url: str) -> tuple[list[str], list[tuple[str, str]], list[str]]:
    meter = _opened(url)
    tags = {
        f"{name}={value}"
        for call in meter.calls(limit=_MOST_CALLS_LOOKED_AT // 4)
        for name, value in call.tags
    }
    return meter.subjects(_MOST_NAMES), meter.models(), sorted(tags)[:_MOST_NAMES]


def subjects(viewer: Viewer) -> list[str]:
    """Return the subjects that this viewer can choose from, the greatest spender first."""
    if not viewer.sees_everything:
        return []
    return _names(settings().database_url)[0]


def models(viewer: Viewer, question: Question | None = None) -> list[str]:
    """Return the models that this viewer can choose from."""
    if viewer.sees_everything:
        return sorted({model for _, model in _names(settings().database_url)[1]})
    if question is None:
        return []
    rows = _cube(viewer, replace(question, model=None, tag=None))
    return sorted({row.group[1] for row in rows if row.group[1]})


def every_model() -> list[str]:
    """Return every model of the ledger: what colours are given out by."""
    return sorted({model for _, model in _names(settings().database_url)[1]})


def tags(viewer: Viewer) -> list[str]:
    """Return tags as name=value that recent calls have."""
    return _names(settings().database_url)[2] if viewer.sees_everything else []


# --- calls -----------------------------------------------------------------------------------


@st.cache_data(ttl=REFRESH_SECONDS, max_entries=200, show_spinner=False)
def _calls(
    url: str,
    since: datetime | None,
    until: datetime | None,
    limit: int,
    order: str,
    newest_first: bool,
    offset: int,
    filters: tuple[tuple[str, str], ...],
) -> tuple[list[CallRow], datetime]:
    asked = datetime.now(UTC)
    found = _opened(url).calls(
        since=since, until=until, limit=limit, order=order, newest_first=newest_first,
        offset=offset, **dict(filters),
    )  # fmt: skip
    return list(found), asked


def calls(
    viewer: Viewer,
    question: Question,
    *,
    search: str = "",
    basis: str | None = None,
    outcome: str | None = None,
    order: str = "started",
    descending: bool = True,
    offset: int = 0,
    limit: int = 50,
) -> list[CallRow]:
    """Return one page of calls."""
    asked = allowed(viewer, question)
    more = {"search": search, "basis": basis, "outcome": outcome}
    filters = asked.filters() + tuple((name, text) for name, text in more.items() if text)
    found, at = _calls(
        settings().database_url, asked.since, asked.until, limit, order, descending, offset,
        filters,
    )  # fmt: skip
    _note(at)
    return found


def call(viewer: Viewer, call_id: str) -> CallRow | None:
    """Return one call, None when there is none that this viewer may see."""
    filters = (("id", call_id),)
    if not viewer.sees_everything:
        filters += (("subject", viewer.subject or ""),)
    found, at = _calls(settings().database_url, None, None, 1, "started", True, 0, filters)
    _note(at)
    return found[0] if found else None


def moment(at_us: int | None, zone: ZoneInfo) -> datetime | None:
    """Return microseconds UTC as a moment of a zone."""
    return None if at_us is None else datetime_of(at_us).astimezone(zone)


def duration_us(call: CallRow) -> int | None:
    """Return how long a call took."""
    return None if call.ended_us is None else call.ended_us - call.started_us


def book_of(viewer: Viewer, question: Question) -> Book:
    """Return whose amounts this viewer sees."""
    book: Book = allowed(viewer, question).book  # type: ignore[assignment]
    return book


def charge(call: CallRow, book: Book) -> Charge:
    """Return what a call costs in a price book, without its lines."""
    return charge_in(call, book)


def lines(call: CallRow, book: Book) -> list[tuple[ChargeLine, Decimal, Decimal]]:
    """Return the charge lines of a call, each with its exact price and amount."""
    return [
        (line, nanos_to_decimal(line.nanos), nanos_to_decimal(line.amount_nanos))
        for line in ledger().lines(call, book)
    ]


def card_source(call: CallRow, card_id: str) -> str:
    """Return where the rate card of a call came from, "" when the price book no longer has it."""
    for model in (call.model_served, call.model_requested):
        card = _card(call.provider, model, card_id) if model else None
        if card is not None:
            return f"{card.source}, {card.checked}".strip(", ")
    return ""


def unit_label(name: str) -> str:
    """Return how a unit is called."""
    return UNITS[name].label if name in UNITS else name


# --- models and prices -----------------------------------------------------------------------


@st.cache_data(ttl=REFRESH_SECONDS, max_entries=100, show_spinner=False)
def _timings(
    url: str,
    since: datetime,
    until: datetime,
    filters: tuple[tuple[str, str], ...],
) -> list[TimingRow]:
    return _opened(url).timings(since=since, until=until, **dict(filters))


def timings(viewer: Viewer, question: Question) -> list[TimingRow]:
    """Return how long the newest calls of the interval took, by model."""
    asked = allowed(viewer, question)
    return _timings(settings().database_url, asked.since, asked.until, asked.filters())


@dataclass(frozen=True)
class Price:
    """A standard price from a moment on, for a million of the unit; None: no price from then."""

    start: datetime | None
    unit: str
    price: Decimal | None
    currency: str | None
    source: str


def providers_of(model: str) -> list[str]:
    """Return who the ledger knows as providers of a model."""
    return [provider for provider, name in _names(settings().database_url)[1] if name == model]


def price_history(provider: str, model: str) -> list[Price]:
    """Return the standard prices of a model over time, oldest first; only what changed."""
    found: list[Price] = []
    known: dict[str, tuple[Decimal | None, str | None]] = {}
    for start_us, _, card in ledger().prices.history(provider, model):
        start = datetime_of(start_us) if start_us else None
        if card is None:
            found.append(Price(start, "input_tokens", None, None, ""))
            known.clear()
            continue
        rates = card.rates_for(STANDARD, start_us, 0, {}) or {}
        for unit, rate in rates.items():
            if rate.per != 1_000_000 and not unit.endswith("_tokens"):
                continue
            price = nanos_to_decimal(rate.nanos) * 1_000_000 / rate.per
            source = f"{card.source}, {card.checked}".strip(", ")
            if known.get(unit) != (price, card.currency):
                known[unit] = (price, card.currency)
                found.append(Price(start, unit, price, card.currency, source))
    return found


def price_points(found: Sequence[Price], units: Sequence[str]) -> list[Price]:
    """Return the prices of the units as points of a timeline that reaches until now.

    A price that held from the beginning of time begins a year before the next one, or before now.
    """
    now = datetime.now(UTC)
    points: list[Price] = []
    for unit in units:
        of_unit = [price for price in found if price.unit == unit]
        if not of_unit:
            continue
        later = [price.start for price in found if price.start is not None]
        first = min(later, default=now) - timedelta(days=365)
        points += [replace(price, start=price.start or first) for price in of_unit]
        points.append(replace(of_unit[-1], start=max(now, *later) if later else now))
    return points


def figures_with_output(viewer: Viewer, question: Question) -> Decimal | None:
    """Return what the calls of models that answer in tokens cost in the interval."""
    rows = [r for r in comparing.regrouped(_cube(viewer, question), 1) if r.output_tokens]
    return _figures(rows, question.currency).cost


def alternatives(
    viewer: Viewer, question: Question
) -> list[tuple[str, str | None, Decimal | None]]:
    """Return (model, currency, cost) of the interval's tokens on every other model in use."""
    rows = [r for r in comparing.regrouped(_cube(viewer, question), 1) if r.output_tokens]
    known = _names(settings().database_url)[1]
    found = whatif.alternatives(rows, known, ledger().prices, now_us())
    return [(a.model, a.currency, _decimal(a.cost_nanos)) for a in found if a.currency]


# --- budgets, keys, accuracy -----------------------------------------------------------------


@dataclass(frozen=True)
class BudgetView:
    """A budget as the pages show it; amounts in `unit`, which is a currency, tokens or calls."""

    name: str
    scope: str
    measure: str
    unit: str
    window: str
    tz: str
    limit: Decimal
    spent: Decimal
    held: Decimal
    left: Decimal
    used_permille: int | None
    window_start: datetime
    window_end: datetime | None
    runs_out: datetime | None
    expected: Decimal | None
    is_rolling: bool


@st.cache_data(ttl=REFRESH_SECONDS, show_spinner=False)
def _budgets(url: str) -> tuple[list[BudgetRow], datetime]:
    return _opened(url).budgets(), datetime.now(UTC)


def budgets(viewer: Viewer, *, subject: str | None = None) -> list[BudgetView]:
    """Return the budgets that this viewer may see; of one subject only where it is named."""
    rows, at = _budgets(settings().database_url)
    _note(at)
    wanted = subject if viewer.sees_everything else viewer.subject
    if wanted is not None:
        own = {key.id for key in _keys(settings().database_url) if key.subject == wanted}
        rows = [row for row in rows if _belongs(row, wanted, own)]
    return [_budget_view(row) for row in rows]


def _belongs(row: BudgetRow, subject: str, key_ids: set[str]) -> bool:
    scope = row.budget.scope
    if scope.kind == "subject":
        return scope.value == subject
    return scope.kind == "key" and scope.value in key_ids


def _budget_view(row: BudgetRow) -> BudgetView:
    budget, standing = row.budget, row.standing
    is_money = budget.measure == "money"

    def shown(number: int) -> Decimal:
        return nanos_to_decimal(number) if is_money else Decimal(number)

    paced = pacing.pace(row, now_us())
    zone = ZoneInfo(budget.window.tz)

    def local(at_us: int | None) -> datetime | None:
        return None if at_us is None else datetime_of(at_us).astimezone(zone)

    start = local(row.window_start_us)
    assert start is not None
    return BudgetView(
        name=budget.id,
        scope=f"{budget.scope.kind} {budget.scope.value}".strip(),
        measure=str(budget.measure),
        unit=(budget.currency or "") if is_money else str(budget.measure),
        window=budget.window.name,
        tz=budget.window.tz,
        limit=shown(budget.limit),
        spent=shown(standing.spent),
        held=shown(standing.held),
        left=shown(row.left),
        used_permille=paced.used_permille,
        window_start=start,
        window_end=local(row.window_end_us),
        runs_out=local(paced.runs_out_us),
        expected=None if paced.expected is None else shown(paced.expected),
        is_rolling=budget.window.is_rolling,
    )


def limits_of(viewer: Viewer, question: Question, window: str) -> list[BudgetView]:
    """Return the money budgets over exactly what the question asks about, in such a window."""
    asked = allowed(viewer, question)
    scope = "everything"
    if asked.subject:
        scope = f"subject {asked.subject}"
    if asked.model:
        scope = f"model {asked.model}"
    if asked.tag:
        scope = f"tag {asked.tag}"
    if sum(bool(part) for part in (asked.subject, asked.model, asked.tag)) > 1:
        return []
    return [
        view
        for view in budgets(viewer)
        if view.scope == scope and view.unit == asked.currency and view.window == window
        and view.tz == asked.tz
    ]  # fmt: skip


@dataclass(frozen=True)
class CreditView:
    """The prepaid credit of a subject in one currency, and its grants; exact amounts."""

    subject: str
    currency: str
    balance: Decimal
    held: Decimal
    free: Decimal
    used: Decimal
    grants: tuple["GrantView", ...]


@dataclass(frozen=True)
class GrantView:
    """One credit grant; `ends` None: it never ends."""

    amount: Decimal
    left: Decimal
    granted: datetime
    ends: datetime | None
    state: str
    reason: str


@st.cache_data(ttl=REFRESH_SECONDS, show_spinner=False)
def _credits(url: str, subject: str | None) -> tuple[list[Credit], list[Grant], datetime]:
    kept = _opened(url).credits
    return kept.balances(subject), kept.grants(subject), datetime.now(UTC)


def credits(viewer: Viewer, *, subject: str | None = None) -> list[CreditView]:
    """Return the prepaid credit that this viewer may see; of one subject where it is named."""
    wanted = subject if viewer.sees_everything else viewer.subject
    accounts, grants, at = _credits(settings().database_url, wanted)
    _note(at)
    return [
        CreditView(
            subject=one.subject,
            currency=one.currency,
            balance=nanos_to_decimal(one.balance_nanos),
            held=nanos_to_decimal(one.held_nanos),
            free=nanos_to_decimal(one.free_nanos),
            used=nanos_to_decimal(one.used_nanos),
            grants=tuple(
                GrantView(
                    amount=nanos_to_decimal(grant.amount_nanos),
                    left=nanos_to_decimal(grant.left_nanos),
                    granted=datetime_of(grant.granted_us),
                    ends=None if grant.ends_us is None else datetime_of(grant.ends_us),
                    state=grant.state_at(now_us()),
                    reason=grant.reason,
                )
                for grant in grants
                if (grant.subject, grant.currency) == (one.subject, one.currency)
            ),
        )
        for one in accounts
    ]


@st.cache_data(ttl=KEY_SECONDS, show_spinner=False)
def _keys(url: str) -> list[Key]:
    return _opened(url).keys.all()


@dataclass(frozen=True)
class KeyView:
    """A key as the pages show it, without its secret."""

    prefix: str
    name: str
    state: str
    created: datetime
    expires: datetime | None
    models: tuple[str, ...] | None


def keys(viewer: Viewer, subject: str | None) -> list[KeyView]:
    """Return the keys of a subject that this viewer may see."""
    wanted = subject if viewer.sees_everything else viewer.subject
    return [
        KeyView(
            prefix=key.prefix,
            name=key.name,
            state=key.state_at(now_us()),
            created=datetime_of(key.created_us),
            expires=None if key.expires_us is None else datetime_of(key.expires_us),
            models=key.models,
        )
        for key in _keys(settings().database_url)
        if key.subject == wanted
    ]


def key_of(secret: str) -> Key | None:
    """Return the active key of a secret, None for any other text."""
    key = ledger().keys.find(secret.strip())
    return key if key is not None and key.state_at(now_us()) == "active" else None


@st.cache_data(ttl=KEY_SECONDS, show_spinner=False)
def still_active(url: str, key_id: str) -> bool:
    """Whether a key may still look."""
    key = _opened(url).keys.one(key_id)
    return key is not None and key.state_at(now_us()) == "active"


@st.cache_data(ttl=REFRESH_SECONDS, show_spinner=False)
def _accuracy(url: str, since: datetime, until: datetime) -> list[AccuracyRow]:
    return _opened(url).accuracy(since=since, until=until)


def accuracy(viewer: Viewer, question: Question) -> list[AccuracyRow]:
    """Return how estimates compared with reports, by model; not for a customer's eyes."""
    if not viewer.sees_everything:
        return []
    rows = _accuracy(settings().database_url, question.since, question.until)
    return [row for row in rows if question.model in (None, row.model)]


def estimates(viewer: Viewer, question: Question) -> list[tuple[str, int, int]]:
    """Return (model, estimated, reported) input tokens of the newest calls with both."""
    found = calls(viewer, question, basis="reported", limit=_MOST_CALLS_LOOKED_AT)
    return [
        (call.model or "", call.estimated_input_tokens, int(call.usage["input_tokens"]))
        for call in found
        if call.estimated_input_tokens and call.usage and call.usage.get("input_tokens")
    ]


def basis_counts(viewer: Viewer, question: Question) -> Mapping[str, int]:
    """Return how many calls have which basis."""
    rows = _cube(viewer, question)
    counts = {"estimated": sum(r.estimated for r in rows), "unknown": sum(r.unknown for r in rows)}
    counts["reported"] = sum(row.calls for row in rows) - sum(counts.values())
    return counts


def costs_of(steps: Sequence[Step]) -> list[Decimal | None]:
    """Return the exact amounts of steps."""
    return [_decimal(step.cost_nanos) for step in steps]


def trends(viewer: Viewer, question: Question, group: str) -> dict[str | None, list[float]]:
    """Return for each value of a group what each step of time cost, as numbers to draw."""
    starts_known = {start: place for place, start in enumerate(starts(question))}
    found: dict[str | None, list[float]] = {}
    for row in _cube(viewer, question, group):
        if row.currency == question.currency and row.group[0] in starts_known:
            line = found.setdefault(row.group[1], [0.0] * len(starts_known))
            line[starts_known[row.group[0]]] += float(nanos_to_decimal(row.cost_nanos or 0))
    return found


def starts(question: Question) -> list[str]:
    """Return every step of the interval until now, as the sums write it."""
    return _starts(question.since, min(question.until, datetime.now(UTC)), question)


def count_values(viewer: Viewer, question: Question, group: str) -> int:
    """Return how many values of a group have calls in the interval."""
    return len({row.group[1] for row in _cube(viewer, question, group)})


def place() -> str:
    """Return where the ledger lies, without a password."""
    return make_url_text(settings().database_url)


def forget() -> None:
    """Forget every answer and every open ledger, to try again."""
    st.cache_data.clear()
    close()


def make_url_text(url: str) -> str:
    """Return a database address without its password."""
    head, at, tail = url.rpartition("@")
    if not at:
        return url
    scheme, _, user = head.partition("://")
    return f"{scheme}://{user.partition(':')[0]}@{tail}"


# --- files -----------------------------------------------------------------------------------

EXPORTS = ("usage", "calls", "lines", "entries")
FORMATS = ("csv", "xlsx", "jsonl", "parquet")
GROUPS = ("day", "subject", "model", "provider", "endpoint", "key", "outcome", "basis", "month",
          "week", "hour")  # fmt: skip
MOST_EXPORTED = 200_000
"""More calls than this are for the command line, which streams them."""


@dataclass(frozen=True)
class Export:
    """What is to be exported: `of` one of EXPORTS, sums grouped `by`, in one of FORMATS."""

    of: str
    format: str
    by: tuple[str, ...]


class _EnoughRows(Exception):
    """Stops an export whose first rows are enough."""


def _only_for_all(viewer: Viewer) -> None:
    """Refuse a customer: exports and bills show what we owe."""
    if not viewer.sees_everything:
        raise PermissionError("found a customer, expected one who may see everything")


def _exported(
    viewer: Viewer, question: Question, wanted: Export, *, format: str, enough: int | None = None
) -> bytes:
    _only_for_all(viewer)
    filters = () if wanted.of == "entries" else question.filters()
    written = BytesIO()

    def stop(rows: int) -> None:
        if enough is not None and rows >= enough:
            raise _EnoughRows

    with suppress(_EnoughRows):
        ledger().export(
            format, written, of=wanted.of, by=wanted.by, book=book_of(viewer, question),
            since=question.since, until=question.until, tz=question.tz, progress=stop,
            **dict(filters),
        )  # fmt: skip
    return written.getvalue()


def export_bytes(viewer: Viewer, question: Question, wanted: Export) -> bytes:
    """Return the file: the bytes that `meter export` writes for the same question."""
    return _exported(viewer, question, wanted, format=wanted.format)


def export_preview(
    viewer: Viewer, question: Question, wanted: Export, rows: int
) -> tuple[list[str], list[list[str]]]:
    """Return the names of the columns and the first rows of a file, as texts."""
    text = _exported(viewer, question, wanted, format="csv", enough=rows).decode()
    lines = list(islice(csv.reader(StringIO(text)), rows + 1))
    return lines[0] if lines else [], lines[1:]


def export_command(question: Question, wanted: Export) -> str:
    """Return the command that writes the same file."""
    zone = ZoneInfo(question.tz)
    parts = ["meter", "export", wanted.format, "--of", wanted.of]
    if wanted.of == "usage":
        parts += ["--by", ",".join(wanted.by)]
    if wanted.of == "lines" and question.book != "cost":
        parts += ["--book", question.book]
    parts += ["--since", question.since.astimezone(zone).date().isoformat()]
    parts += ["--until", question.until.astimezone(zone).date().isoformat(), "--tz", question.tz]
    if wanted.of != "entries":
        for name, text in question.filters():
            parts += [f"--{name}", text]
    parts += ["-o", f"{wanted.of}.{wanted.format}"]
    return shlex.join(parts)


def count_calls(viewer: Viewer, question: Question) -> int:
    """Return how many calls the interval has."""
    return figures(viewer, question).totals.calls


@dataclass(frozen=True)
class InvoiceView:
    """An invoice, a credit note or a draft; exact amounts."""

    number: str | None
    kind: str
    subject: str
    period: str
    issued: datetime
    subtotal: Decimal
    tax: Decimal
    total: Decimal
    currency: str
    voided_by: str | None
    unpriced_calls: int
    lines: tuple[tuple[str, str, str, Decimal, int, Decimal], ...]
    """Model, unit, quantity, price, per how many, amount."""
    document: Document


def invoices(viewer: Viewer, *, subject: str | None = None) -> list[InvoiceView]:
    """Return the issued invoices that this viewer may see, the latest first."""
    wanted = subject if viewer.sees_everything else viewer.subject
    if wanted is None and not viewer.sees_everything:
        raise PermissionError("found a viewer without a subject, expected one to narrow to")
    return [_invoice_view(one) for one in reversed(ledger().invoices(subject=wanted))]


def invoice_draft(viewer: Viewer, subject: str, period: str, tz: str) -> list[InvoiceView]:
    """Return what would be issued to a subject for a period such as "2026-11"; nothing is."""
    _only_for_all(viewer)
    return [_invoice_view(one) for one in ledger().invoice(subject, period, tz=tz, draft=True)]


def invoice_command(subject: str, period: str, tz: str) -> str:
    """Return the command that issues the invoice."""
    parts = ["meter", "invoice", "--subject", subject, "--period", period, "--tz", tz]
    return shlex.join([*parts, "-o", f"{period}.pdf"])


def invoice_file(view: InvoiceView, format: str, language: str) -> bytes:
    """Return an invoice as "json", as it was issued, or as "pdf"."""
    if format == "json":
        return view.document.content.encode()
    return to_pdf(view.document.invoice, "zh" if language == "zh" else "en")


def _invoice_view(document: Document) -> InvoiceView:
    invoice = document.invoice
    return InvoiceView(
        number=invoice.number,
        kind=str(invoice.kind),
        subject=invoice.subject,
        period=invoice.period.name,
        issued=datetime_of(invoice.issued_us).astimezone(ZoneInfo(invoice.period.tz)),
        subtotal=nanos_to_decimal(invoice.subtotal_nanos),
        tax=nanos_to_decimal(invoice.tax_nanos),
        total=nanos_to_decimal(invoice.total_nanos),
        currency=invoice.currency,
        voided_by=document.voided_by,
        unpriced_calls=invoice.unpriced_calls,
        lines=tuple(
            (
                line.item.model or "",
                line.item.unit,
                f"{line.quantity:,}",
                nanos_to_decimal(line.item.nanos),
                line.item.per,
                nanos_to_decimal(line.amount_nanos),
            )
            for line in invoice.lines
        ),
        document=document,
    )


# --- bills -----------------------------------------------------------------------------------

BILL_KINDS = KINDS


@dataclass(frozen=True)
class BillTotal:
    """Both sides' sum of one unit or currency; None where the bill does not say it."""

    name: str
    theirs: Decimal | None
    ours: Decimal
    difference: Decimal | None


@dataclass(frozen=True)
class BillDifference:
    """One difference between a bill and the ledger, theirs less ours, with its reason."""

    reason: str
    start: datetime
    end: datetime
    model: str | None
    sentence: str
    calls: int | None
    amount: Decimal | None
    currency: str | None
    call_ids: tuple[str, ...]
    settles: bool


@dataclass(frozen=True)
class Reconciled:
    """A bill held against the ledger."""

    agrees: bool
    start: datetime
    end: datetime
    totals: tuple[BillTotal, ...]
    differences: tuple[BillDifference, ...]


def providers(viewer: Viewer) -> list[str]:
    """Return who ever served a call."""
    _only_for_all(viewer)
    return sorted({provider for provider, _ in _names(settings().database_url)[1]})


def reconcile(
    viewer: Viewer,
    kind: str,
    files: Sequence[tuple[str, bytes]],
    *,
    provider: str,
    tolerance: str,
    tz: str,
    columns: Mapping[str, str],
    currency: str | None,
) -> Reconciled:
    """Hold a bill's files (name, content) against the ledger. Raises: LedgerError."""
    _only_for_all(viewer)
    with TemporaryDirectory(prefix="meter-bill-") as folder:
        paths = []
        for number, (name, content) in enumerate(files):
            path = Path(folder, str(number), Path(name).name or "bill")
            path.parent.mkdir()
            path.write_bytes(content)
            paths.append(path)
        bill = read_bill(kind, paths, columns=columns, tz=tz, currency=currency)
    found = ledger().reconcile(bill, provider=provider, tolerance=tolerance, tz=tz)
    zone = ZoneInfo(tz)
    return Reconciled(
        agrees=found.agrees,
        start=datetime_of(found.start_us).astimezone(zone),
        end=datetime_of(found.end_us).astimezone(zone),
        totals=tuple(_bill_total(one) for one in found.totals),
        differences=tuple(
            BillDifference(
                reason=str(one.reason),
                start=datetime_of(one.start_us).astimezone(zone),
                end=datetime_of(one.end_us).astimezone(zone),
                model=one.model,
                sentence=one.sentence,
                calls=one.calls,
                amount=_decimal(one.amount_nanos),
                currency=one.currency,
                call_ids=tuple(str(call_id) for call_id in one.call_ids),
                settles=one.settles is not None,
            )
            for one in found.differences
        ),
    )


def _bill_total(total: Total) -> BillTotal:
    def exact(number: Decimal | int | None) -> Decimal | None:
        if number is None:
            return None
        return nanos_to_decimal(int(number)) if total.is_money else Decimal(number)

    return BillTotal(
        total.name, exact(total.theirs), exact(total.ours) or Decimal(0), exact(total.difference)
    )
