"""Forms read from bytes that are cut anywhere."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meter.wire import multipart
from meter.wire.multipart import FIELD_LIMIT_BYTES, HEAD_BYTES, Form, FormFile, FormReader
from tests.wire.cuts import cut_at, in_two, places, singly

KIND = "multipart/form-data; boundary=B0"
FORM = (
    b'--B0\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n'
    b'--B0\r\ncontent-disposition: form-data; name="empty"\r\n\r\n\r\n'
    b'--B0\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n'
    b"Content-Type: audio/wav\r\n\r\nRIFF\r\n--B\r\n\r\n"
    b'--B0\r\nContent-Disposition: form-data; name="n"\r\n\r\n2\r\n'
    b"--B0--\r\n"
)
READ = Form(
    fields=(("model", "whisper-1"), ("empty", ""), ("n", "2")),
    files=(FormFile("file", "a.wav", "audio/wav", 11, b"RIFF\r\n--B\r\n", True),),
    whole=True,
    dropped=0,
)


def read(chunks: list[bytes], kind: str = KIND, wanted: tuple[str, ...] = ()) -> Form:
    reader = FormReader(kind, wanted)
    for chunk in chunks:
        reader.feed(chunk)
    return reader.form()


def test_fields_and_files_are_read() -> None:
    assert read([FORM]) == READ


def test_every_cut_reads_the_same() -> None:
    for chunks in in_two(FORM):
        assert read(chunks) == READ
    assert read(singly(FORM)) == READ


def test_a_wanted_file_is_kept_whole() -> None:
    (file,) = read([FORM], wanted=("file",)).files
    assert file.content == b"RIFF\r\n--B\r\n"
    (file,) = read([FORM], wanted=("mask",)).files
    assert file.content is None


@pytest.mark.parametrize(
    "kind",
    ['multipart/form-data; boundary="B0"', "Multipart/Form-Data;charset=utf-8; BOUNDARY=B0"],
)
def test_the_boundary_is_found(kind: str) -> None:
    assert read([FORM], kind) == READ


@pytest.mark.parametrize("kind", ["multipart/form-data", "multipart/form-data; boundary=", ""])
def test_without_a_boundary_nothing_is_read(kind: str) -> None:
    assert read([FORM], kind) == Form((), (), whole=False, dropped=0)


def test_what_came_of_a_form_that_is_cut_off_is_told() -> None:
    cut = FORM[: FORM.index(b"RIFF") + 4]
    form = read([cut], wanted=("file",))
    assert form.fields == (("model", "whisper-1"), ("empty", ""))
    # What could begin a delimiter is not counted yet: none of "RIFF" could.
    assert form.files == (FormFile("file", "a.wav", "audio/wav", 0, b"", False),)
    assert not form.whole


def test_a_preamble_and_spaces_after_the_boundary_are_passed_over() -> None:
    form = b"preamble\r\n" + FORM.replace(b"--B0\r\n", b"--B0  \r\n")
    assert read([form]) == READ


@pytest.mark.parametrize(
    ("parameters", "name", "filename"),
    [
        (b'name="a \\"b\\""; filename="c%22d"', 'a "b"', 'c"d'),
        (b"name=plain; filename=bare.mp3", "plain", "bare.mp3"),
        (b'filename="x;y.mp3"; name="f"', "f", "x;y.mp3"),
        ('name="f"; filename="Ä.mp3"'.encode(), "f", "Ä.mp3"),
    ],
)
def test_names_are_unquoted(parameters: bytes, name: str, filename: str) -> None:
    part = b"--B0\r\nContent-Disposition: form-data; " + parameters + b"\r\n\r\nx\r\n--B0--"
    (file,) = read([part]).files
    assert (file.name, file.filename) == (name, filename)


def test_a_long_field_and_a_nameless_part_are_dropped() -> None:
    head = b'--B0\r\nContent-Disposition: form-data; name="a"\r\n\r\n'
    fits = head + b"x" * FIELD_LIMIT_BYTES + b"\r\n--B0--"
    assert len(read([fits]).fields[0][1]) == FIELD_LIMIT_BYTES
    too_long = head + b"x" * (FIELD_LIMIT_BYTES + 1) + b"\r\n--B0--"
    assert read([too_long]) == Form((), (), whole=True, dropped=1)
    assert read([b"--B0\r\n\r\nx\r\n--B0--"]) == Form((), (), whole=True, dropped=1)


def test_a_long_file_is_counted_and_its_head_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multipart, "FILE_LIMIT_BYTES", 6000)
    head = b'--B0\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
    reader = FormReader(KIND, ("file",))
    reader.feed(head)
    for _ in range(100):
        reader.feed(b"0123456789" * 100)
        assert len(reader._buffer) < 1100
    reader.feed(b"\r\n--B0--")
    (file,) = reader.form().files
    assert (file.length_bytes, len(file.head), file.content) == (100_000, HEAD_BYTES, None)


def test_headers_without_an_end_are_given_up() -> None:
    form = read([b"--B0\r\n" + b"x" * 20_000, b"\r\n\r\ny\r\n--B0--"])
    assert form == Form((), (), whole=False, dropped=1)


def test_parts_are_bounded() -> None:
    part = b'--B0\r\nContent-Disposition: form-data; name="a"\r\n\r\nx\r\n'
    assert len(read([part * 2000]).fields) == 1024


@given(
    st.lists(
        st.sampled_from(
            [b"--B0", b"\r\n", b"--", b'Content-Disposition: form-data; name="a"', b"\r\n\r\n",
             b'; filename="f"', b"x", b"\x00\xff"]
        ),
        max_size=40,
    ).map(b"".join),
    places,
)  # fmt: skip
def test_any_bytes_cut_anywhere_read_the_same(text: bytes, cuts: list[int]) -> None:
    assert read(cut_at(text, cuts)) == read([text])
