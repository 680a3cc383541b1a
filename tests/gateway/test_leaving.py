"""Whoever leaves first, the call is recorded: clients, upstreams, the gateway itself."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import openai
import pytest

from meter.meter import Meter
from meter.simulator import Simulator
from meter.store.migrating import upgrade
from tests.gateway.serving import (
    SECRETS,
    Upstream,
    in_chunks,
    read_chunks,
    served,
    upstream_that,
)
from tests.gateway.test_bytes import CHAT, EVENTS, USAGE, ask

STREAM = {**CHAT, "stream": True}
FIRST = EVENTS[0]
REST = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
END = b'data: {"choices":[],' + USAGE + b"}\n\ndata: [DONE]\n\n"


def waiting_upstream(go_on: threading.Event):
    """An upstream that sends one event, and the rest when it is told to."""

    def answer(_request, connection):
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked"
        connection.sendall(head + b"\r\n\r\n%x\r\n%b\r\n" % (len(FIRST), FIRST))
        connection.settimeout(0.02)
        while not go_on.is_set():
            try:
                if connection.recv(1) == b"":
                    raise ConnectionResetError
            except TimeoutError:
                continue
        connection.settimeout(10)
        for chunk in (REST, END):
            connection.sendall(b"%x\r\n%b\r\n" % (len(chunk), chunk))
        connection.sendall(b"0\r\n\r\n")

    return upstream_that(answer)


def leave_after_the_first_event(gateway):
    _, _, reader = ask(gateway, STREAM)
    assert next(read_chunks(reader)) == FIRST
    reader.close()


def test_a_client_that_leaves_ends_the_upstream_s_answer(tmp_path):
    with waiting_upstream(threading.Event()) as up, served(tmp_path, {"openai": up.url}) as gateway:
        leave_after_the_first_event(gateway)
        assert up.lost.wait(5)
        (call,) = gateway.calls()
        assert (str(call.outcome), str(call.basis)) == ("client_closed", "estimated")
        # "a" is one token
        assert call.usage["output_tokens"] == 1


def test_a_client_that_leaves_after_the_end_marker_and_before_the_end_has_it_all(tmp_path):
    def answer(_request, connection):
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked"
        connection.sendall(head + b"\r\n\r\n")
        for chunk in (FIRST, REST, END):
            connection.sendall(b"%x\r\n%b\r\n" % (len(chunk), chunk))
        # The last chunk never comes.
        connection.settimeout(10)
        while connection.recv(1000):
            pass

    with upstream_that(answer) as up, served(tmp_path, {"openai": up.url}) as gateway:
        _, _, reader = ask(gateway, STREAM)
        seen, chunks = b"", read_chunks(reader)
        while not seen.endswith(b"data: [DONE]\n\n"):
            seen += next(chunks)
        reader.close()
        (call,) = gateway.calls()
        assert (str(call.outcome), str(call.basis)) == ("completed", "reported")
        assert call.usage["output_tokens"] == 5


def test_draining_learns_the_usage_of_an_abandoned_answer(tmp_path):
    go_on = threading.Event()
    with (
        waiting_upstream(go_on) as up,
        served(tmp_path, {"openai": up.url}, on_client_close="drain") as gateway,
    ):
        leave_after_the_first_event(gateway)
        go_on.set()
        (call,) = gateway.calls()
        assert (str(call.outcome), str(call.basis)) == ("client_closed", "reported")
        assert call.usage["output_tokens"] == 5
        assert not up.lost.is_set()


def test_draining_is_bounded_in_time(tmp_path):
    with (
        waiting_upstream(threading.Event()) as up,
        served(tmp_path, {"openai": up.url}, on_client_close="drain", drain_seconds=1) as gateway,
    ):
        leave_after_the_first_event(gateway)
        assert up.lost.wait(5)
        assert str(gateway.calls()[0].basis) == "estimated"


def test_a_client_that_leaves_before_the_answer_is_recorded_as_unsettled(tmp_path):
    asked, done = threading.Event(), threading.Event()

    def answer(_request, connection):
        asked.set()
        assert connection.recv(1) == b""
        done.set()

    with upstream_that(answer) as up, served(tmp_path, {"openai": up.url}) as gateway:
        content = json.dumps(CHAT).encode()
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as connection:
            connection.sendall(
                b"POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\nauthorization: Bearer "
                + gateway.key().encode()
                + b"\r\ncontent-length: %d\r\n\r\n" % len(content)
                + content
            )
            assert asked.wait(5)
        assert done.wait(5)
        (call,) = gateway.calls()
        assert (str(call.outcome), str(call.basis)) == ("client_closed", "unknown")


def test_a_client_that_leaves_in_the_middle_of_its_upload_ends_the_call(tmp_path):
    with (
        upstream_that(in_chunks()) as up,
        served(tmp_path, {"openai": up.url}, allow_stored_objects=True) as gateway,
    ):
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as connection:
            connection.sendall(
                b"POST /v1/files HTTP/1.1\r\nhost: g\r\nx-api-key: " + gateway.key().encode()
                + b"\r\ncontent-type: multipart/form-data; boundary=b\r\n"
                b"content-length: 9000000\r\n\r\n" + bytes(4_000_000)
            )  # fmt: skip
        (call,) = gateway.calls()
        assert str(call.outcome) == "client_closed"
        assert up.received == [] or len(up.received[0].body) < 9_000_000


def test_an_upstream_that_is_not_there_is_answered_502_and_nothing_is_recorded(tmp_path):
    with served(tmp_path, {"openai": "http://127.0.0.1:9"}) as gateway:
        line, headers, reader = ask(gateway, CHAT)
        with reader:
            error = json.loads(reader.read(int(headers["content-length"])))["error"]
        assert line.startswith("HTTP/1.1 502")
        assert error["code"] == "upstream_unreachable"
        assert list(gateway.meter.calls()) == []


def test_an_upstream_that_says_nothing_is_answered_504(tmp_path):
    gone = threading.Event()
    tables = {"openai": {"seconds": 1}}
    with (
        upstream_that(lambda _request, _connection: gone.wait(10)) as up,
        served(tmp_path, {"openai": up.url}, tables) as gateway,
    ):
        line, _, reader = ask(gateway, CHAT)
        reader.close()
        gone.set()
        assert line.startswith("HTTP/1.1 504")
        (call,) = gateway.calls()
        assert (str(call.outcome), str(call.basis)) == ("timed_out", "unknown")


def test_an_upstream_that_refuses_the_gateway_s_key_is_the_gateway_s_trouble(tmp_path):
    def answer(_request, connection):
        connection.sendall(
            b"HTTP/1.1 401 No\r\ncontent-length: 30\r\n\r\nIncorrect key: sk-upstream-ope"
        )

    with upstream_that(answer) as up, served(tmp_path, {"openai": up.url}) as gateway:
        line, headers, reader = ask(gateway, CHAT)
        with reader:
            rest = reader.read(int(headers["content-length"]))
        assert line.startswith("HTTP/1.1 502")
        assert b"sk-upstream" not in rest
        assert gateway.calls()[0].cost_nanos == 0


def test_an_upstream_that_speaks_no_http_leaks_nothing_into_the_log(tmp_path, caplog):
    def answer(_request, connection):
        connection.sendall(b"HTTP/1.1 banana\r\n\r\n")

    with upstream_that(answer) as up, served(tmp_path, {"openai": up.url}) as gateway:
        line, _, reader = ask(gateway, CHAT)
        reader.close()
        assert line.startswith("HTTP/1.1 502")
        gateway.calls()
    assert "broke off" in caplog.text
    assert "sk-upstream" not in caplog.text


def serving(
    simulator_url: str, ledger: str, *options: str, **more: str
) -> tuple["subprocess.Popen[str]", str]:
    """Run `meter serve` as a process; return it with its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "meter", "serve", "--port", "0",
         "--upstream", f"openai={simulator_url}/v1", *options],
        env={**os.environ, **SECRETS, "METER_DATABASE_URL": ledger, **more},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    return process, process.stdout.readline().split()[2].rstrip(".")


