"""Set the stage of an attack: a ledger, a provider, gateways as processes, and clients.

Used by every attack. What a client got is judged from its own bytes, what a provider served from
its own books, and the ledger is read past the gateways.
"""

import argparse
import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp

from meter.meter import Meter
from meter.store import reads
from meter.store.checking import check
from meter.store.engine import open_engine
from meter.store.migrating import upgrade
from tests.postgres import PostgresServer, running_server

MODEL = "gpt-4o-mini"
MESSAGES = [{"role": "user", "content": "Describe the sea in a few words, and then the shore."}]
SECRET = "sk-torture-upstream"
_READY_S = 300.0
"""A busy machine takes its time to start three processes."""


NewLedger = Callable[[Path], AbstractContextManager[str]]
"""Makes an empty ledger with a folder for its files; gives its address."""


@contextmanager
def ledgers(database: str) -> Iterator[NewLedger]:
    """Yield what makes ledgers in SQLite, or in a PostgreSQL server of their own."""
    if database == "sqlite":
        yield sqlite_ledger
        return
    with running_server() as server:
        yield partial(postgres_ledger, server)


@contextmanager
def sqlite_ledger(folder: Path) -> Iterator[str]:
    """Yield the address of an empty SQLite ledger."""
    url = f"sqlite:///{folder / 'ledger.db'}"
    upgrade(url)
    yield url


@contextmanager
def postgres_ledger(server: PostgresServer, _folder: Path) -> Iterator[str]:
    """Yield the address of an empty PostgreSQL ledger."""
    with server.fresh_database() as name:
        url = server.url(name)
        upgrade(url)
        yield url


@contextmanager
def a_folder() -> Iterator[Path]:
    """Yield a folder that is gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="meter-torture-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass
class Books:
    """The provider's books: how often each marker arrived, and was answered whole."""

    arrived: dict[str, int]
    whole: dict[str, int]


