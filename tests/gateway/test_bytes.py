"""What the client receives is what the upstream sent: status, headers, bytes, chunk boundaries."""

import gzip
import json
import socket
import threading

import pytest

from tests.gateway.serving import (
    Served,
    in_chunks,
    plainly,
    read_all,
    read_chunks,
    read_head,
    served,
    upstream_that,
)

CHAT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]}
USAGE = b'"usage":{"prompt_tokens":3,"completion_tokens":5,"total_tokens":8}'
EVENTS = (
    b'data: {"id":"c","model":"gpt-4o-mini","choices":[{"index":0,"delta":{"content":"a"}}]}\n\n',
    b": a comment\r\n\r\n",
    b'data: {"choices":[{"index":0,"delta":{"content":"\xe4\xb8',
    b'\xad"},"finish_reason":"stop"}]}\n\ndata: {"choices":[],' + USAGE + b"}\n\n",
    b"data: [DO",
    b"NE]\n\n",
)


def ask(gateway: Served, body: object, *, path: str = "/v1/chat/completions", more: str = ""):
    """Send a request on a connection of its own; return status line, headers, reader."""
    content = json.dumps(body).encode()
    connection = socket.create_connection(("127.0.0.1", gateway.port), timeout=10)
    head = (
        f"POST {path} HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {gateway.key()}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(content)}\r\n{more}\r\n"
    )
    connection.sendall(head.encode() + content)
    reader = connection.makefile("rb")
    connection.close()
    line, headers = read_head(reader)
    return line, headers, reader


@pytest.mark.parametrize("over_asgi", [False, True], ids=["direct", "asgi"])
def test_a_stream_keeps_its_chunks(tmp_path, over_asgi):
    """What follows the finish reason leaves with the end mark: then all is recorded."""
    body = {**CHAT, "stream": True, "stream_options": {"include_usage": True}}
    with (
        upstream_that(in_chunks(*EVENTS)) as up,
        served(tmp_path, {"openai": up.url}, over_asgi=over_asgi) as gateway,
    ):
        line, headers, reader = ask(gateway, body)
        with reader:
            assert line == "HTTP/1.1 200 OK"
            assert headers["transfer-encoding"] == "chunked"
            assert tuple(read_chunks(reader)) == EVENTS
        (call,) = gateway.calls()
        assert (call.usage["input_tokens"], call.usage["output_tokens"]) == (3, 5)
        assert up.received[0].body == json.dumps(body).encode()


@pytest.mark.parametrize("over_asgi", [False, True], ids=["direct", "asgi"])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses"])
def test_an_answer_that_names_no_end_keeps_its_chunks(tmp_path, over_asgi, path):
    """Its last chunks wait for the record, those of an answer that shows objects all of them."""
    chunks = (b'{"id":"resp_1",', b'"status":"completed",' + USAGE, b"}", b" ", b"\n")
    with (
        upstream_that(in_chunks(*chunks, kind="application/json")) as up,
        served(tmp_path, {"openai": up.url}, over_asgi=over_asgi) as gateway,
    ):
        _, _, reader = ask(gateway, CHAT, path=path)
        with reader:
            assert tuple(read_chunks(reader)) == chunks
        assert gateway.calls()[0].usage["output_tokens"] == 5


@pytest.mark.parametrize("asked", [True, False], ids=["passes", "may be edited"])
def test_a_chunk_that_comes_in_parts_leaves_in_parts_and_stays_one(tmp_path, asked):
    go_on = threading.Event()
    whole = EVENTS[0] + b"".join(EVENTS[3:])

    def answer(_request, connection):
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
        connection.sendall(head + b"transfer-encoding: chunked\r\n\r\n%x\r\n" % len(whole))
        connection.sendall(whole[: len(EVENTS[0])])
        assert go_on.wait(5)
        connection.sendall(whole[len(EVENTS[0]) :] + b"\r\n0\r\n\r\n")

    body = {**CHAT, "stream": True, "stream_options": {"include_usage": asked}}
    with upstream_that(answer) as up, served(tmp_path, {"openai": up.url}) as gateway:
        _, _, reader = ask(gateway, body)
        with reader:
            size = reader.readline()
            assert reader.read(len(EVENTS[0])) == EVENTS[0], "the first part waits for nothing"
            assert size == b"%x\r\n" % len(whole if asked else EVENTS[0])
            go_on.set()
            if asked:
                rest = whole[len(EVENTS[0]) :] + b"\r\n0\r\n\r\n"
                assert reader.read(len(rest)) == rest


