"""Watch the body of an answer on its way to the client, and let go of it in the right way.

Knows no HTTP library: the transports derive their streams from these two classes. Each chunk is
observed and handed on; the record is durable before the last byte leaves; a client that leaves
early is recorded as such, and the rest of its answer stopped or drained.
"""

import asyncio
import threading
import time
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping
from types import AsyncGeneratorType
from typing import Any

import anyio

from meter.clients import exchange
from meter.config import Settings
from meter.core.call import Outcome
from meter.pipeline import OpenCall

_drains: set[asyncio.Task[None]] = set()
"""Keeps draining tasks alive: an event loop holds its tasks only weakly."""


class Passage:
    """The body of one answer, for threads."""

    time_out: type[Exception]
    """What the library raises when time runs out."""

    def __init__(
        self, inner: Iterable[bytes], call: OpenCall, settings: Settings, headers: Mapping[str, str]
    ) -> None:
        """Watch `inner`, the library's stream; it has a `close`."""
        self._inner: Any = inner
        self._chunks = iter(inner)
        self._call = call
        self._settings = settings
        self._looks_ahead = exchange.looks_ahead(call, settings, headers)
        # Whether the next chunk is waited for by nobody: before the first one, and between two.
        self._at_rest = True
        self._left = False

    def __iter__(self) -> Iterator[bytes]:
        """Yield the chunks to hand on."""
        call, held, settled = self._call, b"", False
        try:
            self._at_rest = False
            for chunk in self._chunks:
                passed = call.feed(chunk)
                if self._looks_ahead:
                    passed, held = held, passed
                if passed:
                    self._at_rest = True
                    yield passed
                    self._at_rest = False
                if call.ended:
                    if not settled:
                        exchange.settle(call, Outcome.COMPLETED, self._settings)
                        settled = True
                    for waited in call.release():
                        self._at_rest = True
                        yield waited
                        self._at_rest = False
            call.finish()
            if not settled:
                exchange.settle(call, Outcome.COMPLETED, self._settings)
            for waited in (held, *call.release()):
                if waited:
                    yield waited
        except GeneratorExit:
            self.close()
            raise
        except BaseException as error:
            exchange.close(call, exchange.outcome_of(error, self.time_out))
            raise

    def close(self) -> None:
        """Let go of the answer.

        Draining goes on in a thread of its own, so that the client does not wait for it. Its
        bounds are looked at after each read, which the request's own time-out bounds.
        """
        if self._left:
            return
        self._left = True
        if self._at_rest and exchange.is_drained(self._call, self._settings):
            threading.Thread(target=self._drain, name="meter-drain", daemon=True).start()
            return
        exchange.close(self._call, exchange.outcome_on_leaving(self._call))
        self._inner.close()

    def _drain(self) -> None:
        until_s = time.monotonic() + self._settings.drain_seconds
        left_bytes = self._settings.drain_bytes
        try:
            for chunk in self._chunks:
                self._call.feed(chunk)
                left_bytes -= len(chunk)
                if left_bytes < 0 or time.monotonic() > until_s:
                    break
            else:
                self._call.finish()
        except Exception as error:
            exchange.logger.info("draining call %s ended early: %r", self._call.call.id, error)
        finally:
            exchange.close(self._call, Outcome.CLIENT_CLOSED)
            self._inner.close()


class AsyncPassage:
    """The body of one answer, for event loops."""

    time_out: type[Exception]
    """What the library raises when time runs out."""

    def __init__(
        self,
        inner: AsyncIterable[bytes],
        call: OpenCall,
        settings: Settings,
        headers: Mapping[str, str],
    ) -> None:
        """Watch `inner`, the library's stream; it has an `aclose`."""
        self._inner: Any = inner
        self._chunks = aiter(inner)
        self._call = call
        self._settings = settings
        self._looks_ahead = exchange.looks_ahead(call, settings, headers)
        self._at_rest = True
        self._left = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the chunks to hand on."""
        call, held, settled = self._call, b"", False
        try:
            self._at_rest = False
            async for chunk in self._chunks:
                passed = call.feed(chunk)
                if self._looks_ahead:
                    passed, held = held, passed
                if passed:
                    self._at_rest = True
                    yield passed
                    self._at_rest = False
                if call.ended:
                    if not settled:
                        await exchange.settle_async(call, Outcome.COMPLETED, self._settings)
                        settled = True
                    for waited in call.release():
                        self._at_rest = True
                        yield waited
                        self._at_rest = False
            call.finish()
            if not settled:
                await exchange.settle_async(call, Outcome.COMPLETED, self._settings)
            for waited in (held, *call.release()):
                if waited:
                    yield waited
        except GeneratorExit:
            await self.aclose()
            raise
        except BaseException as error:
            exchange.close(call, exchange.outcome_of(error, self.time_out))
            raise

    async def aclose(self) -> None:
        """Let go of the answer.

        Draining goes on in a task of its own, so that the client does not wait for it; outside
        asyncio, where no task can be left behind, the client waits. A task that is cancelled
        while it waits for a chunk drains nothing: the library has closed the connection by then.
        """
        if self._left:
            return
        self._left = True
        if self._at_rest and exchange.is_drained(self._call, self._settings):
            if not exchange.in_asyncio():
                await self._drain()
                return
            task = asyncio.create_task(self._drain(), name="meter-drain")
            _drains.add(task)
            task.add_done_callback(_drains.discard)
            return
        exchange.close(self._call, exchange.outcome_on_leaving(self._call))
        await self._let_go()

    async def _drain(self) -> None:
        left_bytes = self._settings.drain_bytes
        try:
            with anyio.move_on_after(self._settings.drain_seconds):
                async for chunk in self._chunks:
                    self._call.feed(chunk)
                    left_bytes -= len(chunk)
                    if left_bytes < 0:
                        break
                else:
                    self._call.finish()
        except Exception as error:
            exchange.logger.info("draining call %s ended early: %r", self._call.call.id, error)
        finally:
            exchange.close(self._call, Outcome.CLIENT_CLOSED)
            await self._let_go()

    async def _let_go(self) -> None:
        """Close the inner stream, and its iterator unless another task is still inside it."""
        try:
            if isinstance(self._chunks, AsyncGeneratorType) and not self._chunks.ag_running:
                await self._chunks.aclose()
        finally:
            await self._inner.aclose()
