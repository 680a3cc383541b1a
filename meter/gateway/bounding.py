"""Bound what work can cost whose request names only a file: batches and fine-tuning jobs.

The file lies at the upstream. It is read line by line when a budget could not decide without it,
never held as a whole. Each request of a batch is bounded as if it were sent by itself, at the
batch's price. Asked by `relay` for `admission`.

Source: https://platform.openai.com/docs/guides/batch (2026-11): 50,000 requests and 200 MB at most;
epochs that are left to OpenAI as in
https://cookbook.openai.com/examples/chat_finetuning_data_prep (2026-11): three, more for few
examples, 25 at most.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Iterable, Mapping
from concurrent.futures import Executor
from dataclasses import replace
from typing import Any, Final
from urllib.parse import quote

import msgspec

from meter.core.call import Bound
from meter.core.estimating import TRAINED
from meter.gateway.http.client import Client
from meter.gateway.http.errors import UpstreamError
from meter.gateway.upstreams import Upstream
from meter.pipeline import OpenCall, Pipeline
from meter.providers.foreign import encoded, mapping
from meter.providers.openai.batches import TIER

logger = logging.getLogger("meter.gateway")

WORK: Final = frozenset({"batches", "fine_tuning.jobs", "messages.batches"})
"""The endpoints whose requests are bounded here."""

_MOST_REQUESTS: Final = 100_000
_MOST_BYTES: Final = 512 * 1024 * 1024
_LONGEST_LINE_BYTES: Final = 16 * 1024 * 1024
_AT_ONCE_BYTES: Final = 262_144
_SECONDS: Final = 120
_USUAL_EPOCHS: Final = 3
_MOST_EPOCHS: Final = 25
_FEW_EXAMPLES: Final = 100


class _Line(msgspec.Struct):
    """One request of a batch's input file."""

    url: str
    body: msgspec.Raw


_line: Final = msgspec.json.Decoder(_Line)


class Unbounded(Exception):
    """Nothing bounds the work; says why."""


class _Sum:
    """The bounds of the requests of one batch, added up."""

    def __init__(self, call: OpenCall, pipeline: Pipeline, upstream: Upstream) -> None:
        self._call = call
        self._pipeline = pipeline
        self._upstream = upstream
        self._number = 0
        self._bound: Bound | None = None

    @property
    def bound(self) -> Bound:
        """Return the bound of all. Raises: Unbounded when there was none."""
        if self._bound is None:
            raise Unbounded("the batch has no request")
        return self._bound

    def add_lines(self, lines: Iterable[bytes]) -> None:
        """Add the requests that these lines hold. Raises: Unbounded."""
        for line in lines:
            if not line.strip():
                continue
            try:
                asked = _line.decode(line)
            except (msgspec.MsgspecError, ValueError, RecursionError):
                self._number += 1
                raise self._unbounded("is no request of a batch") from None
            self.add(asked.url, bytes(asked.body))

    def add(self, path: str, body: bytes) -> None:
        """Add one request. Raises: Unbounded."""
        self._number += 1
        if self._number > _MOST_REQUESTS:
            raise Unbounded(f"the batch has more than {_MOST_REQUESTS} requests")
        call = self._pipeline.open_call(
            self._call.dialect,
            method="POST",
            path=path,
            content_type="application/json",
            body=body,
            attribution=self._call.call.attribution,
            upstream=self._upstream.name,
        )
        if not call.reading.metered or call.reading.endpoint in WORK:
            raise self._unbounded(f"is for {path!r:.80}, which is not known to be billed")
        call.reading = replace(call.reading, service_tier=TIER)
        call.estimate()
        each = call.call.bound
        if call.reading.free:
            each = Bound(0, 0, 0, None)
        elif each.cost_nanos is None or each.input_tokens is None or each.output_tokens is None:
            raise self._unbounded("has nothing that bounds it")
        try:
            self._bound = each if self._bound is None else added(self._bound, each)
        except ValueError:
            raise self._unbounded("is billed in another currency than those before it") from None

    def _unbounded(self, why: str) -> Unbounded:
        return Unbounded(f"request {self._number} of the batch {why}")


def added(one: Bound, other: Bound) -> Bound:
    """Return the bound of both. Raises: ValueError when they are in different currencies."""
    currency = _same(one.currency, other.currency)
    is_resold = one.billed_currency is not None or other.billed_currency is not None
    bound = Bound(
        (one.input_tokens or 0) + (other.input_tokens or 0),
        (one.output_tokens or 0) + (other.output_tokens or 0),
        (one.cost_nanos or 0) + (other.cost_nanos or 0),
        currency,
    )
    if not is_resold:
        return bound
    billed = [_billed(each) for each in (one, other)]
    if any(nanos is None or not in_currency for nanos, in_currency in billed if nanos != 0):
        # A price of our own ought to cover one of them and does not.
        return replace(bound, billed_currency="")
    return replace(
        bound,
        billed_nanos=sum(nanos or 0 for nanos, _ in billed),
        billed_currency=_same(billed[0][1], billed[1][1]),
    )


