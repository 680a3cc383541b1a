"""Requests and answers of a chat endpoint, byte by byte."""

import json

from meter.core.usage import Usage
from tests.clients.upstream import LAST_CHUNK, SSE_HEAD, Step, event

CHAT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hello"}]}
ANSWER = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "gpt-4o-mini-2024-07-18",
        "choices": [
            {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hi"}}
        ],
        "usage": {"prompt_tokens": 8, "completion_tokens": 2, "total_tokens": 10},
    }
).encode()
USAGE = Usage(input_tokens=8, output_tokens=2)
USAGE_EVENT = json.dumps(
    {
        "id": "c",
        "object": "chat.completion.chunk",
        "model": "gpt-4o-mini",
        "choices": [],
        "usage": {"prompt_tokens": 8, "completion_tokens": 2, "total_tokens": 10},
    }
)


def delta(text: str, finish: str | None = None) -> str:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    return json.dumps(
        {"id": "c", "object": "chat.completion.chunk", "model": "gpt-4o-mini", "choices": [choice]}
    )


CUT_UP: dict[str, list[bytes]] = {
    "stream": [
        b"data: " + delta("one").encode() + b"\n\n",
        b"data: " + delta("", "stop").encode() + b"\n\ndata: [DO",
        b"NE]\n",
        b"\n: after",
    ],
    "body": [ANSWER[:9], ANSWER[9:30], ANSWER[30:], b" ", b"\n"],
    "no usage": [b'{"a":', b"1}", b" "],
}
"""Chunked answers whose last chunks wait for the record."""

SSE_ANSWER: list[Step] = [
    SSE_HEAD,
    event(delta("one")),
    event(delta(" two", "stop")),
    event(USAGE_EVENT),
    event("[DONE]"),
    LAST_CHUNK,
]
"""A whole streamed answer."""