def test_the_usage_chunk_that_only_the_meter_asked_for_is_taken_out_again(tmp_path):
    first = b'data: {"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}]}\n\n'
    usage = b'data: {"choices":[],' + USAGE + b"}\n\n"
    chunks = (first, usage, b"data: [DONE]\n\n")
    with upstream_that(in_chunks(*chunks)) as up, served(tmp_path, {"openai": up.url}) as gateway:
        _, _, reader = ask(gateway, {**CHAT, "stream": True})
        with reader:
            assert b"".join(read_chunks(reader)) == first + b"data: [DONE]\n\n"
        assert gateway.calls()[0].usage["output_tokens"] == 5
        assert json.loads(up.received[0].body)["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize("status", ["200 OK", "400 Bad Request", "418 I'm a Teapot", "500 Oh"])
def test_status_headers_and_bytes_of_a_whole_answer_pass(tmp_path, status):
    content = gzip.compress(b'{"id":"x", ' + USAGE + b"}", mtime=0)

    def answer(_request, connection):
        connection.sendall(
            f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\n"
            f"Content-Length: {len(content)}\r\nX-Own: one\r\nX-Own: two\r\nDate: yesterday\r\n"
            "Set-Cookie: session=1\r\nAccess-Control-Allow-Origin: *\r\nKeep-Alive: timeout=5\r\n"
            "Connection: keep-alive, X-Hop\r\nX-Hop: 1\r\nAlt-Svc: h3\r\n\r\n".encode()
            + content
        )

    with upstream_that(answer) as up, served(tmp_path, {"openai": up.url}) as gateway:
        line, headers, reader = ask(gateway, CHAT)
        with reader:
            assert reader.read(len(content)) == content
        assert line.startswith(f"HTTP/1.1 {status[:3]}")
        own = headers.pop("x-meter-call-id")
        assert headers == {
            "content-type": "application/json",
            "content-encoding": "gzip",
            "content-length": str(len(content)),
            "x-own": "two",
            "date": "yesterday",
        }
        (call,) = gateway.calls()
        assert (str(call.id), call.status) == (own, int(status[:3]))


def test_the_request_passes_with_its_own_bytes_and_another_credential(tmp_path):
    content = b'{ "model" : "gpt-4o-mini",\n "messages":[] , "temperature":1.0}'
    with upstream_that(plainly(b"{}")) as up, served(tmp_path, {"openai": up.url}) as gateway:
        key = gateway.key()
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as connection:
            connection.sendall(
                b"POST /v1/chat/completions?x=%2F&key=mk-other HTTP/1.1\r\nHost: gateway\r\n"
                b"Authorization: Bearer " + key.encode() + b"\r\nX-Api-Key: secret\r\n"
                b"Cookie: a=b\r\nX-Forwarded-For: 1.2.3.4\r\nOpenAI-Organization: org-mine\r\n"
                b"X-Meter-Anything: 1\r\nTE: trailers\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\n"
                b"User-Agent: mine/1\r\nAccept-Encoding: gzip, exotic\r\n"
                b"Content-Length: %d\r\n\r\n" % len(content) + content
            )
            read_all(connection)
        (request,) = up.received
        assert request.line == "POST /v1/chat/completions?x=%2F HTTP/1.1"
        assert request.body == content
        assert request.headers == {
            "host": f"127.0.0.1:{up.port}",
            "user-agent": "mine/1",
            "accept-encoding": "gzip",
            "authorization": "Bearer sk-upstream-openai",
            "content-length": str(len(content)),
        }


def test_a_form_passes_untouched(tmp_path):
    form = (
        b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n'
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
        + bytes(range(256)) * 8192
        + b"\r\n--b--\r\n"
    )
    with (
        upstream_that(plainly(b'{"text":"hi"}')) as up,
        served(tmp_path, {"openai": up.url}) as gateway,
    ):
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as connection:
            connection.sendall(
                b"POST /v1/audio/transcriptions HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n"
                b"x-api-key: " + gateway.key().encode() + b"\r\n"
                b"content-type: multipart/form-data; boundary=b\r\n"
                b"content-length: %d\r\n\r\n" % len(form) + form
            )
            assert read_all(connection).endswith(b'{"text":"hi"}')
        (request,) = up.received
        assert request.body == form
        assert request.headers["content-type"] == "multipart/form-data; boundary=b"
        assert request.headers["content-length"] == str(len(form))
        assert gateway.calls()[0].model_requested == "whisper-1"


def test_an_upstream_that_breaks_off_breaks_the_answer_off(tmp_path):
    answer = in_chunks(EVENTS[0], ends=False)
    with upstream_that(answer) as up, served(tmp_path, {"openai": up.url}) as gateway:
        _, _, reader = ask(gateway, {**CHAT, "stream": True})
        with reader:
            rest = reader.read()
        assert EVENTS[0] in rest
        assert not rest.endswith(b"0\r\n\r\n")
        (call,) = gateway.calls()
        assert (str(call.outcome), str(call.basis)) == ("upstream_failed", "estimated")


def test_headers_of_an_upstream_cannot_pretend_to_be_the_gateway_s(tmp_path):
    def answer(_request, connection):
        connection.sendall(
            b"HTTP/1.1 200 OK\r\nX-Meter-Call-Id: forged\r\ncontent-length: 2\r\n\r\n{}"
        )

    with upstream_that(answer) as up, served(tmp_path, {"openai": up.url}) as gateway:
        _, headers, reader = ask(gateway, CHAT)
        reader.close()
        assert headers["x-meter-call-id"] == str(gateway.calls()[0].id)
