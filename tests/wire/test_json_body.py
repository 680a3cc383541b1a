import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meter.wire import NOT_YET, JSONBodyFramer
from meter.wire.json_body import EDGE_BYTES
from tests.wire.cuts import cut_at, in_pieces, in_two, payloads, places, singly, texts_of


def test_the_whole_body_comes_at_the_end() -> None:
    body = '{"model":"gpt","choices":[{"text":"größe € 🎈"}],"usage":{"total_tokens":3}}'.encode()
    for chunks in [*in_two(body), singly(body)]:
        framer = JSONBodyFramer()
        assert not any(framer.feed(chunk) for chunk in chunks if chunk)
        assert framer.feed(b"") == [body]
        assert framer.feed(b"") == []


def test_blank_bytes_around_the_body_are_removed() -> None:
    assert payloads(JSONBodyFramer(), [b"\n\n\n", b' {"a":1}\r\n']) == [b'{"a":1}']
    assert payloads(JSONBodyFramer(), [b"\xef\xbb\xbf{}"]) == [b"{}"]
    assert payloads(JSONBodyFramer(), [b"\n"]) == []
    assert payloads(JSONBodyFramer(), []) == []


def test_not_yet_does_not_end_the_body() -> None:
    framer = JSONBodyFramer()
    assert framer.feed(b"{") == []
    assert framer.feed(NOT_YET) == []
    assert payloads(framer, [b"}"]) == [b"{}"]


def test_a_body_as_long_as_the_limit_is_kept() -> None:
    body = b'{"a":"' + b"x" * 92 + b'"}'
    assert payloads(JSONBodyFramer(limit_bytes=100), singly(body)) == [body]


# Each body is over the limit of 600, so that 300 bytes of each end are kept.
FILLING = 'x\\"y{[\\\\' * 100
LONG = [
    # the body; the payload
    (
        '{"created":1,"data":[{"b64_json":"%s"}],"usage":{"input_tokens":5,"output_tokens":272}}',
        '{"usage":{"input_tokens":5,"output_tokens":272}}',
    ),
    (
        '{"model":"m-1","data":["%s"],"usage": {"a": "}\\"{", "cost": 0.00001230} ,"id":"x"}\n',
        '{"model":"m-1","usage":{"a": "}\\"{", "cost": 0.00001230}}',
    ),
    (
        '{"data":["%s"],"service_tier":"flex","usage":{"a":{"b":[1,{"usage":{}}]}},"model":"m"}',
        '{"service_tier":"flex","usage":{"a":{"b":[1,{"usage":{}}]}},"model":"m"}',
    ),
    (
        '{"candidates":["%s"],"usageMetadata":{"totalTokenCount":8},"modelVersion":"gemini"}',
        '{"usageMetadata":{"totalTokenCount":8},"modelVersion":"gemini"}',
    ),
    (
        '\ufeff {"usage":{"a":1},"model":"m","data":["%s"]}',
        '{"usage":{"a":1},"model":"m"}',
    ),
    (
        '{"model":"first","data":["%s"],"usage":{"a":1},"usage":{"a":2},"model":"last"}',
        '{"model":"last","usage":{"a":2}}',
    ),
    (
        '{"embeddings":["%s"],"meta":{"billed_units":{"input_tokens":2}}}',
        '{"meta":{"billed_units":{"input_tokens":2}}}',
    ),
    # a text that looks like usage is none, whatever quotes it holds
    ('{"data":["%s"],"text":"\\"usage\\":{\\"a\\":1}","usage":{"a":2}}', '{"usage":{"a":2}}'),
    ('{"data":["%s",{"usage":{"a":1}}],"n":"usage","usage":{"a":2}}', '{"usage":{"a":2}}'),
]
WITHOUT_USAGE = [
    '{"data":["%s"],"usage":null,"model":"m"}',
    '{"data":["%s",{"usage":{"a":1}}]}',
    '{"data":["%s"],"usage":{"a":1}',
    '{"data":["%s"],"x":{"usage":{"a":1}},"y":5',
    '{"data":["%s\\"usage\\":{\\"a\\":1}}',
    '{"data":["%s"],"text":"{\\"usage\\":{\\"a\\":1}}',
    '{"data":["%s"],"usage":{"a":1},"text":", {}',
    '[{"usage":{"a":1}},"%s",{"usage":{"a":1}}]',
    "%s",
]


@pytest.mark.parametrize(("body", "payload"), LONG)
@pytest.mark.parametrize("shift", range(9))
def test_of_a_body_over_the_limit_the_usage_is_left(body: str, payload: str, shift: int) -> None:
    text = (body % (FILLING + "z" * shift)).encode()
    for chunks in ([text], singly(text), in_pieces(text, 250)):
        framer = JSONBodyFramer(limit_bytes=600)
        assert payloads(framer, chunks) == [payload.encode()]
        assert framer.dropped == 0


@pytest.mark.parametrize("body", WITHOUT_USAGE)
@pytest.mark.parametrize("shift", range(9))
def test_a_body_over_the_limit_without_usage_is_dropped(body: str, shift: int) -> None:
    text = (body % (FILLING + "z" * shift)).encode()
    for chunks in ([text], singly(text)):
        framer = JSONBodyFramer(limit_bytes=600)
        assert payloads(framer, chunks) == []
        assert framer.dropped == 1


def test_a_picture_of_20_megabytes_leaves_its_usage() -> None:
    picture = b'{"data":[{"b64_json":"' + b"QUJD" * 5_000_000 + b'"}],'
    framer = JSONBodyFramer()
    for piece in in_pieces(picture, 1_000_000):
        framer.feed(piece)
        assert len(framer._body) <= framer.limit_bytes
    assert len(framer._body) == EDGE_BYTES
    assert payloads(framer, [b'"usage":{"input_tokens":50}}']) == [b'{"usage":{"input_tokens":50}}']


def test_nesting_without_end_is_no_usage() -> None:
    text = b'{"data":"' + b"x" * 70_000 + b'","usage":' + b'{"a":' * 10_000 + b"}" * 10_001
    framer = JSONBodyFramer(limit_bytes=100_000)
    assert payloads(framer, [text]) == []
    assert framer.dropped == 1


@given(
    texts_of(b'"usage":{"a":1}', b'"model":"m"', b"{", b"}", b"[", b"]", b'"', b"\\", b","), places
)
def test_any_bytes_give_the_same_payload_at_any_cut(text: bytes, cuts: list[int]) -> None:
    cut, whole = JSONBodyFramer(limit_bytes=40), JSONBodyFramer(limit_bytes=40)
    for chunk in cut_at(text, cuts):
        cut.feed(chunk) if chunk else None
        assert len(cut._body) <= 40
    assert cut.feed(b"") == payloads(whole, [text])


JSON_VALUES = st.recursive(
    st.none() | st.integers() | st.text(alphabet='a"\\{}[]:,é', max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["usage", "model", "a", '"', "{"]), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["usage", "model", "a", "b", "c"]), JSON_VALUES))
def test_the_usage_found_at_the_end_is_the_usage_of_the_object(value: dict[str, object]) -> None:
    value["usage"] = value.pop("usage", None)
    text = json.dumps({"filling": "x" * 2_000, **value}, ensure_ascii=False).encode()
    found = payloads(JSONBodyFramer(limit_bytes=2_000), [text])
    if isinstance(value["usage"], dict):
        assert json.loads(found[0])["usage"] == value["usage"]
    else:
        assert found == []
