"""Both twins, sync, on real sockets: what reaches the client, and what is recorded of it."""

import gzip
import json
import threading
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest

from meter.attribution import attribute
from meter.clients import httpx2_transport, httpx_transport
from meter.core.budgets import Refusal
from meter.core.call import Basis, Outcome
from meter.core.usage import Usage
from meter.errors import StoreUnavailable
from tests.clients.answers import ANSWER, CHAT, CUT_UP, USAGE, USAGE_EVENT, delta
from tests.clients.forms import spoken
from tests.clients.memory import MemoryStore, pipeline_on
from tests.clients.upstream import (
    CLOSE,
    CUT,
    LAST_CHUNK,
    SSE_HEAD,
    Step,
    Upstream,
    chunk,
    event,
    head,
    json_answer,
)

Open = Callable[..., Any]


@pytest.fixture
def open_client(library: ModuleType, store: MemoryStore) -> Iterator[Open]:
    """Make a metered client for an upstream; settings by name."""
    opened: list[Any] = []

    def make(upstream: Upstream, *, read_seconds: float = 5.0, **settings: Any) -> Any:
        pipeline = pipeline_on(store, hosts={upstream.host: "auto"}, **settings)
        limit = library.Timeout(5.0, read=read_seconds)
        twin = {"httpx": httpx_transport, "httpx2": httpx2_transport}[library.__name__]
        transport = twin.MeterTransport(None, pipeline)
        opened.append(library.Client(transport=transport, base_url=upstream.url, timeout=limit))
        return opened[-1]

    yield make
    for client in opened:
        client.close()


def post(client: Any, body: Any = CHAT, **more: Any) -> Any:
    return client.post("/v1/chat/completions", json=body, **more)


def test_a_whole_answer_is_handed_on_and_recorded(open_client: Open, store: MemoryStore) -> None:
    with Upstream([json_answer(ANSWER, "x-own: 1")]) as upstream:
        response = post(open_client(upstream))
    assert response.content == ANSWER
    assert response.headers.raw == [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(ANSWER)).encode()),
        (b"x-own", b"1"),
    ]
    assert store.event.usage == USAGE
    assert (store.event.outcome, store.event.basis) == (Outcome.COMPLETED, Basis.REPORTED)
    assert response.extensions["meter_call_id"] == str(store.event.call.id)
    assert response.extensions["http_version"] == b"HTTP/1.1"


def test_the_request_is_sent_as_it_came(
    library: ModuleType, open_client: Open, store: MemoryStore
) -> None:
    body = (
        b'{ "model":"gpt-4o-mini",\n"messages":[{"role":"user","content":"\\ud800 \xe4\xbd\xa0"}] }'
    )
    headers = {"Content-Type": "application/json", "X-Case": "Kept", "Authorization": "Bearer k"}
    with Upstream([json_answer(ANSWER)]) as upstream:
        with library.Client(base_url=upstream.url) as bare:
            bare.post("/v1/chat/completions?a=%20b", content=body, headers=headers)
        metered = open_client(upstream)
        metered.post("/v1/chat/completions?a=%20b", content=body, headers=headers)
    assert upstream.requests[0] == upstream.requests[1]
    assert upstream.requests[0].endswith(body)


@pytest.mark.parametrize(
    "body",
    [
        b"\xff\xfe not json",
        b"[" * 200_000,
        b'{"model": "gpt-4o-mini", "messages": "\\ud800"}',
        b"",
        b"null",
        b'{"messages": [{"role": "user", "content": "' + b"a" * 3_000_000 + b'"}]}',
    ],
    ids=["binary", "nest", "surrogate", "empty", "null", "long"],
)
def test_a_bad_body_reaches_the_upstream_untouched(
    library: ModuleType, open_client: Open, store: MemoryStore, body: bytes
) -> None:
    refusal = json_answer(b'{"error": {"message": "no"}}', status="400 Bad Request")
    headers = {"content-type": "application/json"}
    with Upstream([refusal]) as upstream:
        with library.Client(base_url=upstream.url) as bare:
            bare.post("/v1/chat/completions", content=body, headers=headers)
        metered = open_client(upstream)
        response = metered.post("/v1/chat/completions", content=body, headers=headers)
    assert upstream.requests[0] == upstream.requests[1]
    assert response.status_code == 400
    assert store.event.usage == Usage()


