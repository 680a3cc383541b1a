"""Wrapping: what the copy keeps, what the original keeps, and what cannot be wrapped."""

import asyncio
import gc
import json
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import anthropic
import httpx2
import openai
import pytest
from google import genai
from google.genai import errors, types
from langchain_openai import ChatOpenAI
from mistralai.client import Mistral
from mistralai.client.errors import MistralError

from meter.clients.sdk import wrap
from meter.core.budgets import Refusal
from meter.core.call import Outcome
from meter.errors import WrapError
from meter.pipeline import Pipeline
from meter.simulator import Simulator
from tests.clients.answers import ANSWER, CHAT, SSE_ANSWER, USAGE
from tests.clients.memory import MemoryStore, pipeline_on
from tests.clients.sdks import ASYNC, HELLO, KEY, SYNC, Surface, answered, closed
from tests.clients.upstream import Upstream, json_answer

PATH = "/v1/chat/completions"
BUSY = json_answer(
    b'{"error": {"message": "busy"}}', "retry-after-ms: 1", status="503 Service Unavailable"
)


@pytest.fixture
def closing() -> Iterator[Callable[[Any], Any]]:
    """Close what is handed over at the end of the test."""
    opened: list[Any] = []

    def keep(client: Any) -> Any:
        opened.append(client)
        return client

    yield keep
    for client in opened:
        client.close()


@pytest.mark.parametrize("name", SYNC)
def test_the_given_client_stays_unmetered(
    simulator: Simulator, store: MemoryStore, name: str
) -> None:
    surface = SYNC[name]
    bare = surface.make(simulator.url)
    before = [(http, dict(vars(http))) for http in surface.http(bare)]
    wrapped = wrap(bare, pipeline_on(store))
    assert type(wrapped) is type(bare)
    answered(surface.ask(bare), next(iter(surface.questions.values())))
    assert store.reserved == []
    for (http, state), present in zip(before, surface.http(bare), strict=True):
        assert present is http
        after = {**vars(http), "_state": state["_state"]}
        assert after == state
    asyncio.run(closed(bare, surface))


@pytest.mark.parametrize("surface", [*SYNC.values(), *ASYNC.values()], ids=[*SYNC, *ASYNC])
def test_wrapping_twice_meters_once(store: MemoryStore, surface: Surface) -> None:
    async def check() -> None:
        bare = surface.make("http://127.0.0.1:9")
        pipeline = pipeline_on(store)
        wrapped = wrap(bare, pipeline)
        assert wrapped is not bare
        assert wrap(wrapped, pipeline) is wrapped
        with pytest.raises(WrapError, match="metered by another Meter"):
            wrap(wrapped, pipeline_on(store))
        await closed(bare, surface)

    asyncio.run(check())


def test_the_copy_keeps_the_configuration(pipeline: Pipeline, closing: Any) -> None:
    bare = closing(
        openai.OpenAI(
            base_url="http://127.0.0.1:9/v1",
            api_key=KEY,
            organization="org",
            timeout=7.0,
            max_retries=5,
            default_headers={"x-own": "1"},
            default_query={"q": "2"},
            _strict_response_validation=True,
        )
    )
    wrapped = wrap(bare, pipeline)
    kept = (
        "base_url", "api_key", "organization", "timeout", "max_retries", "_custom_headers",
        "_custom_query", "_strict_response_validation",
    )  # fmt: skip
    for name in kept:
        assert getattr(wrapped, name) == getattr(bare, name), name


def test_options_set_later_stay_metered(
    simulator: Simulator, store: MemoryStore, closing: Any
) -> None:
    bare = closing(openai.OpenAI(base_url=f"{simulator.url}/v1", api_key=KEY))
    wrapped = wrap(bare, pipeline_on(store, hosts={simulator.url[7:]: "auto"}))
    wrapped.with_options(timeout=3).chat.completions.create(model="gpt-4o", messages=HELLO)
    assert store.event.outcome is Outcome.COMPLETED


