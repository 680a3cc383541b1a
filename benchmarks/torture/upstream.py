"""A provider with books of its own that does what each request asks for, also to break off.

    python -m benchmarks.torture.upstream

It prints its port and serves until it is ended. The header `x-torture` says how to answer, as
`mode=stream;in=40;out=20;delay=5`; `x-marker` names the request in the books, which
`GET /books` returns. Standard library only; it shares no code with `meter`.

    whole    a chat completion             stream   one event after the other, and the usage
    fail     status 500                    busy     status 429
    reset    the connection is reset       stall    nothing comes at all
    half     a body cut in its middle      cut      a stream cut in its middle
    cutat    a stream cut after the byte that `at` names, its head included, with an end or a reset
    endless  a stream that never ends      trickle  an answer one byte at a time
    twice    a stream with its usage sent again and again
    gone     a stream in whose middle the connection is forgotten: nobody is told (root only)

Everything below /v1/batches is one batch that has ended.
"""

import argparse
import asyncio
import json
import socket
import struct
import sys
from collections import Counter
from dataclasses import dataclass, field, replace

PIECES = 6
TCP_REPAIR = 19
"""Linux: a socket with this option is closed without a FIN or a reset; only root may set it."""
_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
)
BATCH = {
    "id": "batch_1",
    "object": "batch",
    "status": "completed",
    "endpoint": "/v1/chat/completions",
    "model": "gpt-4o-mini",
    "usage": {"input_tokens": 1000, "output_tokens": 200, "total_tokens": 1200},
}
"""A batch that has ended, whatever is asked about it."""


@dataclass
class Books:
    """What reached this provider, by marker, and what it sent whole."""

    arrived: Counter[str] = field(default_factory=Counter)
    whole: Counter[str] = field(default_factory=Counter)

    def as_json(self) -> bytes:
        """Return the books."""
        return _json({"arrived": dict(self.arrived), "whole": dict(self.whole)})


@dataclass(frozen=True)
class Wish:
    """How one request wants to be answered; `delay_s` passes before each piece."""

    mode: str = "whole"
    input_tokens: int = 10
    output_tokens: int = 5
    delay_s: float = 0.0
    cut_at: int = 0

    @classmethod
    def read(cls, text: str) -> "Wish":
        """Return the wish of an `x-torture` header."""
        given = dict(part.split("=", 1) for part in text.split(";") if part)
        return cls(
            given.get("mode", "whole"),
            int(given.get("in", 10)),
            int(given.get("out", 5)),
            float(given.get("delay", 0)) / 1000,
            int(given.get("at", 0)),
        )

    def within(self, request: dict[str, int]) -> "Wish":
        """Return the wish, with no more output than the request allows."""
        most = request.get("max_completion_tokens", request.get("max_tokens", 2**31))
        return replace(self, output_tokens=min(self.output_tokens, most))

    @property
    def usage(self) -> dict[str, int]:
        """Return the usage as OpenAI reports it."""
        total = self.input_tokens + self.output_tokens
        return {
            "prompt_tokens": self.input_tokens,
            "completion_tokens": self.output_tokens,
            "total_tokens": total,
        }


