"""The golden file: amounts worked out by hand, with their arithmetic and where the prices are from.

The arithmetic of each row is done again here with fractions, apart from the code under test.
"""

import ast
import re
import tomllib
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest

from meter.core.call import Attribution
from meter.core.money import nanos_to_text
from meter.core.rates import RateCard, microseconds_of
from meter.core.rating import rate
from meter.core.usage import Usage
from meter.prices.book import PriceBook
from meter.prices.overlay import read_rates

GOLDEN = tomllib.loads(Path(__file__).with_name("golden_amounts.toml").read_text(encoding="utf-8"))
AMOUNTS = GOLDEN["amount"]
SUNDAY = datetime(2026, 11, 22, 12, tzinfo=UTC)


def the_books():
    bundled = PriceBook.bundled()
    books = {None: bundled}
    for name, text in GOLDEN["files"].items():
        books[name] = PriceBook.bundled()
        books[name].under([read_rates(text, name)])
    return books


BOOKS = the_books()


def shown(row):
    return " ".join(str(row[key]) for key in ("provider", "model", "amount"))


def card_of(row, at_us):
    book = BOOKS[row.get("file")]
    listed = book.card_for(row["provider"], row["model"], at_us)
    if "book" not in row:
        return listed
    pairs = tuple(sorted(tuple(t.split("=")) for t in row.get("tags", "").split(",") if t))
    pricing = book.books.pricing(
        listed,
        provider=row["provider"],
        issuer=row["provider"],
        upstream=None,
        model=row["model"],
        attribution=Attribution("alice", pairs),
        at_us=at_us,
    )
    return pricing.cost if row["book"] == "contract" else pricing.billed


@pytest.mark.parametrize("row", AMOUNTS, ids=shown)
def test_an_amount_that_was_worked_out_by_hand(row):
    at_us = microseconds_of(datetime.fromisoformat(row["at"]) if "at" in row else SUNDAY)
    card = card_of(row, at_us)
    assert isinstance(card, RateCard), card
    usage = Usage(
        {
            unit: Decimal(quantity) if isinstance(quantity, str) else quantity
            for unit, quantity in row["usage"].items()
        }
    )
    charge = rate(usage, card, at_us=at_us, tier=row.get("tier"), traits=row.get("traits"))
    assert charge.unpriced is None
    assert f"{nanos_to_text(charge.amount_nanos)} {charge.currency}" == row["amount"]
    assert sum(line.amount_nanos for line in charge.lines) == charge.amount_nanos


@pytest.mark.parametrize("row", AMOUNTS, ids=shown)
def test_the_arithmetic_of_a_row_is_right(row):
    number = row["amount"].split(" ")[0]
    lines = [value(term) * 10**9 for term in terms(ast.parse(row["sum"], mode="eval").body)]
    # Python rounds a fraction half to even.
    assert sum(round(line) for line in lines) == Fraction(number) * 10**9


def terms(node):
    """The lines of a sum."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return [*terms(node.left), node.right]
    return [node]


def value(node):
    match node:
        case ast.Constant(value=int() | float() as number):
            return Fraction(str(number))
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            return value(left) * value(right)
        case ast.BinOp(left=left, op=ast.Div(), right=right):
            return value(left) / value(right)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return value(left) + value(right)
        case ast.BinOp(left=left, op=ast.Sub(), right=right):
            return value(left) - value(right)
    raise AssertionError(ast.dump(node))


def test_the_file_covers_every_kind_of_rate_provider_and_currency():
    assert len(AMOUNTS) >= 60
    assert all(row["source"] for row in AMOUNTS)
    units = {unit for row in AMOUNTS for unit in row["usage"]}
    assert units >= {
        "input_tokens", "cache_read_tokens", "cache_write_tokens", "cache_write_5m_tokens",
        "cache_write_1h_tokens", "input_audio_tokens", "input_image_tokens", "output_tokens",
        "reasoning_tokens", "output_audio_tokens", "images", "video_seconds", "audio_seconds",
        "characters", "searches", "trained_tokens", "pages",
    }  # fmt: skip
    assert {row["amount"].split(" ")[1] for row in AMOUNTS} == {"USD", "CNY", "EUR", "JPY"}
    assert {row.get("tier") for row in AMOUNTS} == {None, "batch", "flex", "priority", "fast"}
    assert {row.get("book") for row in AMOUNTS} == {None, "contract", "resale"}
    assert len({row["provider"] for row in AMOUNTS}) >= 12


def test_sixty_amounts_and_more_are_of_published_prices_with_their_date():
    published = [row for row in AMOUNTS if "made up" not in row["source"]]
    assert len([row for row in published if re.search(r"20\d\d-\d\d", row["source"])]) >= 60
    assert {row["amount"].split()[1] for row in published} == {"USD", "CNY"}
