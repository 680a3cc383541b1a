"""Read Databricks' `POST /serving-endpoints/{name}/invocations`.

The body tells what is served: chat, text completions or embeddings, each in OpenAI's shape and
read as such. Only the served model's name stands in the path.

Source: https://docs.databricks.com/api/workspace/servingendpoints/query (2026-11).
"""

import re
from dataclasses import replace

from meter.core.reading import Reading
from meter.providers.endpoint import Endpoint, Normalised, Request
from meter.providers.foreign import JSONObject, label
from meter.providers.native import Native
from meter.providers.openai.chat import Chat
from meter.providers.openai.completions import Completions
from meter.providers.openai.embeddings import Embeddings
from meter.providers.provider import Provider

_PATH = re.compile(r"/serving-endpoints/([^/]+)/invocations$", re.IGNORECASE)


class Serving(Native):
    """The endpoint of served models. Its readings name the endpoint whose answers it gives."""

    name = "serving"

    def claims(self, path: str) -> str | None:
        """Return the served model that the path names."""
        found = _PATH.search(path)
        return found[1] if found else None

    def read(self, request: Request) -> Reading:
        """Read a request as the endpoint that its body is for."""
        endpoint: Endpoint = Chat()
        if "input" in request.fields and "messages" not in request.fields:
            endpoint = Embeddings()
        elif "prompt" in request.fields:
            endpoint = Completions()
        return replace(endpoint.read(request), model=label(request.model))

    def normalise(self, raw: JSONObject, provider: Provider) -> Normalised:
        """Return nothing: another endpoint reads the answer."""
        return Normalised(None)
