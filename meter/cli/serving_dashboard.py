"""Run Streamlit on the dashboard, with what its pages need loaded before anybody looks.

    python -m meter.cli.serving_dashboard run dashboard/app.py --server.port=8501

Takes Streamlit's own arguments. Started by `meter dashboard` as a process of its own.
"""

import gc
import sys
from importlib import import_module
from pathlib import Path

import altair as alt
from altair.utils.schemapi import disable_debug_mode
from streamlit.web import cli

from meter.prices.book import PriceBook

_NEEDED = (
    "meter.meter", "meter.pipeline", "meter.crediting", "meter.imported", "PIL.Image",
    # The dashboard's own, which import each other by these names.
    "access", "charts", "data", "figures", "filters", "parts", "texts",
)  # fmt: skip
_OBJECTS = 50_000


def load(folder: Path) -> None:
    """Do once what the first visit would have to wait for; `folder` is that of the dashboard."""
    sys.path.insert(0, str(folder))
    for name in _NEEDED:
        import_module(name)
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
    load(Path(sys.argv[2]).resolve().parent)
    sys.exit(cli.main(prog_name="streamlit"))