def test_asked_usage_is_sent_along_and_taken_out_again(
    open_client: Open, store: MemoryStore
) -> None:
    answer = [SSE_HEAD, event(delta("Hi")), event(delta("", "stop")), event(USAGE_EVENT)]
    with Upstream([*answer, event("[DONE]"), LAST_CHUNK]) as upstream:
        response = post(open_client(upstream), {**CHAT, "stream": True})
    sent_head, _, sent_body = upstream.requests[0].partition(b"\r\n\r\n")
    assert json.loads(sent_body) == {
        **CHAT,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    assert f"content-length: {len(sent_body)}".encode() in sent_head.lower()
    wanted = f"data: {delta('Hi')}\n\ndata: {delta('', 'stop')}\n\ndata: [DONE]\n\n"
    assert response.text == wanted
    assert store.event.usage == USAGE


def test_without_injection_the_clients_own_bytes_are_sent(
    open_client: Open, store: MemoryStore
) -> None:
    answer = [SSE_HEAD, event(delta("Hi", "stop")), event("[DONE]"), LAST_CHUNK]
    with Upstream(answer) as upstream:
        post(open_client(upstream, inject_usage=False), {**CHAT, "stream": True})
    assert json.loads(upstream.requests[0].partition(b"\r\n\r\n")[2]) == {**CHAT, "stream": True}
    assert store.event.basis is Basis.ESTIMATED


def test_a_compressed_answer_stays_compressed(open_client: Open, store: MemoryStore) -> None:
    packed = gzip.compress(ANSWER)
    with Upstream([json_answer(packed, "content-encoding: gzip")]) as upstream:
        client = open_client(upstream)
        with client.stream("POST", "/v1/chat/completions", json=CHAT) as response:
            raw = b"".join(response.iter_raw())
    assert raw == packed
    assert response.headers["content-encoding"] == "gzip"
    assert store.event.usage == USAGE


def test_a_compressed_stream_that_is_edited_is_handed_out_plain(
    open_client: Open, store: MemoryStore
) -> None:
    events = f"data: {delta('Hi', 'stop')}\n\ndata: {USAGE_EVENT}\n\ndata: [DONE]\n\n".encode()
    packed = gzip.compress(events)
    top = head(
        "content-type: text/event-stream",
        "content-encoding: gzip",
        f"content-length: {len(packed)}",
    )
    with Upstream([top + packed]) as upstream:
        response = post(open_client(upstream), {**CHAT, "stream": True})
    assert response.text == f"data: {delta('Hi', 'stop')}\n\ndata: [DONE]\n\n"
    assert "content-encoding" not in response.headers
    assert "content-length" not in response.headers
    assert store.event.usage == USAGE


def test_chunks_come_in_the_upstreams_rhythm(open_client: Open, store: MemoryStore) -> None:
    go_on = threading.Event()
    first = [SSE_HEAD, event(delta("one"))]
    with Upstream(
        [*first, go_on, event(delta("", "stop")), event("[DONE]"), LAST_CHUNK]
    ) as upstream:
        client = open_client(upstream)
        body = {**CHAT, "stream": True}
        with client.stream("POST", "/v1/chat/completions", json=body) as response:
            lines = response.iter_lines()
            # The upstream sends no more before this line was read.
            assert next(lines) == f"data: {delta('one')}"
            go_on.set()
            assert [line for line in lines if line] == [
                f"data: {delta('', 'stop')}",
                "data: [DONE]",
            ]
    assert store.event.outcome is Outcome.COMPLETED


@pytest.mark.parametrize("kind", CUT_UP)
def test_what_waited_for_the_record_is_handed_on_as_it_was_cut(
    open_client: Open, store: MemoryStore, kind: str
) -> None:
    chunks = CUT_UP[kind]
    begins = head("content-type: application/json", "transfer-encoding: chunked")
    script = [SSE_HEAD if kind == "stream" else begins, *map(chunk, chunks), LAST_CHUNK]
    body = {**CHAT, "stream": kind == "stream", "stream_options": {"include_usage": True}}
    with Upstream(script) as upstream:
        request = open_client(upstream).stream("POST", "/v1/chat/completions", json=body)
        with request as response:
            assert list(response.iter_raw()) == chunks
    assert store.event.outcome is Outcome.COMPLETED


@pytest.mark.parametrize("framing", ["length", "chunked", "until close"])
def test_the_end_of_an_answer_waits_for_its_record(
    open_client: Open, store: MemoryStore, framing: str
) -> None:
    store.slow_settling = True
    chunked = head("content-type: application/json", "transfer-encoding: chunked")
    scripts: dict[str, list[Step]] = {
        "length": [json_answer(ANSWER)],
        "chunked": [chunked + chunk(ANSWER[:50]), chunk(ANSWER[50:]) + LAST_CHUNK],
        "until close": [head("content-type: application/json") + ANSWER, CLOSE],
    }
    received: list[bytes] = []

    def read(client: Any) -> None:
        with client.stream("POST", "/v1/chat/completions", json=CHAT) as response:
            for part in response.iter_raw():
                received.append(part)

    with Upstream(scripts[framing]) as upstream:
        reader = threading.Thread(target=read, args=[open_client(upstream)])
        reader.start()
        for _ in range(500):
            if store.waiting:
                break
            reader.join(0.01)
        assert b"".join(received) != ANSWER
        store.waiting[0].set_result(None)
        reader.join(5)
    assert b"".join(received) == ANSWER
    assert store.event.usage == USAGE


def test_done_waits_for_the_record_too(open_client: Open, store: MemoryStore) -> None:
    store.slow_settling = True
    answer = [SSE_HEAD, event(delta("Hi", "stop")), event(USAGE_EVENT)]
    never = threading.Event()
    received: list[str] = []

    def read(client: Any) -> None:
        body = {**CHAT, "stream": True, "stream_options": {"include_usage": True}}
        with client.stream("POST", "/v1/chat/completions", json=body) as response:
            for line in response.iter_lines():
                received.append(line)
                if line == "data: [DONE]":
                    break

    with Upstream([*answer, event("[DONE]"), never]) as upstream:
        reader = threading.Thread(target=read, args=[open_client(upstream)])
        reader.start()
        for _ in range(500):
            if store.waiting:
                break
            reader.join(0.01)
        assert "data: [DONE]" not in received
        assert f"data: {USAGE_EVENT}" not in received
        store.waiting[0].set_result(None)
        reader.join(5)
        never.set()
    assert received[-1] == "data: [DONE]"
    assert (store.event.outcome, store.event.usage) == (Outcome.COMPLETED, USAGE)


def test_nothing_waits_for_the_record_where_that_is_not_wanted(
    open_client: Open, store: MemoryStore
) -> None:
    store.slow_settling = True
    with Upstream([json_answer(ANSWER)]) as upstream:
        client = open_client(upstream, settle_before_last_byte=False)
        assert post(client).content == ANSWER
    assert store.event.usage == USAGE


def test_a_length_that_is_no_longer_true_is_dropped(open_client: Open, store: MemoryStore) -> None:
    events = f"data: {delta('Hi', 'stop')}\n\ndata: {USAGE_EVENT}\n\ndata: [DONE]\n\n".encode()
    top = head("content-type: text/event-stream", f"content-length: {len(events)}")
    with Upstream([top + events]) as upstream:
        response = post(open_client(upstream), {**CHAT, "stream": True})
    assert response.text == f"data: {delta('Hi', 'stop')}\n\ndata: [DONE]\n\n"
    assert "content-length" not in response.headers


def test_fifty_megabytes_pass(library: ModuleType, open_client: Open, store: MemoryStore) -> None:
    body = b"a" * 50_000_000
    refusal = json_answer(b'{"error": {"message": "no"}}', status="413 Payload Too Large")
    headers = {"content-type": "application/json"}
    with Upstream([refusal]) as upstream:
        open_client(upstream).post("/v1/chat/completions", content=body, headers=headers)
    assert upstream.requests[0].endswith(b"\r\n\r\n" + body)
    assert store.event.usage == Usage()


def test_leaving_early_is_recorded_with_an_estimate(open_client: Open, store: MemoryStore) -> None:
    never = threading.Event()
    with Upstream([SSE_HEAD, event(delta("one")), event(delta(" two")), never]) as upstream:
        body = {**CHAT, "stream": True}
        client = open_client(upstream)
        with client.stream("POST", "/v1/chat/completions", json=body) as response:
            assert next(response.iter_lines()) == f"data: {delta('one')}"
        never.set()
    assert (store.event.outcome, store.event.basis) == (Outcome.CLIENT_CLOSED, Basis.ESTIMATED)
    assert store.event.usage is not None
    assert store.event.usage["output_tokens"] >= 1


def test_an_abandoned_iterator_is_recorded(open_client: Open, store: MemoryStore) -> None:
    never = threading.Event()
    with Upstream([SSE_HEAD, event(delta("one")), never]) as upstream:
        client = open_client(upstream)
        request = client.build_request(
            "POST", "/v1/chat/completions", json={**CHAT, "stream": True}
        )
        response = client.send(request, stream=True)
        lines = response.iter_lines()
        next(lines)
        lines.close()
        del lines, response
        never.set()
    assert store.event.outcome is Outcome.CLIENT_CLOSED


def test_draining_learns_the_true_usage(open_client: Open, store: MemoryStore) -> None:
    go_on, settled = threading.Event(), threading.Event()
    answer = [SSE_HEAD, event(delta("one")), go_on, event(delta(" two", "stop"))]
    real_settle = store.settle
    store.settle = lambda *given, **how: (real_settle(*given, **how), settled.set())[0]  # type: ignore[method-assign]
    with Upstream([*answer, event(USAGE_EVENT), event("[DONE]"), LAST_CHUNK]) as upstream:
        client = open_client(upstream, on_client_close="drain")
        body = {**CHAT, "stream": True}
        with client.stream("POST", "/v1/chat/completions", json=body) as response:
            next(response.iter_lines())
        assert store.events == []
        go_on.set()
        assert settled.wait(5)
        assert (store.event.outcome, store.event.basis) == (Outcome.CLIENT_CLOSED, Basis.REPORTED)
        assert store.event.usage == USAGE
        # The connection was read to its end and serves the next call.
        post(client, body)
        assert len(upstream.requests) == 2


def test_draining_stops_at_its_bound(open_client: Open, store: MemoryStore) -> None:
    go_on, never, settled = threading.Event(), threading.Event(), threading.Event()
    real_settle = store.settle
    store.settle = lambda *given, **how: (real_settle(*given, **how), settled.set())[0]  # type: ignore[method-assign]
    answer = [SSE_HEAD, event(delta("one")), go_on, event(delta("x" * 2000)), never]
    with Upstream(answer) as upstream:
        client = open_client(upstream, on_client_close="drain", drain_bytes=1000)
        body = {**CHAT, "stream": True}
        with client.stream("POST", "/v1/chat/completions", json=body) as response:
            next(response.iter_lines())
        go_on.set()
        assert settled.wait(5)
        never.set()
    assert (store.event.outcome, store.event.basis) == (Outcome.CLIENT_CLOSED, Basis.ESTIMATED)


def test_a_refused_connection_releases_the_call(
    library: ModuleType, open_client: Open, store: MemoryStore
) -> None:
    with Upstream([]) as upstream:
        pass
    with pytest.raises(library.ConnectError):
        post(open_client(upstream))
    assert store.events == []
    assert [call.id for call in store.released] == [call.id for call in store.reserved]


def test_a_read_timeout_leaves_the_call_unsettled(
    library: ModuleType, open_client: Open, store: MemoryStore
) -> None:
    never = threading.Event()
    with Upstream([never]) as upstream:
        with pytest.raises(library.ReadTimeout):
            post(open_client(upstream, read_seconds=0.05))
        never.set()
    assert (store.event.outcome, store.event.basis) == (Outcome.TIMED_OUT, Basis.UNKNOWN)
    assert store.event.usage is None


def test_a_timeout_in_the_middle_is_estimated(
    library: ModuleType, open_client: Open, store: MemoryStore
) -> None:
    never = threading.Event()
    with Upstream([SSE_HEAD, event(delta("one")), never]) as upstream:
        with pytest.raises(library.ReadTimeout):
            post(open_client(upstream, read_seconds=0.1), {**CHAT, "stream": True})
        never.set()
    assert (store.event.outcome, store.event.basis) == (Outcome.TIMED_OUT, Basis.ESTIMATED)


def test_a_cut_before_the_answer_is_unsettled(
    library: ModuleType, open_client: Open, store: MemoryStore
) -> None:
    with Upstream([CUT]) as upstream, pytest.raises(library.TransportError):
        post(open_client(upstream))
    assert (store.event.outcome, store.event.basis) == (Outcome.UPSTREAM_FAILED, Basis.UNKNOWN)


def test_a_cut_in_the_middle_is_estimated(
    library: ModuleType, open_client: Open, store: MemoryStore
) -> None:
    go_on = threading.Event()
    with Upstream([SSE_HEAD, event(delta("one")), go_on, CUT]) as upstream:
        client = open_client(upstream)
        body = {**CHAT, "stream": True}
        with client.stream("POST", "/v1/chat/completions", json=body) as response:
            lines = response.iter_lines()
            next(lines)
            go_on.set()
            with pytest.raises((library.ReadError, library.RemoteProtocolError)):
                list(lines)
    assert (store.event.outcome, store.event.basis) == (Outcome.UPSTREAM_FAILED, Basis.ESTIMATED)
    assert store.event.usage is not None


def test_a_refusal_is_an_answer_and_nothing_is_sent(open_client: Open, store: MemoryStore) -> None:
    store.verdict = Refusal("team-a", "the budget is spent")
    with Upstream([json_answer(ANSWER)]) as upstream:
        response = post(open_client(upstream))
    assert upstream.requests == []
    assert response.status_code == 429
    assert response.headers["x-should-retry"] == "false"
    assert response.headers["x-meter-budget"] == "team-a"
    assert "the budget is spent" in response.json()["error"]["message"]
    assert store.event.outcome is Outcome.REFUSED
    assert response.extensions["meter_call_id"] == str(store.event.call.id)


def test_an_answer_is_handed_on_whose_record_nobody_can_take(
    open_client: Open, store: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    store.settle_error = StoreUnavailable("the disk is full")
    with Upstream([json_answer(ANSWER)]) as upstream:
        response = post(open_client(upstream, on_store_failure="spool"))
    assert response.content == ANSWER
    assert [record.levelname for record in caplog.records if record.name == "meter"] == ["ERROR"]
    assert caplog.text.count("the disk is full") == 1


def test_calls_are_refused_when_neither_the_ledger_nor_the_spool_can_note_them(
    open_client: Open, store: MemoryStore
) -> None:
    store.reserve_error = StoreUnavailable("the disk is full")
    with Upstream([json_answer(ANSWER)]) as upstream:
        response = post(open_client(upstream, on_store_failure="spool"))
    assert upstream.requests == []
    assert response.status_code == 503
    assert "the disk is full" in response.json()["error"]["message"]


def test_calls_are_refused_while_the_ledger_is_away(open_client: Open, store: MemoryStore) -> None:
    store.reserve_error = StoreUnavailable("the disk is full")
    with Upstream([json_answer(ANSWER)]) as upstream:
        response = post(open_client(upstream, on_store_failure="refuse"))
    assert upstream.requests == []
    assert response.status_code == 503
    assert response.headers["x-should-retry"] == "false"
    assert "the disk is full" in response.json()["error"]["message"]
    assert store.events == []


def test_a_ledger_that_does_not_answer_is_away(open_client: Open, store: MemoryStore) -> None:
    store.slow_reserving = True
    with Upstream([json_answer(ANSWER)]) as upstream:
        client = open_client(upstream, on_store_failure="refuse", store_seconds=1)
        response = post(client)
    assert response.status_code == 503
    assert upstream.requests == []
    # The reservation may still come through, and is taken back.
    assert len(store.released) == 1


def test_a_bug_in_the_ledger_does_not_take_the_answer_away(
    open_client: Open, store: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    store.settle_error = RuntimeError("a bug")
    with Upstream([json_answer(ANSWER)]) as upstream:
        assert post(open_client(upstream)).content == ANSWER
    assert "a bug" in caplog.text
    assert caplog.records[-1].exc_info is not None


def test_an_upload_is_not_read_into_memory(open_client: Open, store: MemoryStore) -> None:
    def parts() -> Iterator[bytes]:
        yield from (b"RIFF", b"....", b"WAVE")

    with Upstream([json_answer(b'{"text": "hello"}')]) as upstream:
        client = open_client(upstream)
        files = {"file": ("a.wav", b"RIFF....WAVE", "audio/wav")}
        client.post("/v1/own/anything", data={"model": "whisper-1"}, files=files)
        client.post("/v1/own/anything", content=parts())
        client.post("/v1/chat/completions", content=parts(), headers={"content-type": "text/json"})
    assert b"RIFF....WAVE" in upstream.requests[0]
    assert upstream.requests[1].endswith(b"4\r\nRIFF\r\n4\r\n....\r\n4\r\nWAVE\r\n0\r\n\r\n")
    assert [event.call.endpoint for event in store.events[:2]] == ["unmetered", "unmetered"]
    assert store.events[0].call.path == "/v1/own/anything"


def test_an_unknown_path_is_counted(open_client: Open, store: MemoryStore) -> None:
    with Upstream([json_answer(b"{}")]) as upstream:
        assert open_client(upstream).get("/anything?x=1").json() == {}
    assert (store.event.call.endpoint, store.event.call.path) == ("unmetered", "/anything")


def test_listing_models_costs_nothing_and_leaves_no_intent(
    open_client: Open, store: MemoryStore
) -> None:
    with Upstream([json_answer(b'{"data": []}')]) as upstream:
        assert open_client(upstream).get("/v1/models").json() == {"data": []}
    assert store.reserved == []
    assert store.event.usage == Usage()


def test_an_upgraded_connection_passes(open_client: Open, store: MemoryStore) -> None:
    top = head("connection: upgrade", "upgrade: websocket", status="101 Switching Protocols")
    with Upstream([top]) as upstream:
        client = open_client(upstream)
        headers = {"connection": "upgrade", "upgrade": "websocket"}
        with client.stream("GET", "/v1/realtime", headers=headers) as response:
            assert response.status_code == 101
            assert "network_stream" in response.extensions
    assert (store.event.call.endpoint, store.event.status) == ("unmetered", 101)


def test_calls_are_attributed_to_the_surrounding_block(
    open_client: Open, store: MemoryStore
) -> None:
    with Upstream([json_answer(ANSWER)]) as upstream:
        client = open_client(upstream)
        with attribute("alice", team="search"):
            post(client, {**CHAT, "user": "bob"})
        post(client, {**CHAT, "user": "bob"})
    first, second = store.events
    assert (first.call.attribution.subject, first.call.attribution.tags) == (
        "alice",
        (("team", "search"),),
    )
    assert second.call.attribution.subject == "bob"


def test_failed_attempts_share_an_operation(open_client: Open, store: MemoryStore) -> None:
    failure = json_answer(b'{"error": {"message": "busy"}}', status="503 Service Unavailable")
    with Upstream([failure], [json_answer(ANSWER)]) as upstream:
        client = open_client(upstream)
        post(client)
        post(client)
        post(client)
    first, second, third = (event.call for event in store.events)
    assert first.operation_id == first.id
    assert second.operation_id == first.id
    assert third.operation_id == third.id


def test_another_request_after_a_failure_is_its_own_operation(
    open_client: Open, store: MemoryStore
) -> None:
    failure = json_answer(b'{"error": {"message": "busy"}}', status="503 Service Unavailable")
    with Upstream([failure], [json_answer(ANSWER)]) as upstream:
        client = open_client(upstream)
        post(client)
        post(client, {**CHAT, "user": "x"})
    first, second = (event.call for event in store.events)
    assert second.operation_id == second.id != first.id


def test_an_upload_without_reported_usage_is_measured(
    open_client: Open, store: MemoryStore
) -> None:
    with Upstream([json_answer(b'{"text": "hello"}')]) as upstream:
        client = open_client(upstream)
        answer = client.post(
            "/v1/audio/translations",
            files={"file": ("a.wav", spoken(3), "audio/wav")},
            data={"model": "whisper-1"},
        )
        assert answer.json() == {"text": "hello"}
    assert store.event.call.model_requested == "whisper-1"
    assert store.event.usage is not None
    assert store.event.usage["audio_seconds"] == 3


def test_an_upload_of_unknown_length_is_sent_unread(open_client: Open, store: MemoryStore) -> None:
    def parts():
        yield b"one"
        yield b"two"

    with Upstream([json_answer(b"{}")]) as upstream:
        client = open_client(upstream)
        headers = {"content-type": "multipart/form-data; boundary=x"}
        assert client.post("/v1/files", content=parts(), headers=headers).status_code == 200
    assert store.event.usage in (None, Usage())
