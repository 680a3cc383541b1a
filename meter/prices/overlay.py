"""Read rate files: TOML with dated prices. Our own additions and users' files are both such files.

    [[card]]
    providers = ["openai"]
    models = ["my-model", "my-model-2*"]        # `*` stands for any text
    currency = "USD"
    source = "https://example.com/pricing"
    checked = "2026-11-22"
    effective_from = 2026-01-01T00:00:00Z       # optional; effective_to is exclusive
    [card.rates.standard]                       # one table for each service tier
    input_tokens = "2.50"                       # text: for 1,000,000 tokens or characters
    images = [{ price = "0.04", per = 1, traits = { size = "1024x1024" } }]

Further keys: `amends = true` (lay these rates over what the next source says), `withdrawn = true`
(there is no price in that time), `unpriced_units`, `context_tokens`, `max_output_tokens`, `note`,
and `[[card.windows]]` with start, end, tz, weekdays, holidays and rates of its own.
A rate's table takes price, per, above_input_tokens, minimum and traits.

Knows no provider. Prices are text, because a TOML number with a fraction is no exact decimal.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar

from meter.core.rates import Rate, RateCard, RateWindow, microseconds_of
from meter.core.units import UNITS
from meter.core.windows import zone
from meter.errors import ConfigError, InputError, RateCardError
from meter.prices.names import provider_named
from meter.prices.quotes import Quote, exact_rate

_PRICE: Final = re.compile(r"\d{1,9}(\.\d{1,18})?")
_CURRENCY: Final = re.compile(r"[A-Z]{3}")
_FILE_KEYS: Final = frozenset({"book", "card"})
_CARD_KEYS: Final = frozenset({
    "amends", "checked", "context_tokens", "currency", "effective_from", "effective_to",
    "max_output_tokens", "models", "note", "providers", "rates", "source", "unpriced_units",
    "windows", "withdrawn",
})  # fmt: skip
_RATE_KEYS: Final = frozenset({"above_input_tokens", "minimum", "per", "price", "traits"})
_WINDOW_KEYS: Final = frozenset({"end", "holidays", "rates", "start", "tz", "weekdays"})
_MOST_CARDS: Final = 10_000
_MILLION: Final = 1_000_000

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Entry:
    """One `[[card]]` of a rate file.

    `patterns` are (compiled, as written); `quote` names no provider and model yet.
    """

    providers: frozenset[str]
    names: Mapping[str, str]
    patterns: tuple[tuple[re.Pattern[str], str], ...]
    quote: Quote

    def name_for(self, provider: str, model: str) -> str | None:
        """Return the name under which the entry lists the model, None when it does not."""
        if provider not in self.providers:
            return None
        lower = model.lower()
        listed = (written for pattern, written in self.patterns if pattern.fullmatch(lower))
        return self.names.get(lower) or next(listed, None)


class RateFile:
    """The quotes of one rate file."""

    def __init__(self, entries: tuple[Entry, ...]) -> None:
        """Keep the entries in the order in which they were written."""
        self.entries = entries

    def quotes_for(self, provider: str, model: str) -> tuple[Quote, ...]:
        """Return what the file says of a model, exact names before patterns."""
        exact: list[Quote] = []
        by_pattern: list[Quote] = []
        for entry in self.entries:
            name = entry.name_for(provider, model)
            if name is not None:
                quotes = exact if model.lower() in entry.names else by_pattern
                quotes.append(_named(entry.quote, provider, name))
        return (*exact, *by_pattern)


def load_rate_file(path: str | Path) -> RateFile:
    """Return the quotes of a TOML rate file.

    Raises: InputError in one sentence that names the entry and what is wrong with it.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot read the rate file {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"the rate file {path} is not UTF-8 text") from None
    return read_rates(text, f"rate file {path}")


def read_rates(text: str, where: str) -> RateFile:
    """Return the quotes of a rate file's text; `where` names the file in errors.

    Raises: InputError in one sentence that names the entry and what is wrong with it.
    """
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{where} is not TOML: {error}") from None
    top = _Table(content, where)
    top.only(_FILE_KEYS)
    book = top.text("book", "list")
    cards = top.tables("card")
    if not 0 < len(cards) <= _MOST_CARDS:
        raise InputError(f"{where} has {len(cards)} cards, expected 1 to {_MOST_CARDS}")
    entries = tuple(
        _entry(_Table(card, f"{where}, card {number} ({_label(card)})"), book)
        for number, card in enumerate(cards, start=1)
    )
    _refuse_overlaps(entries, where)
    return RateFile(entries)


