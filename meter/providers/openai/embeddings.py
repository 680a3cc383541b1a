"""Read `POST …/embeddings`.

Source: https://platform.openai.com/docs/api-reference/embeddings (SDK openai 3.54, 2026-11).
"""

import re

from meter.core.ports import OutputSink
from meter.core.reading import Reading
from meter.providers.endpoint import Normalised, Progress, Request
from meter.providers.foreign import JSONObject, label
from meter.providers.hints import openai_hint
from meter.providers.normalising import from_openai
from meter.providers.provider import Provider, Shape

_PATH = re.compile(r"(?:/(?:deployments|engines)/([^/]+))?/embeddings$", re.IGNORECASE)


class NoOutput:
    """Read an answer in which nothing is generated."""

    __slots__ = ()

    def deliver(self, payload: JSONObject, sink: OutputSink) -> None:
        """Hand out nothing."""


class Embeddings:
    """The embeddings endpoint."""

    name = "embeddings"
    shape: Shape = "openai"
    only_usage = True

    def claims(self, path: str) -> str | None:
        """Return the deployment or engine that the path names, "" for none."""
        found = _PATH.search(path)
        return (found[1] or "") if found else None

    def read(self, request: Request) -> Reading:
        """Read an embeddings request, which has no output to bound."""
        fields = request.fields
        return Reading(
            provider=request.provider.name,
            endpoint=self.name,
            model=label(fields.get("model")) or request.model or None,
            max_output_tokens=0,
            hint=openai_hint(fields),
            request=fields,
            defects=request.defects,
        )

    def choices(self, request: JSONObject) -> int:
        """Return 1."""
        return 1

    def progress(self, payload: JSONObject) -> Progress:
        """Say nothing: the answer is one body."""
        return Progress()

    def normalise(self, raw: JSONObject, provider: Provider) -> Normalised:
        """Return the input tokens."""
        return from_openai(raw, generates=False)

    def output(self) -> NoOutput:
        """Return a reader that finds nothing."""
        return NoOutput()