def test_closing_the_copy_leaves_the_original_open(
    simulator: Simulator, store: MemoryStore, closing: Any
) -> None:
    bare = closing(openai.OpenAI(base_url=f"{simulator.url}/v1", api_key=KEY))
    with wrap(bare, pipeline_on(store, hosts={simulator.url[7:]: "auto"})) as wrapped:
        wrapped.models.list()
        connections = bare._client._transport._pool.connections  # type: ignore[attr-defined]
        assert len(connections) == 1
    assert wrapped.is_closed()
    assert not bare.is_closed()
    bare.models.list()
    # The same connection served both.
    assert bare._client._transport._pool.connections == connections  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", SYNC)
def test_a_copy_outlives_the_name_of_its_original(
    simulator: Simulator, store: MemoryStore, name: str
) -> None:
    surface = SYNC[name]
    pipeline = pipeline_on(store, hosts={simulator.url[7:]: surface.dialect})
    wrapped = wrap(surface.make(simulator.url), pipeline)
    gc.collect()
    answered(surface.ask(wrapped), next(iter(surface.questions.values())))
    assert len(store.events) == 1
    for http in surface.http(wrapped):
        if not hasattr(http, "aclose"):
            http._transport.inner.close()


def test_a_copy_that_takes_over_closes_the_connections(
    simulator: Simulator, store: MemoryStore, library: ModuleType
) -> None:
    pipeline = pipeline_on(store, hosts={simulator.url[7:]: "auto"})
    bare = library.Client(base_url=simulator.url, headers={"authorization": f"Bearer {KEY}"})
    with wrap(bare, pipeline, take_over=True) as wrapped:
        wrapped.get("/v1/models").raise_for_status()
        assert len(bare._transport._pool.connections) == 1
    assert bare._transport._pool.connections == []


def test_proxies_of_the_environment_are_honoured_and_metered(
    store: MemoryStore, library: ModuleType, monkeypatch: pytest.MonkeyPatch, closing: Any
) -> None:
    with Upstream([json_answer(ANSWER)]) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("no_proxy", "")
        bare = closing(library.Client())
        wrapped = wrap(bare, pipeline_on(store))
        assert wrapped.post(f"http://api.openai.com{PATH}", json=CHAT).content == ANSWER
    assert proxy.requests[0].startswith(b"POST http://api.openai.com/v1/chat/completions HTTP/1.1")
    assert (store.event.call.provider, store.event.usage) == ("openai", USAGE)


def test_hosts_outside_the_proxy_are_metered_too(
    store: MemoryStore, library: ModuleType, monkeypatch: pytest.MonkeyPatch, closing: Any
) -> None:
    with Upstream([json_answer(ANSWER)]) as proxy, Upstream([json_answer(ANSWER)]) as direct:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        wrapped = wrap(closing(library.Client()), pipeline_on(store, hosts={direct.host: "auto"}))
        wrapped.post(f"{direct.url}{PATH}", json=CHAT)
    assert (len(proxy.requests), len(direct.requests)) == (0, 1)
    assert store.event.usage == USAGE


def test_mounts_are_honoured_and_metered(
    store: MemoryStore, library: ModuleType, closing: Any
) -> None:
    def answer(request: Any) -> Any:
        return library.Response(200, content=ANSWER, headers={"content-type": "application/json"})

    mounts = {"all://api.openai.com": library.MockTransport(answer)}
    with Upstream([json_answer(ANSWER)]) as upstream:
        wrapped = wrap(
            closing(library.Client(mounts=mounts)),
            pipeline_on(store, hosts={upstream.host: "auto"}),
        )
        wrapped.post(f"https://api.openai.com{PATH}", json=CHAT)
        wrapped.post(f"{upstream.url}{PATH}", json=CHAT)
    assert [event.usage for event in store.events] == [USAGE, USAGE]
    assert [event.call.provider for event in store.events] == ["openai", "openai"]


