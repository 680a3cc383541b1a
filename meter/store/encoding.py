"""Turn calls, events, charges and rate cards into rows and back, exactly.

JSON texts are compact and stable: equal records make equal rows, which is how a repeated write is
told from a conflicting one. Decimals are strings, unknown is null. Called by the writes, the reads
and the checks of this room.
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Literal
from uuid import UUID

import msgspec
from sqlalchemy import RowMapping

from meter.core.budgets import Scope, scopes_of
from meter.core.call import Attribution, Bound, Call
from meter.core.event import Correction, UsageEvent
from meter.core.money import Quantity
from meter.core.rates import Rate, RateCard, RateWindow
from meter.core.rating import Charge, ChargeLine
from meter.core.usage import Usage
from meter.store.types import BASES, BASIS_NUMBERS, OUTCOME_NUMBERS, OUTCOMES

Row = dict[str, Any]
"""One row by column name, with the values that a driver takes."""

AnyRow = Mapping[str, Any] | RowMapping
"""A row to read from: our own, or one that SQLAlchemy gave."""

Book = Literal["list", "billed"]
"""Another price book than the cost's, as columns name it."""

UNIT_COLUMNS = (
    "input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens",
)  # fmt: skip
"""The units with a column of their own."""

MAX_NANOS = 10**17
"""The largest amount that one call may cost: sums of more would leave 64 bits."""

_MAX_INT = 2**63 - 1
_PER = 1_000_000
_SHORT = {
    "input_tokens": "i",
    "cache_read_tokens": "cr",
    "cache_write_tokens": "cw",
    "cache_write_5m_tokens": "cw5",
    "cache_write_30m_tokens": "cw30",
    "cache_write_1h_tokens": "cw1",
    "cache_write_12h_tokens": "cw12",
    "input_audio_tokens": "ia",
    "input_image_tokens": "ii",
    "input_video_tokens": "iv",
    "cache_audio_read_tokens": "ca",
    "cache_image_read_tokens": "ci",
    "tool_use_input_tokens": "it",
    "output_tokens": "o",
    "reasoning_tokens": "r",
    "output_audio_tokens": "oa",
    "output_image_tokens": "oi",
    "rejected_prediction_tokens": "rp",
    "requests": "q",
}
"""Short names of the units that most calls have; the others are written in full."""

_ENCODER = msgspec.json.Encoder()
_LONG = {short: name for name, short in _SHORT.items()}


def to_json(value: object) -> str:
    """Return compact JSON text. It never depends on which of the two encoders writes it."""
    try:
        return _ENCODER.encode(value).decode()
    except (ValueError, TypeError):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def clean(text: str | None) -> str | None:
    """Return the text with what no database can keep (NUL, lone surrogates) as U+FFFD."""
    if text is None or (text.isascii() and "\0" not in text):
        return text
    whole = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return whole.replace("\0", "\ufffd")


_common_text = lru_cache(4096)(clean)
"""Does what `clean` does, for texts that many calls have in common."""

# --- usage ------------------------------------------------------------------------------------


def usage_to_row(usage: Usage | None) -> Row:
    """Return the token columns and `other_units` (null when the usage is unknown)."""
    if usage is None:
        return dict.fromkeys((*UNIT_COLUMNS, "other_units"))
    row: Row = {name: usage.get(name) for name in UNIT_COLUMNS}
    others = {
        _SHORT.get(name, name): str(quantity) if isinstance(quantity, Decimal) else quantity
        for name, quantity in usage.items()
        if name not in row
    }
    row["other_units"] = to_json(others) if others else "{}"
    return row


def usage_from_row(row: AnyRow) -> Usage | None:
    """Return the usage that a row holds, None when it is unknown."""
    others = row["other_units"]
    if others is None:
        return None
    quantities: dict[str, Quantity] = {
        name: row[name] for name in UNIT_COLUMNS if row[name] is not None
    }
    for name, quantity in json.loads(others).items():
        quantities[_LONG.get(name, name)] = _quantity(quantity)
    return Usage(quantities)


