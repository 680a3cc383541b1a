"""A wrapped SDK client answers as an unwrapped one does: same classes, same fields, same events."""

import asyncio
import warnings

import pytest

from meter.clients.sdk import wrap
from meter.core.call import Basis, Outcome
from meter.simulator import Simulator
from tests.clients.memory import MemoryStore, pipeline_on
from tests.clients.sdks import ASYNC, SYNC, Surface, answered, answered_async, closed, plain

UNMETERED = {"moderations", "models", "upload", "speech", "count tokens", "count", "embed"}
"""Questions whose endpoints this release counts without reading their usage, or knows as free."""


@pytest.mark.parametrize("name", SYNC)
def test_a_wrapped_sync_client_gives_the_same(
    simulator: Simulator, store: MemoryStore, subtests: pytest.Subtests, name: str
) -> None:
    surface = SYNC[name]
    bare = surface.make(simulator.url)
    wrapped = wrap(bare, pipeline_on(store, hosts={simulator.url[7:]: surface.dialect}))
    for title, question in surface.questions.items():
        with subtests.test(question=title):
            expected = plain(answered(surface.ask(bare), question))
            assert store.events == []
            simulator.reset()
            assert plain(answered(surface.ask(wrapped), question)) == expected
            check(simulator, store, surface, title)
        store.forget()
    asyncio.run(closed(bare, surface))


@pytest.mark.parametrize("name", ASYNC)
def test_a_wrapped_async_client_gives_the_same(
    simulator: Simulator, store: MemoryStore, subtests: pytest.Subtests, name: str
) -> None:
    surface = ASYNC[name]

    async def compare() -> None:
        bare = surface.make(simulator.url)
        wrapped = wrap(bare, pipeline_on(store, hosts={simulator.url[7:]: surface.dialect}))
        for title, question in surface.questions.items():
            with subtests.test(question=title):
                expected = plain(await answered_async(surface.ask(bare), question))
                assert store.events == []
                simulator.reset()
                received = plain(await answered_async(surface.ask(wrapped), question))
                assert received == expected
                check(simulator, store, surface, title)
            store.forget()
        await closed(wrapped, surface)
        await closed(bare, surface)

    with warnings.catch_warnings():
        # The unwrapped google client prefers aiohttp, and subclasses its session.
        warnings.filterwarnings("ignore", "Inheritance class", DeprecationWarning)
        asyncio.run(compare())


def check(simulator: Simulator, store: MemoryStore, surface: Surface, question: str) -> None:
    """Tell whether the call is recorded as the provider's own books have it."""
    event = store.event
    assert event.call.provider == surface.dialect
    if question in UNMETERED or surface.dialect == "cohere":
        return
    assert event.outcome is Outcome.COMPLETED
    assert event.basis is Basis.REPORTED
    billed = simulator.wait_for_requests(1)["exchanges"][0]["quantities"]
    assert event.usage is not None
    assert event.usage["input_tokens"] == billed["input_tokens"]
    if not question.startswith("embed"):
        assert event.usage["output_tokens"] == billed["output_tokens"]
