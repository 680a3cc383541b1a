"""The commands `meter credits grant|list|show|refund|adjust|revoke|statement`: prepaid credit."""

import shutil
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from meter.cli.asking import DatabaseUrl
from meter.cli.output import Column, Format, amount, encoded, say, show
from meter.cli.times import ahead_us, moment_us, shown_time
from meter.clock import now_us
from meter.core.credit import MoveKind
from meter.core.money import nanos_to_text
from meter.core.rates import datetime_of
from meter.core.statements import Statement
from meter.errors import InputError
from meter.meter import Meter

credits = typer.Typer(no_args_is_help=True, help="Keep prepaid credit.")

BALANCES = (
    Column("subject", "Subject"),
    Column("balance", "Balance", numeric=True),
    Column("held", "Held", numeric=True),
    Column("free", "Free", numeric=True),
    Column("used", "Used", numeric=True),
    Column("currency", "Currency"),
    Column("since", "Prepaid since"),
)
GRANTS = (
    Column("id", "Grant"),
    Column("amount", "Amount", numeric=True),
    Column("left", "Left", numeric=True),
    Column("currency", "Currency"),
    Column("state", "State"),
    Column("granted", "Granted"),
    Column("expires", "Expires"),
    Column("reason", "Reason", wraps=True),
    Column("author", "Author", wraps=True),
)
LINES = (
    Column("at", "Moment"),
    Column("kind", "What"),
    Column("of", "Of", wraps=True),
    Column("calls", "Calls", numeric=True),
    Column("amount", "Amount", numeric=True),
    Column("balance", "Balance", numeric=True),
    Column("currency", "Currency"),
    Column("reason", "Reason", wraps=True),
    Column("author", "Author", wraps=True),
)

Subject = Annotated[str, typer.Argument(help="Whose credit it is.")]
Currency = Annotated[str, typer.Option(help="Currency of the amount.")]
Reason = Annotated[str, typer.Option(help="Why, for the statement.")]
Author = Annotated[str, typer.Option(help="Who answers for it.")]
ChosenId = Annotated[
    str | None,
    typer.Option("--id", help="Its id: the same again does nothing. Made up where left out."),
]
Zone = Annotated[str, typer.Option(help="Time zone of the moments.")]
Shown = Annotated[Format, typer.Option("--format", help="How to show it.")]

_ROOMY_COLUMNS = 130
_SIGNED = {"ignore_unknown_options": True}


@credits.command("grant", context_settings=_SIGNED)
def grant(
    subject: Subject,
    amount_text: Annotated[str, typer.Argument(metavar="AMOUNT", help="A decimal amount.")],
    currency: Currency = "USD",
    expires: Annotated[str | None, typer.Option(help="365d, 12h, or a date.")] = None,
    reason: Reason = "prepaid",
    author: Author = "operator",
    id: ChosenId = None,
    tz: Zone = "UTC",
    database_url: DatabaseUrl = None,
) -> None:
    """Grant credit. From the first grant on, the subject's calls need credit in that currency."""
    end_us = ahead_us(expires, tz)
    with Meter(database_url) as meter:
        made = meter.credits.grant(
            subject,
            amount_text,
            currency,
            expires=None if end_us is None else datetime_of(end_us),
            reason=reason,
            author=author,
            id=id,
        )
        (found,) = [c for c in meter.credits.balances(subject) if c.currency == currency]
    until = "" if made.expires_us is None else f", until {shown_time(made.expires_us, tz)}"
    say(f"Grant {made.id}: {nanos_to_text(made.amount_nanos)} {currency} for {subject}{until}.")
    say(f"The balance is {nanos_to_text(found.balance_nanos)} {currency}.")


@credits.command("list")
def list_credits(
    subject: Annotated[str | None, typer.Option(help="Only this subject.")] = None,
    tz: Zone = "UTC",
    format: Shown = Format.TABLE,
    database_url: DatabaseUrl = None,
) -> None:
    """List the balance of every prepaid subject."""
    with Meter(database_url) as meter:
        rows = _balance_rows(meter, subject, tz)
    show(rows, BALANCES, format, title="Credit", empty="Nobody was granted credit.")


@credits.command("show")
def show_credit(
    subject: Subject,
    tz: Zone = "UTC",
    format: Shown = Format.TABLE,
    database_url: DatabaseUrl = None,
) -> None:
    """Show the balance of a subject and its grants."""
    with Meter(database_url) as meter:
        balances = _balance_rows(meter, subject, tz)
        if not balances:
            raise InputError(f"found no prepaid credit of {subject!r}, expected a grant before")
        at_us = now_us()
        grants = [
            {
                "id": each.id,
                "amount": amount(each.amount_nanos),
                "left": amount(each.left_at(at_us)),
                "currency": each.currency,
                "state": each.state_at(at_us),
                "granted": shown_time(each.granted_us, tz),
                "expires": shown_time(each.expires_us, tz),
                "reason": each.reason,
                "author": each.author,
            }
            for each in meter.credits.grants(subject)
        ]
    if format is Format.JSON:
        say(encoded({"balances": balances, "grants": grants}))
        return
    if format is Format.TABLE:
        show(balances, BALANCES, format, title=f"Credit of {subject}")
        say()
    columns: Sequence[Column] = GRANTS
    if format is Format.TABLE and not _is_roomy():
        columns = _without("granted", "author", "reason")
    show(grants, columns, format, title="Grants")


