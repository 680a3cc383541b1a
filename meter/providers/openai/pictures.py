"""Read what the three image endpoints have in common. Called by the `image_*.py` beside it.

Source: https://platform.openai.com/docs/api-reference/images (SDK openai 3.54, 2026-11): the
gpt-image family reports tokens; dall-e reports nothing and is billed by the picture, its size and
its quality. The event that ends a picture reports no details: its output is the picture. A
request to OpenAI that names no model is dall-e-2's, whose pictures are 1024x1024; dall-e-3's are
that too, of standard quality.
"""

from dataclasses import replace
from typing import Final

from meter.core.call import Observation
from meter.core.ports import AnswerObserver, OutputSink
from meter.core.reading import Reading
from meter.core.usage import Usage
from meter.providers.bounds import count
from meter.providers.endpoint import Progress, Request
from meter.providers.foreign import JSONObject, label, mapping, objects, text
from meter.providers.hints import openai_hint
from meter.providers.measuring import MeasuringObserver, PlainGauge, with_defect
from meter.providers.openai.plain import PlainEndpoint
from meter.providers.provider import Provider

_UNNAMED: Final = "dall-e-2"
_DEFAULTS: Final = {
    "dall-e-2": {"size": "1024x1024"},
    "dall-e-3": {"size": "1024x1024", "quality": "standard"},
}
_MOST_IMAGES: Final = 10_000


class PictureGauge(PlainGauge):
    """Counts the pictures of an answer and notes their size and quality."""

    __slots__ = ("_by_event", "_count", "_drawn_by_another", "_model", "_request", "_traits",
                 "_unnamed_model")  # fmt: skip

    def __init__(self, reading: Reading) -> None:
        self._request = reading.request
        self._model = reading.model
        self._unnamed_model = _UNNAMED if reading.provider == "openai" else None
        self._count: int | None = None
        self._by_event = 0
        self._drawn_by_another = False
        self._traits: dict[str, str] = {}

    def take(self, payload: JSONObject) -> None:
        """Count the pictures of a body, or of the event that ends one."""
        if isinstance(payload.get("data"), list):
            self._count = min(sum(1 for _ in objects(payload["data"])), _MOST_IMAGES)
        if text(payload.get("type")).endswith(".completed"):
            self._by_event = min(self._by_event + 1, _MOST_IMAGES)
        if mapping(payload.get("svg_usage")):
            self._drawn_by_another = True
        for trait in ("size", "quality"):
            value = label(payload.get(trait), 64)
            if value is not None:
                self._traits[trait] = value

    def judge(self, seen: Observation) -> Observation:
        """Return the reported tokens, or the number of pictures; both with their traits.

        The pictures that an answer holds are its own report; where it could not be read, those
        that were asked for are our count.
        """
        if seen.error_in_body:
            return seen
        model = seen.model_served or self._model
        if model is None and seen.usage is None:
            model = self._unnamed_model
        seen = replace(seen, traits=self._all_traits(seen, model), model_served=model)
        if self._drawn_by_another:
            seen = with_defect(seen, "another model drew: its tokens are not in this record")
        if seen.usage is not None:
            return self._of_events(seen, seen.usage) if self._by_event else seen
        made = self._by_event if self._count is None else self._count
        if made or self._count == 0:
            return replace(seen, usage=Usage(images=made), finished=True)
        return replace(seen, counted=Usage(images=count(self._request.get("n"))))

    def _all_traits(self, seen: Observation, model: str | None) -> tuple[tuple[str, str], ...]:
        asked = {}
        for trait in ("size", "quality"):
            value = label(self._request.get(trait), 64)
            if value is not None and value != "auto":
                asked[trait] = value
        usual = _DEFAULTS.get(model or "", {})
        return tuple(sorted({**usual, **asked, **self._traits, **dict(seen.traits)}.items()))

    def _of_events(self, seen: Observation, usage: Usage) -> Observation:
        """Return what the events that ended pictures reported."""
        made = usage.get("output_tokens")
        if made is not None and "output_image_tokens" not in usage:
            seen = replace(seen, usage=Usage(usage, output_image_tokens=made))
        if self._by_event < 2:
            return seen
        return with_defect(seen, f"{self._by_event} pictures reported usage: the last one's holds")


class PictureEndpoint(PlainEndpoint):
    """What the image endpoints share; `name` is each one's own."""

    name = "images"

    def read(self, request: Request) -> Reading:
        """Read an image request, JSON or a form."""
        fields = request.fields
        return Reading(
            provider=request.provider.name,
            endpoint=self.name,
            model=label(fields.get("model")) or request.model or None,
            streaming=fields.get("stream") is True,
            choices=count(fields.get("n")),
            hint=openai_hint(fields),
            request=fields,
            defects=request.defects,
        )

    def progress(self, payload: JSONObject) -> Progress:
        """Find the event that ends a picture; partial pictures report nothing."""
        completed = text(payload.get("type")).endswith(".completed")
        return Progress(settles=completed)

    def observer(
        self, provider: Provider, reading: Reading, sink: OutputSink | None, *, count_always: bool
    ) -> AnswerObserver:
        """Return an observer that counts pictures. There is no text to count."""
        gauge = PictureGauge(reading)
        return MeasuringObserver(self, gauge, provider, reading, None, count_always=False)
