"""Run Streamlit on the dashboard, with what the pages need loaded before anybody looks.

    python dashboard/serving.py run dashboard/app.py --server.port=8501

Takes Streamlit's own arguments. Started by `meter dashboard`.
"""

import gc
import sys

import altair as alt
import pandas as pd
import sqlalchemy.dialects.sqlite
from streamlit.web import cli

import meter.meter
import meter.reports.comparing
from meter.prices.book import PriceBook

__all__ = ["meter", "sqlalchemy"]


def load() -> None:
    """Do once what the first visit would have to wait for."""
    frame = pd.DataFrame({"x": [1]})
    alt.Chart(frame).mark_bar().encode(x=alt.X("x:Q")).to_dict()
    PriceBook.bundled().card_for("openai", "gpt-4o", 0)
    # What is there now stays: the collector of cycles need not look at it again and again.
    gc.collect()
    gc.freeze()


if __name__ == "__main__":
    load()
    sys.exit(cli.main(prog_name="streamlit"))