def _quantity(value: int | str) -> Quantity:
    return Decimal(value) if isinstance(value, str) else value


# --- charges ----------------------------------------------------------------------------------


def believable(charge: Charge) -> Charge:
    """Return the charge, made unpriced where 64 bits could not sum its amount.

    Such an amount comes from a usage that nobody can have had; the usage is kept beside it.
    """
    amount_nanos = charge.amount_nanos
    if amount_nanos is None or amount_nanos <= MAX_NANOS:
        return charge
    sentence = f"found a cost of {amount_nanos} nanos, expected at most {MAX_NANOS} for one call"
    return Charge((), None, None, charge.card_id, sentence)


def charge_to_row(charge: Charge) -> Row:
    """Return the columns of a charge."""
    return {
        "cost_nanos": charge.amount_nanos,
        "currency": _common_text(charge.currency),
        "rate_card_id": _common_text(charge.card_id),
        "unpriced": _common_text(charge.unpriced),
        "lines": to_json([_line_to_list(line) for line in charge.lines]) if charge.lines else None,
    }


def books_to_row(listed: Charge | None, billed: Charge | None) -> Row:
    """Return the columns of the other price books, null where the price is that of the cost.

    Their lines are not kept: they follow from the usage and the card.
    """
    row: Row = {}
    for book, charge in (("list", listed), ("billed", billed)):
        row[f"{book}_nanos"] = None if charge is None else charge.amount_nanos
        row[f"{book}_currency"] = None if charge is None else clean(charge.currency)
        row[f"{book}_card_id"] = None if charge is None else clean(charge.card_id)
        row[f"{book}_unpriced"] = None if charge is None else clean(charge.unpriced)
    return row


NO_BOOKS = MappingProxyType(books_to_row(None, None))
"""The columns of the other price books of a call that has only a cost."""


def book_from_row(row: AnyRow, book: Book) -> Charge | None:
    """Return the charge of another price book without its lines, None when it is the cost's."""
    told = (row[f"{book}_currency"], row[f"{book}_card_id"], row[f"{book}_unpriced"])
    if not any(text is not None for text in told):
        return None
    return Charge((), row[f"{book}_nanos"], *told)


def is_resold(row: AnyRow) -> bool:
    """Whether a subject owes another price than the cost for the call of a row."""
    return any(
        row[name] is not None for name in ("billed_currency", "billed_card_id", "billed_unpriced")
    )


def charge_from_row(row: AnyRow) -> Charge:
    """Return the charge that a row holds."""
    lines = tuple(_line_from_list(parts) for parts in json.loads(row["lines"] or "[]"))
    return Charge(lines, row["cost_nanos"], row["currency"], row["rate_card_id"], row["unpriced"])


def _line_to_list(line: ChargeLine) -> list[int | str]:
    """Return [unit, quantity, nanos, amount], with `per` at the end where it is not a million."""
    quantity = str(line.quantity) if isinstance(line.quantity, Decimal) else line.quantity
    name = _SHORT.get(line.unit, line.unit)
    listed: list[int | str] = [name, quantity, line.nanos, line.amount_nanos]
    return listed if line.per == _PER else [*listed, line.per]


def _line_from_list(listed: list[Any]) -> ChargeLine:
    name, quantity, nanos, amount_nanos, *per = listed
    return ChargeLine(
        _LONG.get(name, name), _quantity(quantity), nanos, per[0] if per else _PER, amount_nanos
    )


# --- calls and events -------------------------------------------------------------------------


def open_call_to_row(call: Call, issuer: str, card_id: str | None, owner: str, expires_us: int
                     ) -> Row:  # fmt: skip
    """Return the row of a call that is about to leave."""
    return {
        **_common(call),
        "operation_id": call.operation_id,
        "issuer": _common_text(issuer),
        "bound_input_tokens": _fitting(call.bound.input_tokens),
        "bound_output_tokens": _fitting(call.bound.output_tokens),
        "bound_cost_nanos": _fitting(call.bound.cost_nanos),
        "bound_currency": _common_text(call.bound.currency),
        "rate_card_id": _common_text(card_id),
        "owner": _common_text(owner),
        "expires_us": expires_us,
    }


