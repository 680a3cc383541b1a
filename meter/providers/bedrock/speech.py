"""Read what Bedrock's endpoints share: the model in the path, tiers, token counts, exceptions.

Called by `converse.py` and `invoke.py`.

Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_TokenUsage.html and
API_runtime_CacheDetail.html (2026-11). Tokens read from and written to the cache are not inside
`inputTokens`: in recorded answers `totalTokens` is the sum of all four.
"""

import re
from typing import Any

from meter.providers.foreign import JSONObject, label, mapping, objects, text
from meter.providers.tiers import tier_of

_MODEL = re.compile(r"(?:^|/)model/(?P<model>.+)/(?P<operation>[^/]+)$", re.IGNORECASE)
_SPLITS = {"5m": "ephemeral_5m_input_tokens", "1h": "ephemeral_1h_input_tokens"}


def model_in(path: str, operations: tuple[str, ...]) -> str | None:
    """Return the model that a runtime path names; None when it is no path of these operations.

    `us.anthropic.claude-…` keeps its region, which has its own price. A resource name
    (`arn:aws:bedrock:…:inference-profile/us.anthropic.…`) is its last part.
    """
    found = _MODEL.search(path)
    if found is None or found["operation"].lower() not in operations:
        return None
    model = found["model"]
    return model.rpartition("/")[2] if model.startswith("arn:") else model


def tier_in(fields: JSONObject) -> str | None:
    """Return the tier that a request asks for or an answer names.

    Latency-optimised inference has its own prices, so it is a tier.
    """
    if mapping(fields.get("performanceConfig")).get("latency") == "optimized":
        return "optimized"
    return tier_of(mapping(fields.get("serviceTier")).get("type"))


def counts_in(usage: JSONObject) -> dict[str, Any]:
    """Return Amazon's token counts in Anthropic's words, whose input excludes the cache too.

    Where the total shows that the cache is inside the input, it is taken out.
    """
    read = _first(usage, "cacheReadInputTokens", "cacheReadInputTokenCount")
    written = _first(usage, "cacheWriteInputTokens", "cacheWriteInputTokenCount")
    taken = _first(usage, "inputTokens", "inputTokenCount")
    given = _first(usage, "outputTokens", "outputTokenCount")
    cached = sum(part for part in (read, written) if isinstance(part, int))
    if isinstance(taken, int) and isinstance(given, int) and cached <= taken:
        inclusive = cached > 0 and usage.get("totalTokens") == taken + given
        taken -= cached if inclusive else 0
    split = {
        _SPLITS[detail["ttl"]]: detail.get("inputTokens")
        for detail in objects(usage.get("cacheDetails"))
        if text(detail.get("ttl")) in _SPLITS
    }
    return {
        "input_tokens": taken,
        "cache_read_input_tokens": read,
        "cache_creation_input_tokens": written,
        "cache_creation": split,
        "output_tokens": given,
    }


def exception_in(payload: JSONObject) -> str | None:
    """Return the name of the exception that an event is, None for any other payload.

    Both exceptions and errors are framed as `{name: {"message": ...}}`.
    """
    if len(payload) != 1:
        return None
    name, value = next(iter(payload.items()))
    fields = mapping(value)
    is_one = name.endswith("Exception") or (set(fields) == {"message"} and bool(label(name)))
    return name if is_one and isinstance(fields.get("message", ""), str) else None


def _first(usage: JSONObject, *names: str) -> Any:
    return next((usage[name] for name in names if usage.get(name) is not None), None)
