"""Resolve what a call owes its issuer and what its subject is billed: contract and resale.

Cards and rules of the rate files are the candidates; of those that are for the call and in force,
the most specific holds: that for a key, then a subject, a tag, an upstream, an issuer, everybody;
then the most exact model name; then a card before a rule; then the first written. A rule makes a
card of the published (or contract) card, once, so that rating stays usage × card. Called by
`book`.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from threading import Lock
from typing import Final, TypeVar

from meter.core.call import Attribution
from meter.core.rates import Missing, Pricing, RateCard, datetime_of
from meter.core.selecting import Parties, Rank
from meter.prices.names import names_of
from meter.prices.overlay import Entry, RateFile
from meter.prices.quotes import layered, quote_of
from meter.prices.rules import Exchange, Rule, applied

MOST_REMEMBERED: Final = 4096
"""How many askers, and how many cards made by rules, are remembered."""

_BOOKS: Final = ("contract", "resale")

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

_NO_LIST: Final = Missing("no rate card covers this model at this time")

Asker = tuple[str, str, str, str | None, Attribution]
"""Provider, model, issuer, upstream and whose call: what decides which prices are for it."""


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A card or a rule that lists a model, under this (provider, name)."""

    rank: tuple[Rank, Rank, bool]
    priced: Entry | Rule
    provider: str
    name: str

    @property
    def parties(self) -> Parties:
        """Whose calls it is for."""
        return self.priced.parties

    @property
    def span(self) -> tuple[int, int | None]:
        """When it is in force, microseconds UTC."""
        dated = self.priced if isinstance(self.priced, Rule) else self.priced.quote
        return dated.from_us, dated.to_us

    def holds_at(self, at_us: int) -> bool:
        """Whether it is in force at the moment (microseconds UTC)."""
        priced = self.priced
        return (priced if isinstance(priced, Rule) else priced.quote).holds_at(at_us)


@dataclass(frozen=True, slots=True)
class _Known:
    """What a call of an asker is rated with in [from_us, to_us), over this published card."""

    listed: RateCard | None
    from_us: int
    to_us: int | None
    pricing: Pricing

    def holds_at(self, at_us: int) -> bool:
        """Whether it is known for the moment (microseconds UTC)."""
        return self.from_us <= at_us and (self.to_us is None or at_us < self.to_us)


