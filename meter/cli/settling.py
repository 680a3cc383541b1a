"""The command `meter settle`: say by hand what a call has used."""

from typing import Annotated

import typer

from meter.cli.asking import DatabaseUrl
from meter.cli.output import amount, say
from meter.core.units import unit
from meter.errors import InputError


def settle(
    call_id: Annotated[str, typer.Argument(help="The call, as `meter calls` lists it.")],
    units: Annotated[
        list[str] | None,
        typer.Argument(help="What it used: input_tokens=1200 output_tokens=80 …; none: nothing."),
    ] = None,
    reason: Annotated[str, typer.Option(help="Why: one sentence that stays with the call.")] = "",
    author: Annotated[str, typer.Option(help="Who says so.")] = "",
    basis: Annotated[str, typer.Option(help="reported (a bill says so) or estimated.")] = (
        "reported"
    ),
    database_url: DatabaseUrl = None,
) -> None:
    """Settle a call by hand: its usage and cost are corrected, its record is not edited."""
    from meter.meter import Meter

    quantities = dict(_quantity(text) for text in units or ())
    with Meter(database_url) as meter:
        row = meter.settle(call_id, quantities, reason=reason, author=author, basis=basis)
    cost = amount(row.cost_nanos)
    told = f"not priced ({row.unpriced})" if cost is None else f"{cost:f} {row.currency or ''}"
    say(f"Call {row.id} is settled: {told.strip()}.")


def _quantity(text: str) -> tuple[str, str]:
    name, equals, number = text.partition("=")
    if not equals:
        raise InputError(f"found {text!r}, expected a unit and its quantity: input_tokens=1200")
    return unit(name.strip()).name, number.strip()
