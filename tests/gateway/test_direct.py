"""The server of `meter serve`, connection by connection, and held against the ASGI way."""

import asyncio
import json
import random
import socket
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from meter.gateway.direct import HEAD_BYTES, Connection
from meter.gateway.line import Line
from meter.gateway.rejections import ClientLeft, Rejected
from tests.gateway.serving import (
    Served,
    in_chunks,
    plainly,
    read_all,
    served,
    upstream_that,
)
from tests.gateway.test_http_client import Wire, run

POST = b"POST /v1/x?a=b HTTP/1.1\r\nHost: g\r\nX-A: b\r\ncontent-length: 5\r\n\r\nhello"
CHUNKED = (
    b"POST /v1/x HTTP/1.1\r\nhost: g\r\ntransfer-encoding: chunked\r\n\r\n"
    b"3\r\nabc\r\n5;e=1\r\n01234\r\n0\r\nx-trailer: 1\r\n\r\n"
)
GET = b"GET /v1/y HTTP/1.1\r\nhost: g\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\n"


class ClientWire(Wire):
    """What the server writes to; closing it tells the connection, as a transport does."""

    def __init__(self) -> None:
        super().__init__()
        self.connection: Connection | None = None
        self.has_written_eof = False

    def close(self) -> None:
        self.abort()

    def abort(self) -> None:
        if not self.is_closed:
            self.is_closed = True
            assert self.connection is not None
            asyncio.get_running_loop().call_soon(self.connection.connection_lost, None)

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.has_written_eof = True


class Owner:
    """A server of one connection, which answers by a function."""

    client_seconds = 7.0
    head_seconds = 3.0
    idle_seconds = 5.0

    def __init__(self, answering: Callable[[dict[str, Any], Line], Awaitable[None]]) -> None:
        self.is_stopping = False
        self.asked: list[dict[str, Any]] = []
        self.sessions: list[bytes] = []
        self._answering = answering
        self.connections: set[Connection] = set()

    async def answer(self, scope: dict[str, Any], line: Line) -> None:
        self.asked.append(scope)
        try:
            await self._answering(scope, line)
        except (ClientLeft, Rejected):
            return

    def spawn(self, answering: Any) -> "asyncio.Task[None]":
        return asyncio.create_task(answering)

    def hold_session(self, transport: asyncio.Transport, data: bytes) -> None:
        self.sessions.append(data)

    def add(self, connection: Connection) -> None:
        self.connections.add(connection)

    def discard(self, connection: Connection) -> None:
        self.connections.discard(connection)

    def connected(self) -> tuple[Connection, ClientWire]:
        connection, wire = Connection(self), ClientWire()
        wire.connection = connection
        connection.connection_made(wire)
        return connection, wire


async def echoing(scope: dict[str, Any], line: Line) -> None:
    """Answer with what was understood."""
    body = await line.body(1_000_000)
    heard = {
        "method": scope["method"], "path": scope["path"], "query": scope["query_string"].decode(),
        "headers": [[n.decode("latin-1"), v.decode("latin-1")] for n, v in scope["headers"]],
        "body": body.decode("latin-1"),
    }  # fmt: skip
    content = json.dumps(heard).encode()
    await line.start(200, [(b"content-length", str(len(content)).encode())])
    await line.write(content, is_last=True)


async def settled() -> None:
    """Let everything happen that can happen now."""
    for _ in range(12):
        await asyncio.sleep(0)


async def talked(*pieces: bytes, answering: Any = echoing) -> tuple[bytes, Owner, ClientWire]:
    owner = Owner(answering)
    connection, wire = owner.connected()
    for piece in pieces:
        if piece and not wire.is_closed and not owner.sessions:
            connection.data_received(piece)
            await settled()
    for _ in range(20):
        await settled()
    return bytes(wire.written), owner, wire


# Requests, however they are cut.


@pytest.mark.parametrize("request_", [POST, CHUNKED, GET, GET + POST + CHUNKED])
def test_a_request_cut_at_every_byte_is_the_same_request(request_):
    async def check() -> None:
        expected, owner, _ = await talked(request_)
        assert expected.count(OK) == len(owner.asked) > 0
        for cut in range(1, len(request_)):
            assert (await talked(request_[:cut], request_[cut:]))[0] == expected
        pieces = [request_[i : i + 1] for i in range(len(request_))]
        assert (await talked(*pieces))[0] == expected

    run(check())


