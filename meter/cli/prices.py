"""The commands `meter prices show|list|diff|validate|import|remove`.

Which price holds when, for whose call, and why; and prices of one's own for every gateway.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from meter.cli.asking import DatabaseUrl
from meter.cli.main import FOUND
from meter.cli.output import Format, amount, say, show
from meter.cli.price_rows import (
    ADJUSTMENT_COLUMNS,
    CARD_COLUMNS,
    CHANGE_COLUMNS,
    RATE_COLUMNS,
    card_rows,
    changes_between,
    rate_rows,
    rule_rows,
)
from meter.cli.times import moment_us, shown_time
from meter.clock import now_us
from meter.config import load_settings
from meter.core.call import Attribution
from meter.core.monthly import MONEY
from meter.core.rates import Missing, RateCard
from meter.errors import InputError

if TYPE_CHECKING:
    from meter.prices.book import PriceBook
    from meter.prices.overlay import RateFile

prices = typer.Typer(no_args_is_help=True, help="Look at prices, and import one's own.")

At = Annotated[str | None, typer.Option(help="A moment (default: now).")]
Zone = Annotated[str, typer.Option("--tz", help="Time zone of the moment.")]
Shown = Annotated[Format, typer.Option("--format", help="How to show them.")]
Kind = Annotated[
    str | None,
    typer.Option(
        "--kind", help="toml, yaml, csv or litellm (default: as the name of the file ends)."
    ),
]

CURRENT = "current"
"""What `diff` calls the prices in force."""


@prices.callback()
def _root() -> None:
    """Look at prices, and import one's own."""


