"""Read Vertex's `:rawPredict` and `:streamRawPredict`, which carry other makers' own bodies.

The answer is that of the maker's own endpoint, and is read as such: messages for Anthropic, chat
for the others. Only the model stands in the path instead of the body.

Source: https://cloud.google.com/vertex-ai/generative-ai/docs/partner-models/use-claude and
…/mistral (2026-11).
"""

import re
from dataclasses import replace

from meter.core.reading import Reading
from meter.providers.anthropic.messages import Messages
from meter.providers.endpoint import Normalised, Request
from meter.providers.foreign import JSONObject, label
from meter.providers.native import Native
from meter.providers.openai.chat import Chat
from meter.providers.provider import Provider

_PATH = re.compile(
    r"(?:/publishers/([^/]+)/models)?/([^/:]+):(rawPredict|streamRawPredict)$", re.IGNORECASE
)
_ANTHROPIC = "anthropic"


class RawPredict(Native):
    """The rawPredict endpoint. Its readings name the endpoint whose answers it gives."""

    name = "rawPredict"
    shape = "google"

    def claims(self, path: str) -> str | None:
        """Return the model that the path names."""
        found = _PATH.search(path)
        return found[2] if found else None

    def read(self, request: Request) -> Reading:
        """Read a request as the maker's endpoint reads it."""
        found = _PATH.search(request.path)
        publisher = (found[1] or "").lower() if found else ""
        is_anthropic = publisher == _ANTHROPIC or "anthropic_version" in request.fields
        endpoint = Messages() if is_anthropic else Chat()
        reading = endpoint.read(request)
        streaming = reading.streaming or request.path.lower().endswith("streamrawpredict")
        return replace(reading, model=label(request.model), streaming=streaming)

    def normalise(self, raw: JSONObject, provider: Provider) -> Normalised:
        """Return nothing: another endpoint reads the answer."""
        return Normalised(None)
