"""Say what a client can do about a call that a budget refuses because nothing bounds its cost.

Called by the pipeline, where it makes the refusal.
"""

from collections.abc import Mapping
from typing import Final

from meter.core.reading import Reading

_ANSWER: Final = "Give the answer a limit, such as max_tokens."
_SOUND: Final = "Send a whole sound of at most 25 MB, as mp3, wav, flac, m4a or ogg."
_PICTURE: Final = "Name a size and a quality, and a model whose pictures are known to take so many."
_BATCH: Final = (
    "Give each request of the batch a limit on its answer and a model whose price is known."
)
_ADVICE: Final[Mapping[str, str]] = {
    "audio.transcriptions": _SOUND,
    "audio.translations": _SOUND,
    "batches": _BATCH,
    "fine_tuning.jobs": "Train by supervised or preference examples, from a file made here.",
    "images.edits": _PICTURE,
    "images.generations": _PICTURE,
    "images.variations": _PICTURE,
    "messages.batches": _BATCH,
    "realtime": "Ask for sessions under a budget in calls, or under none.",
    "videos": "Say how many seconds the film is to have.",
}


def advice_on(reading: Reading, *, is_priced: bool) -> str:
    """Return one sentence on what would let the call through.

    `is_priced`: a price is known of its model. Without one only the operator can help.
    """
    if reading.model is None and reading.defects:
        return f"The request could not be read: {reading.defects[0]}."
    if reading.model is None and reading.endpoint == "videos":
        return "Make a new film that names its model: what it costs to change one is not known."
    if reading.model is None and reading.endpoint not in ("batches", "messages.batches"):
        return "Name a model."
    if not is_priced and reading.model is not None:
        return (
            f"No price is known of the model {reading.model!r:.120}: ask who runs this for another."
        )
    return _ADVICE.get(reading.endpoint, _ANSWER)
