"""Find the stored objects that a request means and that an answer shows. Pure.

A stored object (a file, a batch, a thread, a stored answer) lies in the upstream's account. Its
owner is the subject of the key that made it; `tenants` keeps the owners. Where an answer shows new
objects is told by position and never by how a name looks: what a client wrote into `metadata`
comes back in the answer.

Source: SDK openai 3.54, anthropic and google-genai 3.4 (2026-11): paths, members and the texts of
their 404s.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final
from urllib.parse import quote

from meter.gateway.rejections import Rejected
from meter.providers.dialect import plain_path
from meter.providers.foreign import JSONObject, decoded, label, mapping, objects
from meter.providers.provider import Shape

FILES: Final = "files"
MODELS: Final = "models"

TUNED: Final = "ft:"
"""What the name of a fine-tuned model begins with."""


@dataclass(frozen=True, slots=True)
class Family:
    """A collection of stored objects: where it is, and how its provider says that one is missing.

    `words` follow the collection's path and are no ids. `begets` are the last segments under an
    object that make another of the family. `is_listed`: the collection can be listed. `is_work`:
    it ends some time, and is billed then. `google` is the collection's name at Google, whose ids
    begin with it, and `member` where its lists have the objects.
    """

    name: str
    missing: str
    words: frozenset[str] = frozenset()
    begets: frozenset[str] = frozenset()
    is_listed: bool = True
    is_work: bool = False
    google: str = ""
    member: str = "data"

    def path_of(self, identity: str) -> str:
        """Return the path of an object."""
        if self.google:
            return f"/v1beta/{quote(identity)}"
        return f"/v1/{self.name}/{quote(identity, safe='')}"


FAMILIES: Final = {
    family.name: family
    for family in (
        Family("files", "No such File object: {id}"),
        Family("uploads", "No upload found with id '{id}'.", is_listed=False),
        Family("batches", "No batch found with id '{id}'.", is_work=True),
        Family("fine_tuning/jobs", "Could not find fine tune: {id}", is_work=True),
        Family("assistants", "No assistant found with id '{id}'."),
        Family(
            "threads", "No thread found with id '{id}'.", frozenset({"runs"}), is_listed=False
        ),
        Family("vector_stores", "Vector store with id '{id}' not found."),
        Family(
            "responses", "Response with id '{id}' not found.",
            frozenset({"input_tokens", "compact"}), is_listed=False,
        ),
        Family("conversations", "Conversation with id '{id}' not found.", is_listed=False),
        Family("containers", "Container with id '{id}' not found."),
        Family(
            "videos", "Video with id '{id}' not found.", frozenset({"edits", "extensions"}),
            frozenset({"edits", "extensions", "remix"}), is_work=True,
        ),
        Family("chat/completions", "Chat completion with id '{id}' not found."),
        Family("messages/batches", "Not found: {id}", is_work=True),
        Family("models", "The model '{id}' does not exist or you do not have access to it."),
        Family(
            "google/cachedContents", "CachedContent not found: {id}", google="cachedContents",
            member="cachedContents",
        ),
        Family(
            "google/batches", "Batch not found: {id}",
            begets=frozenset({"batchGenerateContent", "asyncBatchEmbedContent"}), is_work=True,
            google="batches", member="operations",
        ),
        # Cannot be made here, so that nobody owns any.
        Family("google/files", "File not found: {id}", is_listed=False),
    )
}  # fmt: skip
"""Every family whose objects are kept apart, by its path under /v1/, or by its name at Google."""

_PATH: Final = re.compile(
    r"^/v1/(?P<family>"
    + "|".join(
        re.escape(family.name)
        for family in sorted(FAMILIES.values(), key=lambda family: len(family.name), reverse=True)
        if not family.name.startswith("google/")
    )
    + r")(?:/(?P<id>[^/]+)(?P<rest>/.*)?)?$",
    re.IGNORECASE,
)

_AT_GOOGLE: Final = {each.google.lower(): each for each in FAMILIES.values() if each.google}
_GOOGLE_PATH: Final = re.compile(
    rf"^/v1(?:beta)?/(?P<family>{'|'.join(_AT_GOOGLE)})(?:/(?P<id>[^/:]+)(?P<rest>[/:].*)?)?$",
    re.IGNORECASE,
)
_GOOGLE_BATCH: Final = re.compile(
    r"^/v1(?:beta)?/[^:]+:(?P<verb>batchGenerateContent|asyncBatchEmbedContent)$", re.IGNORECASE
)
_GOOGLE_FILE: Final = re.compile(r"(?:^|/v1[a-z]*/)(files/[^/?#:]+)")

_REFERENCES: Final = {
    "assistant_id": "assistants",
    "batch_id": "batches",
    "cachedContent": "google/cachedContents",
    "cached_content": "google/cachedContents",
    "container": "containers",
    "container_id": "containers",
    "conversation": "conversations",
    "conversation_id": "conversations",
    "file_id": FILES,
    "file_ids": FILES,
    "input_file_id": FILES,
    "previous_response_id": "responses",
    "thread_id": "threads",
    "training_file": FILES,
    "upload_id": "uploads",
    "validation_file": FILES,
    "vector_store_id": "vector_stores",
    "vector_store_ids": "vector_stores",
    "video_id": "videos",
}
"""Members of a request that name an object: a string, a list of them, or an object with an id."""

_GOOGLE_FILES: Final = frozenset({"fileUri", "file_uri", "fileName", "file_name"})
"""Members that name a file at Google; an address elsewhere is anybody's."""