def test_everything_set_on_an_http_client_comes_along(
    store: MemoryStore, library: ModuleType, closing: Any
) -> None:
    seen: list[str] = []

    class Own(library.Client):  # type: ignore[name-defined, misc]
        def build_request(self, *arguments: Any, **named: Any) -> Any:
            seen.append("built")
            return super().build_request(*arguments, **named)

    with Upstream([json_answer(ANSWER)]) as upstream:
        bare = closing(
            Own(
                base_url=upstream.url,
                auth=("me", "secret"),
                params={"p": "1"},
                headers={"x-own": "2"},
                cookies={"session": "3"},
                timeout=9,
                event_hooks={
                    "request": [lambda request: seen.append("request")],
                    "response": [lambda response: seen.append("response")],
                },
            )
        )
        wrapped = wrap(bare, pipeline_on(store))
        wrapped.post(PATH, json=CHAT)
        wrapped.headers["x-own"] = "4"
        wrapped.event_hooks["request"].clear()
        bare.post(PATH, json=CHAT)
    assert type(wrapped) is Own
    assert wrapped.timeout == bare.timeout
    assert seen == ["built", "request", "response"] * 2
    # The copy's request is the original's, and changing the copy changed nothing there.
    assert upstream.requests[0] == upstream.requests[1]
    assert b"x-own: 2" in upstream.requests[1]


def test_a_copy_can_be_entered_though_its_original_was(
    store: MemoryStore, library: ModuleType
) -> None:
    with Upstream([json_answer(ANSWER)]) as upstream, library.Client() as bare:
        with wrap(bare, pipeline_on(store)) as wrapped:
            wrapped.get(upstream.url)
        assert bare.get(upstream.url).content == ANSWER


def test_a_refusal_is_the_sdks_own_error_and_is_not_retried(
    simulator: Simulator, store: MemoryStore, closing: Any
) -> None:
    store.verdict = Refusal("team-a", "the budget is spent")
    pipeline = pipeline_on(store, hosts={simulator.url[7:]: "auto"})
    bare = closing(openai.OpenAI(base_url=f"{simulator.url}/v1", api_key=KEY, max_retries=3))
    with pytest.raises(openai.RateLimitError, match="the budget is spent") as caught:
        wrap(bare, pipeline).chat.completions.create(model="gpt-4o", messages=HELLO)
    assert caught.value.code == "insufficient_quota"
    claude = closing(anthropic.Anthropic(base_url=simulator.url, api_key=KEY, max_retries=3))
    with pytest.raises(anthropic.RateLimitError, match="the budget is spent"):
        wrap(claude, pipeline).messages.create(model="claude", max_tokens=9, messages=HELLO)
    gemini = genai.Client(api_key=KEY, http_options=types.HttpOptions(base_url=simulator.url))
    with pytest.raises(errors.ClientError, match="the budget is spent"):
        wrap(gemini, pipeline).models.generate_content(model="gemini", contents="x")
    with (
        Mistral(server_url=f"{simulator.url}/mistral", api_key=KEY) as mistral,
        pytest.raises(MistralError, match="the budget is spent"),
    ):
        wrap(mistral, pipeline).chat.complete(model="mistral-small-latest", messages=HELLO)
    assert [event.outcome for event in store.events] == [Outcome.REFUSED] * 4
    assert simulator.requests == []


@pytest.mark.parametrize("kind", [openai.OpenAI, openai.AsyncOpenAI])
def test_the_attempts_of_an_sdk_share_an_operation(store: MemoryStore, kind: Any) -> None:
    async def ask(client: Any) -> None:
        answer = client.chat.completions.create(model="gpt-4o", messages=HELLO)
        await answer if asyncio.iscoroutine(answer) else None

    async def both(url: str, host: str) -> None:
        bare = kind(base_url=f"{url}/v1", api_key=KEY, max_retries=3)
        wrapped = wrap(bare, pipeline_on(store, hosts={host: "auto"}))
        await ask(wrapped)
        await ask(wrapped)
        await closed(bare, SYNC["openai"])

    with Upstream([BUSY], [BUSY], [json_answer(ANSWER)]) as upstream:
        asyncio.run(both(upstream.url, upstream.host))
    first, second, third, other = (event.call for event in store.events)
    assert first.operation_id == second.operation_id == third.operation_id == first.id
    assert len({call.id for call in (first, second, third, other)}) == 4
    assert other.operation_id == other.id
    assert b"x-stainless-retry-count: 2" in upstream.requests[2].lower()


