"""Turn rate cards, rules and their differences into rows to show. Pure.

Called by the commands on prices.
"""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

from meter.cli.output import Column
from meter.cli.times import shown_time
from meter.core.money import NANOS
from meter.core.monthly import MonthlyRule
from meter.core.rates import Rate, RateCard
from meter.core.selecting import Models, Parties
from meter.prices.book import PriceBook
from meter.prices.overlay import RateFile
from meter.prices.rules import shown

RATE_COLUMNS = (
    Column("tier", "Tier"),
    Column("unit", "Unit"),
    Column("price", "Price", numeric=True),
    Column("per", "Per", numeric=True),
    Column("condition", "Only when"),
)

CARD_COLUMNS = (
    Column("file", "File", wraps=True),
    Column("kind", "Kind"),
    Column("book", "Book"),
    Column("provider", "Provider"),
    Column("models", "Models", wraps=True),
    Column("who", "For", wraps=True),
    Column("currency", "Currency"),
    Column("what", "Price", wraps=True),
    Column("from", "From"),
    Column("until", "Until"),
    Column("source", "Source", wraps=True),
    Column("checked", "Checked"),
)

ADJUSTMENT_COLUMNS = (
    Column("rule", "Rule"),
    Column("kind", "Kind"),
    Column("unit", "Unit"),
    Column("quantity", "Quantity", numeric=True),
    Column("amount", "Amount", numeric=True),
    Column("currency", "Currency"),
)

CHANGE_COLUMNS = (
    Column("change", "Change"),
    Column("book", "Book"),
    Column("provider", "Provider"),
    Column("model", "Model"),
    Column("who", "For", wraps=True),
    Column("tier", "Tier"),
    Column("unit", "Unit"),
    Column("condition", "Only when", wraps=True),
    Column("per", "Per", numeric=True),
    Column("before", "Before", numeric=True),
    Column("after", "After", numeric=True),
    Column("currency", "Currency"),
)

_MILLION = 1_000_000

Row = dict[str, Any]


def rate_rows(card: RateCard) -> list[Row]:
    """Return a row for each price of a card."""
    rows = [_rate_row(*place) for place in _rates(card)]
    if card.minimum_nanos:
        least = Decimal(shown(Fraction(card.minimum_nanos, NANOS)))
        rows.append({"tier": None, "unit": "at least a call", "price": least, "per": 1,
                     "condition": ""})  # fmt: skip
    return rows


def card_rows(file: RateFile, tz: str) -> Iterator[Row]:
    """Yield a row for each card of a rate file."""
    for entry in file.entries:
        card = entry.quote.card
        tiers = len(card.rates) if card else 0
        yield {
            "file": file.where.removeprefix("rate file "),
            "kind": "card",
            "book": entry.book,
            **_which(entry.models, entry.parties),
            "currency": card.currency if card else None,
            "what": "withdrawn" if card is None else
                    f"{sum(map(len, card.rates.values()))} prices in {tiers} "
                    f"tier{'' if tiers == 1 else 's'}",
            **_span(entry.quote.from_us, entry.quote.to_us, tz),
            "source": card.source if card else None,
            "checked": (card.checked or None) if card else None,
        }  # fmt: skip


def rule_rows(file: RateFile, tz: str) -> Iterator[Row]:
    """Yield a row for each rule, exchange rate and monthly rule of a rate file."""
    where = file.where.removeprefix("rate file ")
    for rule in file.rules:
        yield {
            "file": where,
            "kind": "rule",
            "book": rule.book,
            **_which(rule.models, rule.parties),
            "currency": rule.currency,
            "what": str(rule),
            **_span(rule.from_us, rule.to_us, tz),
            "source": rule.source or None,
            "checked": rule.checked or None,
        }
    for rate in file.exchange:
        yield {
            "file": where,
            "kind": "exchange",
            "book": None,
            **_which(Models(), Parties()),
            "currency": rate.quote,
            "what": f"1 {rate.base} = {shown(rate.rate)} {rate.quote}",
            **_span(rate.from_us, rate.to_us, tz),
            "source": rate.source,
            "checked": None,
        }
    for each in file.monthly:
        yield {
            "file": where,
            "kind": "monthly",
            "book": "resale",
            **_which(each.models, each.parties),
            "currency": each.currency,
            "what": _monthly(each),
            **_span(each.from_us, each.to_us, tz),
            "source": each.source or None,
            "checked": None,
        }


def changes_between(
    before: PriceBook,
    files: Sequence[RateFile],
    after: RateFile,
    at_us: int,
    *,
    both_ways: bool,
) -> list[Row]:
    """Return a row for each price of `after` that is not so in `before`, at a moment.

    Published prices are compared with what `before` finds for the model; those for some calls
    with the card of `files` for the same models and calls. With `both_ways` prices that only
    `before` has are rows as well.
    """
    rows: list[Row] = []
    later = PriceBook([after])
    for book, who, provider, name in _priced(after, at_us):
        if book == "list":
            old = before.card_for(provider, name, at_us)
            new = later.card_for(provider, name, at_us)
        else:
            cards = (_card(file, book, who, provider, name, at_us) for file in files)
            old = next(filter(None, cards), None)
            new = _card(after, book, who, provider, name, at_us)
        rows += _differences((book, _who(who), provider, name), old, new)
    if both_ways:
        known = set(_priced(after, at_us))
        for file in files:
            for book, who, provider, name in _priced(file, at_us):
                if (book, who, provider, name) not in known:
                    old = _card(file, book, who, provider, name, at_us)
                    rows += _differences((book, _who(who), provider, name), old, None)
    return rows + _rules_between(files, after)


