"""Ask `meter` for what the pages show: the only file here that does. Results are plain frames."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pandas as pd
import streamlit as st

from meter import Meter
from meter.core.money import nanos_to_decimal

REFRESH_SECONDS = 10


@st.cache_resource
def ledger() -> Meter:
    """Return the ledger that the settings name, opened once for this server."""
    return Meter()


@st.cache_data(ttl=REFRESH_SECONDS)
def spend(by: tuple[str, ...], days: int, tz: str) -> pd.DataFrame:
    """Return calls, tokens and cost by the groups `by` over the last `days` days.

    A column for each group, then `currency`, `cost` (exact decimals, None where unpriced),
    `calls`, `input_tokens`, `output_tokens`, `unpriced`, `estimated` and `unsettled`.
    """
    since = datetime.now(UTC) - timedelta(days=days)
    rows = ledger().usage(by, since=since, tz=tz)
    return pd.DataFrame(
        [
            {
                **dict(zip(by, row.group, strict=True)),
                "currency": row.currency,
                "cost": None if row.cost_nanos is None else nanos_to_decimal(row.cost_nanos),
                "calls": row.calls,
                "input_tokens": row.input_tokens,
                "output_tokens": row.output_tokens,
                "unpriced": row.unpriced,
                "estimated": row.estimated,
                "unsettled": row.unknown,
            }
            for row in rows
        ]
    )


def total(frame: pd.DataFrame, currency: str) -> Decimal:
    """Return the exact sum of the costs in a currency."""
    costs = frame.loc[frame["currency"] == currency, "cost"]
    return sum((cost for cost in costs if cost is not None), start=Decimal(0))
