"""Read `GET …/files/{id}/content`: in the output file of a batch stands what each request used.

Source: https://platform.openai.com/docs/api-reference/batch/request-output (SDK openai 3.54,
2026-11): one line a request, `{id, custom_id, response: {status_code, request_id, body}, error}`,
whose body is the usual answer with its own usage. Any other file owes nothing. The file may be
fetched often and in parts: each line is billed once under its own name, in place of the batch
whose output file this is.
"""

import hashlib
import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from meter.core.call import Observation, Part
from meter.core.ports import AnswerObserver, OutputSink
from meter.core.rating import MANY_REQUESTS
from meter.core.reading import Reading
from meter.core.usage import Usage
from meter.providers.endpoint import Endpoint, Request
from meter.providers.foreign import label, whole
from meter.providers.native import Native
from meter.providers.observing import Observer, PassingObserver
from meter.providers.openai.batches import TIER
from meter.providers.openai.chat import Chat
from meter.providers.openai.completions import Completions
from meter.providers.openai.embeddings import Embeddings
from meter.providers.openai.image_generations import ImageGenerations
from meter.providers.openai.moderations import Moderations
from meter.providers.openai.plain import PlainEndpoint
from meter.providers.openai.responses import Responses
from meter.providers.provider import Provider
from meter.providers.sightings import MOST_DEFECTS
from meter.wire import NDJSONFramer, decompressor_for

MOST_PARTS: Final = 50_000
"""Lines that are billed one by one. OpenAI allows this many in a batch."""

# The files of a container or of a vector store are no batch's output.
_PATH: Final = re.compile(
    r"^(?!.*/(?:containers|vector_stores)/).*/files/([^/]+)/content$", re.IGNORECASE
)
_JSON: Final = {"content-type": "application/json"}
# What a body calls itself → the endpoint that answered. A picture's body names nothing.
_ANSWERED: Final[Mapping[str, Endpoint]] = {
    "chat.completion": Chat(),
    "text_completion": Completions(),
    "response": Responses(),
    "list": Embeddings(),
    "moderation": Moderations(),
    "image": ImageGenerations(),
}


class _Response(msgspec.Struct):
    status_code: Any = None
    request_id: Any = None
    body: msgspec.Raw = msgspec.Raw(b"null")


class _Line(msgspec.Struct):
    custom_id: str
    response: _Response | None
    id: Any = None


class _Kind(msgspec.Struct):
    object: Any = None
    results: msgspec.Raw = msgspec.Raw()
    data: msgspec.Raw = msgspec.Raw()


_line = msgspec.json.Decoder(_Line)
_kind = msgspec.json.Decoder(_Kind)