@prices.command("show")
def show_price(
    model: Annotated[str, typer.Argument(help="The model's name.")],
    provider: Annotated[str, typer.Option(help="Who serves it.")] = "openai",
    at: At = None,
    tz: Zone = "UTC",
    book: Annotated[str, typer.Option(help="list, contract or resale.")] = "list",
    subject: Annotated[str | None, typer.Option(help="Who pays.")] = None,
    key: Annotated[str | None, typer.Option(help="The id of a gateway key.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="A tag of the call: name=value.")] = None,
    issuer: Annotated[str | None, typer.Option(help="Who bills us (default: provider).")] = None,
    upstream: Annotated[str | None, typer.Option(help="The gateway's upstream.")] = None,
    format: Shown = Format.TABLE,
    database_url: DatabaseUrl = None,
) -> None:
    """Show the rate card of a model in force at a moment, in one of the price books."""
    at_us = _at(at, tz)
    pairs = [text.partition("=") for text in tag or ()]
    if any(not equals for _, equals, _ in pairs):
        raise InputError(f"found tag {tag}, expected name=value")
    found = _book(database_url)
    listed = found.card_for(provider, model, at_us)
    card: RateCard | Missing | None = listed
    if book not in ("list", "contract", "resale"):
        raise InputError(f"found price book {book!r}, expected list, contract or resale")
    if book != "list" and found.books is not None:
        pricing = found.books.pricing(
            listed,
            provider=provider,
            issuer=issuer or provider,
            upstream=upstream,
            model=model,
            attribution=Attribution(subject, tuple(sorted((n, v) for n, _, v in pairs)), key),
            at_us=at_us,
        )
        resale = pricing.cost if pricing.billed is None else pricing.billed
        card = pricing.cost if book == "contract" else resale
    if not isinstance(card, RateCard):
        reason = f": {card.reason}" if card else ""
        raise InputError(f"no price is known for {provider} {model} at that time{reason}")
    title = f"{provider} {model}, {book}, {card.currency}"
    show(rate_rows(card), RATE_COLUMNS, format, title=title)
    if format is Format.TABLE:
        until = shown_time(card.effective_to_us, tz) or "further notice"
        start = shown_time(card.effective_from_us, tz) if card.effective_from_us else "the start"
        own = "" if card.book == book else f", of the book {card.book}"
        say(f"Rate card {card.id}{own}: from {start} until {until}.")
        say(f"Source: {card.source or 'not stated'}; checked {card.checked or 'not stated'}.")


@prices.command("list")
def list_prices(
    bundled: Annotated[
        bool, typer.Option("--bundled", help="The additions that travel with the product, too.")
    ] = False,
    provider: Annotated[str | None, typer.Option(help="Only this provider.")] = None,
    book: Annotated[str | None, typer.Option(help="Only this book.")] = None,
    tz: Zone = "UTC",
    format: Shown = Format.TABLE,
    database_url: DatabaseUrl = None,
) -> None:
    """List the cards and rules of rate files, one's own and imported, the topmost first."""
    from meter.prices.overlay import bundled_rates

    rows: list[dict[str, Any]] = []
    for file in [*_own_files(database_url), *([bundled_rates()] if bundled else [])]:
        rows += [*card_rows(file, tz), *rule_rows(file, tz)]
    chosen = [
        row
        for row in rows
        if (provider is None or provider in row["provider"].split(", "))
        and book in (None, row["book"])
    ]
    show(chosen, CARD_COLUMNS, format, empty="No price of one's own: meter prices import FILE.")


@prices.command("diff")
def diff(
    before: Annotated[str, typer.Argument(help="A rate file, or current: the prices in force.")],
    after: Annotated[str, typer.Argument(help="A rate file.")],
    at: At = None,
    tz: Zone = "UTC",
    format: Shown = Format.TABLE,
    database_url: DatabaseUrl = None,
) -> None:
    """Show what the prices of one rate file change against another, or against those in force.

    Models that only one of two files names are shown too. Exit status 1 when there is a
    difference.
    """
    from meter.prices.book import PriceBook
    from meter.prices.formats import load_rate_file

    later = load_rate_file(after)
    if before == CURRENT:
        known: PriceBook = _book(database_url)
        files = [*_own_files(database_url)]
    else:
        earlier = load_rate_file(before)
        known, files = PriceBook([earlier]), [earlier]
    rows = changes_between(known, files, later, _at(at, tz), both_ways=before != CURRENT)
    show(rows, CHANGE_COLUMNS, format, empty="No price is different.")
    if rows:
        raise typer.Exit(FOUND)


@prices.command("validate")
def validate(
    file: Annotated[str, typer.Argument(help="The rate file.")],
    kind: Kind = None,
) -> None:
    """Say whether a rate file can be used, and what is left out of it.

    Exit status 1 when it cannot.
    """
    try:
        read, left_out = _read(file, kind)
    except InputError as error:
        typer.echo(f"meter: {error}", err=True)
        raise typer.Exit(FOUND) from None
    say(f"{file} can be used: {_counted(read)}.")
    _say_left_out(left_out)
    _say_lacking(read)


@prices.command("import")
def import_prices(
    file: Annotated[str, typer.Argument(help="The rate file.")],
    name: Annotated[
        str | None, typer.Option(help="What to keep it under (default: the file's name).")
    ] = None,
    kind: Kind = None,
    author: Annotated[str, typer.Option(help="Who answers for the prices.")] = "meter prices",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what it changes.")] = False,
    tz: Zone = "UTC",
    format: Shown = Format.TABLE,
    database_url: DatabaseUrl = None,
) -> None:
    """Keep a rate file in the ledger, for every process on it; a name's earlier file goes.

    Shows what it changes now. Calls that have their price keep it: meter rerate changes those.
    """
    from meter.prices.formats import format_of, read_file

    read, left_out = _read(file, kind)
    rows = changes_between(
        _book(database_url), _own_files(database_url), read, now_us(), both_ways=False
    )
    show(rows, CHANGE_COLUMNS, format, empty="No price is different now.")
    if dry_run:
        if format is Format.TABLE:
            _say_left_out(left_out)
            say(f"Nothing was kept of {_counted(read)}: leave out --dry-run.")
        return
    with _ledger(database_url) as ledger:
        kept = ledger.price_files.put(
            name or Path(file).name, kind or format_of(file), read_file(file), author,
            now_us=now_us(),
        )  # fmt: skip
    if format is Format.TABLE:
        _say_left_out(left_out)
        _say_lacking(read)
        say(f"Kept {_counted(read)} as {kept.name}, version {kept.number}.")


@prices.command("month")
def month(
    subject: Annotated[str, typer.Argument(help="Who pays.")],
    month: Annotated[str | None, typer.Option(help="The month: 2026-11 (default: this).")] = None,
    tz: Zone = "UTC",
    format: Shown = Format.TABLE,
    database_url: DatabaseUrl = None,
) -> None:
    """Show what free allowances and volume tiers change of what a subject is billed."""
    from meter.meter import Meter

    with Meter(database_url, read_only=True) as meter:
        made = meter.adjustments(subject, month, tz=tz)
    rows = [
        {
            "rule": line.rule,
            "kind": line.kind,
            "unit": line.unit,
            "quantity": amount(int(line.quantity)) if line.unit == MONEY else line.quantity,
            "amount": amount(line.amount_nanos),
            "currency": line.currency,
        }
        for line in made
    ]
    show(rows, ADJUSTMENT_COLUMNS, format, empty="Nothing changes what is billed.")


@prices.command("remove")
def remove(
    name: Annotated[str, typer.Argument(help="The name of the imported file.")],
    database_url: DatabaseUrl = None,
) -> None:
    """Take an imported rate file out of force; calls keep the price that they have."""
    with _ledger(database_url) as ledger:
        if not ledger.price_files.remove(name, now_us=now_us()):
            known = ", ".join(file.name for file in ledger.price_files.in_force()) or "none"
            raise InputError(f"found no imported rate file {name!r}, expected one of: {known}")
    say(f"Removed {name}.")


def _at(text: str | None, tz: str) -> int:
    at_us = moment_us(text, tz)
    return now_us() if at_us is None else at_us


def _read(file: str, kind: str | None) -> "tuple[RateFile, dict[str, str]]":
    """Return what a rate file says, and why models of a price map are left out of it."""
    from meter.prices.formats import format_of, read_file, read_text
    from meter.prices.litellm import read_price_map

    kind = kind or format_of(file)
    text, where = read_file(file), f"rate file {file}"
    left_out = dict(read_price_map(text, where).left_out) if kind == "litellm" else {}
    return read_text(text, kind, where), left_out


def _counted(file: "RateFile") -> str:
    counts = {
        "card": len(file.entries),
        "rule": len(file.rules),
        "exchange rate": len(file.exchange),
        "monthly rule": len(file.monthly),
    }
    parts = [f"{n:,} {what}{'' if n == 1 else 's'}" for what, n in counts.items() if n]
    return ", ".join(parts)


def _say_left_out(left_out: dict[str, str]) -> None:
    reasons: dict[str, list[str]] = {}
    for model, reason in left_out.items():
        reasons.setdefault(reason, []).append(model)
    if left_out:
        say(f"{len(left_out):,} models are left out, because a price is not clear:")
    for reason, models in sorted(reasons.items(), key=lambda item: (-len(item[1]), item[0])):
        more = f" and {len(models) - 3:,} more" if len(models) > 3 else ""
        say(f"  {', '.join(models[:3])}{more}: {reason}")


def _say_lacking(read: "RateFile") -> None:
    """Say which service tiers a model has on the list but not on its contract or resale card."""
    from meter.clock import now_us
    from meter.prices.book import PriceBook

    listed, at_us = PriceBook.bundled(), now_us()
    for entry in read.entries:
        card = entry.quote.card
        if entry.book == "list" or card is None or entry.quote.amends:
            continue
        lacking: dict[tuple[str, ...], list[str]] = {}
        for provider in sorted(entry.models.providers):
            for model in entry.models.names:
                known = listed.card_for(provider, model, at_us)
                tiers = tuple(sorted(set(known.rates) - set(card.rates))) if known else ()
                if tiers:
                    lacking.setdefault(tiers, []).append(model)
        for tiers, models in lacking.items():
            more = f" and {len(models) - 3:,} more" if len(models) > 3 else ""
            say(
                f"{', '.join(models[:3])}{more}: the {entry.book} card has no rates for "
                f"{', '.join(tiers)}, so such calls have no {entry.book} price; amends = true "
                "takes them from the list."
            )


def _book(database_url: str | None) -> "PriceBook":
    """Return the prices in force: of the rate files, imported, and what travels with us."""
    from meter.prices.book import PriceBook

    book = PriceBook.bundled(load_settings().rate_files)
    book.under(list(_imported_files(database_url)))
    return book


def _own_files(database_url: str | None) -> "list[RateFile]":
    """Return the imported rate files and those of the setting, the topmost first."""
    from meter.prices.formats import load_rate_file

    own = [load_rate_file(path) for path in load_settings().rate_files]
    return [*_imported_files(database_url), *own]


def _imported_files(database_url: str | None) -> "Iterator[RateFile]":
    from meter.imported import read_imported

    settings = load_settings({"database_url": database_url})
    path = settings.database_url.removeprefix("sqlite:///")
    if path != settings.database_url and not Path(path).exists():
        return  # Looking at prices makes no ledger.
    with _ledger(database_url, read_only=True) as ledger:
        yield from [read_imported(file) for file in ledger.price_files.in_force()]


def _ledger(database_url: str | None, *, read_only: bool = False) -> "Any":
    from contextlib import closing

    from meter.store.ledger import Ledger

    return closing(Ledger(load_settings({"database_url": database_url}), read_only=read_only))
