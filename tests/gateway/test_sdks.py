"""Real SDKs get the same objects from the gateway as from the provider itself."""

import asyncio
import dataclasses
import warnings

import anthropic
import openai
import pytest
from google import genai
from google.genai import types

from meter.core.call import Basis, Outcome
from meter.simulator import Simulator
from tests.clients.sdks import ASYNC, SYNC, answered, answered_async, closed, plain
from tests.gateway.conftest import providers
from tests.gateway.serving import Served, served

NAMES = ("openai", "openai on httpx", "anthropic", "google")
FREE = {"moderations", "models", "count tokens", "count"}
WITHOUT_BOOKS = FREE | {"upload", "speech", "embed"}


def without_own_headers(value):
    """Return an answer without what the gateway adds to its headers, or leaves out of them.

    It also says the price of each model in a list.
    """
    if isinstance(value, dict):
        return {
            k: without_own_headers(v)
            for k, v in value.items()
            if k not in {"x-meter-call-id", "date", "server", "content-length", "pricing"}
        }
    if isinstance(value, list | tuple):
        return [without_own_headers(each) for each in value]
    return value


def keyed(client, key):
    """Return the client with a key of the gateway; the SDKs have no common way to it."""
    if isinstance(client, genai.Client):
        url = client._api_client._http_options.base_url
        client.close()
        return genai.Client(api_key=key, http_options=types.HttpOptions(base_url=url))
    return client.with_options(api_key=key)


@pytest.mark.parametrize("name", NAMES)
def test_a_sync_client_gets_the_same(gateway: Served, simulator: Simulator, subtests, name):
    surface = SYNC[name]
    bare = surface.make(simulator.url)
    through = keyed(surface.make(gateway.url), gateway.key())
    made = 0
    for title, question in surface.questions.items():
        with subtests.test(question=title):
            expected = plain(answered(surface.ask(bare), question))
            simulator.reset()
            received = plain(answered(surface.ask(through), question))
            assert without_own_headers(received) == without_own_headers(expected)
            check(gateway, simulator, made, title)
        made += 0 if title == "models" else 1
    asyncio.run(closed(through, surface))
    asyncio.run(closed(bare, surface))


@pytest.mark.parametrize("name", ["openai", "openai on aiohttp", "anthropic", "google"])
def test_an_async_client_gets_the_same(gateway: Served, simulator: Simulator, subtests, name):
    surface = ASYNC[name]

    async def compare() -> None:
        bare = surface.make(simulator.url)
        through = keyed(surface.make(gateway.url), gateway.key())
        for title, question in surface.questions.items():
            with subtests.test(question=title):
                expected = plain(await answered_async(surface.ask(bare), question))
                received = plain(await answered_async(surface.ask(through), question))
                assert without_own_headers(received) == without_own_headers(expected)
        await closed(through, surface)
        await closed(bare, surface)

    with warnings.catch_warnings():
        # The google client prefers aiohttp, and subclasses its session.
        warnings.filterwarnings("ignore", "Inheritance class", DeprecationWarning)
        asyncio.run(compare())


def check(gateway: Served, simulator: Simulator, before: int, title: str) -> None:
    """Tell whether the newest call is recorded as the provider's own books have it."""
    if title == "models":
        return
    call = gateway.calls(before + 1)[-1]
    assert call.outcome is Outcome.COMPLETED
    assert call.subject == "alice"
    if title in WITHOUT_BOOKS:
        return
    assert call.basis is Basis.REPORTED
    billed = simulator.books()["exchanges"][-1]["quantities"]
    assert call.usage["input_tokens"] == billed["input_tokens"]
    if not title.startswith("embed"):
        assert call.usage["output_tokens"] == billed["output_tokens"]


@pytest.mark.parametrize("is_shared", [False, True])
def test_files_go_up_and_come_down(simulator, tmp_path, is_shared):
    content = bytes(range(256)) * 20_000
    with served(tmp_path, providers(simulator), allow_stored_objects=is_shared) as gateway:
        with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key()) as client:
            stored = client.files.create(file=("numbers.bin", content), purpose="user_data")
            assert client.files.retrieve(stored.id).bytes == len(content)
            assert client.files.content(stored.id).read() == content
            assert client.files.delete(stored.id).deleted
        assert [call.endpoint for call in gateway.calls(4)] == [
            "files", "records", "files.content", "records",
        ]  # fmt: skip


def test_a_path_that_nobody_can_meter_is_told(gateway: Served):
    with (
        openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key()) as client,
        pytest.raises(openai.NotFoundError, match="not an endpoint that this gateway"),
    ):
        client.get("/surprise", cast_to=object)


def test_64_mixed_calls_at_once_are_all_recorded_as_in_the_books(gateway, simulator):
    key = gateway.key()
    question = [{"role": "user", "content": "Describe the sea in one line."}]

    async def ask(number: int, ours: openai.AsyncOpenAI, theirs: anthropic.AsyncAnthropic) -> None:
        match number % 4:
            case 0:
                await ours.chat.completions.create(model="gpt-4o-mini", messages=question)
            case 1:
                stream = await ours.chat.completions.create(
                    model="gpt-4o-mini", messages=question, stream=True
                )
                async for _ in stream:
                    pass
            case 2:
                await ours.embeddings.create(model="text-embedding-3-small", input=["a", "b"])
            case 3:
                await theirs.messages.create(
                    model="claude-haiku-4-5", max_tokens=32, messages=question
                )

    async def ask_all() -> None:
        ours = openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=key, max_retries=0)
        theirs = anthropic.AsyncAnthropic(base_url=gateway.url, api_key=key, max_retries=0)
        async with ours, theirs:
            await asyncio.gather(*(ask(number, ours, theirs) for number in range(64)))

    asyncio.run(ask_all())
    calls = gateway.calls(64)
    billed = simulator.books()["quantities"]
    for unit in ("input_tokens", "output_tokens"):
        assert sum(call.usage.get(unit, 0) for call in calls) == billed[unit]
    assert {call.basis for call in calls} == {Basis.REPORTED}
    assert len({call.id for call in calls}) == 64


def test_the_call_id_of_the_answer_is_that_of_the_record(gateway: Served):
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key()) as client:
        raw = client.chat.completions.with_raw_response.create(
            model="gpt-4o-mini", messages=[{"role": "user", "content": "hello"}]
        )
    (call,) = gateway.calls()
    assert raw.headers["x-meter-call-id"] == str(call.id)
    assert call.upstream == "openai"
    assert dataclasses.asdict(call)["endpoint"] == "chat"
