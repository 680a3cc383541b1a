"""Read rate files: dated prices, and rules that make prices of prices.

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

Further keys: `book` ("list", "contract" or "resale"; also once for the whole file) and whose calls
a contract or resale card is for (`issuer`, `upstream`, `subject`, `key`, `tag`: a text or a list),
`amends = true` (lay these rates over what the next source says), `withdrawn = true` (there is no
price in that time), `minimum` (the least that a call costs), `unpriced_units`, `context_tokens`,
`max_output_tokens`, `note`, and `[[card.windows]]` with start, end, tz, weekdays, holidays and
rates of its own. A rate's table takes price, per, above_input_tokens, minimum and traits.

`[[rule]]`, `[[exchange]]` and `[[monthly]]` are read by `rules`. Knows no provider. Prices are
text, because a TOML number with a fraction is no exact decimal.
"""

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import time
from functools import cache
from importlib.resources import files
from typing import Any, Final

from meter.core.money import NANOS
from meter.core.monthly import MonthlyRule
from meter.core.rates import Rate, RateCard, RateWindow
from meter.core.selecting import Models, Parties, pattern_of
from meter.core.units import UNITS
from meter.core.windows import zone
from meter.errors import ConfigError, InputError, RateCardError
from meter.prices.quotes import Quote, exact_rate
from meter.prices.rules import Exchange, Rule, exchange_from, monthly_from, rule_from
from meter.prices.tables import WHO_KEYS, Table

BOOKS: Final = ("list", "contract", "resale")
"""The price books: what is published, what we owe the issuer, what the subject owes us."""

_FILE_KEYS: Final = frozenset({"book", "card", "exchange", "monthly", "rule"})
_CARD_KEYS: Final = WHO_KEYS | {
    "amends", "book", "checked", "context_tokens", "currency", "effective_from", "effective_to",
    "max_output_tokens", "minimum", "models", "note", "providers", "rates", "source",
    "unpriced_units", "windows", "withdrawn",
}  # fmt: skip
_RATE_KEYS: Final = frozenset({"above_input_tokens", "minimum", "per", "price", "traits"})
_WINDOW_KEYS: Final = frozenset({"end", "holidays", "rates", "start", "tz", "weekdays"})
_MOST_CARDS: Final = 10_000
_MILLION: Final = 1_000_000
# Formats without a type for times of day write them as text.
_CLOCK: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")


@dataclass(frozen=True, slots=True)
class Entry:
    """One `[[card]]` of a rate file: for which models, in which book, for whose calls.

    `quote` names no provider and model yet.
    """

    models: Models
    book: str
    parties: Parties
    quote: Quote

    def quote_for(self, provider: str, model: str) -> Quote:
        """Return the quote under the name by which the entry lists this model."""
        card = self.quote.card
        if card is None:
            return self.quote
        named = replace(card, provider=provider, model=self._listed(model), id="")
        return replace(self.quote, card=named)

    def _listed(self, model: str) -> str:
        lower = model.lower()
        exact = (name for name in self.models.names if name.lower() == lower)
        patterns = (n for n in self.models.names if "*" in n and pattern_of(n).fullmatch(lower))
        return next(exact, None) or next(patterns, model)


