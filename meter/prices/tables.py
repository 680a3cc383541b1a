"""Read tables of a rate file strictly: what is not understood is refused, with the place named.

Called by the readers of cards and of rules. Knows no price.
"""

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final, NoReturn, TypeVar

from meter.core.rates import microseconds_of
from meter.core.selecting import Models, Parties
from meter.errors import InputError
from meter.prices.names import provider_named

Value = TypeVar("Value")

DECIMAL: Final = re.compile(r"\d{1,9}(\.\d{1,18})?")
"""How an exact decimal is written."""

_CURRENCY: Final = re.compile(r"[A-Z]{3}")

WHO_KEYS: Final = frozenset({"issuer", "key", "subject", "tag", "upstream"})
"""The keys of a table that say whose calls it is for."""


class Table:
    """Reads one table strictly; `where` names it in errors. Every method raises InputError."""

    def __init__(self, content: Mapping[str, Any], where: str) -> None:
        """Take the table's content, and what names it in errors."""
        self.content = content
        self.where = where

    def fail(self, found: str, expected: str) -> NoReturn:
        """Raise the sentence on what was found and what was expected."""
        raise InputError(f"{self.where} has {found}, expected {expected}")

    def only(self, keys: frozenset[str]) -> None:
        """Refuse every key but these."""
        for key in self.content:
            if key not in keys:
                self.fail(f"the key {key!r}", f"only {', '.join(sorted(keys))}")

    def get(self, key: str, kind: type[Value], name: str, default: Value) -> Value:
        """Return the value of a key, which must be of this kind; `name` says so to a person."""
        value = self.content.get(key, default)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            self.fail(f"{key} = {value!r}", name)
        return value

    def text(self, key: str, default: str = "") -> str:
        """Return a text."""
        return self.get(key, str, "a text", default)

    def flag(self, key: str) -> bool:
        """Return true or false."""
        return self.get(key, bool, "true or false", False)

    def count(self, key: str, default: int, least: int = 0) -> int:
        """Return a whole number, at least `least`."""
        value = self.get(key, int, "a whole number", default)
        if value < least:
            self.fail(f"{key} = {value}", f"at least {least}")
        return value

    def texts(self, key: str) -> list[str]:
        """Return a list of texts."""
        values: list[Any] = self.get(key, list, "a list of texts", [])
        for value in values:
            if not isinstance(value, str) or not value.strip():
                self.fail(f"{value!r} in {key}", "a text that is not empty")
        return values

    def table(self, key: str) -> Mapping[str, Any]:
        """Return an inner table."""
        return self.get(key, dict, "a table", {})

    def tables(self, key: str) -> list[Mapping[str, Any]]:
        """Return a list of inner tables."""
        values: list[Any] = self.get(key, list, "a list of tables", [])
        for value in values:
            if not isinstance(value, dict):
                self.fail(f"{value!r} in {key}", "a table")
        return values

    def moment_us(self, key: str) -> int | None:
        """Return a moment in microseconds UTC, None where the key is missing."""
        value = self.content.get(key)
        if value is None:
            return None
        if isinstance(value, str):
            # Formats without a type for moments write them as text.
            value = _moment(value)
        if not isinstance(value, datetime) or value.tzinfo is None:
            self.fail(f"{key} = {value!r}", "a moment with its offset such as 2026-01-01T00:00:00Z")
        if not 1 < value.year < 9999:
            self.fail(f"{key} = {value}", "a moment of the years 2 to 9998")
        return microseconds_of(value.astimezone(UTC))

    def inner(self, key: str) -> "Table":
        """Return an inner table to read."""
        return Table(self.table(key), f"{self.where}, {key}")

    def any_of(self, key: str) -> list[str]:
        """Return what a key holds, which may be one text or a list of them."""
        value = self.content.get(key)
        if not isinstance(value, str):
            return self.texts(key)
        if not value.strip():
            self.fail(f"an empty {key}", "a text")
        return [value]

    def currency(self, key: str) -> str:
        """Return a currency's code."""
        code = self.text(key)
        if not _CURRENCY.fullmatch(code):
            self.fail(f"{key} = {code!r}", "an ISO 4217 code such as USD")
        return code

    def decimal(self, key: str, default: str | None = None) -> Fraction:
        """Return an exact decimal, written as a text."""
        value = self.content.get(key, default)
        if not isinstance(value, str) or not DECIMAL.fullmatch(value):
            self.fail(f"{key} = {value!r}", 'a decimal in quotes such as "2.50"')
        return Fraction(Decimal(value))

    def date(self, value: object, key: str) -> date:
        """Return a date that stands in a key."""
        if isinstance(value, date) and not isinstance(value, datetime):
            return value
        try:
            return date.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value!r} in {key}", "a date such as 2026-11-22")

    def span_us(self) -> tuple[int, int | None]:
        """Return effective_from and effective_to, microseconds UTC."""
        from_us, to_us = self.moment_us("effective_from") or 0, self.moment_us("effective_to")
        if to_us is not None and to_us <= from_us:
            self.fail("an effective_to that is not after its effective_from", "a span of time")
        return from_us, to_us

    def origin(self, required: bool) -> tuple[str, str]:
        """Return source and checked: where the prices were found, and when."""
        source, checked = self.text("source"), self.text("checked")
        if required and not source:
            self.fail("no source", "where the prices were found")
        if checked:
            self.date(checked, "checked")
        return source, checked

    def parties(self) -> Parties:
        """Return whose calls the table is for."""
        pairs = [text.partition("=") for text in self.any_of("tag")]
        for name, equals, value in pairs:
            if not (name and equals):
                self.fail(f"tag = {name + equals + value!r}", "name=value")
        return Parties(
            issuers=frozenset(self.any_of("issuer")),
            upstreams=frozenset(self.any_of("upstream")),
            subjects=frozenset(self.any_of("subject")),
            keys=frozenset(self.any_of("key")),
            tags=frozenset((name, value) for name, _, value in pairs),
        )

    def models(self) -> Models:
        """Return the models that the table is for; a missing list means all."""
        providers = frozenset(provider_named(name) for name in self.texts("providers"))
        return Models(providers, tuple(self.texts("models")))


def _moment(text: str) -> datetime | str:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return text