@credits.command("refund", context_settings=_SIGNED)
def refund(
    subject: Subject,
    amount_text: Annotated[str, typer.Argument(metavar="AMOUNT", help="A decimal amount.")],
    reason: Reason,
    author: Author,
    currency: Currency = "USD",
    id: ChosenId = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Give back what calls have used, at most as much as they did."""
    with Meter(database_url) as meter:
        found = meter.credits.refund(
            subject, amount_text, currency, reason=reason, author=author, id=id
        )
    say(f"Refunded. The balance of {subject} is {nanos_to_text(found.balance_nanos)} {currency}.")


@credits.command("adjust", context_settings=_SIGNED)
def adjust(
    subject: Subject,
    amount_text: Annotated[
        str, typer.Argument(metavar="AMOUNT", help="A decimal amount; below zero it is taken off.")
    ],
    reason: Reason,
    author: Author,
    currency: Currency = "USD",
    id: ChosenId = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Add to the credit or take from it by hand, even more than there is."""
    with Meter(database_url) as meter:
        found = meter.credits.adjust(
            subject, amount_text, currency, reason=reason, author=author, id=id
        )
    say(f"Adjusted. The balance of {subject} is {nanos_to_text(found.balance_nanos)} {currency}.")


@credits.command("revoke")
def revoke(
    grant_id: Annotated[str, typer.Argument(metavar="GRANT", help="The grant's id.")],
    reason: Reason,
    author: Author,
    database_url: DatabaseUrl = None,
) -> None:
    """End a grant now; what is left of it leaves the balance."""
    with Meter(database_url) as meter:
        found = meter.credits.revoke(grant_id, reason=reason, author=author)
        held = nanos_to_text(found.left_nanos)
    if found.revoked_us is None:
        say(f"Grant {grant_id} of {found.subject} had expired before.")
        return
    say(f"Grant {grant_id} of {found.subject} is revoked.")
    if found.left_nanos:
        say(f"Calls in flight may use {held} {found.currency} of it; the rest goes when they end.")


@credits.command("statement")
def statement(
    subject: Subject,
    currency: Annotated[
        str | None, typer.Option(help="Of which currency, where there are several.")
    ] = None,
    since: Annotated[str | None, typer.Option(help="2026-11, 2026-11-01, 7d.")] = None,
    until: Annotated[str | None, typer.Option(help="The end, which is left out.")] = None,
    by: Annotated[
        str, typer.Option(help="What usage is summed by: day, month, model, key …, or day,model.")
    ] = "day",
    tz: Zone = "UTC",
    format: Shown = Format.TABLE,
    database_url: DatabaseUrl = None,
) -> None:
    """Set out the credit of a subject line by line, so that it adds up."""
    start, end = (moment_us(text, tz) for text in (since, until))
    with Meter(database_url) as meter:
        found = meter.statement(
            subject,
            currency,
            since=None if start is None else datetime_of(start),
            until=None if end is None else datetime_of(end),
            tz=tz,
            by=tuple(by.split(",")),
        )
    if format is Format.JSON:
        say(encoded(_statement(found)))
        return
    rows = [
        _edge("opening balance", found.since_us, found.opening_nanos, found),
        *(_line(found, place) for place in range(len(found.lines))),
        _edge("closing balance", found.until_us, found.closing_nanos, found),
    ]
    columns: Sequence[Column] = LINES
    if format is Format.TABLE and not _is_roomy():
        # An amount is never cut: what is only good to know goes first.
        columns = LINES[:6]
        rows = [{**row, "at": str(row["at"] or "–")[:16]} for row in rows]
    show(rows, columns, format, title=f"Credit of {subject} in {found.currency}")


def _is_roomy() -> bool:
    """Whether the terminal has room for every column of a statement."""
    return shutil.get_terminal_size().columns >= _ROOMY_COLUMNS


def _without(*keys: str) -> tuple[Column, ...]:
    return tuple(column for column in GRANTS if column.key not in keys)


def _balance_rows(meter: Meter, subject: str | None, tz: str) -> list[dict[str, Any]]:
    return [
        {
            "subject": each.subject,
            "balance": amount(each.balance_nanos),
            "held": amount(each.held_nanos),
            "free": amount(max(each.free_nanos, 0)),
            "used": amount(each.used_nanos),
            "currency": each.currency,
            "since": shown_time(each.since_us, tz),
        }
        for each in meter.credits.balances(subject)
    ]


def _edge(what: str, at_us: int | None, nanos: int, found: Statement) -> dict[str, Any]:
    return {
        "at": shown_time(at_us, found.tz),
        "kind": what,
        "balance": amount(nanos),
        "currency": found.currency,
    }


def _line(found: Statement, place: int) -> dict[str, Any]:
    line = found.lines[place]
    moved = line.movement
    of = ", ".join(text or "–" for text in moved.groups) if moved.groups else moved.name
    return {
        "at": shown_time(moved.at_us, found.tz),
        "kind": moved.kind.value,
        "of": of,
        "calls": moved.calls,
        "amount": amount(moved.amount_nanos),
        "balance": amount(line.balance_nanos),
        "currency": found.currency,
        "reason": moved.reason,
        "author": moved.author,
    }


def _statement(found: Statement) -> dict[str, Any]:
    return {
        "subject": found.subject,
        "currency": found.currency,
        "since": shown_time(found.since_us, found.tz),
        "until": shown_time(found.until_us, found.tz),
        "opening_balance": amount(found.opening_nanos),
        "lines": [
            {k: v for k, v in _line(found, place).items() if k != "currency"}
            for place in range(len(found.lines))
        ],
        "totals": {
            kind.value: amount(found.total_nanos(kind))
            for kind in MoveKind
            if kind is not MoveKind.COVER
        },
        "closing_balance": amount(found.closing_nanos),
    }
