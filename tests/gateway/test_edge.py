"""What comes in at the edge: paths, heads, bodies and clients that mean harm or do it."""

import json
import logging
import socket
import time
from contextlib import suppress

import httpx
import pytest

from meter.simulator import Simulator
from tests.gateway.conftest import providers
from tests.gateway.serving import (
    Served,
    plainly,
    read_all,
    read_head,
    served,
    upstream_that,
)

BODY = b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hi"}]}'


def talk(gateway: Served, *pieces: bytes) -> bytes:
    """Send bytes as they are; return all that comes back until the gateway closes."""
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as connection:
        for piece in pieces:
            connection.sendall(piece)
        return read_all(connection)


def head(gateway: Served, *more: str, path: str = "/v1/chat/completions") -> bytes:
    lines = [
        f"POST {path} HTTP/1.1", "host: g", f"authorization: Bearer {gateway.key()}",
        "connection: close", *more,
    ]  # fmt: skip
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


@pytest.mark.parametrize(
    "path",
    [
        "/v1/../admin", "/v1/./chat/completions", "/v1/%2e%2e/admin", "/v1/%2E./x",
        "/v1/%252e%252e/admin", "/v1//chat/completions", "//v1/chat/completions",
        "/v1/files%2f..%2f..%2fadmin", "/v1/chat%5ccompletions", "/v1/chat/completions;a=b",
        "/v1/chat%3bcompletions", "/v1/%00", "/v1/chat%0d%0acompletions", "/v1/x%zz",
        "/v1/chat/completions%2f..", "/v1/<script>",
    ],
)  # fmt: skip
def test_a_path_that_can_be_read_in_two_ways_is_rejected(standing, simulator, path):
    request = head(standing, f"content-length: {len(BODY)}", path=path) + BODY
    assert status_of(talk(standing, request)) == 400
    assert simulator.requests == []


@pytest.mark.parametrize("path", ["/", "/v2/x", "/v1", "/sim/books", "/metrics/x", "/v1beta"])
def test_a_path_of_nobody_is_not_found(standing, simulator, path):
    assert status_of(talk(standing, head(standing, "content-length: 0", path=path))) == 404
    assert simulator.requests == []


@pytest.mark.parametrize(
    "path", ["/v1/Chat/Completions", "/v1/chat%2Fcompletions", "/v1/chat/completions/"]
)
def test_another_spelling_of_an_endpoint_is_metered_too(tmp_path, path):
    usage = b'{"usage":{"prompt_tokens":3,"completion_tokens":5,"total_tokens":8}}'
    with (
        upstream_that(plainly(usage)) as up,
        served(tmp_path, {"openai": up.url}) as gateway,
    ):
        request = head(gateway, f"content-length: {len(BODY)}", path=path) + BODY
        assert status_of(talk(gateway, request)) == 200
        assert up.received[0].line == f"POST {path} HTTP/1.1"
        assert gateway.calls()[0].endpoint == "chat"


def test_an_absolute_address_leads_to_no_other_host(standing, simulator):
    path = "http://elsewhere.example/v1/chat/completions"
    request = head(standing, f"content-length: {len(BODY)}", path=path) + BODY
    talk(standing, request)
    assert [request.headers["host"] for request in simulator.requests] in (
        [], [simulator.url.removeprefix("http://")],
    )  # fmt: skip


def test_an_unknown_endpoint_passes_where_the_operator_allows_it_and_is_counted(
    simulator: Simulator, tmp_path
):
    with served(tmp_path, providers(simulator), allow_unmetered=True) as gateway:
        answer = httpx.post(
            f"{gateway.url}/v1/surprise?a=1", headers={"x-api-key": gateway.key()}, json={}
        )
        assert answer.status_code == 404
        assert answer.headers["openai-version"]
        (call,) = gateway.calls()
        assert (call.endpoint, call.path) == ("unmetered", "/v1/surprise")
        page = httpx.get(f"{gateway.url}/metrics").text
    assert 'meter_gateway_requests_total{endpoint="unmetered",status="404",upstream="openai"}' in (
        page
    )


