"""Run recorded exchanges through the real pipeline, offline, and say what it made of each.

A recording is a JSON-lines file (optionally gzipped), one exchange a line: `method`, `path`,
`provider` or `provider_host`, `request`, `status`, `response_content_type`, `usage_headers` where
headers report usage, and one of `response` (JSON), `response_sse` (raw stream text),
`response_text`, `response_binary` with its bytes in `base64`, or `response_events` (an AWS event
stream, decoded). A file `NAME.blobs.json.gz` beside `NAME.jsonl.gz` holds base64 that lines refer
to as `<<b64:KEY:LENGTH>>`. Nothing is sent and nothing is written to a ledger.
"""

import gzip
import json
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from meter.core.budgets import Hold, Refusal
from meter.core.call import Attribution, Call, Outcome
from meter.core.event import Parts, UsageEvent
from meter.core.money import nanos_to_text
from meter.core.ports import Dialect
from meter.core.rates import RateCard
from meter.errors import InputError
from meter.pipeline import Pipeline
from meter.providers.foreign import decoded, encoded
from meter.providers.registry import dialect_for, dialect_named
from meter.reports.recorded import answer_of, headers_of
from meter.reports.recorded_forms import CONTENT_TYPE, form_of

_REFERENCE = re.compile(rb"<<b64:([0-9a-f]{16}):\d+>>")
_NOBODY = Attribution()
_CHUNK_BYTES = 8192

Exchange = Mapping[str, Any]


class NoStore:
    """A store that keeps nothing: what a replay settles into."""

    def reserve(
        self,
        call: Call,
        issuer: str,
        card: RateCard | None,
        *,
        on_this_thread: bool = False,
        waits: bool = True,
    ) -> Future[tuple[Hold, ...] | Refusal]:
        """Admit every call."""
        admitted: Future[tuple[Hold, ...] | Refusal] = Future()
        admitted.set_result(())
        return admitted

    def settle(
        self,
        event: UsageEvent,
        card: RateCard | None = None,
        others: tuple[RateCard, ...] = (),
        *,
        on_this_thread: bool = False,
    ) -> Future[None]:
        """Forget the record."""
        return _done()

    def settle_parts(self, parts: Parts, cards: tuple[RateCard, ...]) -> Future[None]:
        """Forget the records."""
        return _done()

    def release(self, call: Call) -> Future[None]:
        """Forget the call."""
        return _done()


def _done() -> Future[None]:
    future: Future[None] = Future()
    future.set_result(None)
    return future


def read_lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a recording, with the base64 they refer to put back.

    Raises: InputError when the file cannot be read or is not gzip as its name says.
    """
    blobs = _blobs_beside(path)
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            for line in file:
                if not line.strip():
                    continue
                yield _REFERENCE.sub(lambda m: blobs.get(m[1], m[0]), line) if blobs else line
    except (OSError, EOFError) as error:
        raise InputError(f"cannot read recording {path}: {error}") from None


def replay_line(line: bytes, pipeline: Pipeline) -> dict[str, Any]:
    """Return what the pipeline makes of one recorded exchange; `error` says what went wrong."""
    try:
        exchange, fault = decoded(line)
        if fault is not None:
            raise InputError(fault)
        if not isinstance(exchange, dict):
            raise InputError("found a line that is not a JSON object, expected an exchange")
        return replay_exchange(exchange, pipeline)
    except (InputError, RecursionError, ValueError) as error:
        return _result(None, error=f"{error}")
    except Exception as error:
        # One exchange that the meter cannot take must not end the replay of all others.
        return _result(None, error=f"a fault of the meter's own: {type(error).__name__}: {error}")


def replay_exchange(exchange: Exchange, pipeline: Pipeline) -> dict[str, Any]:
    """Return the estimate, count, usage, basis and cost of one recorded exchange."""
    content_type, body = _request_of(exchange)
    path = str(exchange.get("path") or "/")
    call = pipeline.open_call(
        _dialect_of(exchange, path),
        method=str(exchange.get("method") or "POST"),
        path=path,
        content_type=content_type,
        body=body,
        attribution=_NOBODY,
        count_always=True,
    )
    call.estimate()
    status = exchange.get("status")
    answer = answer_of(exchange)
    call.start(status if isinstance(status, int) else 200, headers_of(exchange))
    for start in range(0, len(answer), _CHUNK_BYTES):
        call.feed(answer[start : start + _CHUNK_BYTES])
    call.finish()
    seen = call.observed()
    event = call.event(Outcome.COMPLETED, seen)
    return _result(exchange.get("id"), event)


def _result(
    exchange_id: Any, event: UsageEvent | None = None, error: str | None = None
) -> dict[str, Any]:
    if event is None:
        return {
            "id": exchange_id, "provider": None, "endpoint": None, "model": None,
            "estimated_input_tokens": None, "counted_output_tokens": None, "usage": None,
            "basis": None, "cost": None, "currency": None, "error": error,
        }  # fmt: skip
    amount = event.charge.amount_nanos
    return {
        "id": exchange_id,
        "provider": event.call.provider,
        "endpoint": event.call.endpoint,
        "model": event.model_served or event.call.model_requested,
        "estimated_input_tokens": event.call.estimated_input_tokens,
        "counted_output_tokens": event.counted_output_tokens,
        "usage": None if event.usage is None else dict(event.usage),
        "basis": str(event.basis),
        "cost": None if amount is None else nanos_to_text(amount),
        "currency": event.charge.currency,
        "error": "; ".join(event.defects) or None,
    }


def _dialect_of(exchange: Exchange, path: str) -> Dialect:
    name = exchange.get("provider")
    if isinstance(name, str):
        try:
            return dialect_named(name)
        except InputError:
            pass  # A provider known by its host or its paths only.
    return dialect_for(str(exchange.get("provider_host") or name or "unknown"), path)


def _request_of(exchange: Exchange) -> tuple[str | None, bytes]:
    request = exchange.get("request")
    if request is None:
        return None, b""
    if isinstance(request, dict) and request.get("multipart") is True:
        return CONTENT_TYPE, form_of(request)
    return "application/json", encoded(request)


def _blobs_beside(path: Path) -> dict[bytes, bytes]:
    stem = path.name.removesuffix(".gz").removesuffix(".jsonl")
    beside = path.with_name(f"{stem}.blobs.json.gz")
    if beside == path or not beside.exists():
        return {}
    with gzip.open(beside, "rt") as file:
        return {key.encode(): value.encode() for key, value in json.load(file).items()}
