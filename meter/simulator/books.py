"""Keep the provider's own books: what was asked, how it ended, and what it would bill.

Plain integer sums, shared with no other package, so that a meter can be checked against them.
Knows no wire format. Written by `delivery`, read through `Simulator.books` and `GET /sim/books`.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

# ok: everything was handed to the client; failed: an error status was answered;
# cut: the provider broke the answer off; client_gone: the client left first.
Ending = Literal["ok", "failed", "cut", "client_gone"]
ENDINGS: tuple[Ending, ...] = ("ok", "failed", "cut", "client_gone")
_KEY_PREFIX_CHARACTERS = 12


@dataclass(frozen=True, slots=True)
class Exchange:
    """Hold one exchange as the provider saw it; `quantities` is what it would bill, by unit."""

    number: int
    at: float
    key_prefix: str
    user: str | None
    endpoint: str
    model: str
    model_requested: str
    status: int
    ending: Ending
    is_stream: bool
    chunks: int
    quantities: Mapping[str, int]


class Books:
    """Sum exchanges by model and endpoint, and keep the newest of them one by one.

    Safe to read from another thread. `GET /v1/models` and other free requests are counted with no
    quantities.
    """

    def __init__(self, exchange_records: int) -> None:
        """Start with empty books that remember at most `exchange_records` single exchanges."""
        self._lock = threading.Lock()
        self._records = exchange_records
        self._empty()

    def _empty(self) -> None:
        self._number = 0
        self._endings: dict[tuple[str, str], Counter[str]] = {}
        self._quantities: dict[tuple[str, str], Counter[str]] = {}
        self._exchanges: deque[Exchange] = deque(maxlen=self._records)

    def write(
        self,
        *,
        key: str,
        user: str | None,
        endpoint: str,
        model: str,
        model_requested: str,
        status: int,
        ending: Ending,
        is_stream: bool,
        chunks: int,
        quantities: Mapping[str, int],
    ) -> None:
        """Add one exchange that has ended."""
        with self._lock:
            self._number += 1
            self._exchanges.append(
                Exchange(
                    number=self._number,
                    at=time.time(),
                    key_prefix=key[:_KEY_PREFIX_CHARACTERS],
                    user=user,
                    endpoint=endpoint,
                    model=model,
                    model_requested=model_requested,
                    status=status,
                    ending=ending,
                    is_stream=is_stream,
                    chunks=chunks,
                    quantities=dict(quantities),
                )
            )
            place = (model, endpoint)
            self._endings.setdefault(place, Counter())[ending] += 1
            self._quantities.setdefault(place, Counter()).update(quantities)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._empty()

    def report(self) -> dict[str, Any]:
        """Return the books as plain values that JSON can carry.

        `models` leads from model to endpoint to `requests`, one count for each ending, and
        `quantities`; the same sums over everything stand at the top.
        """
        with self._lock:
            endings = {place: Counter(counts) for place, counts in self._endings.items()}
            quantities = {place: Counter(sums) for place, sums in self._quantities.items()}
            exchanges = [asdict(exchange) for exchange in self._exchanges]
        models: dict[str, dict[str, Any]] = {}
        for (model, endpoint), counts in endings.items():
            models.setdefault(model, {})[endpoint] = _row(counts, quantities[model, endpoint])
        everything: Counter[str] = Counter()
        every_quantity: Counter[str] = Counter()
        for place, counts in endings.items():
            everything.update(counts)
            every_quantity.update(quantities[place])
        return {**_row(everything, every_quantity), "models": models, "exchanges": exchanges}


def _row(endings: Counter[str], quantities: Counter[str]) -> dict[str, Any]:
    counted: dict[str, int] = {ending: endings[ending] for ending in ENDINGS}
    return {"requests": sum(counted.values()), **counted, "quantities": dict(quantities)}