def call_from_open_row(row: AnyRow) -> Call:
    """Return the call that a row of `open_calls` holds."""
    bound = Bound(
        row["bound_input_tokens"], row["bound_output_tokens"], row["bound_cost_nanos"],
        row["bound_currency"],
    )  # fmt: skip
    return _call(row, row["operation_id"], bound)


def call_from_event_row(row: AnyRow) -> Call:
    """Return the call that an event's row holds; of its bounds only the money is kept."""
    nanos = row["bound_cost_nanos"]
    bound = Bound() if nanos is None else Bound(cost_nanos=nanos, currency=row["currency"])
    return _call(row, row["operation_id"] or row["call_id"], bound)


def event_to_row(event: UsageEvent, *, swept: bool = False) -> Row:
    """Return the row of an ended call, its route's columns included (see `split_event_row`)."""
    call = event.call
    row = _common(call)
    charge = charge_to_row(event.charge)
    row.update(charge)
    if event.listed is None and event.billed is None:
        row.update(NO_BOOKS)
    else:
        row.update(books_to_row(event.listed, event.billed))
    row.update(usage_to_row(event.usage))
    row.update(
        operation_id=None if call.operation_id == call.id else call.operation_id,
        issuer=_common_text(event.issuer),
        bound_cost_nanos=_fitting(call.bound.cost_nanos) if _keeps_bound(event) else None,
        ended_us=event.ended_us,
        first_byte_us=event.first_byte_us,
        outcome=OUTCOME_NUMBERS[event.outcome],
        basis=BASIS_NUMBERS[event.basis],
        swept=1 if swept else None,
        status=event.status,
        counted_output_tokens=_fitting(event.counted_output_tokens),
        provider_cost_nanos=_fitting(event.provider_cost_nanos),
        model_served=_common_text(event.model_served),
        service_tier=_common_text(event.service_tier),
        response_id=clean(event.response_id),
        traits=pairs_to_json(event.traits),
        defects=to_json([clean(text) for text in event.defects]) if event.defects else None,
    )
    return row


def _keeps_bound(event: UsageEvent) -> bool:
    """Whether a reader can tell the currency of the call's bound: that of the charge, or its card.

    A call without a cost has no currency of its own, but the card that would have rated it has.
    """
    if event.charge.currency is None:
        return event.charge.card_id is not None
    return event.call.bound.currency == event.charge.currency


def event_from_row(row: AnyRow) -> UsageEvent:
    """Return the event that an event's row holds, exactly: it makes the same row."""
    return UsageEvent(
        call=call_from_event_row(row),
        ended_us=row["ended_us"],
        outcome=OUTCOMES[row["outcome"]],
        basis=BASES[row["basis"]],
        usage=usage_from_row(row),
        charge=charge_from_row(row),
        issuer=row["issuer"],
        status=row["status"],
        first_byte_us=row["first_byte_us"],
        model_served=row["model_served"],
        service_tier=row["service_tier"],
        traits=pairs_from_json(row["traits"]),
        counted_output_tokens=row["counted_output_tokens"],
        provider_cost_nanos=row["provider_cost_nanos"],
        response_id=row["response_id"],
        defects=texts_from_json(row["defects"]),
        listed=book_from_row(row, "list"),
        billed=book_from_row(row, "billed"),
    )


ROUTE_COLUMNS = (
    "provider", "issuer", "endpoint", "model_requested", "model_served", "service_tier",
    "upstream", "currency", "rate_card_id", "unpriced",
)  # fmt: skip
"""The part of an event that many calls have in common, but for `BOOK_COLUMNS`."""

BOOK_COLUMNS = (
    "list_currency", "list_card_id", "list_unpriced", "billed_currency", "billed_card_id",
    "billed_unpriced",
)  # fmt: skip
"""What a route says of other price books."""


