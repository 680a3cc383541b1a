"""Read `POST …/images/edits`; `pictures.py` says what the image endpoints share."""

import re
from typing import Final

from meter.providers.openai.pictures import PictureEndpoint

_PATH: Final = re.compile(r"(?:/deployments/([^/]+))?/images/edits$", re.IGNORECASE)


class ImageEdits(PictureEndpoint):
    """The image edits endpoint."""

    name = "images.edits"

    def claims(self, path: str) -> str | None:
        """Return the deployment that an Azure path names, "" for none."""
        found = _PATH.search(path)
        return (found[1] or "") if found else None
