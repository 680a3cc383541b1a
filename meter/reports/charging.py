"""Derive the charge lines of a call in any price book from its usage and the stored card.

The ledger keeps the lines of the cost only: those of the published price and of what is billed
follow from the usage and the card that the call names. Called by the façade, exports and invoices.
"""

from collections.abc import Callable
from typing import Literal

from meter.core import rating
from meter.core.rates import RateCard
from meter.core.rating import Charge, ChargeLine
from meter.errors import InputError
from meter.store.reads import CallRow

Book = Literal["cost", "list", "billed"]


def charge_in(call: CallRow, book: Book) -> Charge:
    """Return the charge of a call in a price book; only that of the cost has its lines.

    Raises: InputError for a book that is not one of these.
    """
    if book == "cost":
        return Charge(call.lines, call.cost_nanos, call.currency, call.rate_card_id, call.unpriced)
    if book not in ("list", "billed"):
        raise InputError(f"found price book {book!r}, expected cost, list or billed")
    return call.listed if book == "list" else call.billed


def lines_of(
    call: CallRow, book: Book, card_named: Callable[[str], RateCard | None]
) -> tuple[ChargeLine, ...]:
    """Return the lines of a call's charge in a price book; () where it has no amount.

    `card_named` returns the stored rate card of an id. The lines sum to the amount, to the nano:
    `meter check` verifies it. Raises: InputError for a book that is not one, or a card that is
    not stored.
    """
    charge = charge_in(call, book)
    if charge.card_id == call.rate_card_id or not charge.amount_nanos or not call.usage:
        return call.lines if charge.amount_nanos else ()
    card = None if charge.card_id is None else card_named(charge.card_id)
    if card is None:
        raise InputError(f"found no rate card {charge.card_id}, expected it: see meter check")
    again = rating.rate(
        call.usage,
        card,
        at_us=call.started_us,
        tier=call.service_tier,
        traits=dict(call.traits),
    )
    return again.lines
