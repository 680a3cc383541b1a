"""Read Ollama's `POST /api/generate`.

Source: https://github.com/ollama/ollama/blob/main/docs/api.md (2026-11). A stream is lines of
JSON, each with a piece of the text.
"""

import re

from meter.core.ports import OutputSink
from meter.providers.foreign import JSONObject
from meter.providers.native import hand_out
from meter.providers.ollama.speech import OllamaSpeech

_PATH = re.compile(r"/api/generate$", re.IGNORECASE)


class OllamaGenerateOutput:
    """Read one answer's output: a whole text, or its pieces."""

    __slots__ = ()

    def deliver(self, payload: JSONObject, sink: OutputSink) -> None:
        """Hand every piece of output in this payload to the sink."""
        hand_out(sink, 0, "reasoning", payload.get("thinking"))
        hand_out(sink, 0, "content", payload.get("response"))


class OllamaGenerate(OllamaSpeech):
    """Ollama's generate endpoint, streamed or not."""

    name = "ollama.generate"

    def claims(self, path: str) -> str | None:
        """Return "" for this endpoint's path."""
        return "" if _PATH.search(path) else None

    def output(self) -> OllamaGenerateOutput:
        """Return a reader of one answer's output."""
        return OllamaGenerateOutput()
