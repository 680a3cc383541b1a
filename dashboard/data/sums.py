"""Sum calls up over an interval: figures, steps of time, groups, changes, what caching saved."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from data.asking import (
    Question,
    Viewer,
    _usage,
    allowed,
    amount,
    cube,
    ledger,
    microseconds,
    rows_of,
    settings,
)
from meter.core.money import nanos_to_decimal
from meter.core.rates import RateCard, datetime_of
from meter.core.windows import Span, Window
from meter.reports import comparing, saving
from meter.reports.comparing import Move, Step, Totals
from meter.store.reads import UsageRow


@dataclass(frozen=True)
class Figures:
    """The figures of one interval in one currency. Amounts are exact."""

    totals: Totals
    cost: Decimal | None
    per_call: Decimal | None
    per_thousand_tokens: Decimal | None


def books_differ(viewer: Viewer, question: Question) -> bool:
    """Whether cost, published price and what is billed are not the same in the interval."""
    return comparing.books_differ(cube(viewer, replace(question, book="cost")))


def currencies(viewer: Viewer, question: Question) -> list[str]:
    """Return the currencies of the interval, the one of most calls first."""
    calls: dict[str, int] = {}
    for row in cube(viewer, question):
        if row.currency is not None:
            calls[row.currency] = calls.get(row.currency, 0) + row.calls
    return sorted(calls, key=lambda currency: (-calls[currency], currency))


def figures(viewer: Viewer, question: Question) -> Figures:
    """Return the figures of the interval."""
    return figures_of(cube(viewer, question), question.currency)


def figures_before(viewer: Viewer, question: Question) -> Figures:
    """Return the figures of the interval that this one is compared with."""
    since, until = question.before
    return figures_of(rows_of(viewer, question, since=since, until=until), question.currency)


def figures_of(rows: Iterable[UsageRow], currency: str | None) -> Figures:
    """Return the figures of rows in one currency."""
    found = comparing.totals(rows, currency)
    return Figures(
        totals=found,
        cost=amount(found.cost_nanos),
        per_call=amount(found.nanos_per_call),
        per_thousand_tokens=amount(found.nanos_per_thousand_tokens),
    )


MOST_DRAWN = 50
"""How many users are told apart by time, the dearest; all are told apart in sums."""


def steps(viewer: Viewer, question: Question, group: str) -> tuple[list[Step], list[str | None]]:
    """Return what each step of time cost by "model" or "subject", the lesser groups folded."""
    rows = _stepped(viewer, question, group)
    rest: list[UsageRow] = []
    if group == "subject" and count_values(viewer, question, group) > MOST_DRAWN:
        rest = comparing.less(cube(viewer, question), rows)
    return comparing.steps(comparing.regrouped(rows, 0, 1), question.currency, rest=rest)


def _stepped(viewer: Viewer, question: Question, group: str) -> list[UsageRow]:
    """Return sums by step of time and group; of many users, those of the dearest."""
    if group != "subject" or count_values(viewer, question, group) <= MOST_DRAWN:
        return cube(viewer, question, group)
    dearest = comparing.dearest(_totals(viewer, question, group), question.currency, MOST_DRAWN)
    return rows_of(viewer, question, question.span, group, subjects=dearest)


def _totals(viewer: Viewer, question: Question, group: str) -> list[UsageRow]:
    """Return the sums of the interval by group alone."""
    if group == "subject":
        return rows_of(viewer, question, group)
    return comparing.regrouped(cube(viewer, question, group), 1)


def breakdown(viewer: Viewer, question: Question, group: str) -> list[dict[str, object]]:
    """Return a record for each value of a group, the dearest first."""
    rows: dict[str | None, list[UsageRow]] = {}
    for row in _totals(viewer, question, group):
        if row.currency in (question.currency, None):
            rows.setdefault(row.group[0], []).append(row)
    records = []
    for name, found in rows.items():
        sums = figures_of(found, question.currency)
        records.append({"name": name, "figures": sums})
    records.sort(key=lambda r: (-(r["figures"].cost or 0), -r["figures"].totals.calls))
    return records


def moves(viewer: Viewer, question: Question, group: str) -> list[dict[str, object]]:
    """Return which values of a group cost more or less than in the interval before."""
    if question.currency is None:
        return []
    since, until = question.before
    before = rows_of(viewer, question, group, since=since, until=until)
    now = rows_of(viewer, question, group)
    if group == "model":
        now = comparing.regrouped(cube(viewer, question), 1)
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
    sums = comparing.running(cube(viewer, question), currency, starts)
    rows = rows_of(viewer, question, question.span, since=earlier, until=question.since)
    before = comparing.running(rows, currency, before_starts)
    return Running(
        starts, [nanos_to_decimal(n) for n in sums],
        before_starts, [nanos_to_decimal(n) for n in before],
    )  # fmt: skip


def _starts(since: datetime, until: datetime, question: Question) -> list[str]:
    """Return every step of the interval, written as the sums write it."""
    window = Window(Span(question.span), question.tz)
    zone = ZoneInfo(question.tz)
    at_us = microseconds(since)
    end_us = microseconds(until)
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
    zone, prices = ZoneInfo(question.tz), ledger().prices

    def card_of(provider: str, model: str, start: str) -> RateCard | None:
        moment = datetime.fromisoformat(start)
        at = moment if moment.tzinfo else moment.replace(tzinfo=zone)
        return prices.card_for(provider, model, microseconds(at))

    found = saving.saving(cube(viewer, question), question.currency, card_of)
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


def figures_with_output(viewer: Viewer, question: Question) -> Decimal | None:
    """Return what the calls of models that answer in tokens cost in the interval."""
    rows = [r for r in comparing.regrouped(cube(viewer, question), 1) if r.output_tokens]
    return figures_of(rows, question.currency).cost


def basis_counts(viewer: Viewer, question: Question) -> Mapping[str, int]:
    """Return how many calls have which basis."""
    rows = cube(viewer, question)
    counts = {"estimated": sum(r.estimated for r in rows), "unknown": sum(r.unknown for r in rows)}
    counts["reported"] = sum(row.calls for row in rows) - sum(counts.values())
    return counts


def costs_of(steps: Sequence[Step]) -> list[Decimal | None]:
    """Return the exact amounts of steps."""
    return [amount(step.cost_nanos) for step in steps]


def trends(viewer: Viewer, question: Question, group: str) -> dict[str | None, list[float]]:
    """Return for each value of a group what each step of time cost, as numbers to draw.

    Of many users only the dearest have them.
    """
    starts_known = {start: place for place, start in enumerate(starts(question))}
    found: dict[str | None, list[float]] = {}
    for row in _stepped(viewer, question, group):
        if row.currency == question.currency and row.group[0] in starts_known:
            line = found.setdefault(row.group[1], [0.0] * len(starts_known))
            line[starts_known[row.group[0]]] += float(nanos_to_decimal(row.cost_nanos or 0))
    return found


def starts(question: Question) -> list[str]:
    """Return every step of the interval until now, as the sums write it."""
    return _starts(question.since, min(question.until, datetime.now(UTC)), question)


def count_values(viewer: Viewer, question: Question, group: str) -> int:
    """Return how many values of a group have calls in the interval."""
    return len({row.group[0] for row in _totals(viewer, question, group)})


def count_calls(viewer: Viewer, question: Question) -> int:
    """Return how many calls the interval has."""
    return figures(viewer, question).totals.calls
