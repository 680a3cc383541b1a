"""The tree of commands. Each command is a thin function in a file of its own subject."""

import typer

from meter.cli import (
    asking,
    budgets,
    calibration,
    credits,
    dashboard,
    demo,
    exporting,
    invoicing,
    keys,
    ledger,
    prices,
    reconciling,
    replaying,
    rerating,
    serve,
    settling,
    upstreams,
)

app = typer.Typer(
    name="meter",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Measure what language-model calls use, and turn it into exact money.",
)

app.command("usage")(asking.usage)
app.command("calls")(asking.calls)
app.command("estimate")(asking.estimate)
app.command("export")(exporting.export)
app.command("replay")(replaying.replay)
app.command("reconcile")(reconciling.reconcile)
app.command("rerate")(rerating.rerate)
app.command("settle")(settling.settle)
app.command("check")(ledger.check)
app.command("doctor")(ledger.doctor)
app.command("demo")(demo.demo)
app.command("dashboard")(dashboard.dashboard)
app.command("serve")(serve.serve)
app.add_typer(ledger.db, name="db")
app.add_typer(budgets.budgets, name="budgets")
app.add_typer(credits.credits, name="credits")
app.add_typer(invoicing.invoice, name="invoice")
app.add_typer(keys.keys, name="keys")
app.add_typer(calibration.calibration, name="calibration")
app.add_typer(prices.prices, name="prices")
app.add_typer(upstreams.upstreams, name="upstreams")


@app.callback(invoke_without_command=True)
def _root(
    show_version: bool = typer.Option(False, "--version", help="Show the version and exit."),
) -> None:
    if show_version:
        from importlib.metadata import version

        typer.echo(f"meter {version('metergate')}")
        raise typer.Exit


__all__ = ["app"]
