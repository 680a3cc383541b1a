"""Run Streamlit on the dashboard, with what its pages need loaded before anybody looks.

    python -m meter.cli.serving_dashboard run dashboard/app.py --server.port=8501

Takes Streamlit's own arguments. Started by `meter dashboard` as a process of its own.
"""

import gc
import sys
from importlib import import_module

import altair as alt
from altair.utils.schemapi import disable_debug_mode
from streamlit.web import cli

import meter.meter
import meter.reports.comparing
from meter.prices.book import PriceBook

__all__ = ["meter"]

_OBJECTS = 50_000


def load() -> None:
    """Do once what the first visit would have to wait for."""
    frame = import_module("pandas").DataFrame({"x": [1]})
    alt.Chart(frame).mark_bar().encode(x=alt.X("x:Q")).to_dict()
    PriceBook.bundled().card_for("openai", "gpt-4o", 0)
    # Every part of a chart would be checked against Vega's schema while it is put together; the
    # tests do that.
    disable_debug_mode()
    # What is there now stays: the collector of cycles need not look at it again and again, nor at
    # the rows of an answer each time that another 700 of them are there.
    gc.collect()
    gc.freeze()
    gc.set_threshold(_OBJECTS)


if __name__ == "__main__":
    load()
    sys.exit(cli.main(prog_name="streamlit"))
