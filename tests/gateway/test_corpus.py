"""Recorded exchanges through the gateway: the client receives the recording, chunk by chunk."""

import gzip
import random
import socket
import time
from collections import defaultdict
from itertools import accumulate

import msgspec
import pytest

from meter.reports.recorded import answer_of, headers_of
from tests.gateway.serving import Received, read_chunks, read_head, served, upstream_that

HOSTS = {
    "api.openai.com": "openai",
    "api.anthropic.com": "anthropic",
    "generativelanguage.googleapis.com": "google",
}
OF_EACH_KIND = 6


@pytest.fixture(scope="module")
def exchanges(shared_folder):
    """A few exchanges of every provider, endpoint, status and way of answering."""
    kinds = defaultdict(list)
    decoder = msgspec.json.Decoder()
    with gzip.open(shared_folder / "corpus" / "dev.jsonl.gz") as lines:
        for line in lines:
            exchange = decoder.decode(line)
            path = exchange["path"].partition("?")[0]
            if (
                exchange.get("provider_host") in HOSTS
                and path.startswith(("/v1/", "/v1beta/"))
                and isinstance(exchange.get("request"), dict)
                and answer_of(exchange)
                # The gateway answers itself where the upstream does not take its key.
                and exchange["status"] != 401
            ):
                kind = (
                    exchange["provider_host"], exchange["endpoint"], exchange["status"],
                    exchange.get("response_content_type"),
                )  # fmt: skip
                kinds[kind].append(exchange)
    chance = random.Random(7)
    return [
        exchange
        for _, found in sorted(kinds.items(), key=str)
        for exchange in chance.sample(found, min(OF_EACH_KIND, len(found)))
    ]


def cut(body: bytes, number: int) -> list[bytes]:
    """Cut anywhere, also inside lines and characters."""
    size = 1 + number * 37 % 5000 if number % 6 else 100_000
    return [body[start : start + size] for start in range(0, len(body), size)]


@pytest.mark.parametrize("over_asgi", [False, True], ids=["direct", "asgi"])
def test_every_recorded_answer_arrives_as_it_was(exchanges, tmp_path, over_asgi):
    assert len(exchanges) > 100

    def answer(request: Received, connection: socket.socket) -> None:
        number = int(request.headers["x-exchange"])
        exchange, body = exchanges[number], answer_of(exchanges[number])
        headers = "".join(f"{name}: {value}\r\n" for name, value in headers_of(exchange).items())
        head = f"HTTP/1.1 {exchange['status']} Recorded\r\n{headers}"
        if number % 2:
            connection.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
            return
        connection.sendall(f"{head}transfer-encoding: chunked\r\n\r\n".encode())
        for place, piece in enumerate(cut(body, number)):
            chunk = b"%x\r\n%b\r\n" % (len(piece), piece)
            if number % 10 == 0 and place < 3:
                # A chunk that comes in two parts is one chunk all the same.
                connection.sendall(chunk[: len(chunk) // 2])
                time.sleep(0.005)
                chunk = chunk[len(chunk) // 2 :]
            connection.sendall(chunk)
        connection.sendall(b"0\r\n\r\n")

    with upstream_that(answer) as up:
        urls = {name: up.url for name in HOSTS.values()}
        settings = {"allow_unmetered": True, "allow_stored_objects": True, "inject_usage": False}
        with served(tmp_path, urls, over_asgi=over_asgi, **settings) as gateway:
            key = gateway.key()
            connection = socket.create_connection(("127.0.0.1", gateway.port), timeout=20)
            with connection, connection.makefile("rb") as reader:
                for number, exchange in enumerate(exchanges):
                    content = msgspec.json.encode(exchange["request"])
                    head = (
                        f"{exchange['method']} {exchange['path'].partition('?')[0]} HTTP/1.1\r\n"
                        f"host: gateway\r\nx-api-key: {key}\r\nx-exchange: {number}\r\n"
                        "content-type: application/json\r\n"
                        f"content-length: {len(content)}\r\n\r\n"
                    )
                    connection.sendall(head.encode() + content)
                    line, headers = read_head(reader)
                    assert int(line.split()[1]) == exchange["status"], exchange["id"]
                    for name, value in headers_of(exchange).items():
                        assert headers[name] == value, exchange["id"]
                    body = answer_of(exchange)
                    if number % 2:
                        assert int(headers["content-length"]) == len(body), exchange["id"]
                        assert reader.read(len(body)) == body, exchange["id"]
                        continue
                    chunks, sent = list(read_chunks(reader)), cut(body, number)
                    if over_asgi and len(chunks) != len(sent):
                        # ASGI has no way to begin a chunk that is not all there yet.
                        assert b"".join(chunks) == body, exchange["id"]
                        assert _ends(sent) <= _ends(chunks), exchange["id"]
                    else:
                        assert chunks == sent, exchange["id"]
            assert len(up.received) == len(exchanges)
            calls = gateway.calls(len(exchanges))
    sent = [msgspec.json.decode(request.body) for request in up.received]
    assert sent == [exchange["request"] for exchange in exchanges]
    reported = sum(1 for call in calls if call.usage)
    assert reported > len(exchanges) / 3


def _ends(chunks: list[bytes]) -> set[int]:
    """Return where chunks end within the body."""
    return set(accumulate(map(len, chunks)))
