"""List the endpoints that providers have in words of their own. Knows nothing of them.

Called by `dialect.py`. Where two could claim one path, the more specific stands first.
"""

from typing import Final

from meter.providers.anthropic.batches import (
    MessageBatches,
    MessageBatchResults,
    RetrievedMessageBatches,
)
from meter.providers.anthropic.complete import Complete
from meter.providers.bedrock.converse import Converse
from meter.providers.bedrock.invoke import Invoke
from meter.providers.cloudflare.run import Run
from meter.providers.cohere.chat import CohereChat
from meter.providers.cohere.embed import CohereEmbed
from meter.providers.cohere.generate import CohereGenerate
from meter.providers.compatible.rerank import Rerank
from meter.providers.compatible.serving import Serving
from meter.providers.dashscope.generation import Generation
from meter.providers.google.batches import (
    FetchedOperations,
    GeminiBatches,
    GeminiOperations,
    RetrievedOperations,
)
from meter.providers.google.cached_contents import CachedContents
from meter.providers.google.embed_content import EmbedContent
from meter.providers.google.interactions import Interactions
from meter.providers.google.predict import Predict
from meter.providers.google.raw_predict import RawPredict
from meter.providers.huggingface.generate import Generate
from meter.providers.mistral.conversations import Conversations
from meter.providers.mistral.ocr import OCR
from meter.providers.native import Native
from meter.providers.ollama.chat import OllamaChat
from meter.providers.ollama.embed import OllamaEmbed
from meter.providers.ollama.generate import OllamaGenerate
from meter.providers.replicate.predictions import Predictions
from meter.providers.voyage.embeddings import VoyageEmbeddings
from meter.providers.watsonx.generation import WatsonxGeneration

NATIVE: Final[tuple[Native, ...]] = (
    Converse(),
    Invoke(),
    OllamaChat(),
    OllamaGenerate(),
    OllamaEmbed(),
    CohereChat(),
    CohereEmbed(),
    Rerank(),
    CohereGenerate(),
    EmbedContent(),
    Predict(),
    GeminiBatches(),
    GeminiOperations(),
    FetchedOperations(),
    MessageBatches(),
    RawPredict(),
    CachedContents(),
    Interactions(),
    Conversations(),
    OCR(),
    Complete(),
    Predictions(),
    Generate(),
    Generation(),
    VoyageEmbeddings(),
    WatsonxGeneration(),
    Run(),
    Serving(),
)
"""Every endpoint of POST with words of its own."""

LOOKED: Final[tuple[Native, ...]] = (
    RetrievedMessageBatches(),
    MessageBatchResults(),
    RetrievedOperations(),
)
"""Endpoints of GET."""

NATIVE_LOOKS: Final = frozenset(endpoint.name for endpoint in (*LOOKED, FetchedOperations()))
"""Endpoints that begin no work: their calls are free to make, and their answers are read."""
