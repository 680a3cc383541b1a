"""Realtime sessions over WebSocket: relayed unchanged, each response a call of its own."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import openai
import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed, InvalidStatus

from meter.core.call import Basis, Outcome
from meter.gateway import realtime
from tests.gateway.serving import Served, served

MODEL = "gpt-realtime"
USAGE = {
    "total_tokens": 253, "input_tokens": 132, "output_tokens": 121,
    "input_token_details": {"text_tokens": 119, "audio_tokens": 13, "cached_tokens": 64,
                            "cached_tokens_details": {"text_tokens": 64, "audio_tokens": 0}},
    "output_token_details": {"text_tokens": 30, "audio_tokens": 91},
}  # fmt: skip
CREATED = {"type": "session.created", "session": {"id": "sess_1", "model": MODEL}}


@dataclass
class Sessions:
    """An upstream of sessions: what it got, and how it behaves."""

    port: int = 0
    heads: list[Any] = field(default_factory=list)
    heard: list[Any] = field(default_factory=list)
    speaks_by_itself: bool = False
    finishes: bool = True
    number: int = 0

    async def hold(self, connection: ServerConnection) -> None:
        self.heads.append(connection.request)
        await connection.send(json.dumps(CREATED))
        if self.speaks_by_itself:
            await self.respond(connection)
        async for content in connection:
            self.heard.append(content)
            event = json.loads(content) if isinstance(content, str) else {}
            if event.get("type") == "response.create":
                await self.respond(connection)
            elif event.get("type") == "say":
                await connection.send(json.dumps(event["event"]))
            elif event.get("type") == "end":
                await connection.close(4001, "enough")

    async def respond(self, connection: ServerConnection) -> None:
        self.number += 1
        response = {"id": f"resp_{self.number}", "usage": None}
        await connection.send(json.dumps({"type": "response.created", "response": response}))
        if self.finishes:
            response["usage"] = USAGE
            await connection.send(json.dumps({"type": "response.done", "response": response}))


def chosen(_connection: ServerConnection, offered: Any) -> Any:
    return "realtime" if "realtime" in offered else None


@contextmanager
def upstream_of_sessions(**behaviour: Any) -> Iterator[Sessions]:
    sessions, started = Sessions(**behaviour), threading.Event()
    stop: list[Callable[[], None]] = []

    async def run() -> None:
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        stop.append(lambda: loop.call_soon_threadsafe(ended.set))
        async with serve(sessions.hold, "127.0.0.1", 0, select_subprotocol=chosen) as server:
            sessions.port = server.sockets[0].getsockname()[1]
            started.set()
            await ended.wait()

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    assert started.wait(10)
    try:
        yield sessions
    finally:
        stop[0]()
        thread.join(10)


@contextmanager
def between(tmp_path: Any, **behaviour: Any) -> Iterator[tuple[Served, Sessions]]:
    """A gateway before an upstream of sessions."""
    with upstream_of_sessions(**behaviour) as sessions:
        url = f"http://127.0.0.1:{sessions.port}/v1"
        with served(tmp_path, {"openai": url}) as gateway:
            yield gateway, sessions


def session(gateway: Served, key: str, *, query: str = f"?model={MODEL}", **more: Any) -> Any:
    url = f"ws://127.0.0.1:{gateway.port}/v1/realtime{query}"
    return connect(url, additional_headers={"authorization": f"Bearer {key}"}, **more)


async def said(connection: Any) -> Any:
    return json.loads(await asyncio.wait_for(connection.recv(), 10))


def ask(event: Any) -> str:
    return json.dumps(event)


def test_each_response_is_a_call_of_one_operation(tmp_path):
    async def talk(gateway: Served) -> None:
        async with session(gateway, gateway.key(), subprotocols=["realtime"]) as connection:
            assert connection.subprotocol == "realtime"
            assert await said(connection) == CREATED
            for _ in range(2):
                await connection.send(ask({"type": "response.create"}))
                assert (await said(connection))["type"] == "response.created"
                assert (await said(connection))["response"]["usage"] == USAGE

    with between(tmp_path) as (gateway, sessions):
        asyncio.run(talk(gateway))
        calls = gateway.calls(2)
        # 55 text and 13 sound tokens in, 64 cached: 55 × 4 + 13 × 32 + 64 × 0.4 USD / 10⁶;
        # 30 text and 91 sound tokens out: 30 × 16 + 91 × 64 USD / 10⁶ (gpt-realtime, 2026-11).
        assert [call.cost_nanos for call in calls] == [6_965_600, 6_965_600]
        assert [call.response_id for call in calls] == ["resp_1", "resp_2"]
        assert {call.operation_id for call in calls} != {calls[0].id}
        assert len({call.operation_id for call in calls}) == 1
        assert {(c.endpoint, c.subject, c.basis, c.outcome) for c in calls} == {
            ("realtime", "alice", Basis.REPORTED, Outcome.COMPLETED)
        }
        head = sessions.heads[0].headers
        assert head["authorization"] == "Bearer sk-upstream-openai"
        assert sessions.heads[0].path == f"/v1/realtime?model={MODEL}"


# The SDK's own use of websockets, not ours.
@pytest.mark.filterwarnings("ignore:connect\\(\\) must be used:DeprecationWarning")
def test_the_real_sdk_holds_a_session(tmp_path):
    with between(tmp_path) as (gateway, _):
        client = openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key())
        with client, client.realtime.connect(model=MODEL) as connection:
            assert connection.recv().type == "session.created"
            connection.response.create()
            assert connection.recv().type == "response.created"
            done = connection.recv()
            assert done.type == "response.done" and done.response.usage.output_tokens == 121
        (call,) = gateway.calls()
        assert call.usage["output_audio_tokens"] == 91


def test_the_record_is_there_before_the_client_hears_of_it(tmp_path):
    async def talk(gateway: Served) -> int:
        async with session(gateway, gateway.key()) as connection:
            await said(connection)
            await connection.send(ask({"type": "response.create"}))
            await said(connection)
            await said(connection)
            return len(list(gateway.meter.calls()))

    with between(tmp_path) as (gateway, _):
        assert asyncio.run(talk(gateway)) == 1


def test_a_budget_refuses_a_response_and_the_session_goes_on(tmp_path):
    async def talk(gateway: Served) -> Any:
        async with session(gateway, gateway.key()) as connection:
            await said(connection)
            await connection.send(ask({"type": "response.create", "event_id": "mine"}))
            refused = await said(connection)
            gateway.meter.remove_budget("alice")
            await connection.send(ask({"type": "response.create"}))
            assert (await said(connection))["type"] == "response.created"
            await said(connection)
            return refused

    with between(tmp_path) as (gateway, sessions):
        gateway.meter.set_budget("alice", subject="alice", limit="0.01")
        refused = asyncio.run(talk(gateway))
        assert refused["type"] == "error"
        assert refused["error"]["code"] == "insufficient_quota"
        assert refused["error"]["event_id"] == "mine"
        assert "alice" in refused["error"]["message"]
        assert len(sessions.heard) == 1
        first, second = gateway.calls(2)
        assert (first.outcome, first.cost_nanos) == (Outcome.REFUSED, 0)
        assert second.outcome is Outcome.COMPLETED


def test_a_response_that_tells_no_use_holds_nothing_when_it_is_done(tmp_path):
    async def talk(gateway: Served) -> None:
        async with session(gateway, gateway.key()) as connection:
            await said(connection)
            done = {"type": "response.done", "response": {"id": "resp_x", "usage": None}}
            begun = {"type": "response.created", "response": {"id": "resp_x", "usage": None}}
            for event in (begun, done):
                await connection.send(json.dumps({"type": "say", "event": event}))
                await said(connection)

    with between(tmp_path) as (gateway, _):
        gateway.meter.credits.grant("alice", "100", reason="order 1", author="boss")
        asyncio.run(talk(gateway))
        (call,) = gateway.calls(1)
        assert call.basis is Basis.UNKNOWN
        (balance,) = gateway.meter.credits.balances("alice")
        assert balance.held_nanos == 0


def test_a_response_that_nobody_asked_for_is_cancelled_where_no_budget_allows_it(tmp_path):
    async def talk(gateway: Served) -> tuple[Any, int]:
        async with session(gateway, gateway.key()) as connection:
            await said(connection)
            assert (await said(connection))["type"] == "response.created"
            error = await said(connection)
            with pytest.raises(ConnectionClosed):
                await said(connection)
            return error, connection.close_code

    with between(tmp_path, speaks_by_itself=True, finishes=False) as (gateway, sessions):
        gateway.meter.set_budget("alice", subject="alice", limit="0.01")
        error, code = asyncio.run(talk(gateway))
        assert (error["error"]["code"], code) == ("insufficient_quota", 1008)
        gateway.calls(1)
    assert json.loads(sessions.heard[0]) == {"type": "response.cancel"}


def test_a_response_that_the_server_begins_by_itself_is_a_call(tmp_path):
    async def talk(gateway: Served) -> None:
        async with session(gateway, gateway.key()) as connection:
            for _ in range(3):
                await said(connection)

    with between(tmp_path, speaks_by_itself=True) as (gateway, _):
        asyncio.run(talk(gateway))
        assert gateway.calls()[0].usage["input_tokens"] == 132


def test_transcriptions_are_billed_at_their_own_models_price(tmp_path):
    event = {
        "type": "conversation.item.input_audio_transcription.completed", "item_id": "item_1",
        "content_index": 0, "transcript": "Hi", "usage": {"type": "duration", "seconds": 30},
    }  # fmt: skip
    updated = {"type": "session.updated", "session": {
        "id": "sess_1", "model": MODEL, "audio": {"input": {"transcription": {
            "model": "whisper-1"}}}}}  # fmt: skip

    async def talk(gateway: Served) -> None:
        async with session(gateway, gateway.key()) as connection:
            await said(connection)
            for each in (updated, event, event):
                await connection.send(ask({"type": "say", "event": each}))
                assert await said(connection) == each

    with between(tmp_path) as (gateway, _):
        asyncio.run(talk(gateway))
        first, again = gateway.calls(2)
        # Half a minute at 0.006 USD a minute; the same words again are billed once.
        assert (first.model_requested, first.cost_nanos) == ("whisper-1", 3_000_000)
        assert again.cost_nanos == 0


def test_a_session_that_breaks_leaves_its_response_unsettled(tmp_path):
    async def talk(gateway: Served) -> None:
        async with session(gateway, gateway.key()) as connection:
            await said(connection)
            await connection.send(ask({"type": "response.create"}))
            await said(connection)

    with between(tmp_path, finishes=False) as (gateway, _):
        asyncio.run(talk(gateway))
        (call,) = gateway.calls()
        assert (call.state, call.outcome) == ("unsettled", Outcome.CLIENT_CLOSED)


def test_seconds_of_a_live_session_are_one_call(tmp_path):
    async def talk(gateway: Served) -> None:
        async with session(gateway, gateway.key()) as connection:
            await said(connection)
            for seconds in (2, 5, 4):
                event = {"type": "session.usage.updated", "usage": {"seconds": seconds}}
                await connection.send(ask({"type": "say", "event": event}))
                await said(connection)

    with between(tmp_path) as (gateway, _):
        asyncio.run(talk(gateway))
        assert gateway.calls()[0].usage == {"audio_seconds": 5}


def test_the_upstreams_own_end_reaches_the_client(tmp_path):
    async def talk(gateway: Served) -> tuple[int | None, str | None]:
        async with session(gateway, gateway.key()) as connection:
            await said(connection)
            await connection.send(ask({"type": "end"}))
            with pytest.raises(ConnectionClosed):
                await said(connection)
            return connection.close_code, connection.close_reason

    with between(tmp_path) as (gateway, _):
        assert asyncio.run(talk(gateway)) == (4001, "enough")


def test_a_browsers_key_comes_among_the_protocols(tmp_path):
    async def talk(gateway: Served) -> None:
        url = f"ws://127.0.0.1:{gateway.port}/v1/realtime?model={MODEL}"
        offered = ["realtime", f"openai-insecure-api-key.{gateway.key()}"]
        async with connect(url, subprotocols=offered) as connection:
            assert await said(connection) == CREATED

    with between(tmp_path) as (gateway, sessions):
        asyncio.run(talk(gateway))
        assert "mk-" not in str(sessions.heads[0].headers)


@pytest.mark.parametrize(
    ("query", "more", "status", "code"),
    [
        (f"?model={MODEL}", None, 401, "invalid_api_key"),
        ("", {}, 404, "model_not_found"),
        (f"?model={MODEL}", {"models": ("gpt-4o",)}, 404, "model_not_found"),
        (f"?model={MODEL}", {"endpoints": ("chat",)}, 403, "endpoint_not_allowed"),
        (f"?model={MODEL}", {"role": "admin"}, 403, "admin_key"),
    ],
)
def test_who_may_not_is_told_before_the_session_begins(tmp_path, query, more, status, code):
    async def talk(gateway: Served) -> Any:
        key = "mk-guessed" if more is None else gateway.key("alice", **more)
        with pytest.raises(InvalidStatus) as caught:
            async with session(gateway, key, query=query):
                raise AssertionError("the session began")
        return caught.value.response

    with between(tmp_path) as (gateway, sessions):
        response = asyncio.run(talk(gateway))
        assert response.status_code == status
        assert json.loads(response.body)["error"]["code"] == code
        assert sessions.heads == []


def test_an_upstream_that_is_away_and_another_path(tmp_path):
    async def talk(gateway: Served) -> list[int]:
        codes = []
        key = gateway.key()
        for path in (f"/v1/realtime?model={MODEL}", "/v1/elsewhere"):
            with pytest.raises(InvalidStatus) as caught:
                async with connect(
                    f"ws://127.0.0.1:{gateway.port}{path}",
                    additional_headers={"authorization": f"Bearer {key}"},
                ):
                    raise AssertionError("the session began")
            codes.append(caught.value.response.status_code)
        return codes

    with served(tmp_path, {"openai": "http://127.0.0.1:9/v1"}) as gateway:
        assert asyncio.run(talk(gateway)) == [502, 403]


def test_more_responses_than_a_session_may_have_are_not_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(realtime, "MOST_RESPONSES", 1)

    async def talk(gateway: Served) -> Any:
        async with session(gateway, gateway.key()) as connection:
            await said(connection)
            await connection.send(ask({"type": "response.create"}))
            await said(connection)
            await connection.send(ask({"type": "response.create"}))
            return await said(connection)

    with between(tmp_path, finishes=False) as (gateway, _):
        told = asyncio.run(talk(gateway))
        assert "under way" in told["error"]["message"]
