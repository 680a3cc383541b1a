"""Tell how long models take, what they cost when, and what another would have cost."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import streamlit as st

from data.asking import (
    REFRESH_SECONDS,
    Question,
    Viewer,
    allowed,
    amount,
    cube,
    ledger,
    opened,
    settings,
)
from data.naming import names
from meter.clock import now_us
from meter.core.money import nanos_to_decimal
from meter.core.rates import STANDARD, datetime_of
from meter.reports import comparing, whatif
from meter.store.reads import TimingRow


@st.cache_data(ttl=REFRESH_SECONDS, max_entries=100, show_spinner=False)
def _timings(
    url: str,
    since: datetime,
    until: datetime,
    filters: tuple[tuple[str, str], ...],
) -> list[TimingRow]:
    return opened(url).timings(since=since, until=until, **dict(filters))


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


def alternatives(
    viewer: Viewer, question: Question
) -> list[tuple[str, str | None, Decimal | None]]:
    """Return (model, currency, cost) of the interval's tokens on every other model in use."""
    rows = [r for r in comparing.regrouped(cube(viewer, question), 1) if r.output_tokens]
    known = names(settings().database_url)[1]
    found = whatif.alternatives(rows, known, ledger().prices, now_us())
    return [(a.model, a.currency, amount(a.cost_nanos)) for a in found if a.currency]