_KNOWN_PATHS: Final = 1024
_LONG_PATH: Final = 200
_MAY_REFER: Final = re.compile(
    rb'[_"f\\](?:ids?"|file"|conv|conta|t:|u|cached_?[cC]ont|fileU|fileN|file_n)'
)
"""What a body has that names an object, and what hides such a name.

The set of first bytes is what makes it quick: without one, every place of the body is tried.
"""


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the stored objects a path leads: a family, and an object of it or the whole."""

    family: Family
    id: str | None
    rest: str

    @property
    def makes(self) -> bool:
        """Whether a POST there answers with a new object of the family.

        `/threads/runs` does not: it answers with the run, and tells its thread beside it.
        """
        if self.id is None:
            return not self.rest or self.rest.strip("/") in self.family.begets
        return self.rest.strip("/") in self.family.begets


@dataclass(frozen=True, slots=True)
class Named:
    """An object by its family and id."""

    family: str
    id: str


def place_of(path: str, shape: Shape) -> Place | None:
    """Return where a request's path leads, None when it leads to no stored objects.

    `shape` is the API that it is written for: /v1/batches is a path of two.
    """
    return _place_of(path, shape) if len(path) > _LONG_PATH else _known_place_of(path, shape)


def _place_of(path: str, shape: Shape) -> Place | None:
    plain = plain_path(path)
    at_google = _google_place_of(plain) if shape == "google" else None
    found = None if at_google is not None else _PATH.match(plain)
    if found is None:
        return at_google
    family = FAMILIES[found["family"].lower()]
    if shape == "google" and family.name == FILES:
        # Google's are meant, which are not kept apart.
        return None
    identity, rest = found["id"], found["rest"] or ""
    if identity is not None and identity in family.words:
        return Place(family, None, f"/{identity}{rest}")
    if family.name == MODELS and (identity is None or not identity.startswith(TUNED)):
        return None
    return Place(family, identity, rest)


def _google_place_of(path: str) -> Place | None:
    made = _GOOGLE_BATCH.match(path)
    if made is not None:
        verb = next(v for v in FAMILIES["google/batches"].begets if v.lower() == made[1].lower())
        return Place(FAMILIES["google/batches"], None, f"/{verb}")
    found = _GOOGLE_PATH.match(path)
    if found is None:
        return None
    family = _AT_GOOGLE[found["family"].lower()]
    identity = found["id"]
    return Place(family, identity and f"{family.google}/{identity}", found["rest"] or "")


_known_place_of: Final = lru_cache(_KNOWN_PATHS)(_place_of)
"""Most calls have one of a few paths, which need not be read again."""


def references_in(body: bytes, request: JSONObject) -> set[Named]:
    """Return the stored objects that a request's body names; `request` is the parsed body."""
    if _MAY_REFER.search(body) is None:
        return set()
    return set(_references(request))