@pytest.mark.parametrize(
    "more",
    [
        ("content-length: 5", "transfer-encoding: chunked"),
        ("content-length: 5", "content-length: 6"),
        ("transfer-encoding: chunked, identity",),
        ("content-length: +5",),
        ("content-length : 5",),
        ("x-a: b\x00c", "content-length: 0"),
        ("x a: b", "content-length: 0"),
    ],
)
def test_a_head_that_two_servers_read_differently_is_rejected(standing, simulator, more):
    answer = talk(standing, head(standing, *more) + b"0\r\n\r\nGET /v1/models HTTP/1.1\r\n\r\n")
    assert status_of(answer) == 400
    assert simulator.requests == []


def test_a_header_cannot_smuggle_another(standing, simulator):
    answer = httpx.post(
        f"{standing.url}/v1/chat/completions",
        content=BODY,
        headers={
            "x-api-key": standing.key(),
            "user-agent": "a%0d%0ax-evil: 1",
            "x-b": "é".encode(),
        },
    )
    assert answer.status_code == 200
    (request,) = simulator.requests
    assert "x-evil" not in request.headers
    assert request.headers["user-agent"] == "a%0d%0ax-evil: 1"
    assert request.headers["x-b"].encode("latin-1").decode() == "é"


def test_a_head_without_end_is_cut_off(standing):
    with socket.create_connection(("127.0.0.1", standing.port), timeout=10) as connection:
        connection.sendall(b"GET /v1/models HTTP/1.1\r\nx-long: ")
        with pytest.raises(OSError):
            for _ in range(1000):
                connection.sendall(b"a" * 4096)


def test_large_requests_on_one_connection_are_not_taken_for_a_large_head(standing):
    body = json.dumps({"model": "gpt-4o-mini", "messages": [
        {"role": "user", "content": "sea " * 40_000}]}).encode()  # fmt: skip
    request = head(standing, f"content-length: {len(body)}").replace(b"connection: close\r\n", b"")
    with (
        socket.create_connection(("127.0.0.1", standing.port), timeout=10) as connection,
        connection.makefile("rb") as reader,
    ):
        for _ in range(3):
            connection.sendall(request + body)
            line, headers = read_head(reader)
            reader.read(int(headers["content-length"]))
            assert line == "HTTP/1.1 200 OK"


@pytest.mark.parametrize("over_asgi", [False, True], ids=["direct", "asgi"])
def test_a_head_that_comes_too_slowly_is_given_up(simulator, tmp_path, over_asgi):
    settings = {"head_seconds": 1, "idle_seconds": 1}
    with served(tmp_path, providers(simulator), over_asgi=over_asgi, **settings) as gateway:
        begun_s = time.monotonic()
        assert talk(gateway, b"GET /v1/models HTTP/1.1\r\nx-slow: ") == b""
        assert talk(gateway) == b""
        # What is idle after its answer is closed as well.
        answer = talk(gateway, b"GET /healthz HTTP/1.1\r\nhost: g\r\n\r\n")
        assert status_of(answer) == 200
        assert 2.5 < time.monotonic() - begun_s < 8


def test_a_body_that_comes_too_slowly_is_answered_408(simulator, tmp_path):
    with served(tmp_path, providers(simulator), client_seconds=1) as gateway:
        answer = talk(gateway, head(gateway, "content-length: 500") + BODY)
        assert status_of(answer) == 408
        assert simulator.requests == []


def dripped(gateway: Served, begun: bytes) -> bytes:
    """Send bytes, then a space twenty times a second; return what the gateway says to that."""
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as connection:
        connection.sendall(begun)
        connection.settimeout(0.05)
        until_s = time.monotonic() + 5
        while time.monotonic() < until_s:
            connection.sendall(b" ")
            with suppress(TimeoutError):
                return connection.recv(65_536)
    raise AssertionError("nobody has given it up")


