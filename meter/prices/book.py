"""Find what a model costs at a moment, in each price book.

    book = PriceBook.bundled(["rates.toml"])
    book.card_for("openai", "gpt-4o-2024-08-06", at_us)      the published price
    book.books.pricing(...)                                  what is owed and what is billed

`list` is what is published: users' rate files, our additions, genai-prices, the first that knows
the model. `contract` (what an issuer bills us) and `resale` (what a subject is billed) come from
rate files only, most specific first; where they say nothing, the published price is owed, and
what is owed is billed. Knows no usage and no tier: a tier that a card lacks is for `core.rating`
to leave unpriced. Called by the pipeline for each call, by reports and by the command line.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from threading import Lock
from typing import Final

from meter.core.monthly import MonthlyRule
from meter.core.rates import RateCard
from meter.prices.books import PricedBooks
from meter.prices.formats import load_rate_file
from meter.prices.genai import GenaiPrices
from meter.prices.names import names_of
from meter.prices.overlay import RateFile, bundled_rates
from meter.prices.quotes import CardSource, Quote, layered

MOST_NAMES: Final = 4096
"""How many names are remembered that have a price, and as many that have none."""


class PriceBook:
    """Looks rate cards up by provider and model name. Thread-safe; its memory is bounded.

    `books` are the prices beside the published ones, None when no rate file has any.
    """

    def __init__(self, sources: Sequence[CardSource]) -> None:
        """Take the sources in order: what an earlier one quotes overrules the later ones."""
        self._lock = Lock()
        self._own = tuple(sources)
        self._use(self._own)

    @classmethod
    def bundled(cls, rate_files: Iterable[str | Path] = ()) -> "PriceBook":
        """Return the book of what travels with the product, under the given rate files.

        Raises: InputError for a rate file that cannot be read.
        """
        return cls([*(load_rate_file(path) for path in rate_files), bundled_rates(), GenaiPrices()])

    def under(self, imported: Sequence[RateFile]) -> None:
        """Lay imported rate files over the sources of this book, in place of any before.

        Calls that have their price keep it.
        """
        self._use((*imported, *self._own))

    @property
    def monthly(self) -> tuple[MonthlyRule, ...]:
        """Return the rules over a whole month, in the order in which they apply."""
        files = (source for source in self._sources if isinstance(source, RateFile))
        return tuple(rule for file in files for rule in file.monthly)

    def card_for(self, provider: str, model: str, at_us: int) -> RateCard | None:
        """Return the card in force at the moment (microseconds UTC), None when there is none."""
        for quote in self._quotes(provider, model):
            if quote.holds_at(at_us):
                return quote.card
        return None

    def explain(self, provider: str, model: str, at_us: int) -> list[RateCard]:
        """Return the cards that hold at the moment: the one in force, then those it overrules.

        Empty when there is no price, also when it was withdrawn.
        """
        holding = [quote for quote in self._quotes(provider, model) if quote.holds_at(at_us)]
        if not holding or holding[0].card is None:
            return []
        return [quote.card for quote in holding if quote.card is not None]

    def history(self, provider: str, model: str) -> list[tuple[int, int | None, RateCard | None]]:
        """Return which card held when: (from, to, card), gapless from the first to the last.

        Microseconds UTC, half-open, oldest first; `to` None is until further notice, a card None
        a time without a price. Empty when no price is known.
        """
        quotes = self._quotes(provider, model)
        edges = sorted({quote.from_us for quote in quotes} | {q.to_us for q in quotes if q.to_us})
        spans: list[tuple[int, int | None, RateCard | None]] = []
        for start_us, end_us in zip(edges, [*edges[1:], None], strict=False):
            card = self.card_for(provider, model, start_us)
            if spans and spans[-1][2] == card:
                spans[-1] = (spans[-1][0], end_us, card)
            elif spans or card is not None:
                spans.append((start_us, end_us, card))
        return spans

    def warm(self) -> None:
        """Read the price lists now (about 0.3 s) rather than at the first lookup."""
        self.card_for("openai", "gpt-4o", 0)

    def _use(self, sources: Sequence[CardSource]) -> None:
        files = [source for source in sources if isinstance(source, RateFile)]
        # Two memories, so that a flood of made-up names cannot push out those in use.
        priced: dict[tuple[str, str], tuple[Quote, ...]] = {}
        unpriced: dict[tuple[str, str], tuple[Quote, ...]] = {}
        with self._lock:
            self._sources, self._priced, self._unpriced = tuple(sources), priced, unpriced
            self.books = PricedBooks(files) if any(map(has_books, files)) else None

    def _quotes(self, provider: str, model: str) -> tuple[Quote, ...]:
        key = (provider, model)
        quotes = self._priced.get(key)
        if quotes is None:
            quotes = self._unpriced.get(key)
        if quotes is None:
            names = names_of(provider, model)
            if not names:
                return ()
            quotes = self._remembered(key, names)
        return quotes

    def _remembered(
        self, key: tuple[str, str], names: tuple[tuple[str, str], ...]
    ) -> tuple[Quote, ...]:
        # Together, so that what is found is never remembered among newer sources.
        with self._lock:
            sources, priced, unpriced = self._sources, self._priced, self._unpriced
        quotes: tuple[Quote, ...] = ()
        for source in reversed(sources):
            found = (source.quotes_for(*name) for name in names)
            quotes = layered(next(filter(None, found), ()), quotes)
        memory = priced if quotes else unpriced
        with self._lock:
            while len(memory) >= MOST_NAMES:
                del memory[next(iter(memory))]
            memory[key] = quotes
        return quotes


def has_books(file: RateFile) -> bool:
    """Whether a rate file says anything of a contract or resale price."""
    return bool(file.rules) or any(entry.book != "list" for entry in file.entries)
