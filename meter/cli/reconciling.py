"""The command `meter reconcile`: our ledger against an issuer's bill, with reasons."""

from typing import Annotated, Any

import typer

from meter.cli.asking import DatabaseUrl, Shown, Since, Until, Zone
from meter.cli.main import FOUND
from meter.cli.output import Column, Format, amount, encoded, say, show
from meter.cli.times import moment_us, shown_time
from meter.errors import InputError

_TOTALS = (
    Column("name", "Sum"),
    Column("theirs", "Theirs", numeric=True),
    Column("ours", "Ours", numeric=True),
    Column("difference", "Difference", numeric=True),
)
_DIFFERENCES = (
    Column("since", "From"),
    Column("until", "To"),
    Column("model", "Model"),
    Column("reason", "Reason"),
    Column("calls", "Calls", numeric=True),
    Column("amount", "Amount", numeric=True, decimals=6),
    Column("currency", "Currency"),
    Column("sentence", "What was found", wraps=True),
)
_FIELDS = (*_DIFFERENCES, Column("quantities", ""), Column("call_ids", ""), Column("settles", ""))


def reconcile(
    kind: Annotated[
        str, typer.Argument(help="What the files are: openai, anthropic, csv or balance.")
    ],
    files: Annotated[
        list[str] | None, typer.Argument(help="The bill: saved answers or an export, also .gz.")
    ] = None,
    live: Annotated[
        bool,
        typer.Option("--live", help="Ask OpenAI or Anthropic, with the key in *_ADMIN_KEY."),
    ] = False,
    base_url: Annotated[str | None, typer.Option(help="Where to ask, with --live.")] = None,
    since: Since = None,
    until: Until = None,
    tz: Zone = "UTC",
    provider: Annotated[
        str | None, typer.Option(help="Who billed, as calls name it (default: the kind).")
    ] = None,
    currency: Annotated[
        str | None, typer.Option(help="The currency of a file that does not say its own.")
    ] = None,
    column: Annotated[
        list[str] | None, typer.Option(help="A column of a CSV file: amount=NAME; repeat it.")
    ] = None,
    key: Annotated[
        list[str] | None, typer.Option(help="A key of ours as the bill names it; repeat it.")
    ] = None,
    tolerance: Annotated[str, typer.Option(help="How much money may differ.")] = "0.01",
    settle: Annotated[
        bool, typer.Option("--settle", help="Settle the calls whose usage the bill tells.")
    ] = False,
    author: Annotated[str, typer.Option(help="Who answers for what is settled.")] = "reconcile",
    format: Shown = Format.TABLE,
    database_url: DatabaseUrl = None,
) -> int:
    """Hold an issuer's bill against the ledger, and say why they differ.

    Exit status 0 when they agree within the tolerance, 1 when they do not.
    """
    from meter.meter import Meter
    from meter.reports.reconciling.fetching import fetch_bill
    from meter.reports.reconciling.reading import read_bill

    if live:
        bounds = [moment_us(text, "UTC") for text in (since, until)]
        if files or bounds[0] is None or bounds[1] is None:
            raise InputError("--live takes no files, and needs --since and --until: whole days")
        bill = fetch_bill(kind, bounds[0], bounds[1], base_url=base_url)
    else:
        bill = read_bill(kind, files or [], columns=_columns(column), tz=tz, currency=currency)
        bill = bill.within(moment_us(since, tz), moment_us(until, tz))
    who = provider or kind
    if who in ("csv", "balance"):
        raise InputError("found no provider, expected --provider: who billed, as calls name it")
    with Meter(database_url) as meter:
        found = meter.reconcile(bill, provider=who, tolerance=tolerance, keys=key or (), tz=tz)
        settled = meter.settle_from(found, author=author) if settle else []
    totals = [_total(each) for each in found.totals]
    differences = [_difference(each, tz) for each in found.differences]
    if format is Format.JSON:
        say(encoded({"bill": found.name, "agrees": found.agrees, "totals": totals,
                     "differences": differences,
                     "settled": [str(call_id) for call_id, _ in settled]}))  # fmt: skip
    elif format is Format.TABLE:
        show(totals, _TOTALS, format, title=f"{found.name} against the ledger")
        say()
        show(differences, _DIFFERENCES, format, empty="Nothing differs.")
        say(f"The bill and the ledger {'agree' if found.agrees else 'do not agree'} "
            f"within {tolerance}.")  # fmt: skip
        if settle:
            say(f"{len(settled)} calls are settled from the bill.")
        elif any(each.settles for each in found.differences):
            say("The bill tells the usage of some calls: add --settle to settle them.")
    else:
        show(differences, _FIELDS, format)
    return 0 if found.agrees else FOUND


def _columns(given: list[str] | None) -> dict[str, str]:
    found = {}
    for text in given or ():
        ours, sign, theirs = text.partition("=")
        if not sign or not theirs:
            raise InputError(f"found column {text!r}, expected one such as amount=NAME")
        found[ours] = theirs
    return found


def _total(total: Any) -> dict[str, Any]:
    made = amount if total.is_money else lambda value: value
    return {
        "name": total.name,
        "theirs": made(total.theirs),
        "ours": made(total.ours),
        "difference": made(total.difference),
    }


def _difference(each: Any, tz: str) -> dict[str, Any]:
    return {
        "since": shown_time(each.start_us, tz),
        "until": shown_time(each.end_us, tz),
        "model": each.model,
        "reason": each.reason.value,
        "calls": each.calls,
        "amount": amount(each.amount_nanos),
        "currency": each.currency,
        "sentence": each.sentence,
        "quantities": dict(each.quantities),
        "call_ids": [str(call_id) for call_id in each.call_ids],
        "settles": dict(each.settles[1]) if each.settles else None,
    }