@pytest.mark.parametrize("over_asgi", [False, True], ids=["direct", "asgi"])
def test_a_body_that_drips_is_answered_408_and_one_that_is_slow_goes_through(
    simulator, tmp_path, over_asgi
):
    settings = {"client_seconds": 1}
    with served(tmp_path, providers(simulator), over_asgi=over_asgi, **settings) as gateway:
        # Never nothing for a second, and never done. What came before helps no more.
        for length, begun in ((500, b""), (90_000, b" " * 80_000)):
            begun_s = time.monotonic()
            answer = dripped(gateway, head(gateway, f"content-length: {length}") + begun)
            assert status_of(answer) == 408
            assert b"less than 500 bytes of the body a second for 1 seconds" in answer
            assert time.monotonic() - begun_s > 0.8
        assert simulator.requests == []
        # 2,000 bytes a second for three seconds.
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as connection:
            connection.sendall(head(gateway, "content-length: 6000"))
            whole = b" " * (6000 - len(BODY)) + BODY
            for start in range(0, 6000, 200):
                connection.sendall(whole[start : start + 200])
                time.sleep(0.1)
            assert status_of(connection.recv(65_536)) == 200


@pytest.mark.parametrize("is_announced", [True, False])
def test_a_body_above_the_limit_is_answered_413(simulator, tmp_path, is_announced):
    body = b"x" * 5000
    with served(tmp_path, providers(simulator), max_body_bytes=4096) as gateway:
        if is_announced:
            request = head(gateway, "content-length: 5000") + body
        else:
            chunk = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
            request = head(gateway, "transfer-encoding: chunked") + chunk
        answer = talk(gateway, request)
        assert status_of(answer) == 413
        assert b"more than 4096 bytes" in answer
        assert simulator.requests == []


def test_a_compressed_body_is_not_opened(standing, simulator):
    answer = talk(standing, head(standing, "content-encoding: gzip", "content-length: 3") + b"abc")
    assert status_of(answer) == 415
    assert simulator.requests == []


@pytest.mark.parametrize(
    "text", ["[" * 10_000, '{"model":' * 10_000, '{"messages":' + "[" * 10_000]
)
def test_json_10_000_deep_does_no_harm(tmp_path, text):
    with (
        upstream_that(plainly(b"{}", status="400 No")) as up,
        served(
            tmp_path, {"openai": up.url, "other": up.url}, {"other": {"key_env": ""}}
        ) as gateway,
    ):
        request = head(gateway, f"content-length: {len(text)}") + text.encode()
        assert status_of(talk(gateway, request)) == 400
        assert up.received[0].body == text.encode()
        key = gateway.key(models=["gpt-4o-mini"])
        answer = httpx.post(
            f"{gateway.url}/v1/chat/completions", content=text, headers={"x-api-key": key}
        )
        assert answer.status_code == 403


def test_requests_in_a_row_on_one_connection_are_answered_in_order(standing):
    request = head(standing, f"content-length: {len(BODY)}").replace(b"connection: close\r\n", b"")
    last = head(standing, f"content-length: {len(BODY)}") + BODY
    answer = talk(standing, request + BODY + request + BODY + last)
    assert answer.count(b"HTTP/1.1 200 OK") == 3


def test_neither_key_nor_prompt_nor_query_is_logged(gateway, caplog, monkeypatch):
    key = gateway.key()
    # As another server in this process may leave it.
    monkeypatch.setattr(logging.getLogger("uvicorn.access"), "propagate", True)
    caplog.set_level(logging.INFO)
    caplog.set_level(logging.INFO, logger="meter")
    httpx.post(
        f"{gateway.url}/v1beta/models/gemini-2.5-flash:generateContent?key={key}&secret=1",
        json={"contents": [{"parts": [{"text": "a very private matter"}]}]},
    )
    gateway.calls()
    until = time.monotonic() + 5
    while not (told := [record for record in caplog.records if hasattr(record, "told")]):
        assert time.monotonic() < until
        time.sleep(0.01)
    assert told[0].told["status"] == 200
    assert told[0].told["model"] == "gemini-2.5-flash"
    # The client's own library logs what it asks for: that is not the gateway's doing.
    ours = [r.getMessage() for r in caplog.records if not r.name.startswith(("httpx", "httpcore"))]
    assert key not in f"{ours} {told[0].told}"
    assert "private" not in f"{ours} {told[0].told}"
    assert "secret" not in str(told[0].told)


