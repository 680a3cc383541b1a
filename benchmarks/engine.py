"""Measure what the engine costs: CPU microseconds a call, stage by stage, without any network.

    python benchmarks/engine.py
    python benchmarks/engine.py --url postgresql://user@host/name     (a migrated, empty database)

Each row drives `pipeline.open_call` to `close` with one recorded request and its answer, either
one caller at a time or 64 at once, whose writes share transactions. The stages are the CPU time of
the calling thread; "writing" is that of the ledger's own thread. Medians over rounds, so that what
else runs on the machine does not count. Nothing waits for a provider here.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from uuid import uuid4

from mock_upstream import stream_answer, whole_answer
from pairing import MESSAGES, MODEL
from rich.console import Console
from rich.table import Table

from meter.core.call import Attribution, Outcome
from meter.meter import Meter
from meter.pipeline import OpenCall, Pipeline

STAGES = ("open", "estimate", "reserve", "answer", "close")
TOGETHER = 64
CHUNKS = 100


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request and the pieces of its answer."""

    name: str
    body: bytes
    headers: dict[str, str]
    pieces: list[bytes]


@dataclass(slots=True)
class Spent:
    """CPU microseconds a call, one number for each round."""

    stages: dict[str, list[float]] = field(default_factory=lambda: {s: [] for s in STAGES})
    whole: list[float] = field(default_factory=list)

    def cells(self) -> list[str]:
        """Return a cell for each stage, for the ledger's thread, and for all together."""
        medians = [statistics.median(self.stages[stage]) for stage in STAGES]
        whole = statistics.median(self.whole)
        return [f"{us:.1f}" for us in (*medians, max(whole - sum(medians), 0.0), whole)]


def exchanges() -> list[Exchange]:
    """Return what is measured: a whole answer, and a stream of 100 events."""
    head, _, body = whole_answer().partition(b"\r\n\r\n")
    assert head
    asked = {"model": MODEL, "messages": MESSAGES, "max_tokens": 500}
    events = [_unchunked(piece) for piece in stream_answer(CHUNKS, with_usage=True)[1:]]
    return [
        Exchange(
            "JSON", json.dumps(asked).encode(),
            {"content-type": "application/json", "content-length": str(len(body))}, [body],
        ),
        Exchange(
            f"SSE of {CHUNKS}", json.dumps(asked | {"stream": True}).encode(),
            {"content-type": "text/event-stream"}, [event for event in events if event],
        ),
    ]  # fmt: skip


def _unchunked(piece: bytes) -> bytes:
    """Return what one chunk of a chunked body carries."""
    _, _, rest = piece.partition(b"\r\n")
    return rest.removesuffix(b"\r\n")


class Driver:
    """Drives calls through a pipeline and notes the CPU time of each stage."""

    def __init__(self, pipeline: Pipeline, exchange: Exchange, together: int) -> None:
        """Drive `together` calls in each round, one of them on the caller's own thread."""
        self._pipeline = pipeline
        self._exchange = exchange
        self._together = together
        self._alone = together == 1
        self._dialect = pipeline.dialect_at("api.openai.com", "/v1/chat/completions")
        self._attribution = Attribution("alice", (("team", "search"),))

    def round(self, spent: Spent | None = None) -> None:
        """Drive one round; note what it took."""
        begun_ns = time.process_time_ns()
        calls: list[OpenCall] = []
        taken = {
            "open": self._timed(lambda: calls.extend(self._opened())),
            "estimate": self._timed(lambda: [call.estimate() for call in calls]),
            "reserve": self._timed(lambda: _done([self._reserved(call) for call in calls])),
            "answer": self._timed(lambda: [self._answered(call) for call in calls]),
            "close": self._timed(lambda: _done([self._closed(call) for call in calls])),
        }
        whole_ns = time.process_time_ns() - begun_ns
        if spent is not None:
            for stage, stage_ns in taken.items():
                spent.stages[stage].append(stage_ns / self._together / 1000)
            spent.whole.append(whole_ns / self._together / 1000)

    def _timed(self, work: Callable[[], object]) -> int:
        begun_ns = time.thread_time_ns()
        work()
        return time.thread_time_ns() - begun_ns

    def _opened(self) -> Iterator[OpenCall]:
        for _ in range(self._together):
            yield self._pipeline.open_call(
                self._dialect,
                method="POST",
                path="/v1/chat/completions",
                content_type="application/json",
                body=self._exchange.body,
                attribution=self._attribution,
            )

    def _reserved(self, call: OpenCall) -> "Future[object]":
        return call.reserve(on_this_thread=self._alone)  # type: ignore[return-value]

    def _answered(self, call: OpenCall) -> None:
        call.start(200, self._exchange.headers)
        for piece in self._exchange.pieces:
            call.feed(piece)
        call.finish()

    def _closed(self, call: OpenCall) -> "Future[object]":
        return call.close(Outcome.COMPLETED, on_this_thread=self._alone)  # type: ignore[return-value]


def _done(futures: "list[Future[object]]") -> None:
    for future in futures:
        future.result(30)


@contextmanager
def ledger(url: str | None, durability: str, *, budget: bool) -> Iterator[Meter]:
    """Open a ledger, with three budgets that apply where they are asked for."""
    with tempfile.TemporaryDirectory() as folder:
        place = url or f"sqlite:///{folder}/meter.db"
        with Meter(place, durability=durability, spool_path=f"{folder}/spool") as meter:
            scopes = ({}, {"subject": "alice"}, {"model": MODEL})
            names = [f"bench-{uuid4().hex[:8]}-{number}" for number in range(3)] if budget else []
            for name, scope in zip(names, scopes[: len(names)], strict=True):
                meter.set_budget(name, limit="1000000", **scope)  # type: ignore[arg-type]
            try:
                yield meter
            finally:
                for name in names:
                    meter.remove_budget(name)


def main() -> None:
    """Read the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--url", help="a ledger to use instead of a fresh SQLite file")
    parser.add_argument("--durability", choices=["full", "process"], default="full")
    parser.add_argument("--calls", type=int, default=600, help="calls of each row")
    given = parser.parse_args()
    table = Table(title=f"CPU µs a call, medians ({given.url or 'SQLite'}, {given.durability})")
    for name in ("answer", "at once", "budgets", *STAGES, "writing", "together"):
        table.add_column(name, justify="left" if name == "answer" else "right")
    for exchange in exchanges():
        for together in (1, TOGETHER):
            for budget in (False, True):
                with ledger(given.url, given.durability, budget=budget) as meter:
                    driver, spent = Driver(meter.pipeline, exchange, together), Spent()
                    for _ in range(max(20 // together, 2)):
                        driver.round()
                    for _ in range(max(given.calls // together, 5)):
                        driver.round(spent)
                shown = (exchange.name, str(together), "3" if budget else "none")
                table.add_row(*shown, *spent.cells())
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
