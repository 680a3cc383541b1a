"""A chat provider that costs next to nothing: fixed answers on loopback, for measuring clients.

    python benchmarks/mock_upstream.py --chunks 200

It prints its port and serves until it is ended.
Each event of a stream is its own HTTP chunk, written by itself. Standard library only; it shares
no code with `meter`.
"""

import argparse
import asyncio
import json
import sys

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
    text = " ".join(WORDS[number % len(WORDS)] for number in range(110))[:700]
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


class Mock:
    """Answers each request on a connection, one after the other."""

    def __init__(self, chunks: int) -> None:
        """Prepare the answers."""
        self._whole = whole_answer()
        self._plain = stream_answer(chunks, with_usage=False)
        self._reporting = stream_answer(chunks, with_usage=True)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until the client leaves."""
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                body = await reader.readexactly(_length(head))
                request = json.loads(body) if body else {}
                if not request.get("stream"):
                    writer.write(self._whole)
                    continue
                options = request.get("stream_options") or {}
                for piece in self._reporting if options.get("include_usage") else self._plain:
                    writer.write(piece)
                    await asyncio.sleep(0)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


def _length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return 0


async def main(port: int, chunks: int) -> None:
    """Serve until the process is ended."""
    server = await asyncio.start_server(Mock(chunks).serve, "127.0.0.1", port)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--chunks", type=int, default=200, help="events with text in a stream")
    given = parser.parse_args(sys.argv[1:])
    asyncio.run(main(given.port, given.chunks))
