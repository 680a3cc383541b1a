"""Read `POST …/edits`, the legacy text edits, which older compatible servers still answer.

Source: https://platform.openai.com/docs/deprecations (edits: shut down 2024-01-04); the shape is
that of three recorded answers.
"""

import re
from typing import Final

from meter.core.reading import Reading
from meter.providers.bounds import count
from meter.providers.endpoint import Request
from meter.providers.foreign import JSONObject, label
from meter.providers.hints import openai_hint
from meter.providers.openai.completions import CompletionsOutput
from meter.providers.openai.plain import PlainEndpoint

_PATH: Final = re.compile(r"(?:/engines/([^/]+))?(?<!/images)(?<!/videos)/edits$", re.IGNORECASE)


class Edits(PlainEndpoint):
    """The legacy edits endpoint."""

    name = "edits"

    def claims(self, path: str) -> str | None:
        """Return the engine that the path names, "" for none."""
        found = _PATH.search(path)
        return (found[1] or "") if found else None

    def read(self, request: Request) -> Reading:
        """Read an edit request. Nothing in it bounds the output."""
        fields = request.fields
        return Reading(
            provider=request.provider.name,
            endpoint=self.name,
            model=label(fields.get("model")) or request.model or None,
            choices=self.choices(fields),
            hint=openai_hint(fields),
            request=fields,
            defects=request.defects,
        )

    def choices(self, request: JSONObject) -> int:
        """Return `n`."""
        return count(request.get("n"))

    def output(self) -> CompletionsOutput:
        """Return a reader of the choices' texts."""
        return CompletionsOutput()