def test_what_was_sent_is_what_is_understood():
    answer, owner, _ = run(talked(CHUNKED))
    heard = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert (heard["method"], heard["path"], heard["body"]) == ("POST", "/v1/x", "abc01234")
    assert heard["headers"] == [["host", "g"], ["transfer-encoding", "chunked"]]
    assert owner.asked[0]["http_version"] == "1.1"


MALFORMED = {
    "two lengths": b"POST / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
    "the same length twice": b"POST / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\na",
    "length and chunks": (
        b"POST / HTTP/1.1\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "chunks and length": (
        b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n0\r\n\r\n"
    ),
    "chunks not last": b"POST / HTTP/1.1\r\ntransfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "chunks hidden": b"POST / HTTP/1.1\r\ntransfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunks folded": b"POST / HTTP/1.1\r\ntransfer-encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "a length with a sign": b"POST / HTTP/1.1\r\ncontent-length: +1\r\n\r\na",
    "a length in hex": b"POST / HTTP/1.1\r\ncontent-length: 0x1\r\n\r\na",
    "a length beyond all": b"POST / HTTP/1.1\r\ncontent-length: 99999999999999999999\r\n\r\na",
    "a space before the colon": b"POST / HTTP/1.1\r\ncontent-length : 1\r\n\r\na",
    "a name with a space": b"GET / HTTP/1.1\r\nx a: b\r\n\r\n",
    "a zero": b"GET / HTTP/1.1\r\nx-a: b\0c\r\n\r\n",
    "a bare line feed in a value": b"GET / HTTP/1.1\r\nx-a: b\nx-c: d\r\n\r\n",
    "a carriage return in a value": b"GET / HTTP/1.1\r\nx-a: b\rc\r\n\r\n",
    "no version": b"GET /\r\n\r\n",
    "a version of its own": b"GET / HTTP/3.9\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "no method": b"BLAH / HTTP/1.1\r\n\r\n",
    "a tunnel": b"CONNECT h:443 HTTP/1.1\r\nhost: h\r\n\r\n",
    "TLS": bytes.fromhex("16030100a5010000a10303") + bytes(160),
    "a target that is not ASCII": "GET /é HTTP/1.1\r\nhost: g\r\n\r\n".encode(),
    "an upgrade with a body": (
        b"POST / HTTP/1.1\r\nupgrade: h2c\r\nconnection: upgrade\r\ncontent-length: 1\r\n\r\na"
    ),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_what_two_servers_could_read_differently_is_answered_400_and_closed(name):
    request = MALFORMED[name]

    async def check() -> None:
        for cut in range(0, len(request), 3):
            answer, owner, wire = await talked(request[:cut], request[cut:], GET)
            assert answer.startswith(b"HTTP/1.1 400 ") and wire.is_closed
            assert answer.count(b"HTTP/1.1 4") == 1 and OK not in answer
            assert owner.asked == []

    run(check())


def test_a_chunk_that_is_none_ends_a_body_and_its_connection():
    """The head was fine, so that its call may be under way: it must not be taken for whole."""
    bodies: list[Any] = []

    async def reading(_scope: Any, line: Line) -> None:
        try:
            bodies.append(await line.body(1000))
        except Rejected as rejection:
            bodies.append(rejection.status)

    for bad in (b"zz\r\n", b"3\r\nabcd\r\n", b"-1\r\n", b"ffffffffffffffffff\r\n"):
        request = b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n" + bad + GET
        _, owner, wire = run(talked(request, GET, answering=reading))
        assert wire.is_closed and len(owner.asked) == 1
    assert bodies == [400] * 4


def test_damaged_requests_never_do_more_than_end_the_connection():
    chance = random.Random(4)

    async def check() -> None:
        for _ in range(3000):
            damaged = bytearray(chance.choice([POST, CHUNKED, GET + POST, POST + GET]))
            for _ in range(chance.randint(1, 3)):
                damaged[chance.randrange(len(damaged))] = chance.randrange(256)
            cut = chance.randrange(len(damaged))
            answer, owner, wire = await talked(bytes(damaged[:cut]), bytes(damaged[cut:]))
            assert answer.count(OK) <= len(owner.asked) <= 2
            assert answer.count(b"HTTP/1.1 4") <= 1
            if b"HTTP/1.1 4" in answer:
                assert wire.is_closed

    run(check())


def test_a_head_beyond_its_bound_is_answered_431():
    async def check() -> None:
        long = b"GET / HTTP/1.1\r\n" + b"x-a: b\r\n" * (HEAD_BYTES // 6)
        path = b"GET /" + b"a" * HEAD_BYTES + b" HTTP/1.1\r\n\r\n"
        for request in (long + b"\r\n", long, path):
            cut = [request[i : i + 4096] for i in range(0, len(request), 4096)]
            for pieces in ([request], cut):
                answer, owner, wire = await talked(*pieces)
                assert answer.startswith(b"HTTP/1.1 431 ") and wire.is_closed
                assert owner.asked == []

    run(check())


# One after the other.


def test_requests_sent_ahead_are_answered_in_their_order_and_stop_the_reading():
    async def check() -> None:
        go_on = asyncio.Event()

        async def waiting(scope: dict[str, Any], line: Line) -> None:
            await go_on.wait()
            await echoing(scope, line)

        owner = Owner(waiting)
        connection, wire = owner.connected()
        connection.data_received(b"".join(b"GET /%d HTTP/1.1\r\n\r\n" % n for n in range(5)))
        await settled()
        assert len(owner.asked) == 1 and wire.is_reading_paused
        go_on.set()
        for _ in range(5):
            await settled()
        paths = [json.loads(part)["path"] for part in _bodies(bytes(wire.written))]
        assert paths == ["/0", "/1", "/2", "/3", "/4"]
        assert not wire.is_reading_paused

    run(check())


def _bodies(answers: bytes) -> Iterator[bytes]:
    while answers:
        head, _, rest = answers.partition(b"\r\n\r\n")
        length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        yield rest[:length]
        answers = rest[length:]


def test_too_many_requests_ahead_end_the_connection_after_the_first_answer():
    answer, owner, wire = run(talked(GET * 200))
    assert answer.endswith(b"safe") and wire.is_closed
    assert len(owner.asked) <= 70


def test_what_comes_before_a_malformed_request_is_answered_first():
    answer, owner, wire = run(talked(GET + b"BLAH\r\n\r\n"))
    assert answer.startswith(OK) and b"HTTP/1.1 400 " in answer and wire.is_closed
    assert len(owner.asked) == 1


@pytest.mark.parametrize(
    ("request_", "stays_open"),
    [
        (GET, True),
        (b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n", False),
        (b"GET / HTTP/1.1\r\nconnection: keep-alive, close\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n", False),
        (b"GET / HTTP/1.1\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n", False),
    ],
)
def test_a_connection_stays_open_where_both_sides_want_it(request_, stays_open):
    answer, _, wire = run(talked(request_))
    assert answer.startswith(OK)
    assert wire.is_closed != stays_open
    assert (b"\r\nconnection: close\r\n" in answer) != stays_open


def test_a_websocket_is_handed_over_from_its_head_on_wherever_it_is_cut():
    head = b"GET /v1/realtime?a=b HTTP/1.1\r\nUpgrade: WebSocket\r\nconnection: Upgrade\r\n\r\n"
    whole = head + b"\x81\x05hello"

    async def check() -> None:
        for cut in range(len(whole) + 1):
            answer, owner, _ = await talked(GET, whole[:cut], whole[cut:])
            assert answer.count(OK) == 1 and owner.connections == set()
            (data,) = owner.sessions
            assert data.startswith(head.replace(b"Upgrade:", b"upgrade:"))
            assert data[len(head) :] == whole[len(head) : max(cut, len(head))] or cut < len(head)

    run(check())


def test_a_client_that_waits_for_100_gets_it_when_its_body_is_wanted():
    head = b"POST / HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n"
    answer, _, _ = run(talked(head, b"hi"))
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")

    async def refusing(_scope: Any, line: Line) -> None:
        await line.start(413, [(b"content-length", b"0"), (b"connection", b"close")])
        await line.write(b"", is_last=True)

    answer, _, _ = run(talked(head, answering=refusing))
    assert answer.startswith(b"HTTP/1.1 413 ")


# Answers.


async def _saying(line: Line, status: int, headers: Any, *pieces: bytes) -> None:
    await line.start(status, headers)
    for piece in pieces[:-1]:
        await line.write(piece)
    await line.write(pieces[-1], is_last=True)


@pytest.mark.parametrize(
    ("request_", "status", "headers", "pieces", "expected"),
    [
        (GET, 200, [], (b"ab", b"c"),
         OK + b"transfer-encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"),
        (GET, 200, [], (b"ab", b""),
         OK + b"transfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"),
        (GET, 200, [(b"content-length", b"3")], (b"ab", b"c"),
         OK + b"content-length: 3\r\n\r\nabc"),
        (GET, 204, [], (b"",), b"HTTP/1.1 204 No Content\r\n\r\n"),
        (GET, 304, [(b"content-length", b"3")], (b"",),
         b"HTTP/1.1 304 Not Modified\r\ncontent-length: 3\r\n\r\n"),
        (b"HEAD / HTTP/1.1\r\n\r\n", 200, [(b"content-length", b"3")], (b"abc",),
         OK + b"content-length: 3\r\n\r\n"),
        (b"GET / HTTP/1.0\r\n\r\n", 200, [], (b"ab", b"c"),
         OK + b"connection: close\r\n\r\nabc"),
        (GET, 999, [(b"content-length", b"0")], (b"",),
         b"HTTP/1.1 999 \r\ncontent-length: 0\r\n\r\n"),
    ],
)  # fmt: skip
def test_an_answer_is_framed_as_its_length_is_known(request_, status, headers, pieces, expected):
    async def saying(_scope: Any, line: Line) -> None:
        await _saying(line, status, headers, *pieces)

    assert run(talked(request_, answering=saying))[0] == expected


@pytest.mark.parametrize("pieces", [(b"abcd",), (b"a",), (b"ab", b"cd")])
def test_an_answer_of_another_length_than_it_says_ends_the_connection(pieces):
    async def saying(_scope: Any, line: Line) -> None:
        await _saying(line, 200, [(b"content-length", b"3")], *pieces)

    answer, _, wire = run(talked(GET, GET, answering=saying))
    assert wire.is_closed
    assert answer.count(OK) <= 1


def test_an_answer_that_is_not_ended_ends_the_connection():
    async def breaking(_scope: Any, line: Line) -> None:
        await line.start(200, [])
        await line.write(b"abc")

    answer, owner, wire = run(talked(GET, GET, answering=breaking))
    assert answer.endswith(b"3\r\nabc\r\n") and wire.is_closed
    assert len(owner.asked) == 1


def test_a_head_is_flushed_before_the_body_is_known():
    async def check() -> None:
        done = asyncio.Event()

        async def slow(_scope: Any, line: Line) -> None:
            await line.start(200, [])
            line.flush()
            await done.wait()
            await line.write(b"x", is_last=True)

        owner = Owner(slow)
        connection, wire = owner.connected()
        connection.data_received(GET)
        await settled()
        assert bytes(wire.written) == OK + b"transfer-encoding: chunked\r\n\r\n"
        done.set()
        await settled()
        assert wire.written.endswith(b"\r\n\r\n1\r\nx\r\n0\r\n\r\n")

    run(check())


# Whoever is slow.


def test_a_body_that_nobody_takes_stops_the_reading():
    async def check() -> None:
        go_on = asyncio.Event()
        seen: list[int] = []

        async def later(_scope: Any, line: Line) -> None:
            await go_on.wait()
            async for piece in line.pieces():
                seen.append(len(piece))

        owner = Owner(later)
        connection, wire = owner.connected()
        connection.data_received(b"POST / HTTP/1.1\r\ncontent-length: 300000\r\n\r\n")
        connection.data_received(bytes(100_000))
        await settled()
        assert wire.is_reading_paused
        go_on.set()
        await settled()
        assert not wire.is_reading_paused and sum(seen) == 100_000

    run(check())


def test_a_client_that_takes_nothing_makes_the_answer_wait_and_is_given_up():
    async def check() -> None:
        left: list[bool] = []

        async def streaming(_scope: Any, line: Line) -> None:
            await line.start(200, [])
            try:
                while True:
                    await line.write(b"x")
            except ClientLeft:
                left.append(line.is_gone)

        owner = Owner(streaming)
        connection, wire = owner.connected()
        connection.pause_writing()
        connection.data_received(GET)
        await settled()
        written = len(wire.written)
        await settled()
        assert len(wire.written) == written and not left
        now_s = asyncio.get_running_loop().time()
        connection.look(now_s + 6.5)
        await settled()
        assert not left
        connection.look(now_s + 7.5)
        await settled()
        assert left == [True]

    run(check())


@pytest.mark.parametrize(
    ("sent", "seconds"), [(b"", 3.0), (b"GET / HT", 3.0), (GET, 5.0), (GET + b"GET", 3.0)]
)
def test_a_head_that_does_not_come_and_an_idle_connection_are_closed_in_time(sent, seconds):
    async def check() -> None:
        owner = Owner(echoing)
        connection, wire = owner.connected()
        if sent:
            connection.data_received(sent)
        await settled()
        now_s = asyncio.get_running_loop().time()
        connection.look(now_s + seconds - 0.5)
        assert not wire.is_closed
        connection.look(now_s + seconds + 0.5)
        assert wire.is_closed

    run(check())


def test_a_body_that_does_not_come_is_told_to_whoever_waits_for_it():
    async def check() -> None:
        told: list[int] = []

        async def reading(_scope: Any, line: Line) -> None:
            try:
                await line.body(1000)
            except Rejected as rejection:
                told.append(rejection.status)
                await _saying(line, 408, [(b"content-length", b"0"), (b"connection", b"close")],
                              b"")  # fmt: skip

        owner = Owner(reading)
        connection, wire = owner.connected()
        connection.data_received(b"POST / HTTP/1.1\r\ncontent-length: 9\r\n\r\nabc")
        await settled()
        now_s = asyncio.get_running_loop().time()
        connection.look(now_s + 7.5)
        await settled()
        assert told == [408]
        assert wire.written.startswith(b"HTTP/1.1 408 ")
        # Its client may still send: the answer is not lost to that, for a while.
        assert wire.has_written_eof and not wire.is_closed
        connection.look(now_s + 30)
        assert wire.is_closed

    run(check())


def test_a_body_of_no_use_is_dropped_within_bounds_and_the_connection_goes_on():
    async def refusing(_scope: Any, line: Line) -> None:
        await _saying(line, 401, [(b"content-length", b"0")], b"")

    async def check() -> None:
        owner = Owner(refusing)
        connection, wire = owner.connected()
        connection.data_received(b"POST / HTTP/1.1\r\ncontent-length: 100000\r\n\r\nabc")
        await settled()
        connection.data_received(bytes(99_997) + GET)
        await settled()
        assert wire.written.count(b"HTTP/1.1 401 ") == 2 and not wire.is_closed
        connection.data_received(b"POST / HTTP/1.1\r\ncontent-length: 100000000\r\n\r\nabc")
        await settled()
        for _ in range(5):
            if not wire.is_closed:
                connection.data_received(bytes(1_000_000))
        assert wire.is_closed

    run(check())


# Whoever leaves, and the end.


def test_a_client_that_leaves_is_told_about_once():
    async def check() -> None:
        told: list[str] = []
        done = asyncio.Event()

        async def watching(_scope: Any, line: Line) -> None:
            await line.body(100)
            line.watch(lambda: told.append("left"))
            await done.wait()
            with pytest.raises(ClientLeft):
                await line.start(200, [])

        owner = Owner(watching)
        connection, wire = owner.connected()
        connection.data_received(POST)
        await settled()
        connection.connection_lost(None)
        await settled()
        assert told == ["left"]
        done.set()
        await settled()
        assert owner.connections == set() and not wire.written

    run(check())


def test_a_client_that_leaves_within_its_body_ends_the_reading():
    async def check() -> None:
        seen: list[str] = []

        async def reading(_scope: Any, line: Line) -> None:
            try:
                await line.body(100)
            except ClientLeft:
                seen.append("left")

        owner = Owner(reading)
        connection, _ = owner.connected()
        connection.data_received(POST[:-2])
        await settled()
        connection.connection_lost(None)
        await settled()
        assert seen == ["left"]

    run(check())


def test_a_stop_closes_what_is_idle_and_lets_what_is_under_way_end():
    async def check() -> None:
        done = asyncio.Event()

        async def waiting(scope: dict[str, Any], line: Line) -> None:
            await done.wait()
            await echoing(scope, line)

        owner = Owner(waiting)
        idle, idle_wire = owner.connected()
        busy, busy_wire = owner.connected()
        busy.data_received(GET)
        await settled()
        owner.is_stopping = True
        for connection in (idle, busy):
            connection.stop()
        await settled()
        assert idle_wire.is_closed and not busy_wire.is_closed
        done.set()
        await settled()
        assert (
            busy_wire.written.startswith(OK) and b"\r\nconnection: close\r\n" in busy_wire.written
        )
        assert busy_wire.is_closed

    run(check())


# Held against the ASGI way.


@pytest.fixture(scope="module")
def both(tmp_path_factory) -> Iterator[tuple[Served, Served]]:
    """The same gateway twice, over ASGI on uvicorn and on connections of its own."""

    def answer(request, connection):
        if "/embeddings" in request.line:
            plainly(b'{"error":{}}', status="418 I'm a Teapot")(request, connection)
        elif b'"stream":true' in request.body:
            in_chunks(b'data: {"choices":[]}\n\n', b"data: [DONE]\n\n")(request, connection)
        else:
            body = json.dumps({"heard": request.body.decode("latin-1")}).encode()
            plainly(body)(request, connection)

    with pytest.MonkeyPatch.context() as patch, upstream_that(answer) as up:
        patch.setenv("METER_UPSTREAM_OPENAI_KEY", "sk-upstream")
        folders = [tmp_path_factory.mktemp(name) for name in ("asgi", "direct")]
        with (
            served(folders[0], {"openai": up.url}, over_asgi=True) as asgi,
            served(folders[1], {"openai": up.url}) as direct,
        ):
            yield asgi, direct


CHAT = b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hi"}]}'
STREAM = CHAT[:-1] + b',"stream":true}'
ASKED = {
    "a call": ("POST /v1/chat/completions", "", CHAT),
    "a call in chunks": ("POST /v1/chat/completions", "transfer-encoding: chunked\r\n", CHAT),
    "a stream": ("POST /v1/chat/completions", "", STREAM),
    "an error of the upstream": ("POST /v1/embeddings", "", b'{"model":"m","input":"x"}'),
    "no body": ("POST /v1/chat/completions", "", b""),
    "no JSON": ("POST /v1/chat/completions", "", b"nothing"),
    "a query": ("POST /v1/chat/completions?a=%20b&c", "", CHAT),
    "a key that is none": ("POST /v1/chat/completions", "authorization: Bearer mk-x\r\n", CHAT),
    "a compressed body": ("POST /v1/chat/completions", "content-encoding: gzip\r\n", CHAT),
    "models": ("GET /v1/models", "", None),
    "a head": ("HEAD /v1/models", "", None),
    "health": ("GET /healthz", "", None),
    "the head of health": ("HEAD /healthz", "", None),
    "a path of nobody": ("GET /nowhere", "", None),
    "two ways": ("GET /v1/%2e%2e/x", "", None),
    "an absolute address": ("GET http://other/healthz", "", None),
    "a method of nobody": ("OPTIONS /v1/models", "", None),
    "the admin API": ("GET /meter/v1/keys", "", None),
    "its document": ("GET /meter/openapi.json", "", None),
    "a form": (
        "POST /v1/audio/transcriptions", "content-type: multipart/form-data; boundary=b\r\n",
        b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n--b--\r\n',
    ),
    "a websocket": ("GET /v1/realtime", "upgrade: websocket\r\nsec-websocket-key: eA==\r\n", None),
}  # fmt: skip


@pytest.mark.parametrize("name", ASKED)
def test_both_ways_answer_alike(both, name):
    line, more, body = ASKED[name]
    answers = [_asked(gateway, line, more, body) for gateway in both]
    assert answers[0] == answers[1]


def _asked(gateway: Served, line: str, more: str, body: bytes | None) -> tuple[Any, ...]:
    connection = "upgrade, close" if "upgrade" in more else "close"
    head = f"{line} HTTP/1.1\r\nhost: gateway\r\nconnection: {connection}\r\n{more}"
    if "authorization" not in more:
        head += f"authorization: Bearer {gateway.key()}\r\n"
    content = body or b""
    if body is not None and "chunked" in more:
        content = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    elif body is not None:
        head += f"content-length: {len(body)}\r\n"
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as talking:
        talking.sendall(head.encode() + b"\r\n" + content)
        answer = read_all(talking)
    top, _, rest = answer.partition(b"\r\n\r\n")
    status, *fields = top.split(b"\r\n")
    changing = (b"date:", b"x-meter-call-id:", b"connection:")
    kept = [field for field in fields if not field.startswith(changing)]
    return status, kept, rest
