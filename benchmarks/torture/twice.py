"""Say everything twice, and look whether anything is billed twice.

    python -m benchmarks.torture.twice --calls 1000 --database postgresql

- each end of a call is settled five times, from eight threads through two stores;
- a spool is replayed from four stores at once, and a copy of it once more afterwards;
- one commit in five loses its answer: the connection is cut when the server has committed
  (PostgreSQL);
- four sweepers look for the same lost calls at once, and four processes settle them by a policy;
- a provider repeats a stream's usage five times;
- a batch is asked for a hundred times by eight clients.
"""

import asyncio
import logging
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import aiohttp

from benchmarks.torture.cutting import Cutting
from benchmarks.torture.stage import (
    Gateways,
    NewLedger,
    Provider,
    Wish,
    a_folder,
    a_key,
    ask,
    clients,
    findings,
    ledgers,
    options,
    recorded,
    run,
    show,
)
from meter.core.budgets import Refusal
from meter.core.usage import Usage
from meter.meter import Meter
from meter.store import reads
from meter.store.engine import open_engine
from meter.store.ledger_store import LedgerStore
from meter.store.spool import SpoolingStore
from meter.store.sweeping import sweep
from tests.store.examples import CARD, HOUR_US, NOON_US, TEN_TOKENS_NANOS, a_call, an_event

WAIT_S = 120
YEARS_S = 10.0**9
THREADS = 8
BATCH_NANOS = 135_000
"""1000 input and 200 output tokens of gpt-4o-mini at half of 0.15 and 0.60 USD a million."""


@dataclass
class Sums:
    """What was said, and what was billed twice or not at all."""

    figures: dict[str, object] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)

    def expect(self, what: str, found: object, expected: object) -> None:
        """Note a figure, and that it is broken unless it is as expected."""
        self.figures[what] = found
        if found != expected:
            self.broken.append(f"{what}: found {found}, expected {expected}")


@contextmanager
def stores(url: str, number: int) -> Iterator[list[LedgerStore]]:
    """Yield stores that know nothing of each other, as those of several processes."""
    engines = [open_engine(url, durability="process") for _ in range(number)]
    made = [LedgerStore(engine, lease_s=YEARS_S) for engine in engines]
    try:
        yield made
    finally:
        for store, engine in zip(made, engines, strict=True):
            store.close(WAIT_S)
            engine.dispose()


def billed(url: str) -> tuple[int, int]:
    """Return how many calls have ended, and what they cost."""
    engine = open_engine(url)
    try:
        rows = list(reads.calls(engine))
        return len(rows), sum(row.cost_nanos or 0 for row in rows)
    finally:
        engine.dispose()


def settled_five_times(sums: Sums, url: str, calls: int) -> None:
    """Settle every call five times from everywhere."""
    with stores(url, 2) as both, ThreadPoolExecutor(THREADS) as pool:

        def settle(place: int) -> None:
            store = both[place % 2]
            for number in range(1, calls + 1):
                store.settle(an_event(a_call(number)), CARD).result(WAIT_S)

        list(pool.map(settle, range(5)))
    expected = (calls, calls * TEN_TOKENS_NANOS)
    sums.expect(f"{calls} calls, each settled five times: (calls, nanos)", billed(url), expected)


def spool_replayed(sums: Sums, url: str, calls: int, folder: Path) -> None:
    """Replay one spool from several stores at once, and a copy of it afterwards."""
    path, copy = folder / "meter.spool", folder / "copy"
    with stores(url, 4) as four:
        spools = [SpoolingStore(store, path) for store in four]
        for number in range(1, calls + 1):
            spools[0]._append_event(an_event(a_call(number)), CARD)
        shutil.copy(path, copy)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(SpoolingStore.replay, spools))
        spools[0].replay()
        shutil.copy(copy, path)
        spools[1].replay()
    expected = (calls, calls * TEN_TOKENS_NANOS)
    sums.expect(f"{calls} spooled calls, replayed again: (calls, nanos)", billed(url), expected)


def answers_lost(sums: Sums, url: str, calls: int) -> None:
    """Reserve and settle while one commit in five loses its answer."""
    # The driver tells each cut connection; there are hundreds of them.
    logging.getLogger("psycopg").setLevel(logging.CRITICAL)
    with Cutting(url, share=0.2) as cutting:
        with stores(cutting.url, 2) as both:
            failed = _reserve_and_settle(both, calls)
        again = failed
        with stores(url, 1) as (store,):
            for number in again:
                # What a caller was told had failed, it says again, as the spool does.
                store.settle(an_event(a_call(number)), CARD).result(WAIT_S)
    sums.figures["commits whose answer was lost"] = cutting.cuts
    sums.figures["of these told to the caller as away, and said again"] = len(failed)
    expected = (calls, calls * TEN_TOKENS_NANOS)
    sums.expect(f"{calls} calls over a line that loses answers: (calls, nanos)", billed(url),
                expected)  # fmt: skip
    if not cutting.cuts:
        sums.broken.append("no answer was lost, so nothing was tried")


def _reserve_and_settle(both: Sequence[LedgerStore], calls: int) -> list[int]:
    from meter.errors import StoreUnavailable

    failed: list[int] = []

    def one(number: int) -> None:
        store, call = both[number % 2], a_call(number)
        try:
            verdict = store.reserve(call, "openai", CARD).result(WAIT_S)
            assert not isinstance(verdict, Refusal)
            store.settle(an_event(call), CARD).result(WAIT_S)
        except StoreUnavailable:
            failed.append(number)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(one, range(1, calls + 1)))
    return failed


