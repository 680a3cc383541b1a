"""A chat provider that costs next to nothing: fixed answers on loopback, for measuring clients.

    python benchmarks/mock_upstream.py --chunks 200

It prints its port and serves until it is ended.
Each event of a stream is its own HTTP chunk, written by itself: as soon as it can, or every
`--pause-ms`. It shares no code with `meter`; uvloop makes it faster where it is installed.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Iterator

PROMPT_TOKENS = 100
ANSWER_TOKENS = 50
WORDS = ("lorem", "ipsum", "dolor", "sit", "amet", "elit", "sed", "do", "eiusmod", "tempor")


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _usage(completion_tokens: int) -> dict[str, int]:
    return {
        "prompt_tokens": PROMPT_TOKENS,
        "completion_tokens": completion_tokens,
        "total_tokens": PROMPT_TOKENS + completion_tokens,
    }


def whole_answer() -> bytes:
    """Return a chat completion of 700 characters with its HTTP head."""
    text = " ".join(WORDS[number % len(WORDS)] for number in range(130))[:700]
    body = _json(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1_700_000_000,
            "model": "gpt-4o-mini-2024-07-18",
            "choices": [
                {
                    "index": 0,
                    "finish_reason": "stop",
                    "message": {"role": "assistant", "content": text},
                }
            ],
            "usage": _usage(ANSWER_TOKENS),
        }
    )
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


def stream_answer(chunks: int, *, with_usage: bool) -> list[bytes]:
    """Return the pieces of a streamed answer: the head, each event, and the end."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n"
    events = [_event(delta={"role": "assistant", "content": ""})]
    events += [_event(delta={"content": f" {WORDS[n % len(WORDS)]}"}) for n in range(chunks)]
    events.append(_event(delta={}, finish="stop"))
    if with_usage:
        events.append(_event(usage=_usage(chunks)))
    payloads = [b"data: " + event + b"\n\n" for event in [*events, b"[DONE]"]]
    framed = [f"{len(payload):x}\r\n".encode() + payload + b"\r\n" for payload in payloads]
    return [head + b"\r\n", *framed, b"0\r\n\r\n"]


def _event(
    delta: dict[str, str] | None = None,
    finish: str | None = None,
    usage: dict[str, int] | None = None,
) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return _json(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": 1_700_000_000,
            "model": "gpt-4o-mini-2024-07-18",
            "choices": [] if delta is None else [choice],
            "usage": usage,
        }
    )


class Answers:
    """What the provider says, prepared once."""

    def __init__(self, chunks: int, pause_s: float) -> None:
        """Prepare the answers; `pause_s` lies between the events of a stream."""
        self.whole = whole_answer()
        self.plain = stream_answer(chunks, with_usage=False)
        self.reporting = stream_answer(chunks, with_usage=True)
        self.pause_s = pause_s


class Connection(asyncio.Protocol):
    """Answers the requests on one connection, one after the other."""

    def __init__(self, answers: Answers) -> None:
        """Take the answers."""
        self._answers = answers
        self._received = b""
        self._pieces: Iterator[bytes] = iter(())
        self._transport: asyncio.Transport | None = None
        self._is_streaming = False
        self._is_paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the connection."""
        assert isinstance(transport, asyncio.Transport) or transport is not None
        self._transport = transport  # type: ignore[assignment]

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._transport = None

    def pause_writing(self) -> None:
        """Wait: the other side reads slowly."""
        self._is_paused = True

    def resume_writing(self) -> None:
        """Go on with a stream."""
        self._is_paused = False
        if self._is_streaming:
            self._go_on()

    def data_received(self, data: bytes) -> None:
        """Take bytes; answer as soon as a request is whole."""
        self._received = self._received + data if self._received else data
        while self._received and not self._is_streaming and self._answer():
            pass

    def _answer(self) -> bool:
        assert self._transport is not None
        received = self._received
        end = received.find(b"\r\n\r\n")
        if end < 0:
            return False
        size = end + 4 + _length(received[:end])
        if len(received) < size:
            return False
        self._received = received[size:]
        # Looking for the member spares the parsing of large requests.
        if received.find(b'"stream":true', end) < 0 and received.find(b'"stream": true', end) < 0:
            self._transport.write(self._answers.whole)
            return True
        request = json.loads(received[end + 4 : size])
        options = request.get("stream_options") or {}
        answers = self._answers
        pieces = answers.reporting if options.get("include_usage") else answers.plain
        self._pieces = iter(pieces)
        self._is_streaming = True
        self._go_on()
        return False

    def _go_on(self) -> None:
        """Write one piece, and the next one in the loop's next turn or after the pause."""
        if self._transport is None or self._is_paused:
            return
        piece = next(self._pieces, None)
        if piece is None:
            self._is_streaming = False
            if self._received:
                self.data_received(b"")
            return
        self._transport.write(piece)
        loop = asyncio.get_running_loop()
        if self._answers.pause_s:
            loop.call_later(self._answers.pause_s, self._go_on)
        else:
            loop.call_soon(self._go_on)


def _length(head: bytes) -> int:
    begin = head.lower().find(b"\r\ncontent-length:")
    if begin < 0:
        return 0
    line, _, _ = head[begin + 17 :].partition(b"\r\n")
    return int(line)


async def main(port: int, answers: Answers) -> None:
    """Serve until the process is ended."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(answers), "127.0.0.1", port, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--chunks", type=int, default=200, help="events with text in a stream")
    parser.add_argument("--pause-ms", type=float, default=0, help="between events of a stream")
    given = parser.parse_args(sys.argv[1:])
    try:
        import uvloop as loops
    except ImportError:
        loops = asyncio  # type: ignore[assignment]
    loops.run(main(given.port, Answers(given.chunks, given.pause_ms / 1000)))
