"""Look at calls one by one, and at how good their estimates were."""

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

import streamlit as st

from data.asking import REFRESH_SECONDS, Question, Viewer, allowed, ledger, note, opened, settings
from meter.core.calibrating import LEAST_SAMPLES, Calibration
from meter.core.money import nanos_to_decimal
from meter.core.rates import RateCard
from meter.core.rating import Charge, ChargeLine
from meter.reports.charging import Book, charge_in
from meter.store.calibration import Place
from meter.store.reads import AccuracyRow, CallRow

_MOST_CALLS_LOOKED_AT = 2_000

MOST_ESTIMATES = 20_000
"""How many calls' estimates are compared with reports: the newest."""


def card_named(provider: str, model: str, card_id: str) -> RateCard | None:
    """Return the card of that id, as the price book knows the model's cards."""
    for _, _, card in ledger().prices.history(provider, model):
        if card is not None and card.id == card_id:
            return card
    return None


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
    found = opened(url).calls(
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
    note(at)
    return found


def call(viewer: Viewer, call_id: str) -> CallRow | None:
    """Return one call, None when there is none that this viewer may see."""
    filters = (("id", call_id),)
    if not viewer.sees_everything:
        filters += (("subject", viewer.subject or ""),)
    found, at = _calls(settings().database_url, None, None, 1, "started", True, 0, filters)
    note(at)
    return found[0] if found else None


def duration_us(call: CallRow) -> int | None:
    """Return how long a call took."""
    return None if call.ended_us is None else call.ended_us - call.started_us


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
        card = card_named(call.provider, model, card_id) if model else None
        if card is not None:
            return f"{card.source}, {card.checked}".strip(", ")
    return ""


@st.cache_data(ttl=REFRESH_SECONDS, show_spinner=False)
def _accuracy(url: str, since: datetime, until: datetime) -> list[AccuracyRow]:
    return opened(url).accuracy(since=since, until=until, limit=MOST_ESTIMATES)


def accuracy(viewer: Viewer, question: Question) -> list[AccuracyRow]:
    """Return how the newest estimates compared with reports, by model; not for a customer."""
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


@dataclass(frozen=True)
class CalibrationView:
    """How estimates of one model and kind of content are corrected: tokens x ratio + offset.

    The errors are medians of |estimate - reported| / reported on calls that the correction was not
    fitted to; None with too few samples.
    """

    provider: str
    model: str
    kind: str
    samples: int
    ratio: float
    offset: int
    before: float | None
    after: float | None


def calibrations(viewer: Viewer, question: Question) -> list[CalibrationView]:
    """Return how estimates are corrected now, by model and kind; not for a customer's eyes."""
    if not viewer.sees_everything:
        return []
    return [
        CalibrationView(
            *place,
            samples=found.samples,
            ratio=found.ratio_ppm / 1_000_000,
            offset=found.offset,
            before=found.before_ppm / 1_000_000 if found.samples >= LEAST_SAMPLES else None,
            after=found.after_ppm / 1_000_000 if found.samples >= LEAST_SAMPLES else None,
        )
        for place, found in _calibrations(settings().database_url)
        if question.model in (None, place.model)
    ]


@st.cache_data(ttl=REFRESH_SECONDS, show_spinner=False)
def _calibrations(url: str) -> list[tuple[Place, Calibration]]:
    return opened(url).calibrations()
