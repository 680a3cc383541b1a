"""The client to upstreams: every answer cut everywhere, beside aiohttp, and who is slow or gone."""

import asyncio
import random
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable
from itertools import accumulate, pairwise
from typing import Any

import aiohttp
import pytest

from meter.gateway.http.client import Client, request_head
from meter.gateway.http.connection import Connection, Part, Response
from meter.gateway.http.dialing import _first, in_turn
from meter.gateway.http.errors import (
    BrokenOff,
    ConnectTimeout,
    NotSent,
    ReadTimeout,
    UpstreamError,
)
from meter.gateway.http.origin import Origin, origin_of
from tests.gateway.serving import Upstream, plainly, upstream_that

HERE = Origin("http", "127.0.0.1", 80, "127.0.0.1")

# Each answer with what a client must make of it: status, body, whether the connection is kept.
WHOLE = {
    "length": (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, b"hello", True),
    "nothing": (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", 200, b"", True),
    "no body": (b"HTTP/1.1 204 No Content\r\nx-a: b\r\n\r\n", 204, b"", True),
    "not modified": (b"HTTP/1.1 304 Same\r\ncontent-length: 9\r\n\r\n", 304, b"", True),
    "chunks": (
        b"HTTP/1.1 201 Made\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3\r\nabc\r\nA;ext=1\r\n0123456789\r\n0\r\n\r\n",
        201, b"abc0123456789", True,
    ),
    "trailers": (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n"
        b"2\r\nhi\r\n0\r\nx-sum: 1\r\n\r\n",
        200, b"hi", True,
    ),
    "interim": (
        b"HTTP/1.1 103 Early\r\nlink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
        200, b"ok", True,
    ),
    "close": (
        b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok", 200, b"ok", False
    ),
    "old": (b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok", 200, b"ok", False),
    "error": (
        b"HTTP/1.1 429 Slow\r\nretry-after: 1\r\ncontent-length: 2\r\n\r\n{}", 429, b"{}", True
    ),
}  # fmt: skip
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\nto the end"
NO_HTTP = {
    "words": b"hello there, this is no HTTP at all\r\n\r\n",
    "status": b"HTTP/1.1 banana\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
    "length and chunks": (
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "bad chunk": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nab\r\n0\r\n\r\n",
    "huge chunk": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + b"f" * 40 + b"\r\n",
    "upgrade": b"HTTP/1.1 101 Switch\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\nabc",
    "a zero in a header": b"HTTP/1.1 200 OK\r\nx-a: b\0c\r\ncontent-length: 0\r\n\r\n",
    "a long head": b"HTTP/1.1 200 OK\r\n" + b"x-a: b\r\n" * 20_000 + b"\r\n",
    "interim for ever": b"HTTP/1.1 100 Continue\r\n\r\n" * 100,
}


class Wire(asyncio.Transport):
    """A transport that keeps what is written, and whose other side is the test."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.is_closed = False
        self.is_reading_paused = False

    def write(self, data: Any) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.is_closed

    def abort(self) -> None:
        self.is_closed = True

    def pause_reading(self) -> None:
        self.is_reading_paused = True

    def resume_reading(self) -> None:
        self.is_reading_paused = False


class Kept:
    """A pool that notes what became of its connection."""

    is_reusable: bool | None = None

    def begin(self, connection: Connection) -> None:
        self.is_reusable = None

    def end(self, connection: Connection, *, is_reusable: bool) -> None:
        if self.is_reusable is None:
            self.is_reusable = is_reusable


async def received(pieces: list[bytes], *, ends: bool = False, method: str = "GET"):
    """Give a connection an answer in pieces; return status, body and whether it is kept."""
    kept, wire = Kept(), Wire()
    connection = Connection(kept)
    connection.connection_made(wire)
    asked = asyncio.create_task(
        connection.exchange(
            b"GET / HTTP/1.1\r\n\r\n", None, is_head=method == "HEAD", is_chunked=False, seconds=9
        )
    )
    await asyncio.sleep(0)
    for piece in pieces:
        if piece and not wire.is_closed:
            connection.data_received(piece)
    if ends:
        connection.connection_lost(None)
    response = await asked
    try:
        body = b"".join([piece async for piece in response.pieces()])
    finally:
        response.close()
    return response.status, body, kept.is_reusable


def run(made: Awaitable[Any]) -> Any:
    async def bounded() -> Any:
        async with asyncio.timeout(20):
            return await made

    return asyncio.run(bounded())


@pytest.mark.parametrize("name", WHOLE)
def test_an_answer_cut_at_every_byte_is_the_same_answer(name):
    answer, *expected = WHOLE[name]

    async def check() -> None:
        for cut in range(len(answer) + 1):
            assert await received([answer[:cut], answer[cut:]]) == tuple(expected)
        assert await received([answer[i : i + 1] for i in range(len(answer))]) == tuple(expected)

    run(check())


@pytest.mark.parametrize("name", WHOLE)
def test_an_answer_that_ends_at_any_byte_before_its_end_is_broken_off(name):
    answer, *_ = WHOLE[name]

    async def check() -> None:
        for end in range(len(answer)):
            with pytest.raises(BrokenOff):
                await received([answer[:end]], ends=True)

    run(check())


def test_an_answer_without_a_length_ends_with_its_connection():
    body_begins = UNTIL_CLOSE.index(b"to the end")

    async def check() -> None:
        for cut in range(body_begins, len(UNTIL_CLOSE) + 1):
            pieces = [UNTIL_CLOSE[:cut], UNTIL_CLOSE[cut:]]
            assert await received(pieces, ends=True) == (200, b"to the end", False)

    run(check())


@pytest.mark.parametrize("name", NO_HTTP)
def test_what_is_no_http_is_broken_off_wherever_it_is_cut(name):
    answer = NO_HTTP[name]

    async def check() -> None:
        for cut in range(0, min(len(answer), 200), 7):
            with pytest.raises(BrokenOff) as raised:
                await received([answer[:cut], answer[cut:]], ends=True)
            assert "banana" not in str(raised.value)

    run(check())


def test_random_bytes_never_do_more_than_break_an_answer_off():
    chance = random.Random(8)
    answers = [answer for answer, *_ in WHOLE.values()]

    async def check() -> None:
        for _ in range(2000):
            damaged = bytearray(chance.choice(answers))
            for _ in range(chance.randint(1, 4)):
                damaged[chance.randrange(len(damaged))] = chance.randrange(256)
            cut = chance.randrange(len(damaged))
            try:
                status, _, _ = await received(
                    [bytes(damaged[:cut]), bytes(damaged[cut:])], ends=True
                )
            except BrokenOff:
                continue
            assert 200 <= status <= 999

    run(check())


def test_the_answer_to_head_has_no_body_whatever_its_length():
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n"
    assert run(received([answer], method="HEAD")) == (200, b"", False)


def test_what_follows_a_whole_answer_belongs_to_nobody():
    for more in (b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nbad", b"garbage"):
        answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok" + more
        assert run(received([answer])) == (200, b"ok", False)


def test_chunks_come_as_they_were_cut():
    answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n"

    async def check() -> None:
        kept, wire = Kept(), Wire()
        connection = Connection(kept)
        connection.connection_made(wire)
        asked = asyncio.create_task(
            connection.exchange(b"", None, is_head=False, is_chunked=False, seconds=9)
        )
        await asyncio.sleep(0)
        connection.data_received(answer)
        response = await asked
        assert response.taken() == [b"a", b"bc"]
        assert not response.is_whole
        connection.data_received(b"0\r\n\r\n")
        assert response.is_whole

    run(check())


async def pieces_of(answer: bytes, cuts: list[int]) -> list[bytes]:
    """Return the pieces in which an answer's body is taken, when its bytes come so cut."""
    connection = Connection(Kept())
    connection.connection_made(Wire())
    asked = asyncio.create_task(
        connection.exchange(b"", None, is_head=False, is_chunked=False, seconds=9)
    )
    await asyncio.sleep(0)
    pieces = []
    for begin, end in pairwise([0, *sorted(cuts), len(answer)]):
        if begin < end:
            connection.data_received(answer[begin:end])
            pieces += connection.taken()
    await asked
    return pieces


def put_together(pieces: list[bytes]) -> list[bytes]:
    """Return the chunks that pieces are parts of."""
    chunks: list[bytes] = []
    left = 0
    for piece in pieces:
        if left:
            assert len(piece) <= left and not isinstance(piece, Part)
            chunks[-1] += piece
            left -= len(piece)
            continue
        chunks.append(bytes(piece))
        left = piece.left if isinstance(piece, Part) else 0
    assert not left
    return chunks


def test_a_chunk_that_comes_in_parts_says_how_much_is_to_come():
    chance = random.Random(9)
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"

    async def check() -> None:
        for _ in range(1500):
            chunks = [
                bytes(chance.choices(b"\r\n1a", k=chance.choice([1, 2, 3, 40, 900])))
                for _ in range(chance.randint(1, 6))
            ]
            answer, sizes = bytearray(head), set()
            for each in chunks:
                line = b"%x%b\r\n" % (len(each), chance.choice([b"", b";a=1"]))
                sizes |= set(range(len(answer) + 1, len(answer) + len(line)))
                answer += line + each + b"\r\n"
            answer += b"0\r\n\r\n"
            cuts = [chance.randrange(len(answer)) for _ in range(chance.randint(1, 8))]
            whole = await pieces_of(bytes(answer), [cut for cut in cuts if cut not in sizes])
            assert put_together(whole) == chunks
            # Where a size itself comes in two reads, its chunk may fall apart, and nothing more.
            parted = put_together(await pieces_of(bytes(answer), cuts))
            assert b"".join(parted) == b"".join(chunks)
            assert set(accumulate(map(len, chunks))) <= set(accumulate(map(len, parted)))

    run(check())


def test_what_comes_while_a_piece_is_looked_at_is_not_lost():
    async def check() -> None:
        connection = Connection(Kept())
        connection.connection_made(Wire())
        asked = asyncio.create_task(
            connection.exchange(b"", None, is_head=False, is_chunked=False, seconds=9)
        )
        await asyncio.sleep(0)
        connection.data_received(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\na")
        response = await asked
        seen = []
        async for piece in response.pieces():
            if not seen:
                connection.data_received(b"b")
                connection.data_received(b"cd")
            seen.append(piece)
        assert seen == [b"a", b"b", b"cd"]

    run(check())


def test_an_answer_that_is_not_taken_is_not_read_either():
    async def check() -> None:
        kept, wire = Kept(), Wire()
        connection = Connection(kept)
        connection.connection_made(wire)
        asked = asyncio.create_task(
            connection.exchange(b"", None, is_head=False, is_chunked=False, seconds=9)
        )
        await asyncio.sleep(0)
        connection.data_received(b"HTTP/1.1 200 OK\r\ncontent-length: 900000\r\n\r\n")
        response = await asked
        connection.data_received(bytes(300_000))
        assert wire.is_reading_paused
        assert connection.deadline_s is None, "the upstream is not to blame for a slow client"
        assert sum(map(len, response.taken())) == 300_000
        assert not wire.is_reading_paused
        assert connection.deadline_s is not None

    run(check())


@pytest.mark.parametrize("name", ["x-a\r\nx-b", "x\nb", "x\0"])
def test_a_header_cannot_begin_another_line(name):
    with pytest.raises(ValueError, match="line's end"):
        request_head("GET", "/", HERE, [(name, "1")])
    with pytest.raises(ValueError, match="line's end"):
        request_head("GET", "/", HERE, [("x", name)])
    with pytest.raises(ValueError, match="line's end"):
        request_head("GET", f"/{name}", HERE, [])


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://api.openai.com/v1", Origin("https", "api.openai.com", 443, "api.openai.com")),
        ("http://127.0.0.1:80", Origin("http", "127.0.0.1", 80, "127.0.0.1")),
        ("https://h:8443/x", Origin("https", "h", 8443, "h:8443")),
        ("http://[::1]:9", Origin("http", "::1", 9, "[::1]:9")),
        ("http://[::1]", Origin("http", "::1", 80, "[::1]")),
    ],
)
def test_an_address_names_its_origin(url, origin):
    assert origin_of(url) == origin


def test_addresses_of_both_families_take_turns():
    found = [(6, "a"), (6, "b"), (6, "b"), (4, "c"), (4, "d"), (6, "e")]
    assert in_turn(found) == ["a", "c", "b", "d", "e"]


def test_an_address_that_leads_nowhere_is_followed_by_the_next():
    tried: list[str] = []

    async def one(address: str) -> str:
        tried.append(address)
        if address == "refuses":
            raise ConnectionRefusedError("no")
        if address == "says nothing":
            await asyncio.Event().wait()
        return address

    first: Any = _first
    assert run(first(one, ["refuses", "answers", "last"])) == "answers"
    assert tried == ["refuses", "answers"]
    tried.clear()
    assert run(first(one, ["says nothing", "answers"])) == "answers"
    assert tried == ["says nothing", "answers"]
    with pytest.raises(ConnectionRefusedError):
        run(first(one, ["refuses", "refuses"]))


def test_a_name_with_several_addresses_is_connected_to(monkeypatch):
    """Nobody listens at the first address of the name."""

    async def work(client: Client) -> None:
        loop = asyncio.get_running_loop()

        async def found(*_name: Any, **_more: Any) -> Any:
            return [(2, 1, 6, "", ("127.0.0.9", 0)), (2, 1, 6, "", ("127.0.0.1", 0))]

        monkeypatch.setattr(loop, "getaddrinfo", found)
        origin = Origin("http", "name.example", up.port, f"name.example:{up.port}")
        response = await client.send("GET", origin, "/", [], seconds=5)
        assert response.status == 200
        response.close()

    with upstream_that(plainly(b"{}")) as up:
        with_client(work)
    assert up.received[0].headers["host"] == f"name.example:{up.port}"


# On real sockets.


async def get(client: Client, up: Upstream, **more: Any) -> tuple[Response, bytes]:
    response = await client.send("GET", origin_of(up.url), "/x", [], seconds=5, **more)
    try:
        return response, b"".join([piece async for piece in response.pieces()])
    finally:
        response.close()


def with_client(work: Callable[[Client], Awaitable[Any]], **more: Any) -> Any:
    async def whole() -> Any:
        client = Client(**more)
        try:
            return await work(client)
        finally:
            await client.close()

    return run(whole())


def raw(answer: bytes, *, closes: bool = False):
    def give(_request, connection):
        connection.sendall(answer)
        if closes:
            connection.shutdown(socket.SHUT_RDWR)

    return give


@pytest.mark.parametrize("name", [*WHOLE, "until close", *NO_HTTP])
def test_aiohttp_understands_the_same(name):
    """Status, headers and body of what both take; and both refuse what is no HTTP."""
    answer = WHOLE[name][0] if name in WHOLE else NO_HTTP.get(name, UNTIL_CLOSE)

    async def ours(up: Upstream) -> Any:
        client = Client()
        try:
            response, body = await get(client, up)
            names = [(n.lower(), v) for n, v in response.raw_headers]
            return response.status, names, body
        except UpstreamError:
            return None
        finally:
            await client.close()

    async def theirs(up: Upstream) -> Any:
        async with aiohttp.ClientSession(auto_decompress=False) as session:
            try:
                async with session.get(f"{up.url}/x", timeout=aiohttp.ClientTimeout(5)) as response:
                    body = await response.read()
                    names = [(n.lower(), v) for n, v in response.raw_headers]
                    return response.status, names, body
            except aiohttp.ClientError:
                return None

    async def both(up: Upstream) -> tuple[Any, Any]:
        return await ours(up), await theirs(up)

    with upstream_that(raw(answer, closes=name not in WHOLE)) as up:
        our, their = run(both(up))
    assert (our is None) == (name in NO_HTTP)
    if name not in ("upgrade", "interim for ever"):
        # aiohttp takes an upgrade that nobody asked for, and waits for ever with whoever waits.
        assert our == their


def test_a_connection_is_used_again():
    async def work(client: Client) -> None:
        for _ in range(3):
            _, body = await get(client, up)
            assert body == b"{}"

    seen = []

    def answer(request, connection):
        seen.append(connection.getpeername())
        plainly(b"{}")(request, connection)

    with upstream_that(answer) as up:
        with_client(work)
    assert len(seen) == 3 and len(set(seen)) == 1


def test_a_connection_that_was_idle_for_too_long_is_not_used_again():
    seen = []

    def answer(request, connection):
        seen.append(connection.getpeername())
        plainly(b"{}")(request, connection)

    async def work(client: Client) -> None:
        await get(client, up)
        await get(client, up)

    with upstream_that(answer) as up:
        with_client(work, idle_seconds=0.0)
    assert len(set(seen)) == 2


def test_a_connection_that_the_upstream_closed_meanwhile_is_not_used(monkeypatch):
    """Its end lies in the kernel, unread: nothing of the request may go there."""
    monkeypatch.setattr("meter.gateway.http.client._UNPROVEN_SECONDS", 0.0)
    closed = threading.Event()

    def answer(request, connection):
        plainly(b"{}")(request, connection)
        if len(up.received) == 1:
            connection.shutdown(socket.SHUT_RDWR)
            closed.set()

    async def work(client: Client) -> None:
        await get(client, up)
        # The loop does not turn meanwhile, so that it cannot have read the end.
        assert closed.wait(5)
        response = await client.send("POST", origin_of(up.url), "/x", [], b"{}", seconds=5)
        assert response.status == 200
        response.close()

    with upstream_that(answer) as up:
        with_client(work)
    assert [request.line.split()[0] for request in up.received] == ["GET", "POST"]


def breaking_when_used_again(request, connection):
    """Answer the first request of a connection, and drop it at the second."""
    if request.line.endswith("/first HTTP/1.1"):
        plainly(b"{}")(request, connection)
    else:
        raise ConnectionResetError


@pytest.mark.parametrize(("method", "tries"), [("GET", 2), ("POST", 1)])
def test_only_what_may_be_repeated_is_sent_again_on_a_new_connection(method, tries):
    """A POST that has left may be at work: it is the client's to send it again."""

    async def work(client: Client) -> None:
        origin = origin_of(up.url)
        first = await client.send("GET", origin, "/first", [], seconds=5)
        await first.more()
        first.close()
        with pytest.raises(BrokenOff):
            await client.send(method, origin, "/second", [], seconds=5)

    with upstream_that(breaking_when_used_again) as up:
        with_client(work)
    assert len(up.received) == 1 + tries


def test_an_upstream_that_says_nothing_is_given_up():
    done = threading.Event()

    async def work(client: Client) -> None:
        with pytest.raises(ReadTimeout):
            await client.send("GET", origin_of(up.url), "/", [], seconds=0.1)
        assert client.active == 0

    with upstream_that(lambda _request, _connection: done.wait(10)) as up:
        with_client(work)
        done.set()


def test_an_upstream_that_stalls_in_its_answer_is_given_up():
    done = threading.Event()

    def answer(_request, connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc")
        done.wait(10)

    async def work(client: Client) -> None:
        response = await client.send("GET", origin_of(up.url), "/", [], seconds=0.3)
        with pytest.raises(ReadTimeout):
            async for piece in response.pieces():
                assert piece == b"abc"
        response.close()

    with upstream_that(answer) as up:
        with_client(work)
        done.set()


def test_nobody_who_listens_means_nothing_was_sent():
    async def work(client: Client) -> None:
        with pytest.raises(NotSent):
            await client.send("POST", origin_of("http://127.0.0.1:9"), "/", [], b"x", seconds=5)

    with_client(work)


def test_a_connection_that_nobody_takes_is_given_up(monkeypatch):
    async def never(*_arguments: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr("meter.gateway.http.client.dial", never)

    async def work(client: Client) -> None:
        with pytest.raises(ConnectTimeout):
            await client.send("POST", HERE, "/", [], b"x", seconds=5)

    with_client(work, connect_seconds=0.05)


def test_being_cancelled_closes_the_connection():
    async def work(client: Client) -> None:
        asked = asyncio.create_task(client.send("GET", origin_of(up.url), "/", [], seconds=9))
        while not up.received:
            await asyncio.sleep(0.01)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        assert client.active == 0
        assert await asyncio.to_thread(up.lost.wait, 5)

    def answer(_request, connection):
        assert connection.recv(1) == b""
        raise ConnectionResetError

    with upstream_that(answer) as up:
        with_client(work)


@pytest.mark.parametrize("length", [None, 600_000])
def test_an_iterated_body_goes_as_chunks_or_with_its_length(length):
    async def pieces():
        for number in range(6):
            yield bytes([number]) * 100_000

    headers = [] if length is None else [("content-length", str(length))]

    async def work(client: Client) -> None:
        response = await client.send("POST", origin_of(up.url), "/x", headers, pieces(), seconds=5)
        assert response.status == 200
        response.close()

    with upstream_that(plainly(b"{}")) as up:
        with_client(work)
    (request,) = up.received
    assert request.body == b"".join(bytes([number]) * 100_000 for number in range(6))
    assert ("transfer-encoding" in request.headers) == (length is None)


def test_a_body_that_fails_ends_the_exchange():
    async def pieces():
        yield b"abc"
        raise RuntimeError("no more")

    async def work(client: Client) -> None:
        with pytest.raises(BrokenOff, match="could not be sent"):
            await client.send("POST", origin_of(up.url), "/x", [], pieces(), seconds=5)
        assert client.active == 0

    with upstream_that(plainly(b"{}")) as up:
        with_client(work)


def test_an_answer_before_the_end_of_the_body_is_taken_and_ends_the_sending():
    goes_on = asyncio.Event()

    async def pieces():
        yield b"abc"
        await goes_on.wait()

    async def work(client: Client) -> None:
        response = await client.send("POST", origin_of(f"http://127.0.0.1:{port}"), "/x",
                                     [("content-length", "9")], pieces(), seconds=5)  # fmt: skip
        assert response.status == 413
        await response.more()
        response.close()
        assert client.active == 0

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def refuse() -> None:
            taken, _ = listener.accept()
            with taken:
                taken.recv(4096)
                taken.sendall(b"HTTP/1.1 413 Large\r\ncontent-length: 2\r\n\r\nno")
                taken.recv(4096)

        thread = threading.Thread(target=refuse, daemon=True)
        thread.start()
        with_client(work)
        thread.join(5)


def test_a_certificate_that_nobody_vouches_for_is_not_taken(certificate):
    chain, secret, trusting = certificate
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, secret)

    async def main() -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
            await reader.read()
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
        origin = origin_of(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        strict, trusted = Client(), Client(tls=trusting)
        with pytest.raises(NotSent, match="no TLS"):
            await strict.send("GET", origin, "/", [], seconds=5)
        response = await trusted.send("GET", origin, "/", [], seconds=5)
        assert [piece async for piece in response.pieces()] == [b"ok"]
        response.close()
        await strict.close()
        await trusted.close()
        server.close()

    run(main())
