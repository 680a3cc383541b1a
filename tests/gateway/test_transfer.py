"""Large bodies pass through and are not held; whoever is slow slows the other side."""

import os
import select
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

from tests.gateway.serving import plainly, read_head, served, upstream_that
from tests.gateway.test_leaving import serving

MEGABYTE = 1_048_576
SIZE = int(os.environ.get("METER_TEST_DOWNLOAD_MEGABYTES", "200")) * MEGABYTE
CHUNK = bytes(range(256)) * 4096


def large_answer(request, connection):
    if "/chat/" in request.line:
        plainly(b"{}")(request, connection)
        return
    connection.sendall(
        b"HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\n"
        b"content-length: %d\r\n\r\n" % SIZE
    )
    for _ in range(SIZE // len(CHUNK)):
        connection.sendall(CHUNK)


def peak_megabytes(process: "subprocess.Popen[str]", *, anew: bool = False) -> float:
    """Return the most memory that a process has had, since it was last asked for `anew`."""
    if anew:
        Path(f"/proc/{process.pid}/clear_refs").write_text("5")
    status = Path(f"/proc/{process.pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux tells the peak")
def test_a_large_download_and_a_large_upload_take_little_memory(tmp_path):
    from meter.meter import Meter

    ledger = f"sqlite:///{tmp_path / 'meter.db'}"
    with Meter(ledger) as meter:
        key = meter.keys.create("alice").secret
    with upstream_that(large_answer) as up:
        process, url = serving(up.url, ledger, METER_ALLOW_STORED_OBJECTS="true")
        try:
            port = int(url.rpartition(":")[2])
            common = f"HTTP/1.1\r\nhost: g\r\nx-api-key: {key}\r\nconnection: close\r\n"
            # The first call loads the tokenizer and the prices.
            chat = b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hi"}]}'
            length = f"content-length: {len(chat)}\r\n\r\n{chat.decode()}"
            assert fetched_bytes(port, f"POST /v1/chat/completions {common}{length}", 0) == 2
            time.sleep(2)  # what loading has left over is given back
            before = peak_megabytes(process, anew=True)
            assert fetched_bytes(port, f"GET /v1/files/f/content {common}\r\n", 0) == SIZE
            head = (
                f"POST /v1/files {common}content-type: multipart/form-data; boundary=b\r\n"
                f"content-length: {SIZE}\r\n\r\n"
            )
            assert fetched_bytes(port, head, SIZE) == SIZE
            assert peak_megabytes(process) - before < 16
            assert peak_megabytes(process) < 150
        finally:
            process.terminate()
            process.communicate(timeout=15)
    assert [len(request.body) for request in up.received] == [len(chat), 0, SIZE]
    with Meter(ledger) as meter:
        assert {str(call.outcome) for call in meter.calls()} == {"completed"}


def fetched_bytes(port: int, head: str, upload_bytes: int) -> int:
    """Return how long the answer's body is to a request with such a body."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(head.encode())
        for _ in range(upload_bytes // len(CHUNK)):
            connection.sendall(CHUNK)
        with connection.makefile("rb") as reader:
            read_head(reader)
            buffer, total = bytearray(MEGABYTE), 0
            while count := reader.readinto(buffer):
                total += count
            return total


def test_a_client_that_reads_slowly_slows_the_upstream(tmp_path):
    sent = []

    def answer(_request, connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (200 * MEGABYTE))
        connection.setblocking(False)
        idle = 0
        while sum(sent) < 200 * MEGABYTE and idle < 5:
            # Nothing more goes out for a while: everybody's buffers are full.
            _, writable, _ = select.select([], [connection], [], 0.2)
            idle = 0 if writable else idle + 1
            if writable:
                sent.append(connection.send(CHUNK))
        raise ConnectionResetError

    with (
        upstream_that(answer) as up,
        served(tmp_path, {"openai": up.url}, allow_stored_objects=True) as gateway,
    ):
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as connection:
            key = gateway.key()
            connection.sendall(
                f"GET /v1/files/f/content HTTP/1.1\r\nhost: g\r\nx-api-key: {key}\r\n\r\n".encode()
            )
            assert connection.recv(20)
            assert up.lost.wait(20)
        assert 0 < sum(sent) < 40 * MEGABYTE


def test_an_upstream_that_reads_slowly_slows_the_client(tmp_path):
    enough = threading.Event()

    class Stuck(Exception):
        pass

    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        served(
            tmp_path,
            {"openai": f"http://127.0.0.1:{listener.getsockname()[1]}"},
            allow_stored_objects=True,
        ) as gateway,
    ):

        def take_and_never_read() -> None:
            taken, _ = listener.accept()
            with taken:
                enough.wait(20)

        threading.Thread(target=take_and_never_read, daemon=True).start()
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=2) as connection:
            connection.sendall(
                b"POST /v1/files HTTP/1.1\r\nhost: g\r\nx-api-key: " + gateway.key().encode()
                + b"\r\ncontent-type: multipart/form-data; boundary=b\r\n"
                b"content-length: %d\r\n\r\n" % (200 * MEGABYTE)
            )  # fmt: skip
            taken = 0
            with pytest.raises(Stuck):
                while taken < 200 * MEGABYTE:
                    try:
                        taken += connection.send(CHUNK)
                    except TimeoutError:
                        raise Stuck from None
        enough.set()
        assert taken < 40 * MEGABYTE


def test_a_client_that_takes_nothing_for_too_long_is_given_up(tmp_path):
    with (
        upstream_that(large_answer) as up,
        served(
            tmp_path, {"openai": up.url}, allow_stored_objects=True, client_seconds=1
        ) as gateway,
    ):
        key = gateway.key()
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as connection:
            connection.sendall(
                f"GET /v1/files/f/content HTTP/1.1\r\nhost: g\r\nx-api-key: {key}\r\n\r\n".encode()
            )
            assert str(gateway.calls()[0].outcome) == "client_closed"


def test_the_first_byte_leaves_when_the_first_byte_has_come(tmp_path):
    """The rest comes only after the client has the first piece: nothing waits for more."""
    seen = threading.Event()

    def answer(_request, connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n")
        connection.sendall(b"transfer-encoding: chunked\r\n\r\n3\r\n:\n\n\r\n")
        assert seen.wait(10)
        connection.sendall(b"0\r\n\r\n")

    from tests.gateway.test_bytes import CHAT, ask, read_chunks

    with upstream_that(answer) as up, served(tmp_path, {"openai": up.url}) as gateway:
        began = time.monotonic()
        _, _, reader = ask(gateway, {**CHAT, "stream": True})
        with reader:
            chunks = read_chunks(reader)
            assert next(chunks) == b":\n\n"
            seen.set()
            assert list(chunks) == []
        assert time.monotonic() - began < 9


def test_many_short_answers_leave_no_connection_behind(tmp_path):
    from tests.gateway.test_bytes import CHAT, ask

    with upstream_that(plainly(b"{}")) as up, served(tmp_path, {"openai": up.url}) as gateway:
        for _ in range(20):
            _, _, reader = ask(gateway, CHAT)
            reader.close()
        gateway.calls(20)
        assert gateway.gateway.services.client.active == 0
