"""Answer `POST /v1/embeddings` with unit vectors that follow from the input.

Source: types of the openai package 3.54, read 2026-11-22.
"""

from __future__ import annotations

import base64
import hashlib
import math
import random
import struct
from typing import Any

from meter.simulator.replies import Json, Refusal, Reply, Request, Whole
from meter.simulator.world import World

_INPUTS_LIMIT = 2048
_DIMENSIONS_LIMIT = 4096
_DIMENSIONS = {"text-embedding-3-large": 3072, "mistral-embed": 1024}
_DIMENSIONS_ELSE = 1536


def answer(request: Request, world: World) -> Reply:
    """Answer an embedding request. Raises: Refusal."""
    fields = request.fields
    if not request.model:
        raise Refusal(400, "you must provide a model parameter", None, "model")
    inputs = _read_inputs(fields.get("input"))
    count = world.settings.count_of(request.model)
    tokens = sum(count(entry) if isinstance(entry, str) else len(entry) for entry in inputs)
    dimensions = fields.get("dimensions") or _DIMENSIONS.get(request.model, _DIMENSIONS_ELSE)
    if type(dimensions) is not int or not 1 <= dimensions <= _DIMENSIONS_LIMIT:
        raise Refusal(400, f"'dimensions' takes 1 to {_DIMENSIONS_LIMIT}.", None, "dimensions")
    is_base64 = fields.get("encoding_format") == "base64"
    vectors = [unit_vector(f"{request.model}:{entry!r}", dimensions) for entry in inputs]
    body: Json = {
        "object": "list",
        "data": [
            {
                "object": "embedding",
                "index": index,
                "embedding": _as_base64(vector) if is_base64 else vector,
            }
            for index, vector in enumerate(vectors)
        ],
        "model": request.model,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }
    return Whole(payload=body, usage_path=("usage",), bill={"input_tokens": tokens})


def unit_vector(seed: str, dimensions: int) -> list[float]:
    """Return a vector of length 1 that follows from the seed."""
    digest = hashlib.blake2b(seed.encode(errors="replace"), digest_size=16).hexdigest()
    chance = random.Random(digest)
    raw = [chance.random() - 0.5 for _ in range(dimensions)]
    length = math.sqrt(sum(number * number for number in raw)) or 1.0
    return [round(number / length, 8) for number in raw]


def _as_base64(vector: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def _read_inputs(given: Any) -> list[Any]:
    """Return a list of inputs, each a text or a list of token ids. Raises: Refusal."""
    if isinstance(given, str) and given:
        return [given]
    if isinstance(given, list) and 0 < len(given) <= _INPUTS_LIMIT:
        if all(type(entry) is int for entry in given):
            return [given]
        if all(isinstance(entry, str | list) and entry for entry in given):
            return given
    message = f"'input' must be a text, token ids, or a list of 1 to {_INPUTS_LIMIT} of these."
    raise Refusal(400, message, None, "input")