def four_sweepers(sums: Sums, url: str, calls: int) -> None:
    """Sweep the same lost calls from four engines at once."""
    with stores(url, 1) as (store,):
        made = [store.reserve(a_call(n), "openai", CARD) for n in range(1, calls + 1)]
        for future in made:
            future.result(WAIT_S)
    begin = threading.Barrier(4)
    swept: list[int] = []

    def run_sweep() -> None:
        engine = open_engine(url, durability="process")
        begin.wait(WAIT_S)
        swept.append(sweep(engine, NOON_US + int(YEARS_S) * 10**6 + HOUR_US, dead_owners=False))
        engine.dispose()

    threads = [threading.Thread(target=run_sweep) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    sums.expect(f"{calls} lost calls, swept by four: (swept, calls)",
                (sum(swept), billed(url)[0]), (calls, calls))  # fmt: skip
    settled = _settled_by_four(url)
    engine = open_engine(url)
    made = [row.corrections for row in reads.calls(engine)]
    engine.dispose()
    sums.expect(f"{calls} unsettled calls, settled by a policy of four: (settled, corrections)",
                (settled, sum(made)), (calls, calls))  # fmt: skip


def _settled_by_four(url: str) -> int:
    """Let four ledgers settle all unsettled calls at once; return how many they say they did."""
    begin = threading.Barrier(4)

    def settle(meter: Meter) -> int:
        begin.wait(WAIT_S)
        # The calls bear a day of the tests, whatever day it is.
        return len(meter.settle_unsettled("estimate", older_than=-timedelta(days=36_500))[0])

    with ExitStack() as stack, ThreadPoolExecutor(4) as pool:
        meters = [stack.enter_context(Meter(url)) for _ in range(4)]
        return sum(pool.map(settle, meters))


def usage_repeated(sums: Sums, url: str, gateways: Gateways, calls: int) -> None:
    """Take streams whose usage comes five times."""
    key = a_key(url, "repeated")
    wish = Wish("twice", input_tokens=1000, output_tokens=6)

    async def all_of_them() -> int:
        async with clients() as session:
            left, served = iter(range(calls)), 0

            async def client() -> None:
                nonlocal served
                for number in left:
                    got = await ask(session, gateways.url, key, f"t.{number}", wish)
                    served += got.is_served

            await asyncio.gather(*(client() for _ in range(8)))
            return served

    served = run(all_of_them())
    rows = [row for row in recorded(url).values() if row.subject == "repeated"]
    tokens = sum(int((row.usage or Usage())["input_tokens"]) for row in rows if row.usage)
    sums.expect(f"{calls} streams whose usage came five times: (served, input tokens)",
                (served, tokens), (calls, 1000 * calls))  # fmt: skip


def batch_polled(sums: Sums, url: str, gateways: Gateways) -> None:
    """Ask for one batch a hundred times from eight clients."""
    key = a_key(url, "batched")
    headers = {"authorization": f"Bearer {key}"}

    async def poll() -> int:
        async with clients() as session:
            body = {"endpoint": "/v1/chat/completions", "completion_window": "24h"}
            made = await _json(session, "POST", f"{gateways.url}/v1/batches", headers, body)
            address = f"{gateways.url}/v1/batches/{made['id']}"
            left = iter(range(100))

            async def client() -> int:
                done = 0
                for _ in left:
                    answer = await _json(session, "GET", address, headers)
                    done += answer["status"] == "completed"
                return done

            return sum(await asyncio.gather(*(client() for _ in range(8))))

    seen = run(poll())
    cost = sum(r.cost_nanos or 0 for r in recorded(url).values() if r.subject == "batched")
    sums.expect("a batch asked for 100 times by 8 clients: (answers, nanos)", (seen, cost),
                (100, BATCH_NANOS))  # fmt: skip


async def _json(session: aiohttp.ClientSession, method: str, url: str, headers: dict[str, str],
                body: object = None) -> dict[str, str]:  # fmt: skip
    async with session.request(method, url, headers=headers, json=body) as answer:
        found: dict[str, str] = await answer.json(content_type=None)
        return found


def attack(new_ledger: NewLedger, *, calls: int, with_gateway: bool = True) -> Sums:
    """Say everything twice, to the store and through the gateway; return what came of it."""
    sums = Sums()
    parts: list[Callable[[Sums, str, Path], None]] = [
        lambda s, url, _: settled_five_times(s, url, calls),
        lambda s, url, folder: spool_replayed(s, url, calls, folder),
        lambda s, url, _: four_sweepers(s, url, calls),
        lambda s, url, _: answers_lost(s, url, calls) if url.startswith("postgres") else None,
    ]
    if with_gateway:
        parts.append(lambda s, url, _: _through_the_gateway(s, url, calls))
    for part in parts:
        with a_folder() as folder, new_ledger(folder) as url:
            part(sums, url, folder)
            sums.broken += findings(url)
    return sums


def _through_the_gateway(sums: Sums, url: str, calls: int) -> None:
    with Provider() as provider, Gateways(url, provider.url, workers=2) as gateways:
        usage_repeated(sums, url, gateways, min(calls, 200))
        batch_polled(sums, url, gateways)


def main(arguments: list[str]) -> int:
    """Attack and print; return 1 when something was billed twice or not at all."""
    given = options(__doc__, calls=1000).parse_args(arguments)
    begun_s = time.monotonic()
    with ledgers(given.database) as new_ledger:
        sums = attack(new_ledger, calls=given.calls)
    sums.figures["seconds"] = round(time.monotonic() - begun_s)
    return show(f"twice on {given.database}", sums.figures, sums.broken)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
