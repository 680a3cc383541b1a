"""List stored objects: a subject sees its own, in pages of its own.

An upstream's list has the objects of all customers, so it is never asked. The owner's ids are
read from the ledger, page by page, and each object is fetched as it is now. Called by `app`.

Source: paging of SDK openai 3.54 (`after`, `before`, `limit`, `order`), anthropic (`after_id`,
`before_id`) and google-genai 3.4 (`pageSize`, `pageToken`), 2026-11.
"""

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Any, Final
from urllib.parse import parse_qsl

from meter.core.ports import Answer
from meter.gateway.fetching import SECONDS, fetched
from meter.gateway.noting import notes_of
from meter.gateway.objects import MODELS, Place, place_of
from meter.gateway.rejections import Rejected
from meter.gateway.requests import Request
from meter.gateway.services import Services
from meter.gateway.upstreams import Upstream
from meter.providers.foreign import JSONObject, encoded, mapping
from meter.store.keys import Key
from meter.store.owned import Owned

_USUAL: Final = 20
_MOST: Final = 100
_AT_ONCE: Final = 8
_PAGING: Final = frozenset(
    {"after", "before", "after_id", "before_id", "limit", "order", "pageSize", "pageToken"}
)


def is_own_list(services: Services, request: Request) -> bool:
    """Whether a request lists stored objects that are kept apart."""
    if request.method != "GET" or services.tenants.is_shared:
        return False
    place = place_of(request.path, request.shape)
    return (
        place is not None
        and place.id is None
        and not place.rest
        and place.family.is_listed
        and place.family.name != MODELS
    )


async def own_list(services: Services, request: Request, key: Key) -> Answer:
    """Return one page of the subject's own objects.

    Raises: Rejected for a question that cannot be understood, and when the upstream does not
    answer; StoreError.
    """
    place = place_of(request.path, request.shape)
    assert place is not None
    upstream = services.router.candidates(request, b"")[0]
    reading = upstream.dialect.read("GET", upstream.path_of(request.target), None, b"")
    services.router.check(key, request, reading, b"")
    asked = dict(parse_qsl(request.query))
    limit = _limit(asked, "pageSize" if place.family.google else "limit")
    newest_first = _is_newest_first(asked)
    after = asked.get("after") or asked.get("after_id") or asked.get("pageToken")
    before = asked.get("before") or asked.get("before_id")
    wanted = {name: value for name, value in asked.items() if name not in _PAGING}
    backwards = before is not None and after is None
    found: list[JSONObject] = []
    gone: list[str] = []
    loop = asyncio.get_running_loop()
    asked_page = partial(
        services.tenants.owned.page, upstream.name, key.subject, place.family.name,
        limit=limit + 1, newest_first=newest_first,
    )  # fmt: skip
    async with asyncio.timeout(SECONDS):
        while len(found) <= limit:
            rows = await loop.run_in_executor(
                services.threads, partial(asked_page, after=after, before=before)
            )
            present = await _fetched(services, request, upstream, place, rows)
            gone += [row.id for row, each in zip(rows, present, strict=True) if each is None]
            page = [each for each in present if each is not None and _suits(each, wanted)]
            found = page + found if backwards else found + page
            if len(rows) <= limit:
                break
            after, before = (None, rows[0].id) if backwards else (rows[-1].id, None)
    for name in gone:
        await services.tenants.forget(upstream, name)
    has_more = len(found) > limit
    if has_more:
        found = found[-limit:] if backwards else found[:limit]
    return _page(place, found, has_more)


async def _fetched(
    services: Services, request: Request, upstream: Upstream, place: Place, rows: list[Owned]
) -> list[JSONObject | None]:
    """Return the objects of these rows as they are now, None for those that are gone."""
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(row: Owned) -> JSONObject | None:
        async with gate:
            found = await fetched(services, request, upstream, place, row.id)
            return None if found is None else {**found, **notes_of(row.notes)}

    return await asyncio.gather(*(one(row) for row in rows))


def _suits(found: JSONObject, wanted: Mapping[str, str]) -> bool:
    """Whether an object has what the query's other words ask, such as `purpose=batch`."""
    for name, value in wanted.items():
        outer, _, inner = name.partition("[")
        if inner:
            if outer == "metadata" and mapping(found.get(outer)).get(inner.rstrip("]")) != value:
                return False
        elif isinstance(found.get(name), str) and found[name] != value:
            return False
    return True


def _page(place: Place, found: list[JSONObject], has_more: bool) -> Answer:
    content: dict[str, Any] = {place.family.member: found}
    if place.family.google:
        content |= {"nextPageToken": found[-1].get("name")} if has_more else {}
    else:
        content |= {
            "first_id": found[0].get("id") if found else None,
            "last_id": found[-1].get("id") if found else None,
            "has_more": has_more,
        }
        if not place.family.name.startswith("messages/"):
            content = {"object": "list", **content}
    body = encoded(content)
    fields = {"content-type": "application/json", "content-length": str(len(body))}
    return Answer(200, fields, body)


def _limit(asked: Mapping[str, str], name: str) -> int:
    text = asked.get(name, str(_USUAL))
    if not text.isdecimal() or not 1 <= len(text) <= 9 or int(text) < 1:
        raise Rejected(
            400, "invalid_value", f"found {name} {text!r:.40}, expected a whole number from 1 on"
        )
    return min(int(text), _MOST)


def _is_newest_first(asked: Mapping[str, str]) -> bool:
    order = asked.get("order", "desc")
    if order not in ("asc", "desc"):
        raise Rejected(400, "invalid_value", f"found order {order!r:.40}, expected asc or desc")
    return order == "desc"
