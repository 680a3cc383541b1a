"""List OpenAI's endpoints beside those that generate text. Read by `dialect.py`."""

from typing import Final

from meter.providers.native import Native
from meter.providers.openai.batch_output import BatchOutput
from meter.providers.openai.batches import Batches, CancelledBatches, RetrievedBatches
from meter.providers.openai.containers import Containers
from meter.providers.openai.decisions import Decisions
from meter.providers.openai.edits import Edits
from meter.providers.openai.fine_tuning import (
    FineTuningJobs,
    RetrievedFineTuningJobs,
    SteeredFineTuningJobs,
)
from meter.providers.openai.image_edits import ImageEdits
from meter.providers.openai.image_generations import ImageGenerations
from meter.providers.openai.image_variations import ImageVariations
from meter.providers.openai.moderations import Moderations
from meter.providers.openai.retrieved_responses import CancelledResponses, RetrievedResponses
from meter.providers.openai.runs import RetrievedRuns, Runs, SteeredRuns
from meter.providers.openai.speech import Speech
from meter.providers.openai.transcriptions import Transcriptions
from meter.providers.openai.translations import Translations
from meter.providers.openai.videos import RetrievedVideos, Videos

_STEERED: Final[tuple[Native, ...]] = (
    CancelledBatches(),
    SteeredFineTuningJobs(),
    SteeredRuns(),
    CancelledResponses(),
)

POSTED: Final[tuple[Native, ...]] = (
    Transcriptions(),
    Translations(),
    Speech(),
    ImageGenerations(),
    ImageEdits(),
    ImageVariations(),
    Moderations(),
    Batches(),
    FineTuningJobs(),
    Runs(),
    Videos(),
    Containers(),
    Decisions(),
    Edits(),
    *_STEERED,
)
"""Endpoints of POST."""

FETCHED: Final[tuple[Native, ...]] = (
    RetrievedResponses(),
    RetrievedBatches(),
    RetrievedRuns(),
    RetrievedFineTuningJobs(),
    RetrievedVideos(),
    BatchOutput(),
)
"""Endpoints of GET."""

LOOKS: Final = frozenset(endpoint.name for endpoint in (*FETCHED, *_STEERED))
"""Endpoints that begin no work: their calls are free to make, and their answers are read."""