@cache
def bundled_rates() -> RateFile:
    """Return the rate file that travels with the package."""
    text = files("meter.prices").joinpath("overlay.toml").read_text(encoding="utf-8")
    return read_rates(text, "the bundled rate file")


class _Table:
    """Reads one TOML table strictly; `where` names it in errors."""

    def __init__(self, content: Mapping[str, Any], where: str) -> None:
        self.content = content
        self.where = where

    def fail(self, found: str, expected: str) -> NoReturn:
        raise InputError(f"{self.where} has {found}, expected {expected}")

    def only(self, keys: frozenset[str]) -> None:
        for key in self.content:
            if key not in keys:
                self.fail(f"the key {key!r}", f"only {', '.join(sorted(keys))}")

    def get(self, key: str, kind: type[Value], name: str, default: Value) -> Value:
        value = self.content.get(key, default)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            self.fail(f"{key} = {value!r}", name)
        return value

    def text(self, key: str, default: str = "") -> str:
        return self.get(key, str, "a text", default)

    def flag(self, key: str) -> bool:
        return self.get(key, bool, "true or false", False)

    def count(self, key: str, default: int, least: int = 0) -> int:
        value = self.get(key, int, "a whole number", default)
        if value < least:
            self.fail(f"{key} = {value}", f"at least {least}")
        return value

    def texts(self, key: str) -> list[str]:
        values: list[Any] = self.get(key, list, "a list of texts", [])
        for value in values:
            if not isinstance(value, str) or not value.strip():
                self.fail(f"{value!r} in {key}", "a text that is not empty")
        return values

    def table(self, key: str) -> Mapping[str, Any]:
        return self.get(key, dict, "a table", {})

    def tables(self, key: str) -> list[Mapping[str, Any]]:
        values: list[Any] = self.get(key, list, "a list of tables", [])
        for value in values:
            if not isinstance(value, dict):
                self.fail(f"{value!r} in {key}", "a table")
        return values

    def moment_us(self, key: str) -> int | None:
        value = self.content.get(key)
        if value is None:
            return None
        if not isinstance(value, datetime) or value.tzinfo is None:
            self.fail(f"{key} = {value!r}", "a moment with its offset such as 2026-01-01T00:00:00Z")
        return microseconds_of(value.astimezone(UTC))


def _entry(table: _Table, book: str) -> Entry:
    table.only(_CARD_KEYS)
    models = table.texts("models")
    providers = table.texts("providers")
    if not models or not providers:
        table.fail("no models or no providers", "at least one of each")
    from_us = table.moment_us("effective_from") or 0
    to_us = table.moment_us("effective_to")
    if to_us is not None and to_us <= from_us:
        table.fail("an effective_to that is not after its effective_from", "a span of time")
    withdrawn, amends = table.flag("withdrawn"), table.flag("amends")
    if withdrawn and (amends or table.content.get("rates") or table.content.get("windows")):
        table.fail("withdrawn = true beside rates", "one or the other")
    card = None if withdrawn else _card(table, book, from_us, to_us)
    return Entry(
        frozenset(provider_named(provider) for provider in providers),
        {model.lower(): model for model in models if "*" not in model},
        tuple((_pattern(model), model) for model in models if "*" in model),
        Quote(from_us, to_us, card, amends),
    )


def _card(table: _Table, book: str, from_us: int, to_us: int | None) -> RateCard:
    currency = table.text("currency")
    if not _CURRENCY.fullmatch(currency):
        table.fail(f"currency = {currency!r}", "an ISO 4217 code such as USD")
    unpriced = frozenset(table.texts("unpriced_units"))
    if not table.text("source"):
        table.fail("no source", "where the prices were found")
    if table.text("checked"):
        _date(table, table.text("checked"), "checked")
    if unpriced - UNITS.keys():
        table.fail(f"unpriced_units {sorted(unpriced - UNITS.keys())}", "units of the registry")
    try:
        return RateCard(
            provider="",
            model="",
            currency=currency,
            rates=_tiers(table, "rates"),
            effective_from_us=from_us,
            effective_to_us=to_us,
            windows=tuple(_windows(table)),
            max_output_tokens=table.count("max_output_tokens", 0) or None,
            context_tokens=table.count("context_tokens", 0) or None,
            book=book,
            source=table.text("source"),
            checked=table.text("checked"),
            unpriced_units=unpriced,
        )
    except RateCardError:
        table.fail("no rates", "a table such as [card.rates.standard] with at least one rate")


