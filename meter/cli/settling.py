"""The command `meter settle`: say what calls have used whose end nobody saw."""

from datetime import timedelta
from typing import Annotated

import typer

from meter.cli.asking import DatabaseUrl
from meter.cli.output import amount, say
from meter.cli.times import span_of
from meter.core.units import unit
from meter.errors import InputError


def settle(
    call_id: Annotated[
        str | None, typer.Argument(help="The call, as `meter calls` lists it; none with --policy.")
    ] = None,
    units: Annotated[
        list[str] | None,
        typer.Argument(help="What it used: input_tokens=1200 output_tokens=80 …; none: nothing."),
    ] = None,
    reason: Annotated[str, typer.Option(help="Why: one sentence that stays with the call.")] = "",
    author: Annotated[str, typer.Option(help="Who says so.")] = "",
    basis: Annotated[str, typer.Option(help="reported (a bill says so) or estimated.")] = (
        "reported"
    ),
    policy: Annotated[
        str | None,
        typer.Option(
            help="Settle every unsettled call instead: estimate (its prompt as it was counted, no "
            "output) or nothing (nothing is owed)."
        ),
    ] = None,
    older_than: Annotated[
        str, typer.Option(help="With --policy: how long ago a call must have started.")
    ] = "1d",
    database_url: DatabaseUrl = None,
) -> None:
    """Settle a call by hand, or all unsettled ones by a policy: corrected, never edited."""
    from meter.meter import Meter

    if (call_id is None) is (policy is None):
        raise InputError("found neither or both of a call and --policy, expected one of them")
    if call_id is None:
        assert policy is not None
        _settle_all(policy, span_of(older_than), author or "policy", database_url)
        return
    quantities = dict(_quantity(text) for text in units or ())
    with Meter(database_url) as meter:
        row = meter.settle(call_id, quantities, reason=reason, author=author, basis=basis)
    cost = amount(row.cost_nanos)
    told = f"not priced ({row.unpriced})" if cost is None else f"{cost:f} {row.currency or ''}"
    say(f"Call {row.id} is settled: {told.strip()}.")


def _settle_all(policy: str, age: timedelta, author: str, database_url: str | None) -> None:
    from meter.meter import Meter

    with Meter(database_url) as meter:
        settled, left = meter.settle_unsettled(policy, older_than=age, author=author)
    sums: dict[str, int] = {}
    for row in settled:
        if row.cost_nanos is not None and row.currency is not None:
            sums[row.currency] = sums.get(row.currency, 0) + row.cost_nanos
    told = ", ".join(f"{amount(nanos):f} {name}" for name, nanos in sorted(sums.items()))
    say(f"{len(settled)} calls are settled{': ' if told else ''}{told}.")
    if left:
        say(f"{left} stay unsettled: their prompts could not be counted.")


def _quantity(text: str) -> tuple[str, str]:
    name, equals, number = text.partition("=")
    if not equals:
        raise InputError(f"found {text!r}, expected a unit and its quantity: input_tokens=1200")
    return unit(name.strip()).name, number.strip()
