"""Read `POST …/fine_tuning/jobs`, its pause, resume and cancel, and `GET …/fine_tuning/jobs/{id}`.

Source: https://platform.openai.com/docs/api-reference/fine-tuning (SDK openai 3.54, 2026-11):
`trained_tokens` is "the total number of billable tokens processed", null while the job runs.
Reinforcement fine-tuning is billed by the hour of training, which no member tells.
"""

import re
from typing import Final

from meter.core.usage import MAX_QUANTITY, Usage
from meter.providers.foreign import JSONObject, label, mapping, whole
from meter.providers.openai.jobs import NOTHING, Job, PlainJobEndpoint

_CREATED: Final = re.compile(r"/fine_tuning/jobs$", re.IGNORECASE)
_STEERED: Final = re.compile(r"/fine_tuning/jobs/[^/]+/(?:cancel|pause|resume)$", re.IGNORECASE)
_SHOWN: Final = re.compile(r"/fine_tuning/jobs/[^/]+$", re.IGNORECASE)
_ENDED: Final = ("succeeded", "failed", "cancelled")


class FineTuningJobs(PlainJobEndpoint):
    """The creation of a fine-tuning job."""

    name = "fine_tuning.jobs"

    def claims(self, path: str) -> str | None:
        """Return "" for this endpoint's paths."""
        return "" if _CREATED.search(path) else None

    def job(self, payload: JSONObject) -> Job | None:
        """Return the fine-tuning job that an answer shows. Its model is the one it began with."""
        job_id = label(payload.get("id"))
        if job_id is None or payload.get("object") != "fine_tuning.job":
            return None
        status = payload.get("status")
        ended = status in _ENDED
        trained = whole(payload.get("trained_tokens"), 0, MAX_QUANTITY)
        usage = None if trained is None else Usage(trained_tokens=trained)
        if usage is None and ended and status != "succeeded":
            usage = NOTHING
        by_hour = mapping(payload.get("method")).get("type") == "reinforcement"
        return Job(
            names=(job_id,),
            ended=ended,
            usage=usage if ended else None,
            model=label(payload.get("model")),
            defects=("reinforcement fine-tuning is billed by the hour, which is not reported",)
            if by_hour
            else (),
        )


class SteeredFineTuningJobs(FineTuningJobs):
    """The pause, the resumption or the cancelling of a fine-tuning job."""

    name = "fine_tuning.jobs.steer"
    begins = False

    def claims(self, path: str) -> str | None:
        """Return "" for this endpoint's paths."""
        return "" if _STEERED.search(path) else None


class RetrievedFineTuningJobs(FineTuningJobs):
    """A look at a fine-tuning job."""

    name = "fine_tuning.jobs.retrieve"
    begins = False

    def claims(self, path: str) -> str | None:
        """Return "" for this endpoint's paths."""
        return "" if _SHOWN.search(path) else None
