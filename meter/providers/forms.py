"""Read the fields of a form as a JSON object would hold them. Called by `dialect.py`.

A file stands as an object `{"filename", "content_type", "bytes", "seconds"}`; `seconds` (a
Decimal, for a whole sound or a WAV's header) is absent where it cannot be told. The body may be
no more than the beginning of the form: SDKs write fields before files. Of a file that is not all
there `whole` is false, and `bytes` says how much is.
"""

from typing import Any, Final

from meter.providers.foreign import whole
from meter.wire.multipart import FormFile, FormReader
from meter.wire.sound import seconds_of

_SLICE_BYTES: Final = 256 * 1024
# The field that holds sound.
_WANTED: Final = ("file",)
_NUMBERS: Final = frozenset(
    {"height", "n", "n_seconds", "n_variants", "output_compression", "partial_images", "width"}
)
_SWITCHES: Final = {"true": True, "false": False, "1": True, "0": False}
_SWITCHED: Final = frozenset({"stream"})


def is_form(content_type: str | None) -> bool:
    """Whether a request of this content type is a form with files."""
    return (content_type or "").strip().lower().startswith("multipart/form-data")


def form_fields(content_type: str, body: bytes) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return a form's fields, and sentences on what could not be read. Never raises.

    A name that occurs more than once, or ends in `[]` or `[3]`, holds a list.
    """
    if not body:
        return {}, ("the form was not at hand: what it asks for is not known",)
    reader = FormReader(content_type, _WANTED)
    for start in range(0, len(body), _SLICE_BYTES):
        reader.feed(body[start : start + _SLICE_BYTES])
    form = reader.form()
    fields: dict[str, Any] = {}
    for name, value in form.fields:
        _put(fields, name, _typed(name, value))
    for file in form.files:
        _put(fields, file.name, _described(file))
    defects = ("a part of the form could not be read",) if form.dropped else ()
    return fields, defects if fields else (*defects, "found no field in the form")


def _put(fields: dict[str, Any], name: str, value: Any) -> None:
    base, bracket, _ = name.partition("[")
    if bracket and base:
        listed = fields.setdefault(base, [])
        if isinstance(listed, list):
            listed.append(value)
    elif name in fields:
        before = fields[name]
        fields[name] = [*before, value] if isinstance(before, list) else [before, value]
    else:
        fields[name] = value


def _typed(name: str, value: str) -> Any:
    """Return the value as JSON would hold it; one of an odd form stays text."""
    text = value.strip()
    if name in _SWITCHED:
        return _SWITCHES.get(text.lower(), value)
    if name in _NUMBERS and text.isascii() and text.isdecimal() and len(text) < 16:
        return whole(int(text), 0, 10**15)
    return value


def _described(file: FormFile) -> dict[str, Any]:
    described: dict[str, Any] = {
        "filename": file.filename, "content_type": file.content_type, "bytes": file.length_bytes,
    }  # fmt: skip
    if file.name in _WANTED:
        content = file.head if file.content is None else file.content
        seconds = seconds_of(content, file.length_bytes if file.whole else None)
        if seconds is not None:
            described["seconds"] = seconds
    if not file.whole:
        described["whole"] = False
    return described
