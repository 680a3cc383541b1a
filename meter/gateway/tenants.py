"""Keep the tenants of one upstream account apart: what a key's subject did not make is not there.

    check      before a call: every object that it names is its subject's own, or 404
    Showing    during the answer: which new objects it shows, to be owned before it is handed out
    own        after it: they are the subject's from now on, on disk

What nobody owns (made past the gateway, or before it) is nobody's to see. With the setting
`allow_stored_objects` all keys share everything and nothing here is asked. Called by `relay` and
`own_objects`.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable, Mapping
from concurrent.futures import Executor
from fnmatch import fnmatchcase
from typing import Final

from meter.clock import now_us
from meter.core.reading import Reading
from meter.gateway.allowing import check_requests, is_limited
from meter.gateway.objects import (
    FAMILIES,
    MODELS,
    TUNED,
    Named,
    Place,
    place_of,
    references_in,
    references_in_lines,
    shown_in,
    shown_in_event,
)
from meter.gateway.rejections import Rejected
from meter.gateway.requests import Request
from meter.gateway.upstreams import Upstream
from meter.providers.foreign import decoded, mapping
from meter.store.keys import Key
from meter.store.owned import Owned, OwnedObjects

logger = logging.getLogger("meter.gateway")

_REMEMBERED: Final = 10_000
_LONGEST_BYTES: Final = 8_388_608
_LONGEST_LINE: Final = 1_048_576
_FIRST_LOOK_US: Final = 60_000_000
_SENDS: Final = frozenset({"POST", "PUT", "PATCH"})


class Tenants:
    """Knows whose the stored objects are; on the event loop, reading the ledger on threads."""

    def __init__(self, owned: OwnedObjects, threads: Executor, *, is_shared: bool) -> None:
        """Take the owners. `is_shared`: all keys share all objects."""
        self.owned = owned
        self.is_shared = is_shared
        self._threads = threads
        self._known: OrderedDict[tuple[str, str], str] = OrderedDict()

    async def check(
        self, key: Key, request: Request, reading: Reading, body: bytes, upstream: Upstream
    ) -> Place | None:
        """Return where the path leads among the stored objects, None when it does not.

        Raises: Rejected (404) when the call names an object that is not its subject's.
        """
        if self.is_shared:
            return None
        place = place_of(request.path, request.shape)
        named: set[Named] = set()
        if place is not None:
            if place.id is not None:
                named.add(Named(place.family.name, place.id))
            elif request.method not in _SENDS and place.family.name != MODELS:
                raise _unknown(request)
        if request.method in _SENDS and body and not request.is_streamed:
            fields = reading.request or mapping(decoded(body)[0])
            named |= references_in(body, fields)
        if reading.model is not None and reading.model.startswith(TUNED):
            named.add(Named(MODELS, reading.model))
        await self._require(key, upstream, named)
        return place

    async def check_lines(
        self, key: Key, upstream: Upstream, lines: AsyncIterator[list[bytes]]
    ) -> None:
        """Look through the requests in a batch's input file.

        Raises: Rejected (404) when one names an object that is not the subject's, and as
        `check_requests` does where the key is limited.
        """
        loop = asyncio.get_running_loop()

        def named_in(some: list[bytes]) -> set[Named]:
            if is_limited(key):
                check_requests(key, upstream.dialect, some)
            return set() if self.is_shared else references_in_lines(some)

        async for some in lines:
            named = await loop.run_in_executor(self._threads, named_in, some)
            await self._require(key, upstream, named)

    async def _require(self, key: Key, upstream: Upstream, named: Iterable[Named]) -> None:
        """Raise Rejected (404) unless all of these are the subject's, or the key may use them."""
        named = [each for each in named if not (each.family == MODELS and _granted(key, each.id))]
        if not named:
            return
        owners = await self.owners(upstream.name, {each.id for each in named})
        for each in sorted(named, key=lambda each: (each.family, each.id)):
            if owners.get(each.id) != key.subject:
                raise missing(each)

    async def owners(self, upstream: str, ids: Iterable[str]) -> dict[str, str]:
        """Return the subjects of objects that have an owner."""
        found: dict[str, str] = {}
        unknown = []
        for each in ids:
            subject = self._known.get((upstream, each))
            if subject is None:
                unknown.append(each)
            else:
                found[each] = subject
        if unknown:
            loop = asyncio.get_running_loop()
            read = await loop.run_in_executor(self._threads, self.owned.owners, upstream, unknown)
            self._remember(upstream, read)
            found |= read
        return found

    async def own(
        self, subject: str, key_id: str, upstream: Upstream, named: Iterable[Named]
    ) -> None:
        """Give objects to a subject, unless they have an owner. Raises: StoreError."""
        new = {each for each in named if (upstream.name, each.id) not in self._known}
        if not new:
            return
        at_us = now_us()
        objects = [
            Owned(
                upstream.name, each.id, each.family, subject, key_id, at_us,
                at_us + _FIRST_LOOK_US if FAMILIES[each.family].is_work else None,
            )
            for each in sorted(new, key=lambda each: each.id)
        ]  # fmt: skip
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._threads, self.owned.add, objects)

    async def forget(self, upstream: Upstream, name: str) -> None:
        """Take note that an object was deleted."""
        self._known.pop((upstream.name, name), None)
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._threads, self.owned.remove, upstream.name, [name])

    async def hidden_models(
        self, key: Key, upstream: Upstream, names: Iterable[str]
    ) -> frozenset[str]:
        """Return the fine-tuned models among `names` that the key's subject may not see."""
        tuned = {name for name in names if name.startswith(TUNED) and not _granted(key, name)}
        if self.is_shared or not tuned:
            return frozenset()
        owners = await self.owners(upstream.name, tuned)
        return frozenset(name for name in tuned if owners.get(name) != key.subject)

    def showing(
        self,
        place: Place | None,
        request: Request,
        reading: Reading,
        status: int,
        fields: Mapping[str, str],
    ) -> "Showing | None":
        """Return what watches an answer for new objects, None when it cannot show any."""
        if place is None or not 200 <= status < 300:
            return None
        if not is_searched(place, request.method, reading):
            return None
        kind = fields.get("content-type", "").lower()
        is_stream = kind.startswith("text/event-stream")
        if not is_stream and "json" not in kind.partition(";")[0]:
            return None
        return Showing(place, request.method, is_stream=is_stream)

    def _remember(self, upstream: str, owners: Mapping[str, str]) -> None:
        for name, subject in owners.items():
            self._known[upstream, name] = subject
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)


