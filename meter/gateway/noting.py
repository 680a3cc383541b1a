"""Keep a name, tags and a note with a fine-tuning job: its provider keeps none.

    POST /v1/fine_tuning/jobs/{id}   {"name": …, "tags": […], "note": …, "metadata": {…}}

answers with the job as it is now and with what is kept of it; lists show it, too. What is left out
stays, null takes it away. An answer of the provider itself (`GET …/{id}`) passes as it comes. Where
all keys share one account the request goes to the provider. Called by `app` and `own_objects`.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from meter.core.ports import Answer
from meter.gateway.fetching import fetched
from meter.gateway.objects import Named, place_of
from meter.gateway.rejections import Rejected
from meter.gateway.requests import Request
from meter.gateway.services import Services
from meter.gateway.tenants import missing
from meter.providers.foreign import encoded
from meter.store.keys import Key

MOST_BYTES: Final = 65_536

_JOBS: Final = "fine_tuning/jobs"
_LONGEST: Final = {"name": 256, "note": 4096}
_MOST_TAGS: Final = 32
_LONGEST_TAG: Final = 256


def is_noting(services: Services, request: Request) -> bool:
    """Whether a request changes what is kept with a fine-tuning job."""
    if request.method not in ("POST", "PATCH") or services.tenants.is_shared:
        return False
    place = place_of(request.path, request.shape)
    return place is not None and place.family.name == _JOBS and bool(place.id) and not place.rest


async def noted(services: Services, request: Request, key: Key, body: bytes) -> Answer:
    """Keep what a body says and return the job. Raises: Rejected, StoreError."""
    place = place_of(request.path, request.shape)
    assert place is not None and place.id is not None
    upstream = services.router.candidates(request, b"")[0]
    reading = upstream.dialect.read("GET", upstream.path_of(request.target), None, b"")
    services.router.check(key, request, reading, b"")
    await services.tenants.check(key, request, reading, b"", upstream)
    asked = _read(body)
    loop, owned = asyncio.get_running_loop(), services.tenants.owned
    row = await loop.run_in_executor(services.threads, owned.one, upstream.name, place.id)
    found = await fetched(services, request, upstream, place, place.id)
    if row is None or found is None:
        await services.tenants.forget(upstream, place.id)
        raise missing(Named(_JOBS, place.id))
    kept = {**notes_of(row.notes), **asked}
    kept = {name: value for name, value in kept.items() if value is not None}
    if asked:
        text = msgspec.json.encode(kept).decode() if kept else None
        await loop.run_in_executor(services.threads, owned.note, upstream.name, place.id, text)
    content = encoded({**found, **dict.fromkeys(asked), **kept})
    fields = {"content-type": "application/json", "content-length": str(len(content))}
    return Answer(200, fields, content)


def notes_of(text: str | None) -> dict[str, Any]:
    """Return what is kept with an object, from its notes."""
    return dict(msgspec.json.decode(text)) if text else {}


def _read(body: bytes) -> dict[str, Any]:
    """Return what a body asks to keep. Raises: Rejected (400)."""
    try:
        asked = msgspec.json.decode(body) if body.strip() else {}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _wrong("a body that is no JSON", "an object") from None
    if not isinstance(asked, dict):
        raise _wrong("a body that is no object", "name, tags, note or metadata")
    for name, value in asked.items():
        if name in _LONGEST:
            is_good = value is None or (isinstance(value, str) and len(value) <= _LONGEST[name])
            expected = f"a text of at most {_LONGEST[name]} characters"
        elif name in ("tags", "metadata"):
            is_good = value is None or _are_texts(value, lists=name == "tags")
            expected = f"at most {_MOST_TAGS} texts of at most {_LONGEST_TAG} characters"
        else:
            raise _wrong(f"{name!r:.80}", "name, tags, note or metadata")
        if not is_good:
            raise _wrong(f"something else for {name}", expected)
    return asked


def _are_texts(value: object, *, lists: bool) -> bool:
    if isinstance(value, Mapping):
        texts = [*value.keys(), *value.values()]
    elif isinstance(value, list) and lists:
        texts = value
    else:
        return False
    return len(value) <= _MOST_TAGS and all(
        isinstance(text, str) and 1 <= len(text) <= _LONGEST_TAG for text in texts
    )


def _wrong(found: str, expected: str) -> Rejected:
    return Rejected(400, "invalid_value", f"found {found}, expected {expected}")
