"""Read videos: creation and remix, and a look at one; OpenAI's shape and Azure's.

Source: https://platform.openai.com/docs/api-reference/videos (SDK openai 3.54, 2026-11): priced by
the second and the size, owed once `status` is `completed`. Azure's jobs:
https://learn.microsoft.com/azure/ai-foundry/openai/video-generation-quickstart (2026-11).
"""

import re
from typing import Final

from meter.core.usage import Usage
from meter.providers.bounds import count
from meter.providers.foreign import JSONObject, label, objects, text, whole
from meter.providers.openai.jobs import NOTHING, Job, PlainJobEndpoint

_CREATED: Final = re.compile(
    r"/videos(?:/[^/]+/remix|/edits|/extensions)?$|/video/generations/jobs$", re.IGNORECASE
)
_SHOWN: Final = re.compile(r"/videos/[^/]+$|/video/generations/jobs/[^/]+$", re.IGNORECASE)
_COMPLETED: Final = ("completed", "succeeded")
_FAILED: Final = ("failed", "cancelled", "canceled", "expired")
_LONGEST_SECONDS: Final = 100_000


class Videos(PlainJobEndpoint):
    """The creation of a video."""

    name = "videos"

    def claims(self, path: str) -> str | None:
        """Return "" for this endpoint's paths."""
        return "" if _CREATED.search(path) else None

    def job(self, payload: JSONObject) -> Job | None:
        """Return the video that an answer shows."""
        video_id, status = label(payload.get("id")), payload.get("status")
        if video_id is None or not isinstance(status, str):
            return None
        size = _size(payload)
        seconds = _seconds(payload)
        usage = None if seconds is None else Usage(video_seconds=seconds)
        return Job(
            names=(video_id,),
            ended=status in _COMPLETED or status in _FAILED,
            usage=NOTHING if status in _FAILED else usage if status in _COMPLETED else None,
            model=label(payload.get("model")),
            traits=() if size is None else (("size", size),),
        )


class RetrievedVideos(Videos):
    """A look at a video."""

    name = "videos.retrieve"
    begins = False

    def claims(self, path: str) -> str | None:
        """Return "" for this endpoint's paths."""
        return "" if _SHOWN.search(path) else None


def _seconds(video: JSONObject) -> int | None:
    """Return the seconds made: `seconds` as text, or Azure's seconds of each variant."""
    given = text(video.get("seconds"))
    if given.isascii() and given.isdecimal() and len(given) < 7:
        return whole(int(given), 0, _LONGEST_SECONDS)
    seconds = whole(video.get("seconds"), 0, _LONGEST_SECONDS)
    if seconds is not None:
        return seconds
    each = whole(video.get("n_seconds"), 0, _LONGEST_SECONDS)
    made = sum(1 for _ in objects(video.get("generations"))) or count(video.get("n_variants"))
    return None if each is None else each * made


def _size(video: JSONObject) -> str | None:
    size = label(video.get("size"), 64)
    if size is not None:
        return size
    width, height = whole(video.get("width"), 1, 100_000), whole(video.get("height"), 1, 100_000)
    return None if width is None or height is None else f"{width}x{height}"
