"""Secrets for browsers: they open one kind of session here, and nothing at the provider."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiohttp import WSMsgType, web
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.gateway.serving import Served, served
from tests.gateway.test_realtime import USAGE

MODEL = "gpt-realtime"
ASKED = {"session": {"type": "realtime", "model": MODEL, "instructions": "Be kind."}}


@dataclass
class Provider:
    """Gives secrets, and holds sessions of one response."""

    port: int = 0
    asked: list[tuple[str, Any, str]] = field(default_factory=list)
    opened_with: list[str] = field(default_factory=list)
    status: int = 200

    async def give(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.asked.append((request.path, body, request.headers["authorization"]))
        if self.status != 200:
            return web.json_response({"error": {"message": "no"}}, status=self.status)
        value = f"ek_theirs_{len(self.asked)}"
        if request.path.endswith("client_secrets"):
            until = int(time.time()) + body.get("expires_after", {}).get("seconds", 600)
            session = {"id": "sess_1", "object": "realtime.session", **body["session"]}
            return web.json_response({"value": value, "expires_at": until, "session": session})
        secret = {"value": value, "expires_at": int(time.time()) + 60}
        return web.json_response({"id": "sess_1", **body, "client_secret": secret})

    async def hold(self, request: web.Request) -> web.WebSocketResponse:
        self.opened_with.append(request.headers["authorization"])
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_json({"type": "session.created", "session": {"model": MODEL}})
        async for message in socket:
            if message.type == WSMsgType.TEXT and "response.create" in message.data:
                response = {"id": "resp_1", "usage": None}
                await socket.send_json({"type": "response.created", "response": response})
                done = {**response, "usage": USAGE}
                await socket.send_json({"type": "response.done", "response": done})
        return socket


@contextmanager
def providing() -> Iterator[Provider]:
    provider, started = Provider(), threading.Event()
    stop: list[Callable[[], None]] = []

    async def run() -> None:
        ended, loop = asyncio.Event(), asyncio.get_running_loop()
        stop.append(lambda: loop.call_soon_threadsafe(ended.set))
        app = web.Application()
        app.router.add_post("/v1/realtime/{kind}", provider.give)
        app.router.add_get("/v1/realtime", provider.hold)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        provider.port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
        started.set()
        await ended.wait()
        await runner.cleanup()

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    assert started.wait(10)
    try:
        yield provider
    finally:
        stop[0]()
        thread.join(10)


@pytest.fixture
def provider() -> Iterator[Provider]:
    with providing() as made:
        yield made


@pytest.fixture
def gateway(provider: Provider, tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path, {"openai": f"http://127.0.0.1:{provider.port}/v1"}) as running:
        yield running


def ask(gateway: Served, key: str, kind: str = "client_secrets", body: Any = None) -> Any:
    return httpx.post(
        f"{gateway.url}/v1/realtime/{kind}",
        json=ASKED if body is None else body,
        headers={"authorization": f"Bearer {key}"},
        timeout=20,
    )


async def respond(gateway: Served, secret: str, query: str = f"?model={MODEL}") -> list[str]:
    """Hold a session as a browser does, of one response; return the kinds of its events."""
    url = f"ws://127.0.0.1:{gateway.port}/v1/realtime{query}"
    offered = ["realtime", f"openai-insecure-api-key.{secret}"]
    async with connect(url, subprotocols=offered) as connection:
        kinds = [json.loads(await connection.recv())["type"]]
        await connection.send('{"type":"response.create"}')
        while kinds[-1] not in ("response.done", "error"):
            kinds.append(json.loads(await connection.recv())["type"])
        return kinds


def refused(gateway: Served, secret: str, query: str = f"?model={MODEL}") -> tuple[int, str]:
    with pytest.raises(InvalidStatus) as caught:
        asyncio.run(respond(gateway, secret, query))
    response = caught.value.response
    return response.status_code, json.loads(response.body)["error"]["message"]


@pytest.mark.parametrize("query", [f"?model={MODEL}", ""])
def test_a_secret_opens_its_session_metered_under_the_key_that_made_it(gateway, provider, query):
    answer = ask(gateway, gateway.key("alice", tags=(("team", "shop"),)))
    assert answer.status_code == 200
    given = answer.json()
    secret = given["value"]
    assert secret.startswith("ek_") and "theirs" not in answer.text
    assert given["session"]["instructions"] == "Be kind."
    assert 590 <= given["expires_at"] - time.time() <= 600
    kinds = asyncio.run(respond(gateway, secret, query))
    assert kinds == ["session.created", "response.created", "response.done"]
    (call,) = gateway.calls(1)
    assert (call.subject, dict(call.tags), call.model_requested) == (
        "alice", {"team": "shop"}, MODEL,
    )  # fmt: skip
    assert call.usage["input_tokens"] == 132
    # The provider was asked for the same session each time, with the gateway's own key; the
    # session was opened with a secret of its own, not with that key.
    assert [body for _, body, _ in provider.asked] == [ASKED, ASKED]
    assert {key for _, _, key in provider.asked} == {"Bearer sk-upstream-openai"}
    assert provider.opened_with == ["Bearer ek_theirs_2"]


@pytest.mark.parametrize("kind", ["sessions", "transcription_sessions"])
def test_the_older_ways_to_ask_have_the_secret_in_another_place(gateway, provider, kind):
    body = {"model": MODEL, "voice": "alloy"}
    if kind == "transcription_sessions":
        body = {"input_audio_transcription": {"model": MODEL}}
    given = ask(gateway, gateway.key(), kind, body).json()
    secret = given["client_secret"]["value"]
    assert secret.startswith("ek_") and "theirs" not in secret
    assert asyncio.run(respond(gateway, secret, ""))[-1] == "response.done"


def test_a_secret_opens_nothing_else_here(gateway, provider):
    secret = ask(gateway, gateway.key()).json()["value"]
    headers = {"authorization": f"Bearer {secret}"}
    for path in ("/v1/models", "/v1/dashboard/billing/subscription"):
        assert httpx.get(gateway.url + path, headers=headers).status_code == 401
    again = httpx.post(f"{gateway.url}/v1/realtime/client_secrets", json=ASKED, headers=headers)
    assert again.status_code == 401
    assert refused(gateway, secret, "?model=gpt-realtime-mini")[0] == 400
    assert refused(gateway, "ek_guessed")[0] == 401


def test_a_secret_ends_with_its_time_and_with_its_key(gateway, provider):
    short = {**ASKED, "expires_after": {"anchor": "created_at", "seconds": 1}}
    key = gateway.meter.keys.create("alice")
    brief = ask(gateway, key.secret, body=short).json()["value"]
    lasting = ask(gateway, key.secret).json()["value"]
    time.sleep(1.1)
    assert "expired" in refused(gateway, brief)[1]
    gateway.meter.keys.revoke(key.key.id)
    assert refused(gateway, lasting) == (401, "the key that made this client secret has ended")
    assert provider.opened_with == []


def test_expired_secrets_are_forgotten_when_another_is_made(gateway, provider):
    key = gateway.key("alice")
    short = {**ASKED, "expires_after": {"anchor": "created_at", "seconds": -5}}
    for _ in range(3):
        assert ask(gateway, key, body=short).status_code == 200
    owned = gateway.gateway.services.tenants.owned
    rows = owned.page("the gateway itself", "alice", "realtime/client_secrets", limit=9)
    assert len(rows) == 1
    assert "ek_" not in str(rows), "only hashes are kept"


def test_budgets_of_the_key_hold_in_the_session(gateway, provider):
    key = gateway.meter.keys.create("alice")
    gateway.meter.set_budget("k", key=key.key.id, limit="0.0001", currency="USD")
    secret = ask(gateway, key.secret).json()["value"]
    assert asyncio.run(respond(gateway, secret)) == ["session.created", "error"]


@pytest.mark.parametrize(
    ("more", "status"),
    [({"models": ("gpt-4o",)}, 404), ({"endpoints": ("chat",)}, 403), ({"role": "admin"}, 403)],
)
def test_who_may_hold_no_session_gets_no_secret(gateway, provider, more, status):
    assert ask(gateway, gateway.key("alice", **more)).status_code == status
    assert provider.opened_with == provider.asked == []


@pytest.mark.parametrize(("status", "told"), [(400, 400), (401, 502), (500, 500)])
def test_what_the_provider_refuses_is_refused(gateway, provider, status, told):
    provider.status = status
    answer = ask(gateway, gateway.key())
    assert answer.status_code == told
    assert "ek_" not in answer.text


def test_a_provider_that_gives_no_secret_any_more_opens_no_session(gateway, provider):
    secret = ask(gateway, gateway.key()).json()["value"]
    provider.status = 400
    assert refused(gateway, secret)[0] == 502
