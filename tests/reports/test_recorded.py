"""Answers of recordings, written as bytes again."""

import base64
import gzip
import json
from typing import Any

import pytest

from meter.config import Settings
from meter.core.rates import RateCard
from meter.pipeline import Pipeline
from meter.reports.recorded import answer_of, event_stream, headers_of
from meter.reports.replay import NoStore, replay_exchange, replay_line
from meter.wire import AWSEventStreamFramer
from tests.shared import SHARED, needs_shared

CORPUS = SHARED / "corpus" / "dev.jsonl.gz"
EVENTS = [
    {"event": "messageStart", "payload": {"role": "assistant"}},
    {"event": "chunk", "payload": {"bytes_json": {"outputText": "größe 🎈"}}},
    {"event": "throttlingException", "payload": {"message": "slow down"}},
    {"event": "contentBlockStop", "payload": None},
]


def payloads(stream: bytes) -> list[Any]:
    framer = AWSEventStreamFramer()
    found = framer.feed(stream) + framer.feed(b"")
    assert framer.dropped == 0
    return [json.loads(payload) for payload in found]


def test_events_are_framed_as_amazon_frames_them() -> None:
    assert payloads(event_stream(EVENTS)) == [
        {"messageStart": {"role": "assistant"}},
        {"outputText": "größe 🎈"},
        {"throttlingException": {"message": "slow down"}},
        {"contentBlockStop": {}},
    ]


def test_one_message_to_the_byte() -> None:
    # Headers are 16 + 33 + 22 = 71 bytes (1 + name + 1 + 2 + value each); all is 12 + 71 + 7 + 4.
    stream = event_stream([{"event": "e", "payload": {"a": 1}}])
    assert len(stream) == 94
    assert stream[:8] == (94).to_bytes(4, "big") + (71).to_bytes(4, "big")
    assert stream[12:27] == b"\x0b:event-type\x07\x00\x01"
    assert stream[-11:-4] == b'{"a":1}'


@pytest.mark.parametrize(
    ("exchange", "body"),
    [
        ({"response": {"a": 1}}, b'{"a":1}'),
        ({"response": [1]}, b"[1]"),
        ({"response_sse": "data: {}\n\n"}, b"data: {}\n\n"),
        ({"response_text": "1\n00:00"}, b"1\n00:00"),
        ({"response_binary": {"bytes": 2, "base64": "aGk="}}, b"hi"),
        ({"response_binary": {"bytes": 9, "base64": "aGk="}}, b""),
        ({"response_binary": {"bytes": 2, "base64": "<<b64:0:1>>"}}, b""),
        ({"response_binary": {"bytes": 2}}, b""),
        ({}, b""),
    ],
)
def test_each_kind_of_answer_has_its_bytes(exchange: dict[str, Any], body: bytes) -> None:
    assert answer_of(exchange) == body


def test_recorded_frames_come_before_events_written_again() -> None:
    frames = base64.b64encode(b"frames").decode()
    exchange = {"response_events": EVENTS, "response_binary": {"bytes": 6, "base64": frames}}
    assert answer_of(exchange) == b"frames"
    exchange["response_binary"] = {"bytes": 6}
    assert answer_of(exchange) == event_stream(EVENTS)


def test_headers_that_report_usage_are_kept() -> None:
    kept = {"X-Amzn-Bedrock-Input-Token-Count": "8"}
    assert headers_of({"response_content_type": "application/json", "usage_headers": kept}) == {
        "content-type": "application/json", "x-amzn-bedrock-input-token-count": "8",
    }  # fmt: skip
    assert headers_of({}) == {"content-type": "application/json"}


class NoPrices:
    """A price source that knows no price."""

    books = None

    def card_for(self, provider: str, model: str, at_us: int) -> RateCard | None:
        return None


