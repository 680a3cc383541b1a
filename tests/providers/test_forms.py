"""Forms as the fields that JSON would hold."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meter.providers.forms import form_fields, is_form
from tests.providers.forms import BOUNDARY, KIND, form, wav


def test_fields_have_the_types_that_json_would_give_them() -> None:
    body = form(model="gpt-image-1", n=2, stream="true", prompt="7", size="1024x1024")
    assert form_fields(KIND, body) == (
        {"model": "gpt-image-1", "n": 2, "stream": True, "prompt": "7", "size": "1024x1024"}, (),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value", "typed"),
    [("n", "two", "two"), ("n", "-1", "-1"), ("n", "9" * 16, "9" * 16), ("stream", "False", False),
     ("stream", "maybe", "maybe")],
)  # fmt: skip
def test_odd_values_stay_text(name: str, value: str, typed: object) -> None:
    assert form_fields(KIND, form(**{name: value}))[0] == {name: typed}


def test_a_file_is_described_and_measured() -> None:
    fields, defects = form_fields(KIND, form(wav(3.7), model="whisper-1"))
    assert fields["file"] == {
        "filename": "a.wav", "content_type": "audio/wav", "bytes": 177_644,
        "seconds": Decimal("3.7"),
    }  # fmt: skip
    assert defects == ()


def test_the_beginning_of_a_form_tells_the_fields_and_the_seconds() -> None:
    body = form(wav(3.7), model="whisper-1")[:1000]
    fields, _ = form_fields(KIND, body)
    assert (fields["model"], fields["file"]["seconds"]) == ("whisper-1", Decimal("3.7"))


def test_a_sound_of_unknown_kind_has_no_seconds() -> None:
    fields, _ = form_fields(KIND, form(b"hello", "a.txt"))
    assert fields["file"] == {"filename": "a.txt", "content_type": "audio/wav", "bytes": 5}


def test_names_that_repeat_hold_lists() -> None:
    part = '--{0}\r\nContent-Disposition: form-data; name="{1}"\r\n\r\n{2}\r\n'
    body = "".join(
        part.format(BOUNDARY, name, value)
        for name, value in [("a[]", "1"), ("a[]", "2"), ("b", "3"), ("b", "4"), ("c[0]", "5")]
    )
    fields, _ = form_fields(KIND, f"{body}--{BOUNDARY}--".encode())
    assert fields == {"a": ["1", "2"], "b": ["3", "4"], "c": ["5"]}


def test_a_form_that_is_not_at_hand_or_not_readable_is_told() -> None:
    assert form_fields(KIND, b"") == (
        {}, ("the form was not at hand: what it asks for is not known",),
    )  # fmt: skip
    assert form_fields(KIND, b'{"model": 1}') == ({}, ("found no field in the form",))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [(KIND, True), ("Multipart/Form-Data; boundary=x", True), ("application/json", False),
     (None, False)],
)  # fmt: skip
def test_forms_are_known_by_their_type(kind: str | None, expected: bool) -> None:
    assert is_form(kind) is expected


@given(st.binary(max_size=400))
def test_any_bytes_are_read_without_an_error(content: bytes) -> None:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
    fields, defects = form_fields(KIND, head.encode() + content)
    assert isinstance(fields, dict)
    assert all(isinstance(defect, str) for defect in defects)