class Provider:
    """The provider, as a process."""

    def __init__(self) -> None:
        """Start it; `url` is its address."""
        command = [sys.executable, "-m", "benchmarks.torture.upstream"]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.url = f"http://127.0.0.1:{self._process.stdout.readline().strip()}"

    def __enter__(self) -> "Provider":
        """Return it."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()

    def books(self) -> Books:
        """Return the books as they are now."""
        with urllib.request.urlopen(f"{self.url}/books", timeout=30) as answer:
            return Books(**json.load(answer))


class Gateways:
    """`meter serve` as processes of one group, on one port that stays the same."""

    def __init__(
        self, ledger: str, upstream: str | None, *, workers: int, spool_path: Path | None = None,
        **settings: object,
    ) -> None:  # fmt: skip
        """Say what to serve; `start` starts it. `settings` are the product's, by name.

        `upstream` None: the settings say which. `spool_path`: else a folder of its own has it.
        """
        self._options = ["--workers", str(workers)]
        if upstream is not None:
            self._options += ["--upstream", f"openai={upstream}/v1"]
        self._folder = Path(tempfile.mkdtemp(prefix="meter-spool-"))
        self._spool = spool_path or self._folder / "meter.spool"
        self._environment = {
            **os.environ,
            "METER_DATABASE_URL": ledger,
            "METER_UPSTREAM_OPENAI_KEY": SECRET,
            "METER_SPOOL_PATH": str(self._spool),
            **{f"METER_{name.upper()}": _setting(value) for name, value in settings.items()},
        }
        self._port = 0
        self._process: subprocess.Popen[str] | None = None
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed with the gateways)

    @property
    def url(self) -> str:
        """Return the address that clients use."""
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Start the processes and wait until they answer."""
        command = [sys.executable, "-m", "meter", "serve", "--port", str(self._port)]
        self._process = subprocess.Popen(
            [*command, *self._options],
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        told = self._process.stdout.readline()
        if not told.startswith("Serving on"):
            raise RuntimeError(f"the gateway did not start: {told} {self.said()[-2000:]}")
        self._port = int(told.split()[2].rstrip(".").rpartition(":")[2])
        until = time.monotonic() + _READY_S
        while True:
            try:
                with urllib.request.urlopen(f"{self.url}/readyz", timeout=60):
                    return
            except OSError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.05)

    def is_ready(self) -> bool:
        """Return whether a worker says that it can work."""
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=30):
                return True
        except OSError:
            return False

    def spools(self) -> list[Path]:
        """Return the files of records that the ledger could not take yet."""
        found = self._spool.parent.glob(f"{self._spool.name}*")
        return [path for path in found if path.suffix != ".lock"]

    def kill(self) -> None:
        """Kill every process of the group with SIGKILL."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()

    def stop(self) -> None:
        """Ask them to stop and wait."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            self.kill()

    def said(self) -> str:
        """Return what they wrote to standard error."""
        self._log.seek(0)
        return self._log.read()

    def pids(self) -> list[int]:
        """Return the processes of the group."""
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        return [self._process.pid, *map(int, children.read_text().split())]

    def __enter__(self) -> "Gateways":
        """Start them."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop them."""
        self.stop()
        self._log.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def _setting(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


@dataclass(frozen=True)
class Got:
    """What a client got: whether all of it, by its own bytes; `status` None: no answer at all.

    `sentence` is the body of a refusal.
    """

    marker: str
    status: int | None = None
    call_id: UUID | None = None
    is_whole: bool = False
    sentence: str = ""

    @property
    def is_served(self) -> bool:
        """Whether a complete answer of the provider's reached the client."""
        return self.status == 200 and self.is_whole


@dataclass(frozen=True)
class Wish:
    """One call: how the provider is to answer, and when the client leaves (after so many bytes)."""

    mode: str = "whole"
    max_tokens: int = 20
    input_tokens: int = 15
    output_tokens: int = 20
    delay_ms: int = 0
    leaves_after_bytes: int | None = None
    cut_at: int = 0

    @property
    def header(self) -> str:
        """Return the header that the provider reads."""
        return (
            f"mode={self.mode};in={self.input_tokens};out={self.output_tokens};"
            f"delay={self.delay_ms};at={self.cut_at}"
        )

    @property
    def body(self) -> dict[str, Any]:
        """Return the request."""
        is_stream = self.mode in ("stream", "cut", "cutat", "endless", "twice", "gone")
        body: dict[str, Any] = {
            "model": MODEL, "messages": MESSAGES, "max_tokens": self.max_tokens,
        }  # fmt: skip
        return {**body, "stream": True} if is_stream else body


@asynccontextmanager
async def clients(seconds: float = 60) -> AsyncIterator[aiohttp.ClientSession]:
    """Yield a session for any number of clients."""
    timeout = aiohttp.ClientTimeout(total=seconds)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
        yield session


async def ask(session: aiohttp.ClientSession, url: str, key: str, marker: str, wish: Wish) -> Got:
    """Make one call and take its answer, as far as it comes."""
    headers = {
        "authorization": f"Bearer {key}",
        "x-marker": marker,
        "x-meter-tags": f"marker={marker}",
        "x-torture": wish.header,
    }
    status, call_id, seen = None, None, b""
    is_stream = bool(wish.body.get("stream"))
    try:
        async with session.post(
            f"{url}/v1/chat/completions", json=wish.body, headers=headers
        ) as answer:
            status = answer.status
            text = answer.headers.get("x-meter-call-id")
            call_id = None if text is None else UUID(text)
            async for data in answer.content.iter_any():
                seen += data
                if wish.leaves_after_bytes is not None and len(seen) >= wish.leaves_after_bytes:
                    answer.close()
                    break
            else:
                sentence = "" if status == 200 else seen.decode(errors="replace")[:500]
                return Got(marker, status, call_id, is_whole=True, sentence=sentence)
    except (aiohttp.ClientError, OSError, TimeoutError):
        pass  # the gateway was killed or broke off; what had come until then counts
    return Got(marker, status, call_id, is_whole=is_stream and b"data: [DONE]\n\n" in seen)


def recorded(ledger: str, since_us: int | None = None) -> dict[UUID, reads.CallRow]:
    """Return every call that the ledger knows, in flight ones too."""
    engine = open_engine(ledger)
    try:
        rows = reads.calls(engine, since_us=since_us, state="any")
        return {row.id: row for row in rows}
    finally:
        engine.dispose()


def markers_of(rows: Mapping[UUID, reads.CallRow]) -> Counter[str]:
    """Return how many records of calls that were sent each marker has."""
    sent = [dict(row.tags) for row in rows.values() if row.outcome != "refused"]
    return Counter(tags["marker"] for tags in sent if "marker" in tags)


def findings(ledger: str) -> list[str]:
    """Return what `meter check` finds, as text."""
    engine = open_engine(ledger)
    try:
        return [f"{each.invariant}: {each.row}: {each.message}" for each in check(engine)]
    finally:
        engine.dispose()


def a_key(ledger: str, subject: str) -> str:
    """Return the secret of a new key whose requests may name tags."""
    with Meter(ledger) as meter:
        return meter.keys.create(subject, may_name_users=True).secret


def bound_of(wish: Wish) -> tuple[int, int]:
    """Return the most that a call can cost, as `meter estimate` says: input tokens, and nanos."""
    with Meter("sqlite://") as meter:
        found = meter.estimate(wish.body)
    assert found.max_cost_nanos is not None
    return found.input_tokens_max, found.max_cost_nanos


def options(doc: str | None, **defaults: int | float) -> argparse.ArgumentParser:
    """Return a parser with `--database` and a number for each of the defaults."""
    parser = argparse.ArgumentParser(description=(doc or "").partition("\n")[0])
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    for name, value in defaults.items():
        kind = type(value)
        parser.add_argument(f"--{name}", type=kind, default=value, help=f"default {value}")
    return parser


def show(title: str, figures: Mapping[str, object], broken: list[str]) -> int:
    """Print the figures and what was broken; return the exit status."""
    print(f"{title}: {'BROKEN' if broken else 'kept'}")
    for name, figure in figures.items():
        print(f"  {name}: {figure}")
    for sentence in broken[:20]:
        print(f"  broken: {sentence}")
    sys.stdout.flush()
    return 1 if broken else 0


def run(coroutine: Any) -> Any:
    """Run to the end."""
    return asyncio.run(coroutine)