def references_in_lines(lines: Iterable[bytes]) -> set[Named]:
    """Return the stored objects that some lines of a batch's input file name in their requests.

    Raises: Rejected for a line that may name some and cannot be read as the upstream might.
    """
    named: set[Named] = set()
    for line in lines:
        if _MAY_REFER.search(line) is None:
            continue
        request, fault = decoded(line)
        if fault is not None:
            raise Rejected(
                400, "invalid_value", f"the batch's requests cannot be looked through: {fault}"
            )
        named |= set(_references(mapping(request)))
    return named


def _references(request: JSONObject) -> Iterator[Named]:
    waiting: list[Any] = [request]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting.extend(value)
            continue
        if not isinstance(value, dict):
            continue
        for name, member in value.items():
            if name == "metadata":
                continue
            family = _REFERENCES.get(name)
            if family is not None:
                yield from (Named(family, each) for each in _ids(member))
            if name in _GOOGLE_FILES and isinstance(member, str):
                file = _GOOGLE_FILE.search(member)
                if file is not None:
                    yield Named("google/files", file[1])
            if name == "model" and isinstance(member, str) and member.startswith(TUNED):
                yield Named(MODELS, member)
            if isinstance(member, dict | list):
                waiting.append(member)


def _ids(member: Any) -> Iterator[str]:
    if isinstance(member, str):
        yield member
    elif isinstance(member, list):
        yield from (each for each in member if isinstance(each, str))
    elif isinstance(member, dict) and isinstance(member.get("id"), str):
        yield member["id"]


def shown_in(place: Place, method: str, answer: JSONObject) -> Iterator[Named]:
    """Return the objects that a good answer shows for the first time, or again."""
    if method == "POST" and place.makes:
        yield from _named(place.family.name, answer.get("name" if place.family.google else "id"))
    if place.family.google:
        return
    for name in ("output_file_id", "error_file_id"):
        yield from _named(FILES, answer.get(name))
    for each in answer.get("result_files") or ():
        yield from _named(FILES, each)
    yield from _named(MODELS, answer.get("fine_tuned_model"))
    yield from _named("threads", answer.get("thread_id"))
    yield from _named("conversations", mapping(answer.get("conversation")).get("id"))
    yield from _named("containers", mapping(answer.get("container")).get("id"))
    if place.family.name == "uploads":
        yield from _named(FILES, mapping(answer.get("file")).get("id"))
    for item in objects(answer.get("output")):
        yield from _named("containers", item.get("container_id"))


def shown_in_event(place: Place, event: JSONObject) -> Iterator[Named]:
    """Return the objects that an event of a stream shows.

    Responses stream `{"type": …, "response": {…}}`, threads the bare object, chat its chunks.
    """
    response = event.get("response")
    if isinstance(response, Mapping):
        yield from shown_in(place, "POST", mapping(response))
    elif place.family.name == "threads":
        yield from _named("threads", event.get("thread_id"))
        if event.get("object") == "thread":
            yield from _named("threads", event.get("id"))
    elif place.family.name == "chat/completions":
        yield from _named("chat/completions", event.get("id"))


def _named(family: str, value: Any) -> Iterator[Named]:
    found = label(value)
    if found is not None and (family != MODELS or found.startswith(TUNED)):
        yield Named(family, found)
