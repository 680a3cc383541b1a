"""The command `meter prices show`: which rate card a model has at a moment, and why."""

from decimal import Decimal
from typing import Annotated

import typer

from meter.cli.output import Column, Format, say, show
from meter.cli.times import moment_us, shown_time
from meter.clock import now_us
from meter.config import load_settings
from meter.core.money import multiply, nanos_to_text
from meter.core.rates import RateCard
from meter.errors import InputError

prices = typer.Typer(no_args_is_help=True, help="Look at the price lists.")

COLUMNS = (
    Column("tier", "Tier"),
    Column("unit", "Unit"),
    Column("price", "Price", numeric=True),
    Column("per", "Per", numeric=True),
    Column("condition", "Only when"),
)


@prices.callback()
def _root() -> None:
    """Look at the price lists."""


@prices.command("show")
def show_price(
    model: Annotated[str, typer.Argument(help="The model's name.")],
    provider: Annotated[str, typer.Option(help="Who serves it.")] = "openai",
    at: Annotated[str | None, typer.Option(help="A moment (default: now).")] = None,
    tz: Annotated[str, typer.Option(help="Time zone of the moment.")] = "UTC",
    format: Annotated[Format, typer.Option(help="How to show the rates.")] = Format.TABLE,
) -> None:
    """Show the rate card of a model in force at a moment."""
    from meter.prices.book import PriceBook

    at_us = moment_us(at, tz)
    book = PriceBook.bundled(load_settings().rate_files)
    card = book.card_for(provider, model, now_us() if at_us is None else at_us)
    if card is None:
        raise InputError(f"no price is known for {provider} {model} at that time")
    show(_rate_rows(card), COLUMNS, format, title=f"{provider} {model}, {card.currency}")
    if format is Format.TABLE:
        until = shown_time(card.effective_to_us, tz) or "further notice"
        start = shown_time(card.effective_from_us, tz) if card.effective_from_us else "the start"
        say(f"Rate card {card.id}: from {start} until {until}.")
        say(f"Source: {card.source or 'not stated'}; checked {card.checked or 'not stated'}.")


def _rate_rows(card: RateCard) -> list[dict[str, object]]:
    rows = _rows_of(card.rates, "")
    for window in card.windows:
        days = "".join("MTWTFSS"[day - 1] for day in sorted(window.weekdays))
        start = f"{window.start_minute // 60:02d}:{window.start_minute % 60:02d}"
        end = f"{window.end_minute // 60:02d}:{window.end_minute % 60:02d}"
        rows += _rows_of(window.rates, f"{start}–{end} {window.tz} {days}")
    return rows


def _rows_of(rates: object, when: str) -> list[dict[str, object]]:
    assert isinstance(rates, dict) or hasattr(rates, "items")
    rows: list[dict[str, object]] = []
    for tier, listed in rates.items():
        for rate in listed:
            per = 1_000_000 if rate.per > 1 or rate.unit.endswith("_tokens") else 1
            conditions = [when] if when else []
            if rate.above_input_tokens:
                conditions.append(f"input above {rate.above_input_tokens:,} tokens")
            conditions += [f"{name} {value}" for name, value in rate.traits]
            rows.append(
                {
                    "tier": tier,
                    "unit": rate.unit,
                    "price": Decimal(nanos_to_text(multiply(per, rate.nanos, rate.per))),
                    "per": per,
                    "condition": ", ".join(conditions),
                }
            )
    return rows
