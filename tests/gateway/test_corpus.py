"""Recorded exchanges through the gateway: the client receives the very bytes of the recording."""

import gzip
import random
import socket
from collections import defaultdict

import httpx
import msgspec
import pytest

from meter.reports.recorded import answer_of, headers_of
from tests.gateway.serving import Received, served, upstream_that

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


def test_every_recorded_answer_arrives_as_it_was(exchanges, tmp_path):
    assert len(exchanges) > 100

    def answer(request: Received, connection: socket.socket) -> None:
        number = int(request.headers["x-exchange"])
        exchange, body = exchanges[number], answer_of(exchanges[number])
        headers = "".join(f"{name}: {value}\r\n" for name, value in headers_of(exchange).items())
        head = f"HTTP/1.1 {exchange['status']} Recorded\r\n{headers}"
        if number % 2:
            connection.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
            return
        # Cut anywhere, also inside lines and characters.
        connection.sendall(f"{head}transfer-encoding: chunked\r\n\r\n".encode())
        size = 1 + number * 37 % 5000
        for start in range(0, len(body), size):
            piece = body[start : start + size]
            connection.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
        connection.sendall(b"0\r\n\r\n")

    with upstream_that(answer) as up:
        urls = {name: up.url for name in HOSTS.values()}
        settings = {"allow_unmetered": True, "allow_stored_objects": True, "inject_usage": False}
        with served(tmp_path, urls, **settings) as gateway, httpx.Client(timeout=20) as client:
            key = gateway.key()
            for number, exchange in enumerate(exchanges):
                received = client.request(
                    exchange["method"],
                    gateway.url + exchange["path"].partition("?")[0],
                    json=exchange["request"],
                    headers={"x-api-key": key, "x-exchange": str(number)},
                )
                assert received.status_code == exchange["status"], exchange["id"]
                assert received.content == answer_of(exchange), exchange["id"]
                for name, value in headers_of(exchange).items():
                    assert received.headers[name] == value, exchange["id"]
            assert len(up.received) == len(exchanges)
            calls = gateway.calls(len(exchanges))
    sent = [msgspec.json.decode(request.body) for request in up.received]
    assert sent == [exchange["request"] for exchange in exchanges]
    reported = sum(1 for call in calls if call.usage)
    assert reported > len(exchanges) / 3
