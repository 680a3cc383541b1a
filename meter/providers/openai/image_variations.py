"""Read `POST …/images/variations`; `pictures.py` says what the image endpoints share."""

import re
from typing import Final

from meter.providers.openai.pictures import PictureEndpoint

_PATH: Final = re.compile(r"(?:/deployments/([^/]+))?/images/variations$", re.IGNORECASE)


class ImageVariations(PictureEndpoint):
    """The image variations endpoint."""

    name = "images.variations"

    def claims(self, path: str) -> str | None:
        """Return the deployment that an Azure path names, "" for none."""
        found = _PATH.search(path)
        return (found[1] or "") if found else None
