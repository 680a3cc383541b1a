"""The command `meter dashboard`: open the Streamlit dashboard on the ledger."""

import importlib.util
import os
import subprocess
import sys
from typing import Annotated

import typer

from meter.cli.asking import DatabaseUrl
from meter.config import load_settings
from meter.errors import InputError
from meter.resources import dashboard_folder


def dashboard(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on 127.0.0.1.")] = 8501,
    database_url: DatabaseUrl = None,
) -> int:
    """Open the dashboard in a browser; Ctrl-C ends it."""
    if importlib.util.find_spec("streamlit") is None:
        raise InputError("the dashboard needs streamlit: pip install 'metergate[dashboard]'")
    url = load_settings({"database_url": database_url}).database_url
    command = [
        sys.executable, "-m", "streamlit", "run", str(dashboard_folder() / "app.py"),
        "--server.address=127.0.0.1", f"--server.port={port}", "--server.headless=true",
        "--browser.gatherUsageStats=false", "--client.toolbarMode=minimal",
    ]  # fmt: skip
    try:
        return subprocess.call(command, env={**os.environ, "METER_DATABASE_URL": url})
    except KeyboardInterrupt:
        return 0