def test_health_readiness_and_metrics_need_no_key(standing):
    assert httpx.get(f"{standing.url}/healthz").json() == {"status": "ok"}
    assert httpx.get(f"{standing.url}/readyz").json() == {"status": "ok"}
    page = httpx.get(f"{standing.url}/metrics")
    assert page.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert "meter_gateway_in_flight 1.0" in page.text


def test_metrics_can_ask_for_a_key(simulator, tmp_path):
    with served(tmp_path, providers(simulator), metrics_key="scraper") as gateway:
        assert httpx.get(f"{gateway.url}/metrics").status_code == 401
        headers = {"authorization": "Bearer scraper"}
        assert httpx.get(f"{gateway.url}/metrics", headers=headers).status_code == 200


def test_a_gateway_without_its_ledger_is_not_ready(gateway, monkeypatch):
    monkeypatch.setattr(gateway.gateway.services.ledger, "ping", _is_away)
    answer = httpx.get(f"{gateway.url}/readyz")
    assert (answer.status_code, answer.json()["status"]) == (503, "the ledger is not available")
    assert httpx.get(f"{gateway.url}/healthz").status_code == 200


def _is_away() -> None:
    from meter.errors import StoreUnavailable

    raise StoreUnavailable("the ledger is away")


@pytest.mark.parametrize(
    ("path", "key", "status"),
    [
        ("/v1/elsewhere", b"dGhlIHNhbXBsZSBub25jZQ==", 403),
        ("/v1/realtime", b"dGhlIHNhbXBsZSBub25jZQ==", 401),
        ("/v1/realtime", b"eA==", 400),
    ],
)
def test_a_websocket_that_cannot_be_is_turned_away(standing, path, key, status):
    answer = talk(
        standing,
        b"GET %b HTTP/1.1\r\nhost: g\r\nupgrade: websocket\r\n"
        b"connection: upgrade, close\r\nsec-websocket-key: %b\r\n"
        b"sec-websocket-version: 13\r\n\r\n" % (path.encode(), key),
    )
    assert status_of(answer) == status


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/files/f/content"), ("GET", "/v1/batches/b"), ("POST", "/v1/batches/b/cancel"),
        ("GET", "/v1/responses/r"), ("DELETE", "/v1/responses/r"),
        ("GET", "/v1/responses/r/input_items"), ("POST", "/v1/chat/completions/c"),
        ("POST", "/v1/threads/t/runs"), ("GET", "/v1/videos/v/content"),
        ("GET", "/v1/conversations"), ("GET", "/v1/threads"), ("DELETE", "/v1/files"),
        ("HEAD", "/v1/files"), ("GET", "/v1/responses"), ("GET", "/v1/organization/projects"),
        ("DELETE", "/v1/models/ft:m"), ("DELETE", "/v1/models/gpt-4o"),
        ("GET", "/v1/fine_tuning/checkpoints/ft:m/permissions"),
        ("POST", "/v1beta/tunedModels"), ("GET", "/v1beta/files/f"),
        ("POST", "/v1/realtime/calls"),
    ],
)  # fmt: skip
def test_what_the_account_stores_is_closed(standing, simulator, method, path):
    answer = httpx.request(
        method, standing.url + path, headers={"x-api-key": standing.key()}, json={}
    )
    assert answer.status_code in (403, 404), answer.text
    assert simulator.requests == []
