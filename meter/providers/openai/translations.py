"""Read `POST …/audio/translations`, which reports no usage at all.

Source: https://platform.openai.com/docs/api-reference/audio/createTranslation (SDK openai 3.54,
2026-11): `verbose_json` names the sound's `duration`, the other formats nothing.
"""

import re
from typing import Final

from meter.core.reading import Reading
from meter.providers.endpoint import Request
from meter.providers.openai.transcriptions import Transcriptions, heard_reading

_PATH: Final = re.compile(r"(?:/deployments/([^/]+))?/audio/translations$", re.IGNORECASE)


class Translations(Transcriptions):
    """The translations endpoint: as transcriptions, with English words."""

    name = "audio.translations"

    def claims(self, path: str) -> str | None:
        """Return the deployment that an Azure path names, "" for none."""
        found = _PATH.search(path)
        return (found[1] or "") if found else None

    def read(self, request: Request) -> Reading:
        """Read a translation request, a form."""
        return heard_reading(request, self.name)
