"""List the wire formats; a new one is a new file and a line here."""

from meter.simulator.dialects import (
    anthropic,
    azure,
    cohere,
    deepseek,
    gemini,
    groq,
    mistral,
    openai,
)
from meter.simulator.routing import Dialect

# An earlier dialect wins; the last one answers for paths that nobody knows.
DIALECTS: tuple[Dialect, ...] = (
    mistral.DIALECT,
    groq.DIALECT,
    cohere.DIALECT,
    deepseek.DIALECT,
    azure.DIALECT,
    anthropic.DIALECT,
    gemini.DIALECT,
    openai.DIALECT,
)
