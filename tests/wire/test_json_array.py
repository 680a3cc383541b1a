import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meter.wire import NOT_YET, JSONArrayFramer
from tests.wire.cuts import cut_at, in_pieces, in_two, payloads, places, singly, texts_of

ELEMENTS = [
    '{\n  "candidates": [{"content": {"parts": [{"text": "größe € 🎈"}]}}]\n}'.encode(),
    b'{"text": "]},{[\\" \\\\", "n": [[], {}]}',
    b'{"usageMetadata": {"totalTokenCount": 12}}',
]
STREAM = b" [" + b"\n,\r\n".join(ELEMENTS) + b"\n]\n"


def test_every_cut_gives_the_same_elements() -> None:
    for chunks in [*in_two(STREAM), singly(STREAM)]:
        assert payloads(JSONArrayFramer(), chunks) == ELEMENTS


def test_an_element_comes_with_the_byte_that_closes_it() -> None:
    framer = JSONArrayFramer()
    assert framer.feed(b'[{"a":1') == []
    assert framer.feed(b"}") == [b'{"a":1}']
    assert framer.feed(b',\n{"a":2}') == [b'{"a":2}']
    assert framer.feed(b"]") == []


def test_elements_that_are_no_containers_end_with_their_comma() -> None:
    text = b'[1 , "a,]\\"" ,null,\n[2,3], true]'
    for chunks in [*in_two(text), singly(text)]:
        assert payloads(JSONArrayFramer(), chunks) == [
            b"1", b'"a,]\\""', b"null", b"[2,3]", b"true",
        ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b"", []),
        (b" \n", []),
        (b"[]", []),
        (b"[", []),
        (b"\xef\xbb\xbf", []),
        (b"\xef\xbb\xbf [1]", [b"1"]),
        (b" \xef\xbb\xbf\xef\xbb\xbf [[", [b"["]),
        (b'{"error": {"code": 400}}\n', [b'{"error": {"code": 400}}']),
        (b'[{"a":1}] {"b":2}', [b'{"a":1}']),
        (b'[{"a":1},{"b"', [b'{"a":1}', b'{"b"']),
        (b'[{"a":1},{"b":"\\', [b'{"a":1}', b'{"b":"\\']),
    ],
)
def test_strange_beginnings_and_ends(text: bytes, found: list[bytes]) -> None:
    for chunks in [*in_two(text), singly(text)]:
        assert payloads(JSONArrayFramer(), chunks) == found


def test_a_string_of_a_megabyte_is_read_once() -> None:
    element = b'{"data":"' + b'\\"QUJD' * 150_000 + b'"}'
    text = b"[" + element + b",1]"
    assert payloads(JSONArrayFramer(), in_pieces(text, 1_001)) == [element, b"1"]


def test_an_element_over_the_limit_is_skipped_at_every_cut() -> None:
    text = b'[{"a":"12345"},\n {"a":"1234567"} , "]}1234567890123456789", {"b":"\\"}"}]'
    for chunks in [*in_two(text), singly(text)]:
        framer = JSONArrayFramer(limit_bytes=14)
        assert payloads(framer, chunks) == [b'{"a":"12345"}', b'{"b":"\\"}"}']
        assert framer.dropped == 2


def test_not_yet_does_not_end_the_array() -> None:
    framer = JSONArrayFramer()
    assert framer.feed(b"[{") == []
    assert framer.feed(NOT_YET) == []
    assert framer.feed(b"}") == [b"{}"]


PARTS = (b"[", b"]", b"{", b"}", b'"', b"\\", b",", b'{"a":"b"}', b" ", b"\xef\xbb\xbf")


@given(texts_of(*PARTS), places)
def test_any_bytes_give_the_same_elements_at_any_cut(text: bytes, cuts: list[int]) -> None:
    whole = payloads(JSONArrayFramer(), [text])
    assert payloads(JSONArrayFramer(), cut_at(text, cuts)) == whole


@given(texts_of(*PARTS), places)
def test_any_bytes_keep_to_a_small_limit(text: bytes, cuts: list[int]) -> None:
    cut, whole = JSONArrayFramer(limit_bytes=8), JSONArrayFramer(limit_bytes=8)
    found = []
    for chunk in cut_at(text, cuts):
        if chunk:
            found += cut.feed(chunk)
        assert len(cut._element) <= 8
    found += cut.feed(b"")
    assert all(len(element) <= 8 for element in found)
    assert found == payloads(whole, [text])
    assert cut.dropped == whole.dropped


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(alphabet='a"\\{}[],: é\n', max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=10,
)


@given(st.lists(VALUES), places, st.sampled_from([None, 2]))
def test_any_array_gives_its_elements(
    values: list[object], cuts: list[int], indent: int | None
) -> None:
    text = json.dumps(values, ensure_ascii=False, indent=indent).encode()
    found = payloads(JSONArrayFramer(), cut_at(text, cuts))
    assert [json.loads(element) for element in found] == values