def _billed(bound: Bound) -> tuple[int | None, str | None]:
    if bound.billed_currency is None:
        return bound.cost_nanos, bound.currency
    return bound.billed_nanos, bound.billed_currency


def _same(one: str | None, other: str | None) -> str | None:
    if one is not None and other is not None and one != other:
        raise ValueError("found amounts in different currencies")
    return other if one is None else one


class Bounding:
    """Looks up what work can cost, on the event loop; requests are read on threads."""

    def __init__(self, pipeline: Pipeline, client: Client, threads: Executor) -> None:
        """Take what it asks with."""
        self._pipeline = pipeline
        self._client = client
        self._threads = threads

    async def bound_of_work(self, upstream: Upstream, call: OpenCall) -> Bound:
        """Return the most that the work of a call can consume and cost. Raises: Unbounded."""
        endpoint, request = call.reading.endpoint, call.reading.request
        try:
            async with asyncio.timeout(_SECONDS):
                if endpoint == "messages.batches":
                    return await self._of_messages(upstream, call)
                name = "input_file_id" if endpoint == "batches" else "training_file"
                file = request.get(name)
                if not isinstance(file, str) or not file:
                    raise Unbounded(f"it names no {name}")
                of_file = self._of_batch if endpoint == "batches" else self._of_training
                return await of_file(upstream, call, file)
        except (UpstreamError, TimeoutError) as error:
            logger.warning("the upstream %s gave no file: %s", upstream.name, type(error).__name__)
            raise Unbounded("its file could not be read") from None

    async def _of_batch(self, upstream: Upstream, call: OpenCall, file: str) -> Bound:
        total = _Sum(call, self._pipeline, upstream)
        loop = asyncio.get_running_loop()
        async for lines in self.lines_of(upstream, file):
            await loop.run_in_executor(self._threads, total.add_lines, lines)
        return total.bound

    async def _of_messages(self, upstream: Upstream, call: OpenCall) -> Bound:
        total = _Sum(call, self._pipeline, upstream)
        asked = call.reading.request.get("requests")

        def add_all() -> Bound:
            for each in asked if isinstance(asked, list) else []:
                total.add("/v1/messages", encoded(mapping(each).get("params")))
            return total.bound

        return await asyncio.get_running_loop().run_in_executor(self._threads, add_all)

    async def _of_training(self, upstream: Upstream, call: OpenCall, file: str) -> Bound:
        """Return the most that training takes: no token is shorter than a byte."""
        request = call.reading.request
        if mapping(request.get("method")).get("type") == "reinforcement":
            raise Unbounded("reinforcement is billed by the hour")
        size_bytes = examples = 0
        async for lines in self.lines_of(upstream, file):
            if any(b"image_url" in line for line in lines):
                raise Unbounded("its examples have pictures")
            size_bytes += sum(map(len, lines))
            examples += sum(1 for line in lines if line.strip())
        bound = call.bound_of({TRAINED: size_bytes * _epochs(request, examples)})
        return replace(bound, input_tokens=0, output_tokens=0)

    async def lines_of(self, upstream: Upstream, file: str) -> AsyncGenerator[list[bytes], None]:
        """Yield the lines of a stored file, many at a time. Raises: Unbounded, UpstreamError."""
        credential = upstream.credential_header("openai")
        sent = [("accept-encoding", "identity"), *([] if credential is None else [credential])]
        target = upstream.path_of(f"/v1/files/{quote(file, safe='')}/content")
        response = await self._client.send("GET", upstream.origin, target, sent, seconds=_SECONDS)
        try:
            if response.status != 200:
                raise Unbounded(f"the upstream answered {response.status} for its file")
            kept, came_bytes = bytearray(), 0
            async for piece in response.pieces():
                kept += piece
                came_bytes += len(piece)
                if came_bytes > _MOST_BYTES:
                    raise Unbounded(f"its file has more than {_MOST_BYTES} bytes")
                end = kept.rfind(b"\n") + 1 if len(kept) >= _AT_ONCE_BYTES else 0
                if end:
                    whole = bytes(kept[:end])
                    del kept[:end]
                    yield whole.split(b"\n")
                elif len(kept) > _LONGEST_LINE_BYTES:
                    raise Unbounded(f"its file has a line of more than {_LONGEST_LINE_BYTES} bytes")
            yield bytes(kept).split(b"\n")
        finally:
            response.close()


def _epochs(request: Mapping[str, Any], examples: int) -> int:
    method = mapping(request.get("method"))
    named = mapping(method.get(str(method.get("type"))))
    for place in (mapping(named.get("hyperparameters")), mapping(request.get("hyperparameters"))):
        epochs = place.get("n_epochs")
        if type(epochs) is int and epochs > 0:
            return epochs
    few = -(-_FEW_EXAMPLES // max(examples, 1))
    return min(max(_USUAL_EPOCHS, few), _MOST_EPOCHS)
