"""Read `multipart/form-data` bodies: plain fields and uploaded files.

Called by `app` and by the dialects' endpoints that take uploads.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_BOUNDARY = re.compile(r'boundary="?([^";,]+)"?', re.IGNORECASE)
_NAME = re.compile(r'[; ]name="([^"]*)"')
_FILENAME = re.compile(r'filename="([^"]*)"')


@dataclass(frozen=True, slots=True)
class Upload:
    """Hold one uploaded file."""

    filename: str
    content: bytes


def read_form(body: bytes, headers: Mapping[str, str]) -> tuple[dict[str, str], dict[str, Upload]]:
    """Return the fields and the files of a form by name; both empty when it is no form."""
    fields: dict[str, str] = {}
    files: dict[str, Upload] = {}
    found = _BOUNDARY.search(headers.get("content-type", ""))
    if found is None:
        return fields, files
    for part in body.split(b"--" + found[1].encode("latin-1")):
        head, separator, content = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        about = head.decode("utf-8", "replace")
        name = _NAME.search(about)
        if not separator or name is None:
            continue
        content = content.removesuffix(b"\r\n")
        filename = _FILENAME.search(about)
        if filename is None:
            fields[name[1]] = content.decode("utf-8", "replace")
        else:
            files[name[1]] = Upload(filename[1], content)
    return fields, files
