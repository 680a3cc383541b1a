"""Read `POST …/containers`: each one begins a session, priced by its memory.

Source: https://platform.openai.com/docs/pricing ("containers", by the 20-minute session), SDK
openai 3.54 (`memory_limit`: 1g, 4g, 16g, 64g), 2026-11. How many sessions it lasts is not told.
"""

import re
from dataclasses import replace
from typing import Final

from meter.core.call import Observation
from meter.core.ports import AnswerObserver, OutputSink
from meter.core.reading import Reading
from meter.core.usage import Usage
from meter.providers.endpoint import Request
from meter.providers.foreign import JSONObject, label
from meter.providers.hints import openai_hint
from meter.providers.measuring import MeasuringObserver, PlainGauge
from meter.providers.openai.plain import PlainEndpoint
from meter.providers.provider import Provider

_PATH: Final = re.compile(r"/containers$", re.IGNORECASE)


class ContainerGauge(PlainGauge):
    """Sees a container come to be."""

    __slots__ = ("_memory", "_was_made")

    def __init__(self) -> None:
        self._was_made = False
        self._memory: str | None = None

    def take(self, payload: JSONObject) -> None:
        """Note the container and its memory."""
        self._was_made = payload.get("object") == "container"
        self._memory = label(payload.get("memory_limit"), 16)

    def judge(self, seen: Observation) -> Observation:
        """Return one session, if there is a container."""
        if not self._was_made:
            return seen
        traits = dict(seen.traits) | ({"memory_limit": self._memory} if self._memory else {})
        return replace(seen, usage=Usage(sessions=1), traits=tuple(sorted(traits.items())))


class Containers(PlainEndpoint):
    """The creation of a container."""

    name = "containers"

    def claims(self, path: str) -> str | None:
        """Return "" for this endpoint's path."""
        return "" if _PATH.search(path) else None

    def read(self, request: Request) -> Reading:
        """Read a container request."""
        return Reading(
            provider=request.provider.name,
            endpoint=self.name,
            max_output_tokens=0,
            hint=openai_hint(request.fields),
            request=request.fields,
            defects=request.defects,
        )

    def observer(
        self, provider: Provider, reading: Reading, sink: OutputSink | None, *, count_always: bool
    ) -> AnswerObserver:
        """Return an observer that counts the session."""
        gauge = ContainerGauge()
        return MeasuringObserver(self, gauge, provider, reading, None, count_always=False)
