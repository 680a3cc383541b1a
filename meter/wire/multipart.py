"""Read the fields of a `multipart/form-data` request without I/O, whatever its size.

Plain fields are kept up to a bound; of a file its length is counted and its first bytes are
kept, or all of it where its name is wanted. Does not know what a field means. Called by
`meter/providers/` on the way of a request.

Source: RFC 7578 and RFC 2046 §5.1; browsers and SDKs write `%22` or `\\"` for a quote in a name.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

FIELD_LIMIT_BYTES: Final = 64 * 1024
"""The longest value of a plain field that is kept."""
HEAD_BYTES: Final = 4096
"""How much is kept of the start of each file."""
FILE_LIMIT_BYTES: Final = 26 * 1024 * 1024
"""How much is kept of all wanted files together. OpenAI takes sound of at most 25 MB."""

_PARTS_LIMIT: Final = 1024
_HEADERS_LIMIT_BYTES: Final = 16 * 1024
_BOUNDARY_LIMIT_BYTES: Final = 200
_BOUNDARY: Final = re.compile(r'boundary=(?:"([^"]*)"|([^;\s]*))', re.IGNORECASE)
_PARAMETER: Final = re.compile(rb';\s*([a-z]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;\s]*))', re.I)
_LINE_END: Final = b"\r\n"
_HEADERS_END: Final = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class FormFile:
    """A file of a form, `length_bytes` of which came; `whole` when its end came too.

    `content` is all of it, None when it was not wanted, is too long or not whole.
    """

    name: str
    filename: str
    content_type: str
    length_bytes: int
    head: bytes
    whole: bool
    content: bytes | None = None


@dataclass(frozen=True, slots=True)
class Form:
    """What was read of a form, in its order.

    `whole` is False when its end was not reached. `dropped` counts fields over the limit and
    parts without a name.
    """

    fields: tuple[tuple[str, str], ...]
    files: tuple[FormFile, ...]
    whole: bool
    dropped: int


class _Part:
    """A part under way."""

    __slots__ = ("content_type", "filename", "is_wanted", "kept", "length_bytes", "limit_bytes",
                 "name")  # fmt: skip

    def __init__(self, headers: bytes, wanted: Collection[str], left_bytes: int) -> None:
        disposition, self.content_type = _read_headers(headers)
        parameters = {m[1].lower(): _unquoted(m) for m in _PARAMETER.finditer(disposition)}
        self.name = parameters.get(b"name")
        self.filename = parameters.get(b"filename")
        self.is_wanted = self.filename is not None and self.name in wanted
        self.limit_bytes = FIELD_LIMIT_BYTES if self.filename is None else HEAD_BYTES
        if self.is_wanted:
            self.limit_bytes = max(left_bytes, HEAD_BYTES)
        self.kept = bytearray()
        self.length_bytes = 0

    def take(self, data: bytes) -> None:
        """Count these bytes and keep them as far as there is room."""
        self.length_bytes += len(data)
        room = self.limit_bytes - len(self.kept)
        if room > 0:
            self.kept += data[:room]


class FormReader:
    """Collect the fields of one form, whatever the cuts of the chunks it comes in.

    Never raises on foreign bytes. `wanted` names the files that are kept whole.
    """

    __slots__ = ("_buffer", "_delimiter", "_dropped", "_fields", "_files", "_kept_bytes", "_part",
                 "_parts", "_state", "_wanted")  # fmt: skip

    def __init__(self, content_type: str, wanted: Collection[str] = ()) -> None:
        found = _BOUNDARY.search(content_type)
        boundary = "" if found is None else found[1] or found[2] or ""
        self._delimiter = _LINE_END + b"--" + boundary.encode("utf-8", "replace")
        # "before" the first part, in its "headers", in its "body", "after" its delimiter, "ended".
        usable = 0 < len(boundary) <= _BOUNDARY_LIMIT_BYTES
        self._state = "before" if usable else "ended"
        # The first delimiter may stand at the very start, without the line end before it.
        self._buffer = bytearray(_LINE_END)
        self._wanted = wanted
        self._part: _Part | None = None
        self._fields: list[tuple[str, str]] = []
        self._files: list[FormFile] = []
        self._parts = 0
        self._kept_bytes = 0
        self._dropped = 0

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the form."""
        if self._state == "ended":
            return
        self._buffer += data
        while self._step():
            pass

    def form(self) -> Form:
        """Return what was read so far; a part that has not ended is told with what came of it."""
        fields, files, dropped = list(self._fields), list(self._files), self._dropped
        part = self._part
        if part is not None and part.filename is not None and part.name is not None:
            files.append(_file(part, whole=False))
        ended = self._state == "ended" and part is None and self._parts > 0
        return Form(tuple(fields), tuple(files), ended, dropped)

    def _step(self) -> bool:
        """Go on by one step; return whether another may follow."""
        match self._state:
            case "before" | "body":
                return self._read_body()
            case "after":
                return self._read_delimiter_end()
            case "headers":
                return self._read_part_headers()
            case _:
                self._buffer.clear()
                return False

    def _read_body(self) -> bool:
        end = self._buffer.find(self._delimiter)
        if end < 0:
            # What may be the start of a delimiter waits for more.
            safe = max(0, len(self._buffer) - len(self._delimiter) + 1)
            self._take(safe)
            return False
        self._take(end)
        del self._buffer[: len(self._delimiter)]
        self._close_part()
        self._state = "after"
        return True

    def _take(self, length: int) -> None:
        if self._part is not None and length:
            self._part.take(bytes(memoryview(self._buffer)[:length]))
        del self._buffer[:length]

    def _read_delimiter_end(self) -> bool:
        if len(self._buffer) < 2:
            return False
        if self._buffer.startswith(b"--") or self._parts >= _PARTS_LIMIT:
            self._state = "ended"
            return True
        end = self._buffer.find(_LINE_END)
        if end < 0 and len(self._buffer) <= _HEADERS_LIMIT_BYTES:
            return False
        if end < 0 or self._buffer[:end].strip():
            return self._give_up()
        # The line end stays: it is half of the empty line that ends headers of no lines.
        del self._buffer[:end]
        self._state = "headers"
        return True

    def _read_part_headers(self) -> bool:
        end = self._buffer.find(_HEADERS_END)
        if end < 0:
            return self._give_up() if len(self._buffer) > _HEADERS_LIMIT_BYTES else False
        left_bytes = FILE_LIMIT_BYTES - self._kept_bytes
        self._part = _Part(bytes(self._buffer[:end]), self._wanted, left_bytes)
        del self._buffer[: end + len(_HEADERS_END)]
        self._parts += 1
        self._state = "body"
        return True

    def _give_up(self) -> bool:
        self._state = "ended"
        self._dropped += 1
        self._buffer.clear()
        return False

    def _close_part(self) -> None:
        part, self._part = self._part, None
        if part is None:
            return
        if part.name is None:
            self._dropped += 1
        elif part.filename is not None:
            self._files.append(_file(part, whole=True))
            self._kept_bytes += len(part.kept) if part.is_wanted else 0
        elif part.length_bytes > FIELD_LIMIT_BYTES:
            self._dropped += 1
        else:
            self._fields.append((part.name, part.kept.decode("utf-8", "replace")))


def _file(part: _Part, *, whole: bool) -> FormFile:
    is_kept = whole and part.is_wanted and part.length_bytes == len(part.kept)
    return FormFile(
        name=part.name or "",
        filename=part.filename or "",
        content_type=part.content_type,
        length_bytes=part.length_bytes,
        head=bytes(part.kept[:HEAD_BYTES]),
        whole=whole,
        content=bytes(part.kept) if is_kept else None,
    )


def _read_headers(headers: bytes) -> tuple[bytes, str]:
    """Return the content disposition and the content type, empty where there is none."""
    found = {b"content-disposition": b"", b"content-type": b""}
    for line in headers.split(_LINE_END):
        name, _, value = line.partition(b":")
        if name.strip().lower() in found:
            found[name.strip().lower()] = value.strip()
    kind = found[b"content-type"].partition(b";")[0].decode("latin-1").strip().lower()
    return found[b"content-disposition"], kind


def _unquoted(parameter: re.Match[bytes]) -> str:
    if parameter[2] is None:
        return parameter[3].decode("utf-8", "replace")
    plain = parameter[2].replace(b'\\"', b'"').replace(b"%22", b'"')
    return plain.decode("utf-8", "replace")