class RateFile:
    """What one rate file says; `where` names it."""

    def __init__(
        self,
        entries: tuple[Entry, ...] = (),
        *,
        rules: tuple[Rule, ...] = (),
        exchange: tuple[Exchange, ...] = (),
        monthly: tuple[MonthlyRule, ...] = (),
        where: str = "",
    ) -> None:
        """Keep the entries in the order in which they were written, found by exact names."""
        self.entries = entries
        self.rules = rules
        self.exchange = exchange
        self.monthly = monthly
        self.where = where
        self._exact: dict[tuple[str, str], list[Entry]] = {}
        self._patterned: list[Entry] = []
        for entry in entries:
            for name in {name.lower() for name in entry.models.names if "*" not in name}:
                for provider in entry.models.providers:
                    self._exact.setdefault((provider, name), []).append(entry)
            if any("*" in name for name in entry.models.names):
                self._patterned.append(entry)

    def listing(self, provider: str, model: str) -> tuple[list[Entry], list[Entry]]:
        """Return the entries that list a model by its name, and those that do by a pattern."""
        exact = self._exact.get((provider, model.lower()), [])
        pair = ((provider, model),)
        patterned = [
            entry
            for entry in self._patterned
            if entry.models.rank(pair) is not None and entry not in exact
        ]
        return exact, patterned

    def quotes_for(self, provider: str, model: str) -> tuple[Quote, ...]:
        """Return what the file publishes of a model, exact names before patterns."""
        exact, patterned = self.listing(provider, model)
        return tuple(
            entry.quote_for(provider, model)
            for entry in (*exact, *patterned)
            if entry.book == "list"
        )


def read_rates(text: str, where: str) -> RateFile:
    """Return what the text of a TOML rate file says; `where` names the file in errors.

    Raises: InputError in one sentence that names the entry and what is wrong with it.
    """
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{where} is not TOML: {error}") from None
    return rates_from(content, where)


def rates_from(content: Mapping[str, Any], where: str) -> RateFile:
    """Return what the content of a rate file says, as `read_rates`."""
    top = Table(content, where)
    top.only(_FILE_KEYS)
    book = top.text("book", "list")
    if book not in BOOKS:
        top.fail(f"book = {book!r}", f"one of {', '.join(BOOKS)}")
    kinds = {kind: top.tables(kind) for kind in ("card", "rule", "exchange", "monthly")}
    count = sum(len(tables) for tables in kinds.values())
    if not 0 < count <= _MOST_CARDS:
        raise InputError(f"{where} has {count} cards and rules, expected 1 to {_MOST_CARDS}")

    def tables(kind: str) -> Iterator[tuple[int, Table]]:
        for number, each in enumerate(kinds[kind], start=1):
            yield number, Table(each, f"{where}, {kind} {number} ({_label(each)})")

    entries = tuple(_entry(table, book) for _, table in tables("card"))
    rules = tuple(rule_from(table, book, number) for number, table in tables("rule"))
    _refuse_overlaps(entries, where)
    return RateFile(
        entries,
        rules=rules,
        exchange=exchange_from([table for _, table in tables("exchange")]),
        monthly=tuple(monthly_from(table, number) for number, table in tables("monthly")),
        where=where,
    )


@cache
def bundled_rates() -> RateFile:
    """Return the rate file that travels with the package."""
    text = files("meter.prices").joinpath("overlay.toml").read_text(encoding="utf-8")
    return read_rates(text, "the bundled rate file")


def _entry(table: Table, book: str) -> Entry:
    table.only(_CARD_KEYS)
    book = table.text("book", book)
    models, parties = table.models(), table.parties()
    if not models.names or not models.providers:
        table.fail("no models or no providers", "at least one of each")
    if book not in BOOKS:
        table.fail(f"book = {book!r}", f"one of {', '.join(BOOKS)}")
    if book == "list" and parties != Parties():
        table.fail("a published price for some calls only", 'book = "contract" or "resale"')
    from_us, to_us = table.span_us()
    withdrawn, amends = table.flag("withdrawn"), table.flag("amends")
    if withdrawn and (amends or table.content.get("rates") or table.content.get("windows")):
        table.fail("withdrawn = true beside rates", "one or the other")
    card = None if withdrawn else _card(table, book, from_us, to_us)
    return Entry(models, book, parties, Quote(from_us, to_us, card, amends))


