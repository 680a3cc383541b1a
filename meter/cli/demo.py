"""Run the demo: simulated providers, real SDKs, a real ledger, and the tables it is for."""

import time
from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated

import typer

from meter.cli.asking import (
    ACCURACY_COLUMNS,
    DatabaseUrl,
    accuracy_rows,
    show_usage,
    usage_records,
)
from meter.cli.output import Format, say, show
from meter.cli.traffic import Clients, drive
from meter.core.money import nanos_to_decimal
from meter.errors import InputError
from meter.meter import Meter
from meter.tokens.counting import count_text

CALLS = 120
"""How many calls one round of the demo makes."""

ALLOWANCE = Decimal("0.004")
"""What the demo lets its user dora spend in one round, in USD."""


def demo(
    once: Annotated[bool, typer.Option("--once", help="Make one round and end.")] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 0,
    database_url: DatabaseUrl = None,
) -> None:
    """Meter simulated providers with real SDKs.

    Needs no API key and no network. Without --once, round after round until Ctrl-C.
    """
    try:
        from meter.simulator import REALISTIC_PACING, Simulator, SimulatorSettings
    except ImportError as error:
        raise InputError(
            f"the demo needs {error.name}, which is not installed: pip install 'metergate[demo]'"
        ) from None
    settings = SimulatorSettings(
        pacing=REALISTIC_PACING,
        # OpenAI's simulated models count as the real ones do, so that estimates can be judged.
        count=lambda text: count_text(text, "o200k_base"),
        counts=dict.fromkeys(("text-embedding-3", "gpt-3.5"), _count_with_the_older_ranks),
        error_rate=0.04,
        cut_rate=0.03,
        no_usage_rate=0.05,
        retry_after_seconds=0.2,
        seed=time.time_ns(),
    )
    with Simulator(settings, port=port) as simulator:
        host = simulator.url.removeprefix("http://")
        with Meter(database_url, hosts={host: "auto"}) as meter:
            say(f"Simulated providers at {simulator.url} (OpenAI, Anthropic, Gemini).")
            say(f"Ledger: {meter.settings.database_url}")
            say()
            clients = Clients(meter, simulator.url)
            while True:
                simulator.reset()
                started = datetime.now(UTC)
                _round(meter, clients)
                _report(meter, started)
                if once:
                    break
    _say_what_next()


def _count_with_the_older_ranks(text: str) -> int:
    return count_text(text, "cl100k_base")


def _round(meter: Meter, clients: Clients) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

    spent = sum(row.cost_nanos or 0 for row in meter.usage(("subject",), subject="dora"))
    meter.set_budget(
        "dora-demo",
        subject="dora",
        limit=str(nanos_to_decimal(spent) + ALLOWANCE),
        window="total",
    )
    columns = (
        SpinnerColumn(),
        TextColumn("calls"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[failures]}"),
    )
    with Progress(*columns, console=Console()) as progress:
        task = progress.add_task("calls", total=CALLS, failures="")
        for tally in drive(clients, CALLS, seed=time.time_ns()):
            progress.update(task, advance=1, failures=_failures(tally))


def _failures(tally: Counter[str]) -> str:
    failed = tally.total() - tally["done"]
    return f"{failed} ended in an error, as real calls do" if failed else ""


def _report(meter: Meter, started: datetime) -> None:
    rows = meter.usage(("subject", "model"), since=started)
    show_usage(
        usage_records(rows, ("subject", "model")),
        ("subject", "model"),
        Format.TABLE,
        title="Spend by user and model",
        footer=_remarks(meter, started),
    )
    say()
    show(
        accuracy_rows(meter, started),
        ACCURACY_COLUMNS,
        Format.TABLE,
        title="How far estimates of input tokens were off",
        footer=("An estimate is made before the call, from the request alone.",),
    )
    say()


def _remarks(meter: Meter, started: datetime) -> list[str]:
    by_basis = {row.group[0]: row.calls for row in meter.usage(("basis",), since=started)}
    by_outcome = {row.group[0]: row.calls for row in meter.usage(("outcome",), since=started)}
    remarks = []
    if by_basis.get("estimated"):
        remarks.append(
            f"{by_basis['estimated']} calls broke off or reported no usage: counted by us, "
            "basis estimated."
        )
    if by_basis.get("unknown"):
        remarks.append(f"{by_basis['unknown']} calls are unsettled: nobody knows what they used.")
    if by_outcome.get("refused"):
        remarks.append(
            f"{by_outcome['refused']} calls of dora were refused by her budget of "
            f"{ALLOWANCE} USD for this round."
        )
    return remarks


def _say_what_next() -> None:
    say("What to open next:")
    say("  meter usage --by tag:team,day      spend by team and day")
    say("  meter calls --basis estimated      the calls whose usage we had to count")
    say("  meter check                        every invariant of the ledger")
    say("  meter dashboard                    all of it in a browser, http://127.0.0.1:8501")