class BatchOutputObserver(PassingObserver):
    """Watches the content of one file."""

    __slots__ = ("_decompressor", "_defects", "_file_id", "_framer", "_has_begun", "_is_output",
                 "_misses_some", "_models", "_parts", "_provider", "_sums",
                 "_unreported")  # fmt: skip

    def __init__(self, provider: Provider, file_id: str) -> None:
        """Get ready for the content of the file of that id."""
        super().__init__()
        self._provider = provider
        self._file_id = file_id
        self._decompressor = decompressor_for(None)
        self._framer = NDJSONFramer()
        # Unknown (None) before the first line; an error's body is none.
        self._is_output: bool | None = None
        self._has_begun = False
        # Whether there is a line of which it is not known what it used.
        self._misses_some = False
        self._parts: list[Part] = []
        self._sums: dict[str, int] = {}
        self._models: set[str | None] = set()
        self._unreported = 0
        self._defects: list[str] = []

    @property
    def billing_ids(self) -> tuple[str, ...]:
        """The file's id, under which its batch is billed, too."""
        return (self._file_id,) if self._is_output and self._file_id else ()

    def start(self, status: int, headers: Mapping[str, str]) -> None:
        """Take the status and the headers; an error's body is not read."""
        super().start(status, headers)
        self._is_output = None if status < 400 else False
        self._misses_some = status == 206
        self._decompressor = decompressor_for(headers.get("content-encoding"))

    def feed(self, data: bytes) -> bytes:
        """Read the lines that these bytes complete; return the bytes."""
        if data and self._is_output is not False:
            plain = self._decompressor.feed(data)
            if not self._has_begun and (beginning := plain.lstrip()):
                self._has_begun = True
                if not beginning.startswith(b"{"):
                    # Any other file, whose lines may be as long as it is.
                    self._is_output = False
            if self._is_output is not False:
                self._take_all(self._framer.feed(plain))
        super().feed(data)
        if self.ended:
            self._close()
        return data

    def finish(self) -> bytes:
        """Read the last line; nothing is held back."""
        self._close()
        return super().finish()

    def result(self) -> Observation:
        """Return each line, and the sum over all of them."""
        seen = super().result()
        if seen.status is None or seen.status >= 400:
            return seen
        if not self._is_output:
            return Observation(
                status=seen.status, usage=Usage(), received_bytes=seen.received_bytes,
                finished=seen.finished,
            )  # fmt: skip
        defects = list(self._defects)
        if self._framer.dropped:
            defects.append("a line was too long to be read")
        if self._unreported:
            defects.append(f"{self._unreported} requests of the batch report no usage")
        return Observation(
            status=seen.status,
            usage=Usage(self._sums),
            model_served=next(iter(self._models)) if len(self._models) == 1 else None,
            service_tier=TIER,
            received_bytes=seen.received_bytes,
            finished=seen.finished,
            response_id=self._file_id,
            traits=(MANY_REQUESTS,),
            billing_ids=self.billing_ids,
            defects=tuple(defects[:MOST_DEFECTS]),
            parts=tuple(self._parts),
            # Where all have failed, it is the file of the errors.
            has_all_parts=seen.finished
            and any(part.endpoint != "unknown" for part in self._parts)
            and not (self._misses_some or self._framer.dropped or self._decompressor.failed),
        )

    def _close(self) -> None:
        """Read what no line end follows; a second time there is nothing left."""
        if self._is_output is not False:
            self._take_all(self._framer.feed(b""))

    def _take_all(self, payloads: list[bytes]) -> None:
        for payload in payloads:
            self._take(payload)

    def _take(self, payload: bytes) -> None:
        try:
            line = _line.decode(payload)
        except (ValueError, RecursionError):
            if self._is_output is None:
                self._is_output = False
            else:
                self._misses_some = True
                self._note("found a line that is no batch output")
            return
        self._is_output = True
        read = self._read(line)
        if len(self._parts) < MOST_PARTS:
            self._parts.append(read)
        else:
            self._misses_some = True
            self._note(f"found more than {MOST_PARTS} lines: the last are not billed")
        if read.usage is None:
            self._unreported += 1
            self._misses_some = True
            return
        if read.usage:
            self._models.add(read.model)
            self._misses_some = self._misses_some or read.model is None
        for unit, quantity in read.usage.items():
            self._sums[unit] = self._sums.get(unit, 0) + int(quantity)

    def _note(self, defect: str) -> None:
        if defect not in self._defects and len(self._defects) < MOST_DEFECTS:
            self._defects.append(defect)

    def _read(self, line: _Line) -> Part:
        response = line.response or _Response()
        status = whole(response.status_code, 100, 599)
        body = bytes(response.body)
        custom_id = label(line.custom_id) or ""
        name = label(line.id) or label(response.request_id) or name_of(line.custom_id)
        endpoint = _answered_by(body)
        if endpoint is None or line.response is None or (status is not None and status >= 400):
            return Part(name, custom_id, "unknown", status, Usage(), None)
        seen = _observed(endpoint, self._provider, body)
        usage = Usage() if seen.error_in_body or endpoint.name == "moderations" else seen.usage
        return Part(name, custom_id, endpoint.name, status, usage, seen.model_served, seen.traits)


class BatchOutput(PlainEndpoint):
    """The content of a file."""

    name = "files.content"

    def claims(self, path: str) -> str | None:
        """Return the file's id, which the reading keeps."""
        found = _PATH.search(path)
        return found[1] if found else None

    def read(self, request: Request) -> Reading:
        """Read the request for a file."""
        return Reading(
            provider=request.provider.name,
            endpoint=self.name,
            max_output_tokens=0,
            free=True,
            request={"file_id": request.model},
        )

    def observer(
        self, provider: Provider, reading: Reading, sink: OutputSink | None, *, count_always: bool
    ) -> AnswerObserver:
        """Return an observer that looks for the lines of a batch."""
        return BatchOutputObserver(provider, label(reading.request.get("file_id")) or "")


def name_of(custom_id: str) -> str:
    """Return the name of a line that only its `custom_id` tells from others."""
    return label(custom_id) or hashlib.sha256(custom_id.encode("utf-8", "replace")).hexdigest()


def _answered_by(body: bytes) -> Endpoint | None:
    try:
        kind = _kind.decode(body)
    except (ValueError, RecursionError):
        return None
    if isinstance(kind.object, str):
        return _ANSWERED.get(kind.object)
    if bytes(kind.results):
        return _ANSWERED["moderation"]
    return _ANSWERED["image"] if bytes(kind.data) else None


def _observed(endpoint: Endpoint, provider: Provider, body: bytes) -> Observation:
    """Read one body as the answer to a call of its own."""
    reading = Reading(provider.name, endpoint.name)
    observer: AnswerObserver
    if isinstance(endpoint, Native):
        observer = endpoint.observer(provider, reading, None, count_always=False)
    else:
        observer = Observer(endpoint, provider, reading, None, count_always=False)
    observer.start(200, _JSON)
    observer.feed(body)
    observer.finish()
    return observer.result()
