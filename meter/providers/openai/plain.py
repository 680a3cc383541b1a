"""Hold what the endpoints of one whole answer have in common; each says what is its own."""

from meter.providers.endpoint import Normalised
from meter.providers.foreign import JSONObject
from meter.providers.native import Native
from meter.providers.normalising import from_openai
from meter.providers.provider import Provider


class PlainEndpoint(Native):
    """OpenAI's errors and usage object, one choice, no output that could be counted."""

    def normalise(self, raw: JSONObject, provider: Provider) -> Normalised:
        """Return OpenAI-shaped usage in the registry's units."""
        return from_openai(raw)
