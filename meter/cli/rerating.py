"""The command `meter rerate`: what a change of prices does to calls that are already recorded."""

from typing import Annotated

import typer

from meter.cli.asking import DatabaseUrl, Shown, Since, Until, Zone
from meter.cli.output import Column, Format, amount, say, show
from meter.cli.times import moment_us
from meter.core.rates import datetime_of

_COLUMNS = (
    Column("book", "Book"),
    Column("provider", "Provider"),
    Column("model", "Model"),
    Column("calls", "Calls", numeric=True),
    Column("before", "Before", numeric=True, decimals=6),
    Column("after", "After", numeric=True, decimals=6),
    Column("difference", "Difference", numeric=True, decimals=6),
    Column("currency", "Currency"),
    Column("newly_priced", "Newly priced", numeric=True),
    Column("newly_unpriced", "Newly unpriced", numeric=True),
)


def rerate(
    since: Since = None,
    until: Until = None,
    tz: Zone = "UTC",
    subject: Annotated[str | None, typer.Option(help="Only this subject.")] = None,
    model: Annotated[str | None, typer.Option(help="Only this model.")] = None,
    provider: Annotated[str | None, typer.Option(help="Only this provider.")] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Write the corrections.")] = False,
    author: Annotated[str, typer.Option(help="Who answers for the corrections.")] = "rerate",
    format: Shown = Format.TABLE,
    database_url: DatabaseUrl = None,
) -> None:
    """Rate recorded calls again with the prices as they are known now.

    Without --apply nothing is written. With it the changed calls get corrections, all or none.
    """
    from meter.meter import Meter

    moments = [moment_us(text, tz) for text in (since, until)]
    start, end = [None if at is None else datetime_of(at) for at in moments]
    filters = {"subject": subject, "model": model, "provider": provider}
    with Meter(database_url) as meter:
        rows = meter.rerate(
            since=start,
            until=end,
            apply=apply,
            author=author,
            **{name: value for name, value in filters.items() if value is not None},
        )
    records = [
        {
            "book": row.book,
            "provider": row.provider,
            "model": row.model,
            "calls": row.calls,
            "before": amount(row.before_nanos),
            "after": amount(row.after_nanos),
            "difference": amount(row.difference_nanos),
            "currency": row.currency,
            "newly_priced": row.newly_priced,
            "newly_unpriced": row.newly_unpriced,
        }
        for row in rows
    ]
    show(records, _COLUMNS, format, empty="Every call is already rated as it would be now.")
    if rows and format is Format.TABLE:
        say("The corrections are written." if apply else "Nothing was written: add --apply.")