def split_event_row(row: AnyRow) -> tuple[Row, Row]:
    """Return the rows of `usage_events` and of `routes` that an event's row is stored as."""
    route = {name: row[name] for name in ROUTE_COLUMNS}
    books = [row[name] for name in BOOK_COLUMNS]
    identity = route_id(*route.values(), *(books if any(books) else ()))
    route.update(zip(BOOK_COLUMNS, books, strict=True))
    first_byte_us = row["first_byte_us"]
    stored = {
        **row,
        "route_id": identity,
        "duration_us": row["ended_us"] - row["started_us"],
        "first_byte_after_us": None if first_byte_us is None else first_byte_us - row["started_us"],
    }
    return stored, {"id": identity, **route}


@lru_cache(4096)
def route_id(*route: str | None) -> int:
    """Return the id of a route: 63 bits of the hash of its columns' values.

    Those of other price books are left out where they are all null.
    """
    digest = hashlib.blake2b(to_json(route).encode(), digest_size=8).digest()
    return int.from_bytes(digest) >> 1


ENDING_COLUMNS = (
    "ended_us", "first_byte_us", *UNIT_COLUMNS, "counted_output_tokens", "cost_nanos",
    "provider_cost_nanos", "status", "basis", "other_units", "lines", "currency", "rate_card_id",
    "unpriced", "model_served", "service_tier", "response_id", "traits", "defects", "outcome",
    "list_nanos", "billed_nanos", *BOOK_COLUMNS,
)  # fmt: skip
"""What an event and a correction both say of how a call ended."""


def correction_to_row(correction: Correction) -> Row:
    """Return the row of a correction; what it does not state stays null."""
    row: Row = dict.fromkeys(ENDING_COLUMNS)
    row.update(charge_to_row(correction.charge))
    row.update(books_to_row(correction.listed, correction.billed))
    row.update(usage_to_row(correction.usage))
    row.update(
        id=correction.id,
        call_id=correction.call_id,
        number=correction.number,
        at_us=correction.at_us,
        basis=BASIS_NUMBERS[correction.basis],
        outcome=None if correction.outcome is None else OUTCOME_NUMBERS[correction.outcome],
        reason=clean(correction.reason),
        author=clean(correction.author),
    )
    return row


def correction_from_row(row: AnyRow) -> Correction:
    """Return the correction that a row holds."""
    outcome = row["outcome"]
    return Correction(
        row["id"], row["call_id"], row["number"], row["at_us"], usage_from_row(row),
        BASES[row["basis"]], charge_from_row(row), row["reason"], row["author"],
        None if outcome is None else OUTCOMES[outcome],
        book_from_row(row, "list"), book_from_row(row, "billed"),
    )  # fmt: skip


def scopes_of_row(row: AnyRow) -> tuple[Scope, ...]:
    """Return every scope that a budget for the call of this row could have.

    The model is the one asked for, because a hold is made before another one can serve.
    """
    return _scopes(row["subject"], row["tags"], row["key_id"], row["model_requested"])


@lru_cache(4096)
def _scopes(
    subject: str | None, tags: str | None, key_id: str | None, model: str | None
) -> tuple[Scope, ...]:
    return scopes_of(Attribution(subject, pairs_from_json(tags), key_id), model)


@lru_cache(2048)
def pairs_to_json(pairs: tuple[tuple[str, str], ...]) -> str | None:
    """Return sorted (name, value) pairs as a JSON object, None when there is none."""
    if not pairs:
        return None
    return to_json({clean(name): clean(value) for name, value in sorted(pairs)})


def pairs_from_json(text: str | None) -> tuple[tuple[str, str], ...]:
    """Return the (name, value) pairs of a JSON object."""
    return tuple(json.loads(text).items()) if text else ()


def texts_from_json(text: str | None) -> tuple[str, ...]:
    """Return the texts of a JSON list."""
    return tuple(json.loads(text)) if text else ()


def _common(call: Call) -> Row:
    attribution = call.attribution
    return {
        "call_id": call.id,
        "started_us": call.started_us,
        "provider": _common_text(call.provider),
        "endpoint": _common_text(call.endpoint),
        "model_requested": _common_text(call.model_requested),
        "subject": _common_text(attribution.subject),
        "key_id": _common_text(attribution.key_id),
        "tags": pairs_to_json(attribution.tags),
        "streaming": int(call.streaming),
        "estimated_input_tokens": _fitting(call.estimated_input_tokens),
        "path": clean(call.path),
        "upstream": _common_text(call.upstream),
    }


