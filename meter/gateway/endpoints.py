"""Say which endpoints are open, and which only when the operator opens them. Pure.

Stored objects (files, batches, jobs, responses read back) lie in the upstream's account; those
that `objects` cannot tell apart stay closed. Called by `routing` and `meter keys`.
"""

from typing import Final

from meter.core.reading import Reading
from meter.providers.dialect import ENDPOINTS
from meter.providers.openai.others import LOOKS

_FREE: Final = frozenset({"models", "count_tokens", "moderations"})
_STORING: Final = frozenset(
    {
        "batchGenerateContent", "batches", "cachedContents", "containers", "conversations",
        "decisions", "fine_tuning.jobs", "interactions", "messages.batches", "predictLongRunning",
        "predictions", "threads.runs", "videos",
    }
)  # fmt: skip
_OBJECTS: Final = frozenset(
    {
        "assistants", "files", "fine_tuning", "realtime", "records", "threads", "uploads",
        "vector_stores",
    }
)  # fmt: skip

NAMES: Final = (
    frozenset(endpoint.name for endpoint in ENDPOINTS) | LOOKS | _FREE | _OBJECTS | {"unmetered"}
)
"""Every endpoint that a key can be limited to."""

_OPEN: Final = frozenset(e.name for e in ENDPOINTS) - _STORING - LOOKS


def keeps_objects(reading: Reading, method: str) -> bool:
    """Whether a call makes, reads, changes or removes what the upstream's account stores."""
    if not reading.metered:
        return False
    if reading.free:
        is_look = method in ("GET", "HEAD") or reading.endpoint != "models"
        return reading.endpoint not in _FREE or not is_look
    return reading.endpoint not in _OPEN
