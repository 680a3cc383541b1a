"""`meter serve`, with every call recorded, durability full: on SQLite and on PostgreSQL."""

import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from driving import Target
from processes import DRIVER_CORE, SERVER_CORE, Running, running, slowed

from meter.meter import Meter
from meter.store.migrating import upgrade
from peers.contestant import Contestant, Unavailable

_BEGIN_SECONDS = 60


@contextmanager
def serving(
    port: int,
    folder: Path,
    *,
    with_budget: bool = True,
    database_url: str | None = None,
    workers: int = 1,
    core: int | None = SERVER_CORE,
) -> Iterator[tuple[Target, Running]]:
    """Run the gateway before the mock provider."""
    url = database_url or f"sqlite:///{folder}/meter.db"
    with Meter(url) as meter:
        secret = meter.keys.create("bench").secret
        if with_budget:
            meter.set_budget("wide", subject="bench", limit="1000000")
    command = [
        sys.executable, "-m", "meter", "serve", "--port", "0", "--workers", str(workers),
        "--upstream", f"openai=http://127.0.0.1:{port}/v1",
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
        headers = (("authorization", f"Bearer {secret}"),)
        yield Target("127.0.0.1", _port_in(log_path), headers=headers), server


@contextmanager
def serving_on_postgresql(
    port: int, folder: Path, *, workers: int = 1, core: int | None = SERVER_CORE
) -> Iterator[tuple[Target, Running]]:
    """Run the gateway on a PostgreSQL server of its own, which runs beside the driver."""
    from tests.postgres import running_server

    # The server's processes keep the core on which they are started.
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {DRIVER_CORE})
    with running_server(fsync="on", full_page_writes="on", synchronous_commit="on") as postgres:
        os.sched_setaffinity(0, before)
        with postgres.fresh_database() as name:
            url = postgres.url(name)
            upgrade(url)
            with serving(port, folder, database_url=url, workers=workers, core=core) as served:
                yield served


@contextmanager
def serving_slowed(
    port: int, folder: Path, *, workers: int, cores: float = 0.4
) -> Iterator[tuple[Target, Running]]:
    """Run gateways on PostgreSQL, each with a part of a core only: what they share has room."""
    with serving_on_postgresql(port, folder, workers=workers, core=None) as (target, server):
        # One only looks after the others, where there are several, and begins before them.
        processes = workers if workers == 1 else workers + 1
        until_s = time.monotonic() + _BEGIN_SECONDS
        while len(server.ids()) < processes:
            if time.monotonic() > until_s:
                raise Unavailable(f"found {len(server.ids())} processes, expected {processes}")
            time.sleep(0.05)
        with ExitStack() as stack:
            try:
                stack.enter_context(slowed(server.ids()[-workers:], cores))
            except OSError as error:
                raise Unavailable(f"no control group can be made here: {error}") from None
            yield target, server


def _port_in(log: Path) -> int:
    """Return the port that the gateway says it serves on."""
    until_s = time.monotonic() + _BEGIN_SECONDS
    while time.monotonic() < until_s:
        found = re.search(r"Serving on http://[^ ]*:(\d+)\.", log.read_text())
        if found:
            return int(found[1])
        time.sleep(0.05)
    raise TimeoutError(f"the gateway did not begin: {log.read_text()}")


METER = Contestant("meter", "SQLite, a budget, every call recorded", serving)
METER_WITHOUT_BUDGET = Contestant(
    "meter, no budget", "SQLite, every call recorded", partial(serving, with_budget=False)
)
METER_ON_POSTGRESQL = Contestant(
    "meter on PostgreSQL", "a budget, every call recorded", serving_on_postgresql
)
ONE_OF_TWO_CORES = Contestant(
    "meter on PostgreSQL, 1 process",
    "on any core",
    partial(serving_on_postgresql, core=None),
)
TWO_OF_TWO_CORES = Contestant(
    "meter on PostgreSQL, 2 processes",
    "on any core",
    partial(serving_on_postgresql, workers=2, core=None),
)
ONE_SLOWED = Contestant(
    "meter on PostgreSQL, 1 process slowed",
    "0.4 of a core",
    partial(serving_slowed, workers=1),
)
TWO_SLOWED = Contestant(
    "meter on PostgreSQL, 2 processes slowed",
    "0.4 of a core and 64 connections each",
    partial(serving_slowed, workers=2),
    connections=128,
)
