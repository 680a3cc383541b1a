"""Write forms as clients do, and answer the calls that send them."""

import struct
from typing import Any

from meter.core.reading import Reading
from meter.providers.dialect import ProviderDialect

BOUNDARY = "xYzZy"
KIND = f"multipart/form-data; boundary={BOUNDARY}"


def form(file: bytes | None = None, filename: str = "a.wav", **fields: Any) -> bytes:
    """Return a form's bytes: the fields, then the file."""
    parts = [f'form-data; name="{name}"\r\n\r\n{value}'.encode() for name, value in fields.items()]
    if file is not None:
        head = f'form-data; name="file"; filename="{filename}"\r\nContent-Type: audio/wav\r\n\r\n'
        parts.append(head.encode() + file)
    body = b"".join(
        f"--{BOUNDARY}\r\nContent-Disposition: ".encode() + part + b"\r\n" for part in parts
    )
    return body + f"--{BOUNDARY}--\r\n".encode()


def wav(seconds: float) -> bytes:
    """Return that much silence, 48000 bytes a second."""
    sound = round(48_000 * seconds)
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + sound, b"WAVE", b"fmt ", 16, 1, 1, 24_000, 48_000, 2,
        16, b"data", sound,
    ) + bytes(sound)  # fmt: skip


def sending(dialect: ProviderDialect, path: str, body: bytes) -> Reading:
    """Return the reading of a POST with a form."""
    return dialect.read("POST", path, KIND, body)
