"""Keep what the pages are about (period, zone, currency, subject, model, tag) in the address.

A link reproduces the view: what the address says is taken over when a session begins and whenever
it changes by itself (back, forward, a link); what a person then chooses is written back. Names in
the address are the same in every language. Called by the app before each page is drawn.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import data
import streamlit as st
from data import Question, Viewer
from texts import LANGUAGES, language, t

PERIODS = ("today", "yesterday", "7d", "30d", "90d", "month", "last_month", "custom")
ZONES = (
    "UTC", "America/Los_Angeles", "America/New_York", "America/Sao_Paulo", "Europe/London",
    "Europe/Berlin", "Europe/Kyiv", "Asia/Dubai", "Asia/Kolkata", "Asia/Shanghai", "Asia/Tokyo",
    "Australia/Sydney",
)  # fmt: skip
GROUPS = ("model", "subject")
BOOKS = ("cost", "list", "billed")
ORDERS = ("started", "cost", "duration", "input_tokens", "output_tokens")
_MOST_DAYS = 400


@dataclass(frozen=True)
class Field:
    """One part of the view: its default, and which texts of an address it takes."""

    default: str | None
    accepts: Callable[[str], bool]


def _is_day(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _is_name(text: str) -> bool:
    return 0 < len(text) <= 256 and text.isprintable()


FIELDS: Mapping[str, Field] = {
    "period": Field("month", PERIODS.__contains__),
    "from": Field(None, _is_day),
    "to": Field(None, _is_day),
    "tz": Field(None, lambda text: text in available_timezones()),
    "book": Field("cost", BOOKS.__contains__),
    "currency": Field(None, lambda text: len(text) == 3 and text.isalpha()),
    "subject": Field(None, _is_name),
    "model": Field(None, _is_name),
    "tag": Field(None, lambda text: _is_name(text) and "=" in text),
    "by": Field("model", GROUPS.__contains__),
    "search": Field("", _is_name),
    "basis": Field(None, ("reported", "estimated", "unknown").__contains__),
    "order": Field("started", ORDERS.__contains__),
    "page": Field("1", lambda text: text.isdecimal() and 0 < int(text) <= 100_000),
    "call": Field(None, _is_name),
    "lang": Field(None, LANGUAGES.__contains__),
    "live": Field("off", ("on", "off").__contains__),
}
"""Everything that an address may say, by its name there and in the session."""


def take_address() -> None:
    """Take over what the address says, where it says something that this session did not write."""
    given = dict(st.query_params)
    written = st.session_state.get("_written")
    if written is not None and (not given or given == written):
        return
    for name, field in FIELDS.items():
        text = given.get(name)
        if text is not None and field.accepts(text):
            st.session_state[name] = text
        elif written is not None or name not in st.session_state:
            st.session_state[name] = field.default
    for name in ("from", "to"):
        day = st.session_state[name]
        st.session_state[f"_{name}"] = date.fromisoformat(day) if day else None


def write_address() -> None:
    """Write the view into the address, without what is as usual."""
    wanted = {
        name: str(st.session_state[name])
        for name, field in FIELDS.items()
        if st.session_state.get(name) not in (None, "", field.default)
    }
    if st.session_state.get("period") != "custom":
        wanted.pop("from", None)
        wanted.pop("to", None)
    if dict(st.query_params) != wanted:
        st.query_params.from_dict(wanted)
    st.session_state["_written"] = wanted


def draw(viewer: Viewer) -> Question:
    """Draw the filter into the sidebar and return what it asks."""
    with st.sidebar:
        st.selectbox(
            t("filter.period"), PERIODS, key="period", format_func=lambda p: t(f"period.{p}")
        )
        if st.session_state["period"] == "custom":
            _draw_days()
        st.session_state["tz"] = st.session_state["tz"] or _zone_of_browser()
        zones = sorted({*ZONES, st.session_state["tz"]}, key=_by_offset)
        st.selectbox(
            t("filter.tz"), zones, key="tz", accept_new_options=True, on_change=_check_zone
        )
        asked = question()
        if viewer.sees_everything:
            _draw_name("subject", data.subjects(viewer), t("all.subjects"))
        else:
            reset("subject", "book")
        _draw_name("model", data.models(viewer, asked), t("all.models"))
        _draw_name("tag", data.tags(viewer), t("all.tags"))
        _draw_book(viewer)
        known = data.currencies(viewer, question())
        _draw_currency(known)
        st.toggle(t("filter.live"), key="_live", value=st.session_state["live"] == "on",
                  on_change=_keep_live, help=t("filter.live.help"))  # fmt: skip
        st.segmented_control(
            t("filter.language"), LANGUAGES, key="lang", format_func=LANGUAGES.__getitem__,
            label_visibility="collapsed", default=None,
        )  # fmt: skip
    return question(known)


def question(currencies: list[str] | None = None, now: datetime | None = None) -> Question:
    """Return what the session asks at the moment.

    `currencies` are those of the interval, the usual one first; the first stands where none, or
    one that is not there, was chosen.
    """
    state = st.session_state
    tz = state.get("tz") or "UTC"
    days = (state.get("_from"), state.get("_to"))
    since, until, before = interval(state["period"], days, tz, now or datetime.now(UTC))
    currency = state.get("currency")
    if currencies is not None and currency not in currencies:
        currency = currencies[0] if currencies else currency
    return Question(
        since=since,
        until=until,
        before=before,
        tz=tz,
        span=span_of(since, until),
        book=state.get("book") or "cost",
        currency=currency,
        subject=state.get("subject") or None,
        model=state.get("model") or None,
        tag=state.get("tag") or None,
    )


def interval(
    period: str, days: tuple[date | None, date | None], tz: str, now: datetime
) -> tuple[datetime, datetime, tuple[datetime, datetime]]:
    """Return since and until of a period, and the interval before it to compare with.

    All are midnights of the zone, half-open; where the period is not over yet, the interval
    before is cut to as much of it as has passed of this one, to the minute.
    """
    zone = ZoneInfo(tz)
    today = now.astimezone(zone).date()
    first, after, earlier = _days_of(period, days, today)
    since, until, start = (
        datetime.combine(day, datetime.min.time(), zone) for day in (first, after, earlier)
    )
    end = since
    if since <= now < until:
        passed = now.astimezone(zone).replace(second=0, microsecond=0, tzinfo=None) - datetime(
            first.year, first.month, first.day
        )
        local = datetime(earlier.year, earlier.month, earlier.day) + passed
        end = min(local.replace(tzinfo=zone), since)
    return since, until, (start, end)


def _days_of(
    period: str, days: tuple[date | None, date | None], today: date
) -> tuple[date, date, date]:
    """Return the first day, the day after the last, and the first day of the period before."""
    one = timedelta(days=1)
    if period in ("7d", "30d", "90d"):
        length = timedelta(days=int(period[:-1]))
        return today + one - length, today + one, today + one - 2 * length
    if period == "yesterday":
        return today - one, today, today - 2 * one
    if period in ("month", "last_month"):
        first = today.replace(day=1)
        before = (first - one).replace(day=1)
        if period == "month":
            return first, (first + timedelta(days=32)).replace(day=1), before
        return before, first, (before - one).replace(day=1)
    if period == "custom":
        start, end = days
        start = start or (end or today)
        end = max(end or today, start)
        end = min(end, start + timedelta(days=_MOST_DAYS))
        return start, end + one, start - (end + one - start)
    return today, today + one, today - one


def span_of(since: datetime, until: datetime) -> str:
    """Return the step in which an interval is shown."""
    length = until - since
    if length <= timedelta(days=2, hours=1):
        return "hour"
    return "day" if length <= timedelta(days=100) else "week"


def reset(*names: str) -> None:
    """Take parts of the filter back; before the widgets of a run are drawn."""
    for name in names:
        st.session_state[name] = FIELDS[name].default


def _draw_days() -> None:
    left, right = st.columns(2)
    today = datetime.now(UTC).date()
    if st.session_state.get("_from") is None:
        st.session_state["_from"] = today - timedelta(days=6)
    if st.session_state.get("_to") is None:
        st.session_state["_to"] = today
    first = left.date_input(t("filter.from"), key="_from", format="YYYY-MM-DD")
    last = right.date_input(t("filter.to"), key="_to", format="YYYY-MM-DD")
    st.session_state["from"] = first.isoformat() if isinstance(first, date) else None
    st.session_state["to"] = last.isoformat() if isinstance(last, date) else None
    if isinstance(first, date) and isinstance(last, date) and last < first:
        st.warning(t("filter.backwards"))


def _draw_name(name: str, known: list[str], everything: str) -> None:
    now = st.session_state.get(name)
    options = known if now is None or now in known else [now, *known]
    st.selectbox(
        t(f"filter.{name}"), options, key=name, index=None, placeholder=everything,
        accept_new_options=True,
    )  # fmt: skip


def _draw_book(viewer: Viewer) -> None:
    if not viewer.sees_everything:
        return
    if st.session_state["book"] != "cost" or data.books_differ(viewer, question()):
        st.selectbox(t("filter.book"), BOOKS, key="book", format_func=lambda b: t(f"book.{b}"),
                     help=t("filter.book.help"))  # fmt: skip


def _draw_currency(known: list[str]) -> None:
    now = st.session_state.get("currency")
    if len(known) < 2 and (now is None or now in known):
        return
    options = known if now is None or now in known else [now, *known]
    st.selectbox(
        t("filter.currency"), options, key="currency", index=None, placeholder=known[0] if known
        else t("all.currencies"), help=t("filter.currency.help"),
    )  # fmt: skip


def _zone_of_browser() -> str:
    name = st.context.timezone
    return name if name and name in available_timezones() else "UTC"


def _check_zone() -> None:
    if st.session_state["tz"] not in available_timezones():
        st.toast(t("filter.no_zone", name=st.session_state["tz"]))
        st.session_state["tz"] = "UTC"


def _by_offset(name: str) -> tuple[timedelta, str]:
    return datetime.now(ZoneInfo(name)).utcoffset() or timedelta(), name


def _keep_live() -> None:
    st.session_state["live"] = "on" if st.session_state["_live"] else "off"


def every() -> float | None:
    """Return after how many seconds the figures are read anew, None for not at all."""
    return float(data.REFRESH_SECONDS) / 2 if st.session_state.get("live") == "on" else None


__all__ = [
    "FIELDS", "Field", "draw", "every", "interval", "language", "question", "reset", "span_of",
    "take_address", "write_address",
]  # fmt: skip
