"""Open the ledger, say who asks what, and narrow every question to who asks it.

What a customer may see is decided here, whatever page or address a question came from. Called by
every other file of this room.
"""

import json
import os
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import streamlit as st
from streamlit.runtime.scriptrunner import add_script_run_ctx

from meter import Meter
from meter.config import Settings, load_settings
from meter.core.money import nanos_to_decimal
from meter.core.rates import datetime_of
from meter.errors import MeterError
from meter.reports import comparing
from meter.reports.charging import Book
from meter.store.reads import UsageRow

LedgerError = MeterError
"""What goes wrong in here, in one sentence for a person."""

REFRESH_SECONDS = 10
"""How old an answer may be."""

KEY_SECONDS = 5
"""How long a revoked key may still look."""


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


@st.cache_resource(show_spinner=False)
def opened(url: str) -> Meter:
    """Return the ledger at an address, opened once for this server."""
    meter = Meter(url, read_only=True)
    _OPEN.append(meter)
    return meter


_OPEN: list[Meter] = []
"""What `close` closes."""


def close() -> None:
    """Close every ledger that was opened here; the next question opens it again."""
    while _OPEN:
        _OPEN.pop().close()
    opened.clear()


def ledger() -> Meter:
    """Return the ledger that the settings name, opened once for this server."""
    return opened(settings().database_url)


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


def note(asked: datetime) -> None:
    """Remember when an answer was read, if it is the oldest of this run."""
    known = st.session_state.get("_as_of")
    st.session_state["_as_of"] = asked if known is None else min(known, asked)


# As a resource: rows never change, and copying thousands of them for each question costs more
# than most answers.
@st.cache_resource(ttl=REFRESH_SECONDS, max_entries=500, show_spinner=False)
def _usage(
    url: str,
    by: tuple[str, ...],
    since: datetime | None,
    until: datetime | None,
    tz: str,
    filters: tuple[tuple[str, str], ...],
) -> tuple[tuple[UsageRow, ...], datetime]:
    asked = datetime.now(UTC)
    return tuple(opened(url).usage(by, since=since, until=until, tz=tz, **dict(filters))), asked


def allowed(viewer: Viewer, question: Question) -> Question:
    """Return the question as this viewer may ask it."""
    if viewer.sees_everything:
        return question
    if viewer.subject is None:
        raise PermissionError("found a viewer without a subject, expected one to narrow to")
    return replace(question, subject=viewer.subject, book="billed")


def rows_of(
    viewer: Viewer,
    question: Question,
    *by: str,
    since: datetime | None = None,
    until: datetime | None = None,
    subjects: Sequence[str] = (),
) -> list[UsageRow]:
    """Return sums of the interval, or of another, by these names; of these subjects, if any."""
    asked = allowed(viewer, question)
    start, end = since or asked.since, until or asked.until
    filters = asked.filters()
    if subjects:
        filters += (("subjects", json.dumps(subjects)),)
    rows, at = _usage(settings().database_url, by, start, end, asked.tz, filters)
    note(at)
    return comparing.in_book(rows, asked.book)


def ask_ahead(viewer: Viewer, question: Question, *by: str) -> None:
    """Begin to sum up what `rows_of` will be asked for at the end of a page, while that is drawn.

    Of the interval and of the one before. An answer that is there already is left alone.
    """
    asked = allowed(viewer, question)
    url = settings().database_url
    for start, end in ((asked.since, asked.until), asked.before):
        thread = threading.Thread(
            target=_ask, args=(url, by, start, end, asked.tz, asked.filters()), daemon=True
        )
        # A question asked here and one asked by the page are the same question.
        add_script_run_ctx(thread)
        thread.start()


def _ask(*question: Any) -> None:
    # Whoever asks after this one is told what is wrong.
    with suppress(MeterError):
        _usage(*question)


def cube(viewer: Viewer, question: Question, group: str = "model") -> list[UsageRow]:
    """Return the sums by step of time and group: most figures of a page follow from this answer.

    Rows by model have the provider as a third name.
    """
    by = (question.span, group, "provider") if group == "model" else (question.span, group)
    return rows_of(viewer, question, *by)


def microseconds(moment: datetime) -> int:
    """Return a moment as microseconds UTC."""
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def amount(nanos: int | None) -> Decimal | None:
    """Return nanos as an exact amount, None for unknown."""
    return None if nanos is None else nanos_to_decimal(nanos)


def moment(at_us: int | None, zone: ZoneInfo) -> datetime | None:
    """Return microseconds UTC as a moment of a zone."""
    return None if at_us is None else datetime_of(at_us).astimezone(zone)


def book_of(viewer: Viewer, question: Question) -> Book:
    """Return whose amounts this viewer sees."""
    book: Book = allowed(viewer, question).book  # type: ignore[assignment]
    return book


def place() -> str:
    """Return where the ledger lies, without a password."""
    return make_url_text(settings().database_url)


def forget() -> None:
    """Forget every answer and every open ledger, to try again."""
    st.cache_data.clear()
    _usage.clear()
    close()


def make_url_text(url: str) -> str:
    """Return a database address without its password."""
    head, at, tail = url.rpartition("@")
    if not at:
        return url
    scheme, _, user = head.partition("://")
    return f"{scheme}://{user.partition(':')[0]}@{tail}"


def require_all(viewer: Viewer) -> None:
    """Refuse a customer: exports and bills show what we owe."""
    if not viewer.sees_everything:
        raise PermissionError("found a customer, expected one who may see everything")
