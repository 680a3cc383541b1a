"""Write the form of a recorded request as the bytes that went over the wire.

Knows the fields of a recording: `{"multipart": true, "fields": [{name, value} or {name, filename,
content_type, bytes, media, seconds, text/data_base64}]}`. The content of most files was not kept:
silence of the same length stands for a WAV, zeros for the others. Called by `replay.py`.
"""

import base64
import binascii
import struct
from collections.abc import Mapping
from typing import Any

CONTENT_TYPE = "multipart/form-data; boundary=recorded-form-0c9e4f"
"""The content type of every form written here."""

_DELIMITER = b"--recorded-form-0c9e4f"
_WAV_HEAD = struct.Struct("<4sI4s4sIHHIIHH4sI")
_MOST_BYTES = 64 * 1024 * 1024


def form_of(request: Mapping[str, Any]) -> bytes:
    """Return the body of a recorded form."""
    parts = request.get("fields")
    listed = parts if isinstance(parts, list) else []
    written = [_part(part) for part in listed if isinstance(part, dict)]
    return b"".join((*written, _DELIMITER, b"--\r\n"))


def _part(part: Mapping[str, Any]) -> bytes:
    disposition = f'form-data; name="{_quoted(part.get("name"))}"'
    headers = [f"content-disposition: {disposition}"]
    content = str(part.get("value", "")).encode("utf-8", "replace")
    if "filename" in part:
        headers = [f'{headers[0]}; filename="{_quoted(part["filename"])}"']
        headers.append(f"content-type: {_quoted(part.get('content_type'))}")
        content = _content(part)
    head = "\r\n".join(headers).encode("utf-8", "replace")
    return b"\r\n".join((_DELIMITER, head, b"", content, b""))


def _content(file: Mapping[str, Any]) -> bytes:
    kept = file.get("data_base64")
    if isinstance(kept, str):
        try:
            return base64.b64decode(kept, validate=True)
        except (binascii.Error, ValueError):
            pass  # A mark of the recording, whose base64 was dropped.
    if isinstance(file.get("text"), str):
        return str(file["text"]).encode("utf-8", "replace")
    length = file.get("bytes")
    if not isinstance(length, int) or length <= 0:
        return b""
    head = _wav_head(file, length)
    return head + bytes(min(length, _MOST_BYTES) - len(head))


def _wav_head(file: Mapping[str, Any], length: int) -> bytes:
    """Return the header of a WAV whose recorded seconds fit its length, b"" for other files."""
    seconds = file.get("seconds")
    sound = length - _WAV_HEAD.size
    if file.get("media") != "wav" or not isinstance(seconds, (int, float)):
        return b""
    if not 0 < seconds < sound:
        return b""
    rate = round(sound / seconds)
    return _WAV_HEAD.pack(
        b"RIFF", length - 8, b"WAVE", b"fmt ", 16, 1, 1, rate // 2, rate, 2, 16, b"data", sound
    )


def _quoted(value: Any) -> str:
    text = "".join(character for character in str(value or "") if character.isprintable())
    return text.replace('"', "%22")