def begin_a_stream(url: str, key: str):
    """Ask for a stream that stalls after its first piece; return its reader at that point."""
    content = json.dumps({**STREAM, "model": "gpt-4o-mini@stall-600"}).encode()
    connection = socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=20)
    connection.sendall(
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\nauthorization: Bearer " + key.encode()
        + b"\r\ncontent-length: %d\r\n\r\n" % len(content) + content
    )  # fmt: skip
    reader = connection.makefile("rb")
    connection.close()
    while b'"content":"' not in (line := reader.readline()):
        assert line
    return reader


def test_a_gateway_that_is_killed_leaves_its_call_to_be_found(tmp_path):
    ledger = f"sqlite:///{tmp_path / 'meter.db'}"
    with Meter(ledger) as meter:
        key = meter.keys.create("alice").secret
    with Simulator() as simulator:
        process, url = serving(simulator.url, ledger)
        try:
            with begin_a_stream(url, key):
                os.kill(process.pid, signal.SIGKILL)
        finally:
            process.communicate()
    with Meter(ledger) as meter:
        (call,) = meter.calls(basis="unknown")
    assert (call.subject, call.upstream) == ("alice", "openai")
    assert call.estimated_input_tokens is not None


def test_whoever_has_a_whole_answer_is_on_record_even_when_the_gateway_is_killed_then(tmp_path):
    ledger = f"sqlite:///{tmp_path / 'meter.db'}"
    with Meter(ledger) as meter:
        key = meter.keys.create("alice").secret
    with Simulator() as simulator:
        process, url = serving(simulator.url, ledger)
        try:
            with openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0) as client:
                for _ in range(10):
                    client.chat.completions.create(**CHAT)
                for _ in client.chat.completions.create(**STREAM):
                    pass
                os.kill(process.pid, signal.SIGKILL)
        finally:
            process.communicate()
        billed = simulator.books()["quantities"]
    with Meter(ledger) as meter:
        calls = list(meter.calls())
    assert [str(call.basis) for call in calls] == ["reported"] * 11
    assert sum(call.usage["output_tokens"] for call in calls) == billed["output_tokens"]


