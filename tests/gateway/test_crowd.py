"""All kinds of clients at once: each gets what is its own, and nothing is left behind."""

import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable

from tests.gateway.serving import WAIT_S, Served

CHAT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "The sea, please."}]}
VISITS = 240
AT_ONCE = 24

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def asked(key: str, **more: object) -> bytes:
    content = json.dumps({**CHAT, **more}).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\nauthorization: Bearer {key}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


async def answered(reader: asyncio.StreamReader) -> None:
    """Read one whole answer of known length."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    assert head.startswith(b"http/1.1 200 ")
    length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
    body = json.loads(await reader.readexactly(length))
    assert body["object"] == "chat.completion"


class Crowd:
    """Clients that behave, and clients that do not; who comes when is drawn by lot."""

    def __init__(self, port: int, key: str) -> None:
        self._port = port
        self._request = asked(key)
        self._stream = asked(key, stream=True)
        self._chance = random.Random(7)
        self.whole = 0

    async def visit(self) -> None:
        kinds: list[Callable[[Streams], Awaitable[None]]] = [
            self.asks_thrice, self.streams, self.sends_ahead, self.sends_slowly,
            self.leaves, self.leaves_within_a_stream, self.sends_half, self.sends_rubbish,
        ]  # fmt: skip
        streams = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            await self._chance.choice(kinds)(streams)
        finally:
            streams[1].transport.abort()

    async def asks_thrice(self, streams: Streams) -> None:
        for _ in range(3):
            streams[1].write(self._request)
            await answered(streams[0])
        self.whole += 3

    async def streams(self, streams: Streams) -> None:
        streams[1].write(self._stream)
        answer = await streams[0].readuntil(b"data: [DONE]\n\n")
        assert answer.startswith(b"HTTP/1.1 200 ")
        self.whole += 1

    async def sends_ahead(self, streams: Streams) -> None:
        streams[1].write(4 * self._request)
        for _ in range(4):
            await answered(streams[0])
        self.whole += 4

    async def sends_slowly(self, streams: Streams) -> None:
        for start in range(0, len(self._request), 50):
            streams[1].write(self._request[start : start + 50])
            await asyncio.sleep(0)
        await answered(streams[0])
        self.whole += 1

    async def leaves(self, streams: Streams) -> None:
        streams[1].write(self._request)
        await streams[1].drain()

    async def leaves_within_a_stream(self, streams: Streams) -> None:
        streams[1].write(self._stream)
        await streams[0].read(300)

    async def sends_half(self, streams: Streams) -> None:
        streams[1].write(self._request[: self._chance.randrange(len(self._request))])
        await streams[1].drain()

    async def sends_rubbish(self, streams: Streams) -> None:
        streams[1].write(bytes(self._chance.randrange(256) for _ in range(200)) + b"\r\n\r\n")
        assert not (await streams[0].read(100)).startswith(b"HTTP/1.1 2")

    async def come(self) -> None:
        gate = asyncio.Semaphore(AT_ONCE)

        async def one() -> None:
            async with gate:
                await self.visit()

        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            for _ in range(VISITS):
                group.create_task(one())


def test_a_crowd_is_served_and_leaves_nothing_behind(gateway: Served):
    crowd = Crowd(gateway.port, gateway.key())
    asyncio.run(crowd.come())
    assert crowd.whole > 100
    lane, client = gateway.server, gateway.gateway.services.client
    until = time.monotonic() + WAIT_S
    while lane._connections or lane._tasks or client.active:
        assert time.monotonic() < until
        time.sleep(0.02)
    gateway.gateway.services.ledger.ping()
    calls = list(gateway.meter.calls(limit=None))
    reported = [call for call in calls if str(call.outcome) == "completed"]
    assert len(reported) >= crowd.whole
    assert {str(call.basis) for call in reported} == {"reported"}
    assert {str(call.outcome) for call in calls} <= {"completed", "client_closed"}