def _card(table: Table, book: str, from_us: int, to_us: int | None) -> RateCard:
    currency = table.currency("currency")
    unpriced = frozenset(table.texts("unpriced_units"))
    source, checked = table.origin(required=True)
    minimum = table.decimal("minimum", "0") * NANOS
    if minimum.denominator != 1:
        table.fail(f"minimum = {table.content['minimum']!r}", "at most 9 decimal places")
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
            source=source,
            checked=checked,
            unpriced_units=unpriced,
            minimum_nanos=int(minimum),
        )
    except RateCardError:
        table.fail("no rates", "a table such as [card.rates.standard] with at least one rate")


def _tiers(table: Table, key: str) -> dict[str, tuple[Rate, ...]]:
    tiers = {}
    for tier, content in table.table(key).items():
        if not isinstance(content, dict):
            table.fail(f"{key}.{tier} = {content!r}", "a table of units with their prices")
        inner = Table(content, f"{table.where}, tier {tier}")
        tiers[tier] = tuple(rate for unit in content for rate in _rates(inner, unit))
    return tiers


def _rates(table: Table, unit: str) -> Iterator[Rate]:
    if unit not in UNITS:
        table.fail(f"the unit {unit!r}", f"one of {', '.join(UNITS)}")
    value = table.content[unit]
    usual_per = _MILLION if unit.endswith("_tokens") or unit == "characters" else None
    for stated in value if isinstance(value, list) else [value]:
        content = stated if isinstance(stated, dict) else {"price": stated}
        inner = Table(content, f"{table.where}, {unit}")
        inner.only(_RATE_KEYS)
        price = inner.decimal("price")
        if usual_per is None and "per" not in content:
            inner.fail("a price without per", "the number of units that the price is for")
        yield exact_rate(
            unit,
            price,
            inner.count("per", usual_per or 1, least=1),
            above_input_tokens=inner.count("above_input_tokens", 0),
            traits=_traits(inner),
            minimum=inner.count("minimum", 0),
        )


def _traits(table: Table) -> dict[str, str]:
    traits = table.table("traits")
    for name, value in traits.items():
        if not isinstance(value, str):
            table.fail(f"the trait {name} = {value!r}", "a text")
    return dict(traits)


def _windows(table: Table) -> Iterator[RateWindow]:
    for number, content in enumerate(table.tables("windows"), start=1):
        inner = Table(content, f"{table.where}, window {number}")
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
                holidays=frozenset(inner.date(day, "holidays") for day in holidays),
            )
        except (ConfigError, RateCardError) as error:
            raise InputError(f"{inner.where} cannot be used: {error}") from None


def _minute(table: Table, key: str) -> int:
    value = table.content.get(key)
    if isinstance(value, str) and (found := _CLOCK.fullmatch(value)):
        value = time(int(found[1]), int(found[2]))
    if not isinstance(value, time) or value.second or value.microsecond:
        table.fail(f"{key} = {value!r}", "a time of day such as 09:00:00, in whole minutes")
    return value.hour * 60 + value.minute


def _label(table: Mapping[str, Any]) -> str:
    models = table.get("models")
    first = models[0] if isinstance(models, list) and models else "without a model"
    return str(table.get("name") or first)


def _refuse_overlaps(entries: Iterable[Entry], where: str) -> None:
    """Refuse two cards that price the same model at the same moment: which one holds is a guess."""
    seen: dict[tuple[str, Parties, str, str], list[Quote]] = {}
    for entry in entries:
        names = {name.lower() for name in entry.models.names if "*" not in name}
        for provider, name in ((p, n) for p in entry.models.providers for n in sorted(names)):
            key = (entry.book, entry.parties, provider, name)
            for other in seen.setdefault(key, []):
                if other.amends == entry.quote.amends and _overlap(other, entry.quote):
                    raise InputError(
                        f"{where} has two cards for {provider} {name} at the same time, expected "
                        f"effective_to of one to be no later than effective_from of the other"
                    )
            seen[key].append(entry.quote)


def _overlap(one: Quote, other: Quote) -> bool:
    return other.holds_at(one.from_us) or one.holds_at(other.from_us)