def test_two_gateways_on_one_ledger_spend_no_more_than_the_limit_together(tmp_path):
    ledger = f"sqlite:///{tmp_path / 'meter.db'}"
    with Meter(ledger) as meter:
        key = meter.keys.create("alice").secret
        meter.set_budget("tight", subject="alice", limit="0.0006")
    with Simulator() as simulator:
        gateways = [serving(simulator.url, ledger, METER_HOLD_WAIT_SECONDS="1") for _ in range(2)]

        def ask(number: int) -> str:
            url = gateways[number % 2][1]
            with openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0) as client:
                try:
                    client.chat.completions.create(**CHAT, max_tokens=60)
                except openai.RateLimitError:
                    return "refused"
                return "answered"

        with ThreadPoolExecutor(8) as pool:
            ended = set(pool.map(ask, range(40)))
        for process, _ in gateways:
            process.terminate()
            process.communicate(timeout=15)
    assert ended == {"refused", "answered"}
    with Meter(ledger) as meter:
        spent = sum(call.cost_nanos for call in meter.calls())
        (budget,) = meter.budgets()
    assert budget.standing.spent == spent
    assert budget.standing.held == 0
    assert 0 < spent <= budget.budget.limit


@pytest.mark.postgresql
def test_a_gateway_works_on_postgresql(postgres_url):
    upgrade(postgres_url)
    with Meter(postgres_url) as meter:
        key = meter.keys.create("alice").secret
        meter.set_budget("wide", subject="alice", limit="1")
    with Simulator() as simulator:
        process, url = serving(simulator.url, postgres_url)
        with openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0) as client:
            for _ in client.chat.completions.create(**STREAM):
                pass
        process.terminate()
        process.communicate(timeout=15)
        billed = simulator.books()["quantities"]
    with Meter(postgres_url) as meter:
        (call,) = meter.calls()
    assert call.usage["output_tokens"] == billed["output_tokens"]


def test_a_gateway_that_is_stopped_settles_what_is_under_way_within_its_bound(tmp_path):
    ledger = f"sqlite:///{tmp_path / 'meter.db'}"
    with Meter(ledger) as meter:
        key = meter.keys.create("alice").secret
    with Simulator() as simulator:
        process, url = serving(simulator.url, ledger, METER_STOP_SECONDS="1")
        with begin_a_stream(url, key):
            began = time.monotonic()
            process.send_signal(signal.SIGTERM)
            _, told = process.communicate(timeout=15)
            assert time.monotonic() - began < 8
    assert process.returncode == 0
    with Meter(ledger) as meter:
        (call,) = meter.calls()
    assert (str(call.outcome), str(call.basis)) == ("client_closed", "estimated")
    for line in told.splitlines():
        assert json.loads(line)["level"] in {"info", "error", "warning"}
    assert key not in told


def test_a_stop_lets_an_abandoned_answer_be_drained(tmp_path):
    """Its client is gone, its connection too: what the provider bills is learnt all the same."""
    go_on = threading.Event()
    with (
        waiting_upstream(go_on) as up,
        served(tmp_path, {"openai": up.url}, on_client_close="drain", stop_seconds=10) as gateway,
    ):
        leave_after_the_first_event(gateway)
        lane = gateway.server
        until = time.monotonic() + 10
        while lane._connections:
            assert time.monotonic() < until
            time.sleep(0.01)
        lane.should_exit = True
        while not lane.is_stopping:
            assert time.monotonic() < until
            time.sleep(0.01)
        go_on.set()
        (call,) = gateway.calls()
        assert (str(call.outcome), str(call.basis)) == ("client_closed", "reported")


def test_a_stop_lets_a_stream_end(tmp_path):
    go_on = threading.Event()
    up: Upstream
    with (
        waiting_upstream(go_on) as up,
        served(tmp_path, {"openai": up.url}, stop_seconds=10) as gateway,
    ):
        _, _, reader = ask(gateway, STREAM)
        chunks = read_chunks(reader)
        assert next(chunks) == FIRST
        gateway.server.should_exit = True
        with pytest.raises(OSError):
            while True:
                socket.create_connection(("127.0.0.1", gateway.port), timeout=1).close()
                time.sleep(0.02)
        go_on.set()
        assert b"".join(chunks).endswith(b"data: [DONE]\n\n")
        reader.close()
        assert str(gateway.calls()[0].basis) == "reported"
