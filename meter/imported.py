"""Use the rate files that were imported into the ledger, in every process on it.

Called by the façade when it opens, by the gateway now and then, and by the commands on prices.
"""

from functools import lru_cache

from meter.errors import InputError
from meter.prices.book import PriceBook
from meter.prices.formats import read_text
from meter.prices.overlay import RateFile
from meter.store.price_files import PriceFile, PriceFiles


class ImportedPrices:
    """The imported rate files over the prices of a book. One for each book."""

    def __init__(self, prices: PriceBook, files: PriceFiles) -> None:
        """Take the book and where the files are kept; nothing is read yet."""
        self._prices = prices
        self._files = files
        self._known: list[tuple[str, int]] = []

    def refresh(self) -> bool:
        """Lay what is in force now over the book; return whether anything changed.

        Calls that have their price keep it. Raises: StoreUnavailable, InputError for a file that
        this release cannot read; the prices then stay as they were.
        """
        known = self._files.versions()
        if known == self._known:
            return False
        files = self._files.in_force()
        self._prices.under([read_imported(file) for file in files])
        self._known = sorted((file.name, file.number) for file in files)
        return True


def read_imported(file: PriceFile) -> RateFile:
    """Return what an imported rate file says. Raises: InputError."""
    try:
        return _read(file.name, file.format, file.content)
    except InputError as error:
        raise InputError(f"{error}: meter prices remove {file.name}") from None


@lru_cache(8)
def _read(name: str, format: str, content: str) -> RateFile:
    # A whole price map takes a third of a second: a process reads each version once.
    return read_text(content, format, f"imported rate file {name}")