def _call(row: AnyRow, operation_id: UUID, bound: Bound) -> Call:
    return Call(
        id=row["call_id"],
        operation_id=operation_id,
        started_us=row["started_us"],
        provider=row["provider"],
        endpoint=row["endpoint"],
        model_requested=row["model_requested"],
        attribution=Attribution(row["subject"], pairs_from_json(row["tags"]), row["key_id"]),
        streaming=bool(row["streaming"]),
        estimated_input_tokens=row["estimated_input_tokens"],
        bound=bound,
        path=row["path"],
        upstream=row["upstream"],
    )


def _fitting(number: int | None) -> int | None:
    """Return the number, or None where 64 bits cannot hold it: then it bounds nothing."""
    return number if number is not None and -_MAX_INT <= number <= _MAX_INT else None


# --- rate cards -------------------------------------------------------------------------------


def card_to_row(card: RateCard) -> Row:
    """Return the row of a rate card; its content is enough to rebuild it."""
    content: dict[str, Any] = {
        "rates": _rates_to_json(card.rates),
        "windows": [
            {
                "start_minute": window.start_minute,
                "end_minute": window.end_minute,
                "weekdays": sorted(window.weekdays),
                "tz": window.tz,
                "holidays": sorted(day.isoformat() for day in window.holidays),
                "rates": _rates_to_json(window.rates),
            }
            for window in card.windows
        ],
        "max_output_tokens": card.max_output_tokens,
        "context_tokens": card.context_tokens,
        "unpriced_units": sorted(card.unpriced_units),
    }
    if card.minimum_nanos:
        content["minimum_nanos"] = card.minimum_nanos
    return {
        "id": card.id,
        "effective_from_us": card.effective_from_us,
        "effective_to_us": card.effective_to_us,
        "provider": card.provider,
        "model": card.model,
        "book": card.book,
        "currency": card.currency,
        "source": clean(card.source),
        "checked": clean(card.checked),
        "content": to_json(content),
    }


def card_from_row(row: AnyRow, *, keep_id: bool = True) -> RateCard:
    """Return the rate card that a row holds; without `keep_id` its id is hashed anew."""
    content = json.loads(row["content"])
    windows = tuple(
        RateWindow(
            start_minute=window["start_minute"],
            end_minute=window["end_minute"],
            rates=_rates_from_json(window["rates"]),
            weekdays=frozenset(window["weekdays"]),
            tz=window["tz"],
            holidays=frozenset(date.fromisoformat(day) for day in window["holidays"]),
        )
        for window in content["windows"]
    )
    return RateCard(
        provider=row["provider"],
        model=row["model"],
        currency=row["currency"],
        rates=_rates_from_json(content["rates"]),
        effective_from_us=row["effective_from_us"],
        effective_to_us=row["effective_to_us"],
        windows=windows,
        max_output_tokens=content["max_output_tokens"],
        context_tokens=content["context_tokens"],
        unpriced_units=frozenset(content["unpriced_units"]),
        minimum_nanos=content.get("minimum_nanos", 0),
        book=row["book"],
        source=row["source"],
        checked=row["checked"],
        id=row["id"] if keep_id else "",
    )


def _rates_to_json(rates: Mapping[str, tuple[Rate, ...]]) -> dict[str, list[list[Any]]]:
    return {
        tier: [
            [r.unit, r.nanos, r.per, r.above_input_tokens, list(r.traits), r.minimum]
            for r in listed
        ]
        for tier, listed in rates.items()
    }


def _rates_from_json(content: Mapping[str, list[list[Any]]]) -> dict[str, tuple[Rate, ...]]:
    return {
        tier: tuple(
            Rate(unit, nanos, per, above, tuple((name, value) for name, value in traits), least)
            for unit, nanos, per, above, traits, least in listed
        )
        for tier, listed in content.items()
    }
