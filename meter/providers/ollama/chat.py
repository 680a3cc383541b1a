"""Read Ollama's `POST /api/chat`.

Source: https://github.com/ollama/ollama/blob/main/docs/api.md (2026-11). A stream is lines of
JSON, each with a piece of the message; tool calls come whole.
"""

import re

from meter.core.ports import OutputSink
from meter.providers.foreign import JSONObject, mapping, objects
from meter.providers.native import hand_out, hand_out_call
from meter.providers.ollama.speech import OllamaSpeech, name_of

_PATH = re.compile(r"/api/chat$", re.IGNORECASE)


class OllamaChatOutput:
    """Read one answer's output: a whole message, or its pieces."""

    __slots__ = ()

    def deliver(self, payload: JSONObject, sink: OutputSink) -> None:
        """Hand every piece of output in this payload to the sink."""
        message = mapping(payload.get("message"))
        hand_out(sink, 0, "reasoning", message.get("thinking"))
        hand_out(sink, 0, "content", message.get("content"))
        for call in objects(message.get("tool_calls")):
            arguments = mapping(call.get("function")).get("arguments")
            hand_out_call(sink, 0, name_of(call), arguments)


class OllamaChat(OllamaSpeech):
    """Ollama's chat endpoint, streamed or not."""

    name = "ollama.chat"

    def claims(self, path: str) -> str | None:
        """Return "" for this endpoint's path."""
        return "" if _PATH.search(path) else None

    def output(self) -> OllamaChatOutput:
        """Return a reader of one answer's output."""
        return OllamaChatOutput()
