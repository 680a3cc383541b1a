"""Rate recorded calls again with the prices as they are known now. Pure but for the prices.

A call is rated by the card that holds at its start, as it was when it ended; where the amount
comes out differently the call gets a correction. Nothing is edited. Called by the façade.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from meter.clock import new_id, now_us
from meter.core import rating
from meter.core.call import Attribution
from meter.core.event import Correction
from meter.core.ports import PriceSource
from meter.core.rates import Pricing, RateCard
from meter.core.rating import Charge, Charges
from meter.reports.charging import Book, charge_in
from meter.store.reads import CallRow

REASON = "rated again with the prices as they are known now"


@dataclass(frozen=True, slots=True)
class Rerating:
    """One call whose amounts come out differently: as it stands, and as it is rated now."""

    call: CallRow
    charges: Charges
    cards: tuple[RateCard, ...]

    @property
    def charge(self) -> Charge:
        """Return the cost as it is rated now."""
        return self.charges.cost

    def pair(self, book: Book) -> tuple[Charge, Charge]:
        """Return the charge in a price book as it stands, and as it is rated now, without lines."""
        now = {"list": self.charges.listed, "billed": self.charges.billed}.get(book)
        before, after = charge_in(self.call, book), now or self.charges.cost
        return _bare(before), _bare(after)

    def correction(self, author: str) -> Correction:
        """Return the correction that makes the call say what it is rated now."""
        call = self.call
        assert call.basis is not None
        return Correction(
            id=new_id(),
            call_id=call.id,
            number=call.corrections + 1,
            at_us=now_us(),
            usage=call.usage,
            basis=call.basis,
            charge=self.charge,
            reason=REASON,
            author=author,
            listed=self.charges.listed,
            billed=self.charges.billed,
        )


@dataclass(frozen=True, slots=True)
class RerateRow:
    """What rating again changes for one model in one price book: sums over the calls that change.

    Amounts are nanos.
    `before_nanos` and `after_nanos` are None where none of the calls had, or has, a price;
    `newly_priced` and `newly_unpriced` count the calls that gain or lose theirs.
    """

    provider: str
    model: str | None
    currency: str | None
    calls: int
    before_nanos: int | None
    after_nanos: int | None
    newly_priced: int
    newly_unpriced: int
    book: Book = "cost"

    @property
    def difference_nanos(self) -> int:
        """Return by how much the sum grows; negative: it shrinks."""
        return (self.after_nanos or 0) - (self.before_nanos or 0)


def rerated(calls: Iterable[CallRow], prices: PriceSource) -> Iterator[Rerating]:
    """Yield the calls whose amounts come out differently; those nobody knows usage of stay."""
    for call in calls:
        if call.state != "settled" or not call.usage:
            continue
        pricing = pricing_of(call, prices)
        charges = rating.rate_in_books(
            call.usage,
            pricing,
            at_us=call.started_us,
            tier=call.service_tier,
            traits=dict(call.traits),
        )
        change = Rerating(call, charges, pricing.cards)
        if any(_differ(*change.pair(book)) for book in _BOOKS):
            yield change


def _bare(charge: Charge) -> Charge:
    return Charge((), charge.amount_nanos, charge.currency, None)


def _differ(before: Charge, after: Charge) -> bool:
    if before.amount_nanos is None and after.amount_nanos is None:
        return False
    return (before.amount_nanos, before.currency) != (after.amount_nanos, after.currency)


_BOOKS: tuple[Book, ...] = ("cost", "list", "billed")

_Key = tuple[Book, str, str | None, str]
_Pair = tuple[Charge, Charge]


def summed(changes: Sequence[Rerating]) -> list[RerateRow]:
    """Return the changes by price book, provider, model and currency, sorted.

    A call whose currency changes counts out of the one and into the other. Books other than the
    cost's have rows where any call has a price of its own there.
    """
    told = [
        book
        for book in _BOOKS
        if book == "cost" or any(c.pair(book) != c.pair("cost") for c in changes)
    ]
    sums: dict[_Key, list[_Pair]] = {}
    for change in changes:
        for book in told:
            before, after = pair = change.pair(book)
            if not _differ(before, after):
                continue
            currencies = {c.currency for c in pair if c.amount_nanos is not None}
            for currency in currencies - {None}:
                assert currency is not None
                key: _Key = (book, change.call.provider, change.call.model, currency)
                sums.setdefault(key, []).append(pair)

    def order(key: _Key) -> tuple[int, str, str, str]:
        book, provider, model, currency = key
        return _BOOKS.index(book), provider, model or "", currency

    return [_row(key, sums[key]) for key in sorted(sums, key=order)]


def _row(key: _Key, pairs: list[_Pair]) -> RerateRow:
    book, provider, model, currency = key
    before, after = [
        [c.amount_nanos for c in charges if c.amount_nanos is not None and c.currency == currency]
        for charges in zip(*pairs, strict=True)
    ]
    return RerateRow(
        provider=provider,
        model=model,
        currency=currency,
        calls=len(pairs),
        before_nanos=sum(before) if before else None,
        after_nanos=sum(after) if after else None,
        newly_priced=sum(old.amount_nanos is None for old, _ in pairs),
        newly_unpriced=sum(new.amount_nanos is None for _, new in pairs),
        book=book,
    )


def pricing_of(call: CallRow, prices: PriceSource) -> Pricing:
    """Return the price of the model that served; the requested one's for its snapshots.

    The rule of the pipeline, which the tests hold the two to.
    """
    requested, served = call.model_requested, call.model_served
    pricing = Pricing(None)
    if served is not None:
        pricing = _pricing(call, served, prices)
    if (
        pricing.cost_card is None
        and requested is not None
        and (served or requested).startswith(requested)
    ):
        pricing = _pricing(call, requested, prices)
    return pricing


def _pricing(call: CallRow, model: str, prices: PriceSource) -> Pricing:
    card = prices.card_for(call.provider, model, call.started_us)
    books = prices.books
    if books is None:
        return Pricing(card)
    return books.pricing(
        card,
        provider=call.provider,
        issuer=call.issuer,
        upstream=call.upstream,
        model=model,
        attribution=Attribution(call.subject, call.tags, call.key_id),
        at_us=call.started_us,
    )


def owed_by(prices: PriceSource, provider: str, model: str, at_us: int) -> RateCard | None:
    """Return the card by which a provider bills us itself: the contract's, else the list's."""
    listed = prices.card_for(provider, model, at_us)
    books = prices.books
    if books is None:
        return listed
    return books.pricing(
        listed,
        provider=provider,
        issuer=provider,
        upstream=None,
        model=model,
        attribution=Attribution(),
        at_us=at_us,
    ).cost_card