def test_a_recorded_event_stream_goes_through_the_pipeline() -> None:
    exchange = {
        "id": "x", "provider": "bedrock", "status": 200, "method": "POST",
        "provider_host": "bedrock-runtime.<aws_region>.amazonaws.com",
        "path": "/model/amazon.nova-lite-v1:0/converse-stream",
        "request": {"messages": [{"role": "user", "content": [{"text": "Hi"}]}]},
        "response_content_type": "application/vnd.amazon.eventstream",
        "response_events": [
            {"event": "contentBlockDelta", "payload": {"delta": {"text": "Hello"}}},
            {"event": "messageStop", "payload": {"stopReason": "end_turn"}},
            {"event": "metadata", "payload": {"usage": {"inputTokens": 3, "outputTokens": 2}}},
        ],
    }  # fmt: skip
    result = replay_exchange(exchange, Pipeline(NoStore(), NoPrices(), Settings()))
    assert (result["provider"], result["endpoint"]) == ("bedrock", "converse")
    assert (result["model"], result["basis"]) == ("amazon.nova-lite-v1:0", "reported")
    assert result["usage"] == {"input_tokens": 3, "output_tokens": 2}
    assert result["counted_output_tokens"] == 1


@needs_shared
def test_frames_written_again_say_what_the_recorded_ones_say() -> None:
    compared = 0
    with gzip.open(CORPUS, "rt", encoding="utf-8") as lines:
        for line in lines:
            if '"response_events"' not in line or compared >= 40:
                continue
            row = json.loads(line)
            recorded = answer_of(row)
            if not row.get("response_events") or "base64" not in (row["response_binary"] or {}):
                continue
            again = payloads(event_stream(row["response_events"]))
            padded = payloads(recorded)
            for payload in padded:
                for event in payload.values():
                    if isinstance(event, dict):
                        event.pop("p", None)
            if len(recorded) == row["response_binary"]["bytes"]:
                assert again == padded
                compared += 1
    assert compared > 0


@pytest.mark.parametrize("host, path, kind, text", [
    ("api.cohere.com", "/v2/chat", "text/event-stream",
     'data: {"type":"content-delta","delta":{"message":{"content":{"text":"Hello"}}}}\n\n'),
    ("localhost:11434", "/api/chat", "application/x-ndjson",
     '{"model":"m","message":{"role":"assistant","content":"Hello"},"done":false}\n'),
])  # fmt: skip
def test_a_stream_that_broke_off_is_estimated(host: str, path: str, kind: str, text: str) -> None:
    exchange = {
        "id": "x", "provider_host": host, "status": 200, "method": "POST", "path": path,
        "request": {"model": "m", "stream": True,
                    "messages": [{"role": "user", "content": "tiktoken is great!"}]},
        "response_content_type": kind, "response_sse": text,
    }  # fmt: skip
    result = replay_exchange(exchange, Pipeline(NoStore(), NoPrices(), Settings()))
    assert (result["basis"], result["usage"]["output_tokens"]) == ("estimated", 1)
    # "tiktoken is great!" is 6 tokens.
    assert result["usage"]["input_tokens"] >= 6


def test_half_of_a_surrogate_pair_spoils_no_exchange() -> None:
    """Some recordings cut an emoji in two: that is no UTF-8, and JSON all the same."""
    line = (
        b'{"id": "x", "provider": "openai", "method": "POST", "path": "/v1/chat/completions",'
        b'"request": {"model": "gpt-4o", "messages": [{"role": "user", "content": "\\ud83d"}]},'
        b'"status": 200, "response": {"choices": [{"message": {"content": "\\ud83d"}}],'
        b'"usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}}}'
    )
    result = replay_line(line, Pipeline(NoStore(), NoPrices(), Settings()))
    assert result["usage"] == {"input_tokens": 9, "output_tokens": 2}
    assert result["error"] is None


def test_a_fault_of_our_own_is_told_of_and_ends_no_replay(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise TypeError("unhashable")

    monkeypatch.setattr("meter.reports.replay.replay_exchange", broken)
    result = replay_line(b"{}", Pipeline(NoStore(), NoPrices(), Settings()))
    assert result["error"] == "a fault of the meter's own: TypeError: unhashable"
