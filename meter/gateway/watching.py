"""Look after work that goes on at an upstream, so that its end is billed when nobody asks for it.

Batches, fine-tuning jobs and films that were made through the gateway are looked at now and then,
by one process of all at a time, through the same pipeline as a customer's own look, and once more
before they are deleted. Whoever sees the end first bills it, once. Called by `app` and `relay`, on
the event loop.
"""

import asyncio
import logging
from dataclasses import replace
from typing import Final

from meter.clock import now_us
from meter.core.call import Attribution, Outcome
from meter.gateway.attributing import attribution_of
from meter.gateway.http.errors import UpstreamError
from meter.gateway.objects import FAMILIES, place_of, shown_in
from meter.gateway.services import Services
from meter.gateway.upstreams import Upstream
from meter.gateway.waiting import wait
from meter.pipeline import OpenCall
from meter.providers.foreign import JSONObject, decoded, label, mapping
from meter.providers.provider import Shape
from meter.store.owned import Owned

logger = logging.getLogger("meter.gateway")

_AT_ONCE: Final = 20
_SECONDS: Final = 120
_MINUTE_US: Final = 60_000_000
_HOUR_US: Final = 60 * _MINUTE_US
_LONGEST_BYTES: Final = 8_388_608
_ENDED: Final = {
    "batches": ("status", frozenset({"completed", "failed", "expired", "cancelled"})),
    "fine_tuning/jobs": ("status", frozenset({"succeeded", "failed", "cancelled"})),
    "messages/batches": ("processing_status", frozenset({"ended"})),
    "videos": ("status", frozenset({"completed", "failed"})),
    "google/batches": ("done", frozenset({True})),
}


async def look_after(services: Services) -> int:
    """Look at the work whose time has come; return how much of it has ended.

    Raises: StoreError.
    """
    loop = asyncio.get_running_loop()
    owned = services.tenants.owned
    at_us = now_us()
    due = await loop.run_in_executor(
        services.threads,
        lambda: owned.due(at_us, until_us=at_us + 5 * _MINUTE_US, limit=_AT_ONCE),
    )
    ended = 0
    for row in due:
        upstream = next(
            (up for up in services.router.upstreams.listed if up.name == row.upstream), None
        )
        if upstream is None:
            continue
        try:
            again_us = await _look(services, upstream, row)
        except (UpstreamError, TimeoutError) as error:
            logger.warning("could not look at %s: %s", row.id, type(error).__name__)
            continue
        await loop.run_in_executor(services.threads, owned.watch, row.upstream, row.id, again_us)
        ended += again_us is None
    return ended


async def look_before_deleting(services: Services, upstream: Upstream, name: str) -> None:
    """Bill work that has ended, before nobody can see any more what it used.

    Raises: StoreError, UpstreamError, TimeoutError.
    """
    loop = asyncio.get_running_loop()
    row = await loop.run_in_executor(
        services.threads, services.tenants.owned.one, upstream.name, name
    )
    if row is not None and row.watched_us is not None:
        await _look(services, upstream, row)


async def _look(services: Services, upstream: Upstream, row: Owned) -> int | None:
    """Look at one object; return when to look again, None when it has ended."""
    path = FAMILIES[row.family].path_of(row.id)
    call, status, body = await _get(services, upstream, row, path)
    if status == 404:
        call.abandon()
        return None
    shown = mapping(decoded(body)[0])
    member, ends = _ENDED[row.family]
    if status != 200 or shown.get(member) not in ends:
        call.abandon()
        at_us = now_us()
        return at_us + min(max((at_us - row.created_us) // 10, _MINUTE_US), _HOUR_US)
    seconds = services.pipeline.settings.store_seconds
    results, tells_usage = _results_of(row, shown), bool(mapping(shown.get("usage")))
    if tells_usage:
        await wait(call.close(Outcome.COMPLETED), seconds)
    if results is not None:
        # What each request used stands there; the object itself may report nothing.
        try:
            read, _, _ = await _get(services, upstream, row, results)
            await wait(read.close(Outcome.COMPLETED), seconds)
        except (UpstreamError, TimeoutError) as error:
            if not tells_usage:
                raise
            # It is billed as a whole, until its owner fetches what each request used.
            logger.warning("could not read the output of %s: %s", row.id, type(error).__name__)
    await wait(call.close(Outcome.COMPLETED), seconds)
    place = place_of(path, _shape_of(row))
    assert place is not None
    await services.tenants.own(row.subject, row.key_id, upstream, shown_in(place, "GET", shown))
    return None


def _results_of(row: Owned, shown: JSONObject) -> str | None:
    """Return where it stands what each request of an ended batch used."""
    if row.family == "messages/batches":
        return f"/v1/messages/batches/{row.id}/results"
    output = label(shown.get("output_file_id")) if row.family == "batches" else None
    return None if output is None else f"/v1/files/{output}/content"


def _shape_of(row: Owned) -> Shape:
    if FAMILIES[row.family].google:
        return "google"
    return "anthropic" if row.family.startswith("messages/") else "openai"


async def _get(
    services: Services, upstream: Upstream, row: Owned, path: str
) -> tuple[OpenCall, int, bytes]:
    """Fetch a path as a call of the object's owner.

    Returns the call, fed and not closed, the status and the body's beginning.
    """
    loop = asyncio.get_running_loop()
    key = await loop.run_in_executor(services.threads, services.ledger.keys.one, row.key_id)
    call = services.pipeline.open_call(
        upstream.dialect,
        method="GET",
        path=upstream.path_of(path),
        content_type=None,
        body=b"",
        attribution=lambda hint: (
            Attribution(row.subject, (), row.key_id) if key is None else attribution_of(key, hint)
        ),
    )
    call.call = replace(call.call, upstream=upstream.name)
    call.estimate()
    shape = _shape_of(row)
    sent = [("accept-encoding", "identity"), ("anthropic-version", "2023-06-01")]
    credential = upstream.credential_header(shape)
    sent += [] if credential is None else [credential]
    beginning = bytearray()
    target = upstream.path_of(path)
    async with asyncio.timeout(_SECONDS):
        response = await services.client.send(
            "GET", upstream.origin, target, sent, seconds=_SECONDS
        )
        try:
            call.start(response.status, response.fields)
            async for data in response.pieces():
                call.feed(data)
                if len(beginning) < _LONGEST_BYTES:
                    beginning += data
        finally:
            response.close()
    call.finish()
    return call, response.status, bytes(beginning)
