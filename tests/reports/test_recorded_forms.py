"""Forms of recordings written as bytes again."""

from decimal import Decimal
from typing import Any

import pytest

from meter.providers.forms import form_fields
from meter.reports.recorded_forms import CONTENT_TYPE, form_of


def fields_of(*parts: dict[str, Any]) -> dict[str, Any]:
    """Return what a reader makes of the form."""
    fields, defects = form_fields(CONTENT_TYPE, form_of({"multipart": True, "fields": list(parts)}))
    assert defects == ()
    return fields


def test_fields_come_back() -> None:
    model, number = {"name": "model", "value": "whisper-1"}, {"name": "n", "value": "2"}
    assert fields_of(model, number) == {"model": "whisper-1", "n": 2}


@pytest.mark.parametrize(
    ("file", "length"),
    [
        ({"text": "héllo"}, 6),
        ({"data_base64": "aGVsbG8="}, 5),
        ({"data_base64": "<dropped-base64>", "bytes": 7}, 7),
        ({"bytes": 100_000, "media": "mp3"}, 100_000),
        ({"bytes": -1}, 0),
        ({}, 0),
    ],
)
def test_files_come_back_at_their_length(file: dict[str, Any], length: int) -> None:
    part = {"name": "image", "filename": 'a "b".png', "content_type": "image/png", **file}
    assert fields_of(part)["image"] == {
        "filename": 'a "b".png', "content_type": "image/png", "bytes": length,
    }  # fmt: skip


def test_a_wav_comes_back_as_silence_of_its_seconds() -> None:
    part = {"name": "file", "filename": "a.wav", "content_type": "audio/wav", "media": "wav"}
    file = fields_of({**part, "bytes": 177_644, "seconds": 3.7})["file"]
    assert (file["bytes"], file["seconds"]) == (177_644, Decimal("3.7"))
    assert "seconds" not in fields_of({**part, "bytes": 30, "seconds": 3.7})["file"]
    assert "seconds" not in fields_of({**part, "bytes": 177_644})["file"]


def test_a_recording_without_fields_is_an_empty_form() -> None:
    assert form_of({"multipart": True, "fields": None}) == b"--recorded-form-0c9e4f--\r\n"
