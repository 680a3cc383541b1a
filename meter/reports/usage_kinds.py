"""Tell which page of OpenAI's usage API counts a call.

The pages are GET /v1/organization/usage/{kind}; each call is on one of them, "completions" being
that of chat, responses, legacy completions and everything else that is neither sound nor image.

Source: https://platform.openai.com/docs/api-reference/usage (2026-11).
"""

from collections.abc import Mapping
from typing import Final

COMPLETIONS: Final = "completions"

_KINDS: Final[Mapping[str, str]] = {
    "embeddings": "embeddings",
    "moderations": "moderations",
    "images.generations": "images",
    "images.edits": "images",
    "images.variations": "images",
    "audio.speech": "audio_speeches",
    "audio.transcriptions": "audio_transcriptions",
    "audio.translations": "audio_transcriptions",
}


def usage_kind(endpoint: str) -> str:
    """Return the kind of usage of calls at an endpoint ("chat.completions", "audio.speech")."""
    return _KINDS.get(endpoint, COMPLETIONS)