def _rules_between(files: Sequence[RateFile], after: RateFile) -> list[Row]:
    known = {
        (row["kind"], row["what"], row["who"]) for file in files for row in rule_rows(file, "UTC")
    }
    return [
        {
            "change": "new", "book": row["book"], "provider": row["provider"],
            "model": row["models"], "who": row["who"], "tier": None, "unit": row["kind"],
            "condition": row["what"], "per": None, "before": None, "after": None,
            "currency": row["currency"],
        }
        for row in rule_rows(after, "UTC")
        if (row["kind"], row["what"], row["who"]) not in known
    ]  # fmt: skip


def _priced(file: RateFile, at_us: int) -> list[tuple[str, Parties, str, str]]:
    """Return book, calls, provider and model of each card in force, patterns as written."""
    found = {
        (entry.book, entry.parties, provider, name): None
        for entry in file.entries
        if entry.quote.holds_at(at_us)
        for provider in sorted(entry.models.providers)
        for name in entry.models.names
    }
    return list(found)


def _card(
    file: RateFile, book: str, who: Parties, provider: str, name: str, at_us: int
) -> RateCard | None:
    for entry in file.entries:
        if (
            (entry.book, entry.parties) == (book, who)
            and provider in entry.models.providers
            and name.lower() in {each.lower() for each in entry.models.names}
            and entry.quote.holds_at(at_us)
        ):
            return entry.quote_for(provider, name).card
    return None


def _differences(
    of: tuple[str, str, str, str], old: RateCard | None, new: RateCard | None
) -> Iterator[Row]:
    book, who, provider, name = of
    before, after = _by_place(old), _by_place(new)
    currencies = {card.currency for card in (old, new) if card is not None}
    for place in [*after, *(place for place in before if place not in after)]:
        was, now = before.get(place), after.get(place)
        if was == now and len(currencies) == 1:
            continue
        tier, unit, condition, per = place
        yield {
            "change": "new" if was is None else "gone" if now is None else "changed",
            "book": book,
            "provider": provider,
            "model": name,
            "who": who,
            "tier": tier,
            "unit": unit,
            "condition": condition,
            "per": per,
            "before": was,
            "after": now,
            "currency": " → ".join(c.currency for c in (old, new) if c) if len(currencies) > 1
                        else next(iter(currencies), None),
        }  # fmt: skip


def _by_place(card: RateCard | None) -> dict[tuple[str, str, str, int], Decimal]:
    if card is None:
        return {}
    rows = (_rate_row(*place) for place in _rates(card))
    return {(row["tier"], row["unit"], row["condition"], row["per"]): row["price"] for row in rows}


def _rates(card: RateCard) -> Iterator[tuple[str, str, Rate]]:
    for tier, listed in card.rates.items():
        for rate in listed:
            yield "", tier, rate
    for window in card.windows:
        days = "".join("MTWTFSS"[day - 1] for day in sorted(window.weekdays))
        start = f"{window.start_minute // 60:02d}:{window.start_minute % 60:02d}"
        end = f"{window.end_minute // 60:02d}:{window.end_minute % 60:02d}"
        but = f" but on {len(window.holidays)} holidays" if window.holidays else ""
        for tier, listed in window.rates.items():
            for rate in listed:
                yield f"{start}–{end} {window.tz} {days}{but}", tier, rate


def _rate_row(when: str, tier: str, rate: Rate) -> Row:
    usual = _MILLION if rate.unit.endswith("_tokens") or rate.unit == "characters" else 1
    conditions = [when] if when else []
    if rate.above_input_tokens:
        conditions.append(f"input above {rate.above_input_tokens:,} tokens")
    conditions += [f"{name} {value}" for name, value in rate.traits]
    if rate.minimum:
        conditions.append(f"at least {rate.minimum:,}")
    price = Fraction(rate.nanos, rate.per) * usual / NANOS
    if "/" in shown(price) or len(shown(price)) > 20:
        # The price of 3,600 seconds need be no decimal for one.
        price, usual = Fraction(rate.nanos, NANOS), rate.per
    return {
        "tier": tier,
        "unit": rate.unit,
        "price": Decimal(shown(price)),
        "per": usual,
        "condition": ", ".join(conditions),
    }


def _which(models: Models, parties: Parties) -> Mapping[str, str]:
    return {
        "provider": ", ".join(sorted(models.providers)) or "all",
        "models": ", ".join(models.names) or "all",
        "who": _who(parties),
    }


def _who(parties: Parties) -> str:
    named = {
        "key": sorted(parties.keys),
        "subject": sorted(parties.subjects),
        "tag": sorted(f"{name}={value}" for name, value in parties.tags),
        "upstream": sorted(parties.upstreams),
        "issuer": sorted(parties.issuers),
    }
    return ", ".join(f"{what} {text}" for what, texts in named.items() for text in texts) or "all"


def _span(from_us: int, to_us: int | None, tz: str) -> Mapping[str, str | None]:
    return {"from": shown_time(from_us, tz) if from_us else None, "until": shown_time(to_us, tz)}


def _monthly(rule: MonthlyRule) -> str:
    scale = NANOS if rule.unit == "money" else 1
    unit = rule.currency if rule.unit == "money" else rule.unit
    if rule.free:
        return f"{rule.name}: {shown(Fraction(rule.free, scale))} {unit} free"
    parts = [
        f"{shown(tier.multiplier)} × above {shown(Fraction(tier.above, scale))}"
        for tier in rule.tiers
    ]
    return f"{rule.name}: {', '.join(parts)} {unit}{', all of it' if rule.whole else ''}"
