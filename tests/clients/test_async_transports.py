"""Both twins, async: what threads do is told in `test_transports`; here is what tasks add to it."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable
from types import ModuleType
from typing import Any

import pytest

from meter.attribution import attribute
from meter.clients import httpx2_transport, httpx_transport
from meter.core.budgets import Refusal
from meter.core.call import Basis, Outcome
from meter.errors import StoreUnavailable
from tests.clients.answers import ANSWER, CHAT, CUT_UP, USAGE, USAGE_EVENT, delta
from tests.clients.memory import MemoryStore, pipeline_on
from tests.clients.upstream import (
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

pytestmark = pytest.mark.anyio

STREAM = {**CHAT, "stream": True}
PATH = "/v1/chat/completions"

Open = Callable[..., Any]


@pytest.fixture
async def open_client(library: ModuleType, store: MemoryStore) -> AsyncIterator[Open]:
    """Make a metered client for an upstream; settings by name."""
    opened: list[Any] = []

    def make(upstream: Upstream, *, read_seconds: float = 5.0, **settings: Any) -> Any:
        pipeline = pipeline_on(store, hosts={upstream.host: "auto"}, **settings)
        limit = library.Timeout(5.0, read=read_seconds)
        twin = {"httpx": httpx_transport, "httpx2": httpx2_transport}[library.__name__]
        transport = twin.AsyncMeterTransport(None, pipeline)
        client = library.AsyncClient(transport=transport, base_url=upstream.url, timeout=limit)
        opened.append(client)
        return client

    yield make
    for client in opened:
        await client.aclose()


async def until(condition: Callable[[], object]) -> None:
    """Let other tasks run until something has come about."""
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.002)


async def first_line(client: Any, seen: list[str], body: Any = STREAM) -> None:
    """Read a stream, noting each line that is not empty."""
    async with client.stream("POST", PATH, json=body) as response:
        async for line in response.aiter_lines():
            if line:
                seen.append(line)


async def test_a_whole_answer_is_handed_on_and_recorded(
    open_client: Open, store: MemoryStore
) -> None:
    with Upstream([json_answer(ANSWER, "x-own: 1")]) as upstream:
        response = await open_client(upstream).post(PATH, json=CHAT)
    assert response.content == ANSWER
    assert response.headers["x-own"] == "1"
    assert (store.event.outcome, store.event.usage) == (Outcome.COMPLETED, USAGE)
    assert response.extensions["meter_call_id"] == str(store.event.call.id)


async def test_a_stream_is_handed_on_in_its_rhythm(open_client: Open, store: MemoryStore) -> None:
    go_on = threading.Event()
    answer = [SSE_HEAD, event(delta("one")), go_on, event(delta("", "stop")), event(USAGE_EVENT)]
    seen: list[str] = []
    with Upstream([*answer, event("[DONE]"), LAST_CHUNK]) as upstream:
        reading = asyncio.create_task(first_line(open_client(upstream), seen))
        await until(lambda: seen)
        go_on.set()
        await reading
    assert seen == [f"data: {delta('one')}", f"data: {delta('', 'stop')}", "data: [DONE]"]
    assert store.event.usage == USAGE
    assert json.loads(upstream.requests[0].partition(b"\r\n\r\n")[2])["stream_options"] == {
        "include_usage": True
    }


@pytest.mark.parametrize("kind", CUT_UP)
async def test_what_waited_for_the_record_is_handed_on_as_it_was_cut(
    open_client: Open, store: MemoryStore, kind: str
) -> None:
    chunks = CUT_UP[kind]
    begins = head("content-type: application/json", "transfer-encoding: chunked")
    script = [SSE_HEAD if kind == "stream" else begins, *map(chunk, chunks), LAST_CHUNK]
    body = {**CHAT, "stream": kind == "stream", "stream_options": {"include_usage": True}}
    with Upstream(script) as upstream:
        request = open_client(upstream).stream("POST", PATH, json=body)
        async with request as response:
            assert [part async for part in response.aiter_raw()] == chunks
    assert store.event.outcome is Outcome.COMPLETED


@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_the_end_of_an_answer_waits_for_its_record(
    open_client: Open, store: MemoryStore, framing: str
) -> None:
    store.slow_settling = True
    chunked = head("content-type: application/json", "transfer-encoding: chunked")
    scripts: dict[str, list[Step]] = {
        "length": [json_answer(ANSWER)],
        "chunked": [chunked + chunk(ANSWER[:50]), chunk(ANSWER[50:]) + LAST_CHUNK],
    }
    received = b""

    async def read(client: Any) -> None:
        nonlocal received
        async with client.stream("POST", PATH, json=CHAT) as response:
            async for part in response.aiter_raw():
                received += part

    with Upstream(scripts[framing]) as upstream:
        reading = asyncio.create_task(read(open_client(upstream)))
        await until(lambda: store.waiting)
        await asyncio.sleep(0)
        assert received != ANSWER
        # Its committer is another thread.
        threading.Thread(target=store.waiting[0].set_result, args=[None]).start()
        await reading
    assert received == ANSWER
    assert store.event.usage == USAGE


async def test_a_cancelled_stream_is_recorded_with_an_estimate(
    open_client: Open, store: MemoryStore
) -> None:
    never = threading.Event()
    seen: list[str] = []
    with Upstream([SSE_HEAD, event(delta("one")), never]) as upstream:
        reading = asyncio.create_task(first_line(open_client(upstream), seen))
        await until(lambda: seen)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        never.set()
    assert (store.event.outcome, store.event.basis) == (Outcome.CLIENT_CLOSED, Basis.ESTIMATED)
    assert store.event.counted_output_tokens == 1


async def test_cancelling_before_an_answer_leaves_the_call_unsettled(
    open_client: Open, store: MemoryStore
) -> None:
    never = threading.Event()
    with Upstream([never]) as upstream:
        asking = asyncio.create_task(open_client(upstream).post(PATH, json=CHAT))
        await until(lambda: upstream.requests)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        never.set()
    assert (store.event.outcome, store.event.basis) == (Outcome.CLIENT_CLOSED, Basis.UNKNOWN)


async def test_cancelling_before_the_reservation_sends_nothing(
    open_client: Open, store: MemoryStore
) -> None:
    store.slow_reserving = True
    with Upstream([json_answer(ANSWER)]) as upstream:
        asking = asyncio.create_task(open_client(upstream).post(PATH, json=CHAT))
        await until(lambda: store.waiting)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert not store.waiting[0].cancelled()
        store.waiting[0].set_result(())
    assert upstream.requests == []
    assert len(store.released) == 1
    assert store.events == []


async def _end_when(seen: list[str], patience: asyncio.Timeout) -> None:
    """Let a time-out run out as soon as something was seen."""
    while not seen:
        await asyncio.sleep(0.005)
    patience.reschedule(asyncio.get_running_loop().time())


async def test_a_timeout_around_the_call_cancels_it(open_client: Open, store: MemoryStore) -> None:
    never = threading.Event()
    seen: list[str] = []
    with Upstream([SSE_HEAD, event(delta("one")), never]) as upstream:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(None) as patience:
                ends = asyncio.create_task(_end_when(seen, patience))
                await first_line(open_client(upstream), seen)
        await ends
        never.set()
    assert seen
    assert store.event.outcome is Outcome.CLIENT_CLOSED


async def test_leaving_early_is_recorded(open_client: Open, store: MemoryStore) -> None:
    never = threading.Event()
    with Upstream([SSE_HEAD, event(delta("one")), never]) as upstream:
        client = open_client(upstream)
        async with client.stream("POST", PATH, json=STREAM) as response:
            async for _ in response.aiter_lines():
                break
        never.set()
    assert (store.event.outcome, store.event.basis) == (Outcome.CLIENT_CLOSED, Basis.ESTIMATED)


async def test_closing_while_another_task_reads_is_recorded(
    open_client: Open, store: MemoryStore, library: ModuleType
) -> None:
    never = threading.Event()
    seen: list[str] = []
    with Upstream([SSE_HEAD, event(delta("one")), never]) as upstream:
        client = open_client(upstream, on_client_close="drain")
        request = client.build_request("POST", PATH, json=STREAM)
        response = await client.send(request, stream=True)

        async def read() -> None:
            async for line in response.aiter_lines():
                seen.append(line)

        reading = asyncio.create_task(read())
        await until(lambda: seen)
        await asyncio.sleep(0.01)
        await response.aclose()
        never.set()
        # What the library makes of it is its own affair; it is the same without a meter.
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
    assert store.event.outcome is Outcome.CLIENT_CLOSED


async def test_draining_learns_the_true_usage(open_client: Open, store: MemoryStore) -> None:
    go_on = threading.Event()
    answer = [SSE_HEAD, event(delta("one")), go_on, event(delta(" two", "stop"))]
    with Upstream([*answer, event(USAGE_EVENT), event("[DONE]"), LAST_CHUNK]) as upstream:
        client = open_client(upstream, on_client_close="drain")
        async with client.stream("POST", PATH, json=STREAM) as response:
            async for _ in response.aiter_lines():
                break
        assert store.events == []
        go_on.set()
        await until(lambda: store.events)
    assert (store.event.outcome, store.event.basis) == (Outcome.CLIENT_CLOSED, Basis.REPORTED)
    assert store.event.usage == USAGE


async def test_draining_stops_in_time(open_client: Open, store: MemoryStore) -> None:
    never = threading.Event()
    with Upstream([SSE_HEAD, event(delta("one")), never]) as upstream:
        client = open_client(upstream, on_client_close="drain", drain_seconds=1)
        async with client.stream("POST", PATH, json=STREAM) as response:
            async for _ in response.aiter_lines():
                break
        await until(lambda: store.events)
        never.set()
    assert (store.event.outcome, store.event.basis) == (Outcome.CLIENT_CLOSED, Basis.ESTIMATED)


async def test_tasks_keep_their_own_attribution(open_client: Open, store: MemoryStore) -> None:
    with Upstream([json_answer(ANSWER)]) as upstream:
        client = open_client(upstream)

        async def ask(subject: str) -> None:
            with attribute(subject, team=subject.upper()):
                await asyncio.sleep(0)
                await client.post(PATH, json={**CHAT, "seed": len(subject)})

        await asyncio.gather(ask("alice"), ask("bob"), ask("chen"))
    subjects = {
        (event.call.attribution.subject, event.call.attribution.tags) for event in store.events
    }
    assert subjects == {
        ("alice", (("team", "ALICE"),)),
        ("bob", (("team", "BOB"),)),
        ("chen", (("team", "CHEN"),)),
    }


async def test_a_large_body_is_estimated_off_the_loop(
    open_client: Open, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    from meter.clients import exchange

    opened_in: list[threading.Thread] = []
    real = exchange.open_call

    def watched(*arguments: Any, **named: Any) -> Any:
        opened_in.append(threading.current_thread())
        return real(*arguments, **named)

    monkeypatch.setattr(exchange, "open_call", watched)
    large = {**CHAT, "messages": [{"role": "user", "content": "word " * 20_000}]}
    with Upstream([json_answer(ANSWER)]) as upstream:
        client = open_client(upstream)
        with attribute("alice"):
            await client.post(PATH, json=CHAT)
            await client.post(PATH, json=large)
    assert opened_in[0] is threading.main_thread()
    assert opened_in[1] is not threading.main_thread()
    assert store.events[1].call.attribution.subject == "alice"


async def test_a_cut_in_the_middle_is_estimated(
    open_client: Open, store: MemoryStore, library: ModuleType
) -> None:
    go_on = threading.Event()
    seen: list[str] = []
    with Upstream([SSE_HEAD, event(delta("one")), go_on, CUT]) as upstream:
        reading = asyncio.create_task(first_line(open_client(upstream), seen))
        await until(lambda: seen)
        go_on.set()
        with pytest.raises((library.ReadError, library.RemoteProtocolError)):
            await reading
    assert (store.event.outcome, store.event.basis) == (Outcome.UPSTREAM_FAILED, Basis.ESTIMATED)


async def test_a_refused_connection_releases_the_call(
    open_client: Open, store: MemoryStore, library: ModuleType
) -> None:
    with Upstream([]) as upstream:
        pass
    with pytest.raises(library.ConnectError):
        await open_client(upstream).post(PATH, json=CHAT)
    assert (len(store.released), store.events) == (1, [])


async def test_a_read_timeout_leaves_the_call_unsettled(
    open_client: Open, store: MemoryStore, library: ModuleType
) -> None:
    never = threading.Event()
    with Upstream([never]) as upstream:
        with pytest.raises(library.ReadTimeout):
            await open_client(upstream, read_seconds=0.05).post(PATH, json=CHAT)
        never.set()
    assert (store.event.outcome, store.event.basis) == (Outcome.TIMED_OUT, Basis.UNKNOWN)


async def test_a_refusal_is_an_answer(open_client: Open, store: MemoryStore) -> None:
    store.verdict = Refusal("team-a", "the budget is spent")
    with Upstream([json_answer(ANSWER)]) as upstream:
        response = await open_client(upstream).post(PATH, json=CHAT)
    assert (response.status_code, upstream.requests) == (429, [])
    assert "the budget is spent" in response.json()["error"]["message"]


async def test_calls_are_refused_while_the_ledger_is_away(
    open_client: Open, store: MemoryStore
) -> None:
    store.reserve_error = StoreUnavailable("the disk is full")
    with Upstream([json_answer(ANSWER)]) as upstream:
        response = await open_client(upstream, on_store_failure="refuse").post(PATH, json=CHAT)
    assert (response.status_code, upstream.requests) == (503, [])


async def test_an_upload_is_not_read_into_memory(open_client: Open, store: MemoryStore) -> None:
    async def parts() -> AsyncIterator[bytes]:
        yield b"RIFF"
        yield b"WAVE"

    with Upstream([json_answer(b"{}")]) as upstream:
        client = open_client(upstream)
        await client.post("/v1/own/anything", content=parts())
    assert upstream.requests[0].endswith(b"4\r\nRIFF\r\n4\r\nWAVE\r\n0\r\n\r\n")
    assert store.event.call.endpoint == "unmetered"
