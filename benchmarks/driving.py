"""Drive an HTTP endpoint: as fast as it answers, at a fixed rate, or with many streams at once.

One small raw HTTP/1.1 client, so that the driver costs little. Knows neither `meter` nor a peer.
Called by `gateway.py`.
"""

import asyncio
import json
import time
from dataclasses import dataclass, field

WARM_UP_SECONDS = 1.0
_GIVE_UP_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Target:
    """Where requests go, and the headers that each carries."""

    host: str
    port: int
    path: str = "/v1/chat/completions"
    headers: tuple[tuple[str, str], ...] = ()
    model: str = "gpt-4o-mini"

    def request(
        self, *, prompt_bytes: int = 800, stream: bool = False, max_tokens: int | None = 200
    ) -> bytes:
        """Return a whole request for a chat completion."""
        words = ("The sea is wide and the shore is near. " * (prompt_bytes // 39 + 1))[
            :prompt_bytes
        ]
        body: dict[str, object] = {
            "model": self.model,
            "messages": [
                {"role": "system", "content": "You answer briefly."},
                {"role": "user", "content": words[:prompt_bytes]},
            ],
        }
        if max_tokens is not None:
            body["max_tokens"] = max_tokens
        if stream:
            body["stream"] = True
            body["stream_options"] = {"include_usage": True}
        content = json.dumps(body).encode()
        lines = [
            f"POST {self.path} HTTP/1.1",
            f"host: {self.host}:{self.port}",
            "accept: application/json",
            "user-agent: driver",
            "content-type: application/json",
            f"content-length: {len(content)}",
            *(f"{name}: {value}" for name, value in self.headers),
        ]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


class Connection(asyncio.Protocol):
    """One connection with one request at a time."""

    def __init__(self) -> None:
        """Begin unconnected."""
        self.status = 0
        self.first_byte_s = 0.0
        self.body_bytes = 0
        self._transport: asyncio.Transport | None = None
        self._done: asyncio.Future[bool] | None = None
        self._head = b""
        self._left: int | None = None
        self._tail = b""
        self._in_head = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the connection."""
        self._transport = transport  # type: ignore[assignment]

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever waits."""
        self._transport = None
        self._end(is_whole=False)

    async def ask(self, request: bytes) -> bool:
        """Send a request; return whether its whole answer came. Sets status and first byte."""
        if self._transport is None or self._transport.is_closing():
            return False
        self._done = asyncio.get_running_loop().create_future()
        self._head, self._in_head, self._left, self._tail = b"", True, None, b""
        self.status, self.first_byte_s, self.body_bytes = 0, 0.0, 0
        self._transport.write(request)
        return await self._done

    def close(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Take bytes of the answer."""
        if self._in_head:
            self._head += data
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                return
            head, data = self._head[:end].lower(), self._head[end + 4 :]
            self._in_head = False
            self.status = int(head[9:12])
            length = head.find(b"\r\ncontent-length:")
            if length >= 0:
                self._left = int(head[length + 17 :].partition(b"\r\n")[0])
        if data and not self.body_bytes:
            self.first_byte_s = time.perf_counter()
        self.body_bytes += len(data)
        if self._left is not None:
            self._left -= len(data)
            if self._left <= 0:
                self._end(is_whole=True)
            return
        self._tail = (self._tail + data)[-7:]
        if self._tail.endswith(b"\r\n0\r\n\r\n") or self._tail == b"0\r\n\r\n":
            self._end(is_whole=True)

    def _end(self, *, is_whole: bool) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_result(is_whole)


@dataclass(slots=True)
class Seen:
    """What a run saw. Times are in seconds."""

    seconds: float = 0.0
    calls: int = 0
    faults: int = 0
    latencies_s: list[float] = field(default_factory=list)
    first_bytes_s: list[float] = field(default_factory=list)


async def connected(target: Target) -> Connection:
    """Return a new connection."""
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(Connection, target.host, target.port)
    return connection


class ClosedLoop:
    """Connections that each send the next request as soon as the last one was answered."""

    def __init__(self, target: Target, request: bytes, connections: int) -> None:
        """Begin with nothing sent."""
        self._target = target
        self._request = request
        self._connections = connections
        self._seen: Seen | None = None
        self._answered = 0
        self._stops = False

    async def run(self, seconds: float, *, on_begin: object = None, on_end: object = None) -> Seen:
        """Warm up, measure for that long, and return what was seen meanwhile.

        `on_begin` and `on_end` are called at the edges of what is measured.
        """
        workers = [asyncio.create_task(self._work()) for _ in range(self._connections)]
        until_s = time.perf_counter() + _GIVE_UP_SECONDS
        while self._answered < self._connections and time.perf_counter() < until_s:
            await asyncio.sleep(0.05)
        await asyncio.sleep(WARM_UP_SECONDS)
        seen = Seen()
        if callable(on_begin):
            on_begin()
        begun_s = time.perf_counter()
        self._seen = seen
        await asyncio.sleep(seconds)
        self._seen = None
        seen.seconds = time.perf_counter() - begun_s
        if callable(on_end):
            on_end()
        self._stops = True
        await asyncio.wait(workers, timeout=_GIVE_UP_SECONDS)
        return seen

    async def _work(self) -> None:
        connection = await connected(self._target)
        while not self._stops:
            begun_s = time.perf_counter()
            is_whole = await connection.ask(self._request)
            self._answered += 1
            seen = self._seen
            if not is_whole:
                connection = await connected(self._target)
            if seen is None:
                continue
            if not is_whole or connection.status != 200:
                seen.faults += 1
                continue
            seen.calls += 1
            seen.latencies_s.append(time.perf_counter() - begun_s)
            seen.first_bytes_s.append(connection.first_byte_s - begun_s)
        connection.close()


async def at_a_rate(
    target: Target, request: bytes, a_second: float, seconds: float, *, more: bytes | None = None
) -> Seen:
    """Send requests on a fixed schedule, whatever the answers do; return what was seen.

    `more` is sent beside them, five times a second, and not looked at.
    """
    seen = Seen()
    free: list[Connection] = [await connected(target) for _ in range(4)]
    tasks: set[asyncio.Task[None]] = set()

    async def one(content: bytes, *, counts: bool) -> None:
        connection = free.pop() if free else await connected(target)
        begun_s = time.perf_counter()
        is_whole = await connection.ask(content)
        ended_s = time.perf_counter()
        if not is_whole:
            connection = await connected(target)
        elif counts:
            seen.calls += 1
            seen.latencies_s.append(ended_s - begun_s)
            seen.first_bytes_s.append(connection.first_byte_s - begun_s)
        if not is_whole or connection.status != 200:
            seen.faults += 1
        free.append(connection)

    def spawn(content: bytes, *, counts: bool) -> None:
        task = asyncio.create_task(one(content, counts=counts))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    begun_s = time.perf_counter()
    every = max(int(a_second / 5), 1)
    for number in range(int(a_second * seconds)):
        pause_s = begun_s + number / a_second - time.perf_counter()
        if pause_s > 0:
            await asyncio.sleep(pause_s)
        spawn(request, counts=True)
        if more is not None and number % every == 0:
            spawn(more, counts=False)
    if tasks:
        await asyncio.wait(tasks, timeout=_GIVE_UP_SECONDS)
    seen.seconds = time.perf_counter() - begun_s
    for connection in free:
        connection.close()
    return seen


async def held_open(target: Target, request: bytes, number: int, *, on_all_begun: object) -> int:
    """Begin that many streams, call back when all have begun; return how many came whole."""
    begun = 0
    connections = [await connected(target) for _ in range(number)]
    asked = [asyncio.create_task(connection.ask(request)) for connection in connections]
    until_s = time.perf_counter() + _GIVE_UP_SECONDS
    while begun < number and time.perf_counter() < until_s:
        await asyncio.sleep(0.1)
        begun = sum(connection.body_bytes > 0 for connection in connections)
    if callable(on_all_begun):
        on_all_begun()
    done, _ = await asyncio.wait(asked, timeout=4 * _GIVE_UP_SECONDS)
    for connection in connections:
        connection.close()
    return sum(task.result() for task in done)