class Showing:
    """Looks for new objects in an answer: in a whole one before it is handed out, or in events.

    `named` are those found since it was last emptied.
    """

    def __init__(self, place: Place, method: str, *, is_stream: bool) -> None:
        """Watch the answer to a request with this method and place."""
        self.named: list[Named] = []
        self._place = place
        self._method = method
        self._is_stream = is_stream
        # The line that is under way, and a whole answer's pieces.
        self._line = bytearray()
        self._kept: list[bytes] = []
        self._kept_bytes = 0
        self._gave_up = False

    def feed(self, data: bytes) -> list[bytes]:
        """Take a piece of the body; return the pieces that may be handed out now."""
        if self._gave_up:
            return [data]
        if self._is_stream:
            self._line += data
            self._read_lines()
            return [data]
        self._kept.append(data)
        self._kept_bytes += len(data)
        if self._kept_bytes <= _LONGEST_BYTES:
            return []
        logger.warning("an answer is too large to be searched for stored objects")
        self._gave_up = True
        return self._taken()

    def finish(self) -> list[bytes]:
        """End the body; return the pieces that were kept back."""
        if self._gave_up or self._is_stream:
            return []
        answer = mapping(decoded(b"".join(self._kept))[0])
        self.named += shown_in(self._place, self._method, answer)
        return self._taken()

    def _taken(self) -> list[bytes]:
        taken, self._kept = self._kept, []
        return taken

    def _read_lines(self) -> None:
        end = self._line.rfind(b"\n")
        if end < 0:
            if len(self._line) > _LONGEST_LINE:
                self._line.clear()
            return
        lines = bytes(self._line[: end + 1])
        del self._line[: end + 1]
        for line in lines.split(b"\n"):
            if line.startswith(b"data:") and _may_show(line):
                event = mapping(decoded(line[5:].strip())[0])
                self.named += shown_in_event(self._place, event)
                if self.named and self._place.family.name == "chat/completions":
                    # Every further chunk says the same.
                    self._gave_up = True
                    return


def _may_show(line: bytes) -> bool:
    return b'"response"' in line or b'"thread' in line or b'"chat.completion' in line


def missing(named: Named) -> Rejected:
    """Return the provider's own answer on an object that it does not know."""
    code = "model_not_found" if named.family == MODELS else "not_found"
    return Rejected(404, code, FAMILIES[named.family].missing.format(id=named.id))


def _granted(key: Key, model: str) -> bool:
    """Whether the operator lets the key use a fine-tuned model, whoever made it."""
    patterns = [pattern for pattern in key.models or () if pattern.startswith(TUNED)]
    return any(fnmatchcase(model, pattern) for pattern in patterns)


def is_searched(place: Place | None, method: str, reading: Reading) -> bool:
    """Whether the answer to a call can show objects that the provider stores."""
    if place is None or method not in ("GET", "POST"):
        return False
    if method == "POST" and place.makes:
        if place.family.name == "responses":
            return reading.request.get("store") is not False
        if place.family.name == "chat/completions":
            return reading.request.get("store") is True
    return True


def _unknown(request: Request) -> Rejected:
    return Rejected(404, "unknown_url", f"{request.method} {request.path} is not served here")