def _tiers(table: _Table, key: str) -> dict[str, tuple[Rate, ...]]:
    tiers = {}
    for tier, content in table.table(key).items():
        if not isinstance(content, dict):
            table.fail(f"{key}.{tier} = {content!r}", "a table of units with their prices")
        inner = _Table(content, f"{table.where}, tier {tier}")
        tiers[tier] = tuple(rate for unit in content for rate in _rates(inner, unit))
    return tiers


def _rates(table: _Table, unit: str) -> Iterator[Rate]:
    if unit not in UNITS:
        table.fail(f"the unit {unit!r}", f"one of {', '.join(UNITS)}")
    value = table.content[unit]
    usual_per = _MILLION if unit.endswith("_tokens") or unit == "characters" else None
    for stated in value if isinstance(value, list) else [value]:
        content = stated if isinstance(stated, dict) else {"price": stated}
        inner = _Table(content, f"{table.where}, {unit}")
        inner.only(_RATE_KEYS)
        price = content.get("price")
        if not isinstance(price, str) or not _PRICE.fullmatch(price):
            inner.fail(f"price = {price!r}", 'a decimal in quotes such as "2.50"')
        if usual_per is None and "per" not in content:
            inner.fail("a price without per", "the number of units that the price is for")
        yield exact_rate(
            unit,
            Decimal(price),
            inner.count("per", usual_per or 1, least=1),
            above_input_tokens=inner.count("above_input_tokens", 0),
            traits=_traits(inner),
            minimum=inner.count("minimum", 0),
        )


def _traits(table: _Table) -> dict[str, str]:
    traits = table.table("traits")
    for name, value in traits.items():
        if not isinstance(value, str):
            table.fail(f"the trait {name} = {value!r}", "a text")
    return dict(traits)


def _windows(table: _Table) -> Iterator[RateWindow]:
    for number, content in enumerate(table.tables("windows"), start=1):
        inner = _Table(content, f"{table.where}, window {number}")
        inner.only(_WINDOW_KEYS)
        days = inner.get("weekdays", list, "a list of weekdays", [1, 2, 3, 4, 5, 6, 7])
        if not days or any(day not in range(1, 8) for day in days):
            inner.fail(f"weekdays = {days!r}", "numbers from 1 (Monday) to 7 (Sunday)")
        holidays = inner.get("holidays", list, "a list of dates", [])
        try:
            zone(inner.text("tz", "UTC"))
            yield RateWindow(
                start_minute=_minute(inner, "start"),
                end_minute=_minute(inner, "end") or 24 * 60,
                rates=_tiers(inner, "rates"),
                weekdays=frozenset(days),
                tz=inner.text("tz", "UTC"),
                holidays=frozenset(_date(inner, day, "holidays") for day in holidays),
            )
        except (ConfigError, RateCardError) as error:
            raise InputError(f"{inner.where} cannot be used: {error}") from None


def _minute(table: _Table, key: str) -> int:
    value = table.content.get(key)
    if not isinstance(value, time) or value.second or value.microsecond:
        table.fail(f"{key} = {value!r}", "a time of day such as 09:00:00, in whole minutes")
    return value.hour * 60 + value.minute


def _date(table: _Table, value: object, key: str) -> date:
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    try:
        return date.fromisoformat(str(value))
    except ValueError:
        table.fail(f"{value!r} in {key}", "a date such as 2026-11-22")


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(part) for part in text.lower().split("*")))


def _label(card: Mapping[str, Any]) -> str:
    models = card.get("models")
    return str(models[0]) if isinstance(models, list) and models else "without a model"


def _named(quote: Quote, provider: str, model: str) -> Quote:
    if quote.card is None:
        return quote
    card = replace(quote.card, provider=provider, model=model, id="")
    return replace(quote, card=card)


def _refuse_overlaps(entries: tuple[Entry, ...], where: str) -> None:
    """Refuse two cards that price the same model at the same moment: which one holds is a guess."""
    seen: dict[tuple[str, str], list[Quote]] = {}
    for entry in entries:
        for key in ((p, m) for p in entry.providers for m in entry.names):
            for other in seen.setdefault(key, []):
                if other.amends == entry.quote.amends and _overlap(other, entry.quote):
                    raise InputError(
                        f"{where} has two cards for {key[0]} {key[1]} at the same time, expected "
                        f"effective_to of one to be no later than effective_from of the other"
                    )
            seen[key].append(entry.quote)


def _overlap(one: Quote, other: Quote) -> bool:
    return other.holds_at(one.from_us) or one.holds_at(other.from_us)
