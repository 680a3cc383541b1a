"""Measure what langfuse's wrapper of the openai SDK adds, as `wrapper.py` does for `meter`.

    python -m venv peer && peer/bin/pip install langfuse openai rich
    peer/bin/python benchmarks/peers/langfuse_wrapper.py

Its traces go to a sink on loopback that answers at once, in a process of its own. langfuse
replaces the methods of the SDK's classes; the bare call is the method that it put aside.
"""

import argparse
import asyncio
import os
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pairing import WARM_UP_PAIRS, added_by_chunks, cells, chat, chat_async, pairs, upstream
from rich.console import Console
from rich.table import Table

SINK = """
import http.server
class Sink(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        self.rfile.read(int(self.headers.get("content-length") or 0))
        self.send_response(200); self.send_header("content-length", "2"); self.end_headers()
        self.wfile.write(b"{}")
    do_GET = do_POST
    def log_message(self, *_): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Sink)
print(server.server_port, flush=True)
server.serve_forever()
"""


class Bare:
    """The same client, whose chat goes past langfuse."""

    def __init__(self, client: Any) -> None:
        """Take a client of a class that langfuse has wrapped."""
        completions = client.chat.completions
        original = type(completions).create.__wrapped__
        create = types.MethodType(original, completions)
        self.chat = types.SimpleNamespace(completions=types.SimpleNamespace(create=create))


async def measure(host: str, calls: int, streams: int, chunks: int) -> Table:
    """Measure both kinds of clients; return the table."""
    from langfuse.openai import openai

    table = Table(title=f"added by langfuse, median (quartiles), {calls} and {streams} pairs")
    for name in ("client", "what", "bare wall µs", "added wall µs", "added CPU µs"):
        table.add_column(name, justify="left" if name in {"client", "what"} else "right")
    kinds: list[tuple[str, Any, Any]] = [
        ("OpenAI", openai.OpenAI, chat),
        ("AsyncOpenAI", openai.AsyncOpenAI, chat_async),
    ]
    for title, kind, ask in kinds:
        wrapped = kind(base_url=f"http://{host}/v1", api_key="none", max_retries=0)
        bare = Bare(wrapped)
        whole = await pairs(ask(bare, stream=False), ask(wrapped, stream=False), calls)
        added = [second.beyond(first) for first, second in whole]
        table.add_row(title, "a call", *cells([first for first, _ in whole], added))
        streamed = await pairs(ask(bare, stream=True), ask(wrapped, stream=True), streams)
        more = added_by_chunks(whole, streamed, chunks)
        alone = [first.shared_by(chunks) for first, _ in streamed]
        table.add_row(title, f"a chunk of {chunks}", *cells(alone, more))
    return table


def main() -> None:
    """Read the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--calls", type=int, default=400, help="pairs of whole answers")
    parser.add_argument("--streams", type=int, default=60, help="pairs of streamed answers")
    parser.add_argument("--chunks", type=int, default=200, help="events with text in a stream")
    given = parser.parse_args()
    with subprocess.Popen([sys.executable, "-c", SINK], stdout=subprocess.PIPE, text=True) as sink:
        assert sink.stdout is not None
        os.environ["LANGFUSE_HOST"] = f"http://127.0.0.1:{sink.stdout.readline().strip()}"
        os.environ["LANGFUSE_PUBLIC_KEY"] = os.environ["LANGFUSE_SECRET_KEY"] = "none"
        try:
            with upstream(given.chunks) as host:
                table = asyncio.run(measure(host, given.calls, given.streams, given.chunks))
        finally:
            sink.kill()
    Console(width=140).print(table)
    print(f"{WARM_UP_PAIRS} pairs of each kind warmed up before")


if __name__ == "__main__":
    main()
