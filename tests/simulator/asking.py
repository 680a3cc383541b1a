"""Call a simulator's ASGI app without a port, and hold what it answered."""

import asyncio
import json
from dataclasses import dataclass
from typing import Any

from meter.simulator import SimulatorApp, SimulatorSettings, simulator_app

KEY = {"authorization": "Bearer sk-alice"}
HELLO = [{"role": "user", "content": "Say hello"}]


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back; `is_complete` is False when the connection would have been broken."""

    status: int
    headers: dict[str, str]
    body: bytes
    is_complete: bool

    def json(self) -> Any:
        return json.loads(self.body)

    def payloads(self) -> list[Any]:
        """The JSON of each `data:` line but the last `[DONE]`."""
        lines = [line for line in self.body.decode().splitlines() if line.startswith("data: ")]
        return [json.loads(line[6:]) for line in lines if line != "data: [DONE]"]


def ask(
    app: SimulatorApp | None,
    path: str,
    body: Any = None,
    *,
    method: str = "POST",
    headers: dict[str, str] = KEY,
) -> Reply:
    """Send one request; None makes an app with the default settings."""
    app = simulator_app(SimulatorSettings()) if app is None else app
    sent: list[dict[str, Any]] = []
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    path, _, query = path.partition("?")

    async def run() -> None:
        messages = [{"type": "http.request", "body": content, "more_body": False}]

        async def receive() -> dict[str, Any]:
            if messages:
                return messages.pop()
            await asyncio.sleep(60)
            return {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        }
        await app(scope, receive, send)

    asyncio.run(run())
    return Reply(
        status=sent[0]["status"],
        headers={name.decode(): value.decode() for name, value in sent[0]["headers"]},
        body=b"".join(message.get("body", b"") for message in sent[1:]),
        is_complete=not sent[-1].get("more_body", True),
    )
