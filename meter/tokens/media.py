"""Recognise media inside a request: what it is, and the inline bytes where there are any.

Knows the ways in which requests carry media (`data:` addresses, base64 fields, web addresses);
knows no provider's prices in tokens. Called by the estimating modules of this package.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from meter.tokens.shapes import mapping_of, text_of

Kind = Literal["image", "file", "audio", "video"]

_MAX_DECODED_CHARS: Final = 40_000_000
_PLACES: Final = frozenset({
    "type", "image_url", "input_audio", "source", "inlineData", "inline_data", "fileData",
    "file_data",
})  # fmt: skip
_DATA_FIELDS: Final = ("data", "file_data")
_BY_MARK: Final[tuple[tuple[str, Kind], ...]] = (
    ("iVBORw0KGgo", "image"),
    ("/9j/", "image"),
    ("R0lGOD", "image"),
    ("UklGR", "audio"),
    ("JVBER", "file"),
)


@dataclass(frozen=True, slots=True)
class Media:
    """One piece of media.

    `encoded` is its base64 text, empty when the request only names or links it. `detail` is the
    resolution asked for, empty when none was.
    """

    kind: Kind
    encoded: str = ""
    detail: str = ""
    name: str = ""

    @property
    def size_bytes(self) -> int:
        """The size of the inline bytes, 0 when there are none."""
        return len(self.encoded) * 3 // 4

    def decoded(self) -> bytes:
        """Return the inline bytes (of a damaged or huge text: as far as it goes)."""
        text = self.encoded[:_MAX_DECODED_CHARS].replace("-", "+").replace("_", "/")
        try:
            return base64.b64decode(text[: len(text) // 4 * 4])
        except (binascii.Error, ValueError):
            return b""


def media_of(part: Mapping[str, Any]) -> Media | None:
    """Return the media that a content part or a block stands for, None when it is none.

    Reads OpenAI's `image_url`, `input_image`, `file`, `input_file` and `input_audio`, Anthropic's
    `source`, Gemini's `inlineData` and `fileData`, in snake case as well.
    """
    if _PLACES.isdisjoint(part):
        return None
    detail = text_of(part.get("detail"))
    image = part.get("image_url")
    if image or part.get("type") == "input_image":
        described = mapping_of(image)
        address = text_of(described.get("url")) or text_of(image)
        return _from_address(address, "image", text_of(described.get("detail")) or detail)
    audio = mapping_of(part.get("input_audio"))
    if audio:
        return Media("audio", text_of(audio.get("data")))
    if part.get("type") in ("file", "input_file"):
        described = mapping_of(part.get("file")) or part
        name = text_of(described.get("filename"))
        found = _from_address(text_of(described.get("file_data")), "file", detail)
        return Media(found.kind, found.encoded, detail, name)
    for field in ("source", "inlineData", "inline_data", "fileData", "file_data"):
        described = mapping_of(part.get(field))
        if described:
            return _from_source(described)
    return None


def is_media_text(field: object, text: str) -> bool:
    """Tell whether a string of a request is media rather than words."""
    return text.startswith("data:") or (field in _DATA_FIELDS and len(text) > 256)


def kind_of(mime: str, encoded: str = "") -> Kind:
    """Return the kind of media that a MIME type names, or its first bytes when it names none."""
    family = mime.partition("/")[0]
    if family in ("image", "audio", "video"):
        return family  # type: ignore[return-value]
    return next((kind for mark, kind in _BY_MARK if encoded.startswith(mark)), "file")


def _from_source(source: Mapping[str, Any]) -> Media:
    mime = text_of(source.get("media_type") or source.get("mimeType") or source.get("mime_type"))
    encoded = text_of(source.get("data"))
    if source.get("type") == "text":
        return Media("file")
    return Media(kind_of(mime, encoded), encoded)


def _from_address(address: str, kind: Kind, detail: str) -> Media:
    if not address.startswith("data:"):
        inline = "://" not in address[:16]
        return Media(kind, address if inline else "", detail)
    head, _, encoded = address.partition(",")
    named = head[5:].partition(";")[0]
    return Media(kind_of(named, encoded) if named else kind, encoded, detail)