def test_a_stream_that_is_dropped_in_the_middle_is_recorded(
    store: MemoryStore, closing: Any
) -> None:
    with Upstream(SSE_ANSWER) as upstream:
        bare = closing(openai.OpenAI(base_url=f"{upstream.url}/v1", api_key=KEY))
        wrapped = wrap(bare, pipeline_on(store, hosts={upstream.host: "auto"}))
        stream = wrapped.chat.completions.create(model="gpt-4o", messages=HELLO, stream=True)
        for _ in stream:
            break
        del stream
        gc.collect()
    assert store.event.outcome is Outcome.CLIENT_CLOSED


def test_a_langchain_model_runs_on_a_wrapped_http_client(
    simulator: Simulator, store: MemoryStore
) -> None:
    pipeline = pipeline_on(store, hosts={simulator.url[7:]: "auto"})
    with wrap(httpx2.Client(), pipeline, take_over=True) as http:
        model = ChatOpenAI(
            model="gpt-4o-mini", base_url=f"{simulator.url}/v1", api_key=KEY, http_client=http
        )
        answer = model.invoke("hello")
        assert store.event.usage is not None
        assert answer.usage_metadata is not None
        assert store.event.usage["output_tokens"] == answer.usage_metadata["output_tokens"]
        with pytest.raises(WrapError, match="http_client"):
            wrap(model, pipeline)


def test_google_clients_keep_their_settings(pipeline: Pipeline) -> None:
    bare = genai.Client(
        vertexai=True,
        project="p",
        location="europe-west4",
        credentials=None,
        http_options=types.HttpOptions(
            base_url="http://127.0.0.1:9", timeout=1234, headers={"x-own": "1"}
        ),
    )
    wrapped = wrap(bare, pipeline)
    old, new = bare._api_client, wrapped._api_client
    for name in ("vertexai", "project", "location", "api_key", "custom_base_url"):
        assert getattr(new, name) == getattr(old, name), name
    for name in ("base_url", "api_version", "timeout", "headers", "retry_options"):
        assert getattr(new._http_options, name) == getattr(old._http_options, name), name


def test_mistral_clients_keep_their_settings(pipeline: Pipeline) -> None:
    bare = Mistral(api_key=lambda: "k" + "1", server="eu", timeout_ms=1234)
    wrapped = wrap(bare, pipeline)
    old, new = bare.sdk_configuration, wrapped.sdk_configuration
    assert new.get_server_details() == old.get_server_details()
    assert new.timeout_ms == 1234
    assert callable(new.security)
    assert new.security().api_key == "k1"


@pytest.mark.parametrize("thing", [object(), 3, "client", json, Pipeline])
def test_what_cannot_be_wrapped_is_told(pipeline: Pipeline, thing: Any) -> None:
    with pytest.raises(WrapError, match=r"expected a client of openai, .* or an httpx"):
        wrap(thing, pipeline)


def test_a_subclass_that_cannot_be_copied_is_told(pipeline: Pipeline, closing: Any) -> None:
    class Own(openai.OpenAI):
        def __init__(self, name: str) -> None:
            super().__init__(api_key=KEY)

    with pytest.raises(WrapError, match=r"cannot copy .*Own"):
        wrap(closing(Own("x")), pipeline)


def test_an_object_that_only_looks_like_an_http_client_is_told(pipeline: Pipeline) -> None:
    class Looks:
        def send(self, request: Any, **named: Any) -> Any: ...
        def build_request(self, method: str, url: str, **named: Any) -> Any: ...
        def close(self) -> None: ...

    mistral = Mistral(api_key=KEY, client=Looks())  # type: ignore[arg-type]
    with pytest.raises(WrapError, match="expected one of httpx or httpx2"):
        wrap(mistral, pipeline)


def test_wrapping_imports_no_sdk() -> None:
    import subprocess
    import sys

    program = (
        "import sys, meter.clients.sdk; "
        "names = {'httpx', 'httpx2', 'openai', 'anthropic', 'google.genai', 'mistralai', 'cohere'};"
        "print(names & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr
