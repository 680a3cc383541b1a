"""`meter serve`, with a budget on and every call recorded, durability full."""

import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from driving import Target
from processes import SERVER_CORE, Running, running

from meter.meter import Meter
from peers.contestant import Contestant


@contextmanager
def serving(
    port: int,
    folder: Path,
    *,
    with_budget: bool = True,
    database_url: str | None = None,
    options: tuple[str, ...] = (),
    core: int | None = SERVER_CORE,
) -> Iterator[tuple[Target, Running]]:
    """Run the gateway before the mock provider."""
    url = database_url or f"sqlite:///{folder}/meter.db"
    with Meter(url) as meter:
        secret = meter.keys.create("bench").secret
        if with_budget:
            meter.set_budget("wide", subject="bench", limit="1000000")
    command = [
        sys.executable, "-m", "meter", "serve", "--port", "0",
        "--upstream", f"openai=http://127.0.0.1:{port}/v1", *options,
    ]  # fmt: skip
    environment = {
        "METER_DATABASE_URL": url,
        "METER_UPSTREAM_OPENAI_KEY": "none",
        "METER_DURABILITY": "full",
    }
    log_path = folder / "meter.log"
    with (
        log_path.open("w") as log,
        running(command, core=core, environment=environment, folder=folder, log=log) as server,
    ):
        yield (
            Target(
                "127.0.0.1", _port_in(log_path), headers=(("authorization", f"Bearer {secret}"),)
            ),
            server,
        )


def _port_in(log: Path) -> int:
    """Return the port that the gateway says it serves on."""
    until_s = time.monotonic() + 60
    while time.monotonic() < until_s:
        found = re.search(r"Serving on http://[^ ]*:(\d+)\.", log.read_text())
        if found:
            return int(found[1])
        time.sleep(0.05)
    raise TimeoutError(f"the gateway did not begin: {log.read_text()}")


METER = Contestant("meter", "records, a budget, durability full, SQLite", serving)
METER_WITHOUT_BUDGET = Contestant(
    "meter without a budget",
    "records, durability full, SQLite",
    partial(serving, with_budget=False),
)