class PricedBooks:
    """The contract and resale prices of rate files. Thread-safe; its memory is bounded."""

    def __init__(self, files: Sequence[RateFile]) -> None:
        """Take the files in order: what an earlier one says comes before the later ones."""
        self._files = tuple(files)
        self._lock = Lock()
        self._known: dict[Asker, _Known] = {}
        self._asked: dict[tuple[str, Asker], tuple[_Candidate, ...]] = {}
        self._made: dict[tuple[object, ...], RateCard | Missing] = {}

    def pricing(
        self,
        listed: RateCard | None,
        *,
        provider: str,
        issuer: str,
        upstream: str | None,
        model: str,
        attribution: Attribution,
        at_us: int,
    ) -> Pricing:
        """Return what a call to this model is rated with; `listed` is its published card."""
        asker = (provider, model, issuer, upstream, attribution)
        known = self._known.get(asker)
        if known is None or known.listed is not listed or not known.holds_at(at_us):
            pricing = self._resolved(asker, listed, at_us)
            known = _Known(listed, *self._span(asker, at_us), pricing)
            self._remember(self._known, asker, known)
        return known.pricing

    def _resolved(self, asker: Asker, listed: RateCard | None, at_us: int) -> Pricing:
        contract = self._first("contract", asker, at_us)
        cost: RateCard | Missing | None = listed
        published: RateCard | Missing | None = None
        if contract is not None:
            cost = self._card(contract, listed, listed, at_us)
            published = listed or _NO_LIST
        resale = self._first("resale", asker, at_us)
        if resale is None:
            return Pricing(cost, published)
        return Pricing(cost, published, self._card(resale, listed, cost, at_us))

    def exchange(self, base: str, quote: str, at_us: int) -> Exchange | None:
        """Return the rate from one currency to another at a moment, None when none is known."""
        rates = (rate for file in self._files for rate in file.exchange)
        return next(
            (r for r in rates if (r.base, r.quote) == (base, quote) and r.holds_at(at_us)), None
        )

    def _span(self, asker: Asker, at_us: int) -> tuple[int, int | None]:
        """Return the time around a moment in which the same prices hold for the same calls."""
        spans = [exchange.span for file in self._files for exchange in file.exchange]
        spans += [each.span for book in _BOOKS for each in self._asked_for(book, asker)]
        edges = [edge for span in spans for edge in span if edge is not None]
        starts = [edge for edge in edges if edge <= at_us]
        return max(starts, default=0), min((e for e in edges if e > at_us), default=None)

    def _first(self, book: str, asker: Asker, at_us: int) -> _Candidate | None:
        candidates = self._asked_for(book, asker)
        return next((each for each in candidates if each.holds_at(at_us)), None)

    def _asked_for(self, book: str, asker: Asker) -> tuple[_Candidate, ...]:
        key = (book, asker)
        candidates = self._asked.get(key)
        if candidates is None:
            candidates = self._candidates(book, asker)
            self._remember(self._asked, key, candidates)
        return candidates

    def _remember(self, memory: dict[Key, Value], key: Key, value: Value) -> None:
        with self._lock:
            while len(memory) >= MOST_REMEMBERED:
                del memory[next(iter(memory))]
            memory[key] = value

    def _candidates(self, book: str, asker: Asker) -> tuple[_Candidate, ...]:
        provider, model, issuer, upstream, attribution = asker
        pairs = names_of(provider, model)
        found: list[_Candidate] = []
        for file in self._files:
            for place, pair in enumerate(pairs):
                exact, patterned = file.listing(*pair)
                for kind, entries in ((2, exact), (1, patterned)):
                    for entry in entries:
                        if entry.book == book:
                            rank = (entry.parties.rank, (kind, 1, -place), True)
                            found.append(_Candidate(rank, entry, *pair))
            for rule in file.rules:
                exactness = rule.models.rank(pairs) if rule.book == book and pairs else None
                if exactness is not None:
                    found.append(_Candidate((rule.parties.rank, exactness, False), rule, *pairs[0]))
        fitting = [c for c in found if c.parties.fit(issuer, upstream, attribution)]
        # Sorting keeps the order in which equals were written.
        return tuple(sorted(fitting, key=lambda candidate: candidate.rank, reverse=True))

    def _card(
        self,
        candidate: _Candidate,
        listed: RateCard | None,
        cost: RateCard | Missing | None,
        at_us: int,
    ) -> RateCard | Missing:
        priced = candidate.priced
        if isinstance(priced, Entry):
            return self._entered(candidate, priced, listed, at_us)
        base = listed if priced.base == "list" else cost
        if not isinstance(base, RateCard):
            reason = base.reason if base else _NO_LIST.reason
            return Missing(f"found no {priced.base} price for {priced.name}: {reason}")
        exchange = None
        if priced.currency not in (None, base.currency):
            assert priced.currency is not None
            exchange = self.exchange(base.currency, priced.currency, at_us)
            if exchange is None:
                day = datetime_of(at_us).isoformat(timespec="seconds")
                return Missing(
                    f"found no exchange rate from {base.currency} to {priced.currency} at {day}, "
                    f"expected one for {priced.name}"
                )
        return self._remembered(
            (id(priced), base.id, id(exchange)), lambda: applied(priced, base, exchange)
        )

    def _entered(
        self, candidate: _Candidate, entry: Entry, listed: RateCard | None, at_us: int
    ) -> RateCard | Missing:
        if entry.quote.card is None:
            return Missing(f"the {entry.book} price of {candidate.name} was withdrawn")

        def made() -> RateCard | Missing:
            quote = entry.quote_for(candidate.provider, candidate.name)
            if not entry.quote.amends:
                assert quote.card is not None
                return quote.card
            if listed is None:
                return Missing(f"found no list price to amend: {_NO_LIST.reason}")
            over = next(q for q in layered((quote,), (quote_of(listed),)) if q.holds_at(at_us))
            if over.card is None:
                return Missing(
                    f"found a price of {candidate.name} in another currency than the "
                    f"{listed.currency} of the list price, which it cannot amend"
                )
            return replace(over.card, book=entry.book, id="")

        under = listed.id if listed and entry.quote.amends else None
        return self._remembered((id(entry), candidate.provider, candidate.name, under), made)

    def _remembered(
        self, key: tuple[object, ...], make: Callable[[], RateCard | Missing]
    ) -> RateCard | Missing:
        card = self._made.get(key)
        if card is None:
            card = make()
            self._remember(self._made, key, card)
        return card
