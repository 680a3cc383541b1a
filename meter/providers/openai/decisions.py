"""Read `POST …/decisions`.

Source: SDK openai 3.54 (2026-11): `usage` has the shape of a response's.
"""

import re
from typing import Final

from meter.core.reading import Reading
from meter.providers.bounds import limit
from meter.providers.endpoint import Request
from meter.providers.foreign import label
from meter.providers.hints import openai_hint
from meter.providers.openai.plain import PlainEndpoint
from meter.providers.tiers import tier_of

_PATH: Final = re.compile(r"/decisions$", re.IGNORECASE)


class Decisions(PlainEndpoint):
    """The decisions endpoint."""

    name = "decisions"

    def claims(self, path: str) -> str | None:
        """Return "" for this endpoint's path."""
        return "" if _PATH.search(path) else None

    def read(self, request: Request) -> Reading:
        """Read a decision request."""
        fields = request.fields
        return Reading(
            provider=request.provider.name,
            endpoint=self.name,
            model=label(fields.get("model")),
            max_output_tokens=limit(fields, "max_output_tokens"),
            service_tier=tier_of(fields.get("service_tier")),
            hint=openai_hint(fields),
            request=fields,
            defects=request.defects,
        )
