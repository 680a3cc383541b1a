"""An upstream that stores objects of every kind for one account, as providers do."""

import itertools
import json
import socket
from typing import Any

from tests.gateway.serving import Answering, Received

PREFIXES = {
    "files": "file-", "uploads": "upload_", "batches": "batch_", "fine_tuning/jobs": "ftjob-",
    "assistants": "asst_", "threads": "thread_", "vector_stores": "vs_", "responses": "resp_",
    "conversations": "conv_", "containers": "cntr_", "videos": "video_",
    "chat/completions": "chatcmpl-", "messages/batches": "msgbatch_",
}  # fmt: skip
KINDS = {
    "files": "file", "batches": "batch", "fine_tuning/jobs": "fine_tuning.job",
    "responses": "response", "chat/completions": "chat.completion", "videos": "video",
}  # fmt: skip


class Account:
    """Everything in one account, whoever made it; and the lines of all requests."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.lines: list[str] = []
        self.models = ["gpt-4o-mini", "ft:gpt-4o-mini:org::old"]
        self._numbers = itertools.count(1)

    def answering(self) -> Answering:
        def answer(request: Received, connection: socket.socket) -> None:
            method, target, _ = request.line.split(" ")
            self.lines.append(f"{method} {target}")
            status, content = self.answer(method, target.partition("?")[0], request)
            events = content.pop("_events", None)
            body = events if events is not None else json.dumps(content).encode()
            kind = "application/json" if events is None else "text/event-stream"
            head = f"HTTP/1.1 {status} x\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}"
            connection.sendall(head.encode() + b"\r\n\r\n" + body)

        return answer

    def answer(self, method: str, path: str, request: Received) -> tuple[int, dict[str, Any]]:
        path = path.removeprefix("/v1/")
        if path == "models":
            models = [{"id": each, "object": "model"} for each in self.models]
            return 200, {"object": "list", "data": models}
        family = max((f for f in PREFIXES if path.startswith(f)), key=len, default=None)
        if family is None:
            return 404, {"error": {"message": f"nothing at {path}"}}
        name, _, rest = path.removeprefix(family).strip("/").partition("/")
        asked = json.loads(request.body) if request.body.startswith(b"{") else {}
        if name == "runs":
            thread = self.make("threads", {})
            return 200, {"id": "run_1", "object": "thread.run", "thread_id": thread["id"]}
        if not name:
            if method == "POST":
                return 200, self.made(family, asked)
            return 200, {"object": "list", "data": list(self.objects.values()), "has_more": False}
        found = self.objects.get(name)
        if found is None:
            return 404, {"error": {"message": f"no {name}"}}
        if rest == "content" and "_events" in found:
            return 200, {"_events": found["_events"]}
        if rest == "remix":
            return 200, self.make(family, asked)
        if rest:
            return 200, {"object": "part", "of": name, "rest": rest}
        if method == "DELETE":
            del self.objects[name]
            return 200, {"id": name, "deleted": True}
        return 200, {**found, **asked}

    def made(self, family: str, asked: dict[str, Any]) -> dict[str, Any]:
        made = self.make(family, asked)
        if not asked.get("stream"):
            return made
        event = {"type": "response.created", "response": made}
        if family == "chat/completions":
            event = {**made, "object": "chat.completion.chunk", "choices": []}
        ended = {"type": "response.completed", "response": {**made, "status": "completed"}}
        lines = [f"data: {json.dumps(each)}\n\n" for each in (event, ended)]
        return {"_events": "".join(lines).encode()}

    def make(self, family: str, asked: dict[str, Any]) -> dict[str, Any]:
        name = f"{PREFIXES[family]}{next(self._numbers)}"
        made = {"id": name, "object": KINDS.get(family, family), "purpose": "batch"}
        if "metadata" in asked:
            made["metadata"] = asked["metadata"]
        if family == "responses":
            made |= {"status": "completed", "output": [], "model": asked.get("model", "gpt-4o")}
        self.objects[name] = made
        return made
