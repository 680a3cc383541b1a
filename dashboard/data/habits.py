"""Look ahead and look out: forecasts, and days that are out of the ordinary."""

from datetime import date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from data.asking import Question, Viewer, cube, rows_of
from meter.core.money import nanos_to_decimal
from meter.reports import forecasting, unusual
from meter.reports.forecasting import Forecast


def by_day(viewer: Viewer, question: Question, days: int) -> dict[date, int]:
    """Return what each whole day before today cost, in nanos, since the first one with a call."""
    zone = ZoneInfo(question.tz)
    today = datetime.now(zone).date()
    since = datetime.combine(today - timedelta(days=days), datetime.min.time(), zone)
    until = datetime.combine(today, datetime.min.time(), zone)
    rows = rows_of(viewer, question, "day", since=since, until=until)
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
    rows = [row for row in cube(viewer, question) if row.currency == question.currency]
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