class Provider:
    """Answers each request on a connection, one after the other."""

    def __init__(self) -> None:
        """Begin with empty books."""
        self.books = Books()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until either side ends it."""
        try:
            while await self._one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError, TimeoutError):
            pass  # the gateway was killed, or its client left: that is what this is for
        finally:
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        line, *fields = head.split("\r\n")
        headers = {
            name.strip().lower(): value.strip()
            for name, _, value in (each.partition(":") for each in fields)
        }
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        if line.startswith("GET /books"):
            _send(writer, 200, self.books.as_json())
            return True
        if line.split(" ")[1].startswith("/v1/batches"):
            _send(writer, 200, _json(BATCH))
            return True
        marker = headers.get("x-marker", "")
        self.books.arrived[marker] += 1
        wish = Wish.read(headers.get("x-torture", "")).within(json.loads(body))
        return await self._answer(writer, wish, marker)

    async def _answer(self, writer: asyncio.StreamWriter, wish: Wish, marker: str) -> bool:
        """Answer; return whether the connection goes on."""
        if wish.delay_s:
            await asyncio.sleep(wish.delay_s)
        match wish.mode:
            case "whole":
                _send(writer, 200, _completion(wish, marker))
            case "fail" | "busy":
                status = 500 if wish.mode == "fail" else 429
                _send(writer, status, _json({"error": {"message": wish.mode, "type": "server"}}))
            case "stall":
                await asyncio.sleep(3600)
            case "reset":
                _reset(writer)
                return False
            case "half":
                body = _completion(wish, marker)
                writer.write(_head(200, len(body)) + body[: len(body) // 2])
                await writer.drain()
                _reset(writer)
                return False
            case "cutat":
                return await self._cut(writer, wish, marker)
            case "trickle":
                await _trickle(writer, _head(200, len(body := _completion(wish, marker))) + body)
            case _:
                return await self._stream(writer, wish, marker)
        await writer.drain()
        self.books.whole[marker] += wish.mode in ("whole", "trickle")
        return True

    async def _cut(self, writer: asyncio.StreamWriter, wish: Wish, marker: str) -> bool:
        whole = stream_bytes(wish.input_tokens, wish.output_tokens, marker)
        writer.write(whole[: wish.cut_at])
        await writer.drain()
        self.books.whole[marker] += wish.cut_at >= len(whole)
        if wish.cut_at % 2:
            _reset(writer)
        return False

    async def _stream(self, writer: asyncio.StreamWriter, wish: Wish, marker: str) -> bool:
        writer.write(_STREAM_HEAD)
        number = 0
        while wish.mode == "endless" or number < min(PIECES, wish.output_tokens):
            writer.write(_chunk(_event(marker, content=" a")))
            await writer.drain()
            number += 1
            if number == PIECES // 2 and wish.mode in ("cut", "gone"):
                (_reset if wish.mode == "cut" else _vanish)(writer)
                return False
            await asyncio.sleep(wish.delay_s)
        writer.write(_chunk(_event(marker, finish="stop")))
        for _ in range(5 if wish.mode == "twice" else 1):
            writer.write(_chunk(_event(marker, usage=wish.usage)))
        writer.write(_chunk(b"data: [DONE]\n\n"))
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        self.books.whole[marker] += 1
        return True


def stream_bytes(input_tokens: int, output_tokens: int, marker: str) -> bytes:
    """Return a whole streamed answer as it goes over the wire."""
    pieces = [_event(marker, content=" a")] * min(PIECES, output_tokens)
    pieces += [_event(marker, finish="stop")]
    pieces += [_event(marker, usage=Wish("", input_tokens, output_tokens).usage)]
    pieces += [b"data: [DONE]\n\n"]
    return _STREAM_HEAD + b"".join(_chunk(piece) for piece in pieces) + b"0\r\n\r\n"


def _completion(wish: Wish, marker: str) -> bytes:
    message = {"role": "assistant", "content": "lorem ipsum dolor sit amet"}
    choice = {"index": 0, "finish_reason": "stop", "message": message}
    return _json({**_named(marker, "chat.completion"), "choices": [choice], "usage": wish.usage})


def _event(
    marker: str,
    *,
    content: str | None = None,
    finish: str | None = None,
    usage: dict[str, int] | None = None,
) -> bytes:
    delta = {} if content is None else {"content": content}
    choices = [] if usage else [{"index": 0, "delta": delta, "finish_reason": finish}]
    named = _named(marker, "chat.completion.chunk")
    return b"data: " + _json({**named, "choices": choices, "usage": usage}) + b"\n\n"


def _named(marker: str, kind: str) -> dict[str, object]:
    model = "gpt-4o-mini-2024-07-18"
    return {"id": f"chatcmpl-{marker}", "object": kind, "created": 1_700_000_000, "model": model}


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _head(status: int, length: int) -> bytes:
    return (
        f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    ).encode()


def _send(writer: asyncio.StreamWriter, status: int, body: bytes) -> None:
    writer.write(_head(status, len(body)) + body)


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


async def _trickle(writer: asyncio.StreamWriter, data: bytes) -> None:
    for place in range(len(data)):
        writer.write(data[place : place + 1])
        await writer.drain()
        await asyncio.sleep(0.002)


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with a reset instead of an end."""
    bare: socket.socket | None = writer.get_extra_info("socket")
    if bare is not None:
        bare.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def _vanish(writer: asyncio.StreamWriter) -> None:
    """Forget the connection without a word to the other side, as a machine does that is cut off."""
    bare: socket.socket | None = writer.get_extra_info("socket")
    if bare is not None:
        bare.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
    writer.transport.abort()


async def main(port: int) -> None:
    """Serve until the process is ended."""
    server = await asyncio.start_server(Provider().serve, "127.0.0.1", port, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    asyncio.run(main(parser.parse_args(sys.argv[1:]).port))
