"""The command `meter dashboard`: open the Streamlit dashboard on the ledger."""

import importlib.util
import os
import subprocess
import sys
from typing import Annotated

import typer

from meter.cli.asking import DatabaseUrl
from meter.cli.output import say
from meter.config import load_settings
from meter.errors import InputError
from meter.resources import dashboard_folder

_THIS_MACHINE = ("127.0.0.1", "localhost", "::1")


def dashboard(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8501,
    host: Annotated[
        str, typer.Option(help="Address to listen on; another than this machine needs a sign-in.")
    ] = "127.0.0.1",
    sign_in: Annotated[
        str | None, typer.Option(help="Who may look: none, key or oidc (dashboard_sign_in).")
    ] = None,
    database_url: DatabaseUrl = None,
) -> int:
    """Open the dashboard on the ledger, read-only; Ctrl-C ends it."""
    if importlib.util.find_spec("streamlit") is None:
        raise InputError("the dashboard needs streamlit: pip install 'metergate[dashboard]'")
    given = {"database_url": database_url, "dashboard_sign_in": sign_in}
    settings = load_settings(given)
    if settings.dashboard_sign_in == "none" and host not in _THIS_MACHINE:
        raise InputError(
            f"found the address {host} and nobody asked to sign in, expected --sign-in key or "
            "oidc: without it the dashboard serves this machine only"
        )
    folder = dashboard_folder()
    command = [
        sys.executable, "-m", "meter.cli.serving_dashboard", "run", str(folder / "app.py"),
        f"--server.address={host}", f"--server.port={port}", "--server.headless=true",
        "--browser.gatherUsageStats=false", "--client.toolbarMode=minimal",
        "--server.fileWatcherType=none", "--runner.postScriptGC=false",
    ]  # fmt: skip
    environment = {
        **os.environ,
        "METER_DATABASE_URL": settings.database_url,
        "METER_DASHBOARD_SIGN_IN": settings.dashboard_sign_in,
    }
    say(f"The dashboard opens at http://{host}:{port}. Ctrl-C ends it.")
    sys.stdout.flush()
    if os.name == "posix":
        # The server takes this process's place, and so its signals.
        os.execve(sys.executable, command, environment)
    try:
        return subprocess.call(command, env=environment)
    except KeyboardInterrupt:
        return 0
