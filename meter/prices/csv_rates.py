"""Read a rate file in CSV: one line for each price, as a spreadsheet has it.

    provider,model,unit,price,currency,source,checked
    openai,my-model,input_tokens,2.50,USD,https://example.com/pricing,2026-11-22
    openai,my-model,output_tokens,10,USD,https://example.com/pricing,2026-11-22

Further columns, in any order: book, tier, per, effective_from, effective_to, above_input_tokens,
minimum, traits (`size=1024x1024;quality=hd`), issuer, upstream, subject, key, tag,
context_tokens, max_output_tokens. Lines that agree in all but the price make one card. Windows,
rules and exchange rates need TOML.
"""

import csv
import io
from collections.abc import Mapping
from typing import Any, Final

from meter.errors import InputError

_OF_CARD: Final = (
    "book", "provider", "model", "currency", "source", "checked", "effective_from",
    "effective_to", "issuer", "upstream", "subject", "key", "tag", "context_tokens",
    "max_output_tokens",
)  # fmt: skip
_OF_RATE: Final = ("tier", "unit", "price", "per", "above_input_tokens", "minimum", "traits")
_NEEDED: Final = ("provider", "model", "unit", "price", "currency", "source")
_NUMBERS: Final = frozenset({"context_tokens", "max_output_tokens"})


def content_of_csv(text: str, where: str) -> Mapping[str, Any]:
    """Return what a TOML rate file with the same prices would hold. Raises: InputError."""
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    cards: dict[tuple[str, ...], dict[str, Any]] = {}
    try:
        names = [(name or "").strip().lower() for name in reader.fieldnames or ()]
        _check_names(names, where)
        reader.fieldnames = names
        for row in reader:
            place = f"{where}, line {reader.line_num}"
            if None in row or None in row.values():
                raise InputError(f"{place} has not as many fields as the heading, expected so")
            cells = {name: value.strip() for name, value in row.items()}
            key = tuple(cells.get(name, "") for name in _OF_CARD)
            card = cards.setdefault(key, _card(cells, place))
            _add_rate(card, cells, place)
    except csv.Error as error:
        raise InputError(f"{where} is not CSV: line {reader.line_num}: {error}") from None
    return {"card": list(cards.values())}


def _check_names(names: list[str], where: str) -> None:
    known = (*_OF_CARD, *_OF_RATE)
    for name in names:
        if name not in known:
            raise InputError(f"{where} has the column {name!r}, expected only {', '.join(known)}")
    for name in _NEEDED:
        if name not in names:
            raise InputError(f"{where} has no column {name!r}, expected {', '.join(_NEEDED)}")
    if len(set(names)) != len(names):
        raise InputError(f"{where} has a column twice, expected each once")


def _card(cells: Mapping[str, str], place: str) -> dict[str, Any]:
    card: dict[str, Any] = {
        "providers": [cells["provider"]],
        "models": [cells["model"]],
        "rates": {},
    }
    for name in _OF_CARD:
        value = cells.get(name, "")
        if value and name not in ("provider", "model"):
            card[name] = _number(value, name, place) if name in _NUMBERS else value
    return card


def _add_rate(card: dict[str, Any], cells: Mapping[str, str], place: str) -> None:
    rate: dict[str, Any] = {"price": cells["price"]}
    for name in ("per", "above_input_tokens", "minimum"):
        if cells.get(name):
            rate[name] = _number(cells[name], name, place)
    if cells.get("traits"):
        pairs = [pair.partition("=") for pair in cells["traits"].split(";") if pair.strip()]
        rate["traits"] = {name.strip(): value.strip() for name, _, value in pairs}
    tier = card["rates"].setdefault(cells.get("tier") or "standard", {})
    tier.setdefault(cells["unit"], []).append(rate)


def _number(text: str, name: str, place: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise InputError(f"{place} has {name} = {text!r}, expected a whole number")
    return int(text)
