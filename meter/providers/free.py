"""Know the calls that cost nothing: listing models, counting tokens, moderation, stored records.

Only what is surely free stands here; all else that no endpoint claims is unmetered, and shown as
such. Called by `dialect.py`.

Source: https://platform.openai.com/docs/guides/moderation (free of charge),
https://docs.claude.com/en/docs/build-with-claude/token-counting (free, with its own
rate limits), https://firebase.google.com/docs/vertex-ai/count-tokens (no charge),
https://docs.aws.amazon.com/bedrock/latest/userguide/count-tokens.html (no charge),
https://docs.cohere.com/reference/tokenize, all 2026-11.
"""

import re

from meter.providers.provider import Provider

_MODELS = re.compile(r"/models(?:/[^:]+)?$", re.IGNORECASE)
# Stored answers among them: they were paid for when they were made. What a file or a batch
# holds is not here, since the usage of a batch stands in it.
_RECORDS = re.compile(
    r"/(?:files|batches|responses|conversations|chat/completions|fine_tuning/jobs|cachedContents)"
    r"(?:/[^/:]+)?$",
    re.IGNORECASE,
)
# How long a cache lives is changed, a batch of Anthropic's or Google's ended.
_CHANGED = {
    "PATCH": re.compile(r"/cachedContents/[^/:]+$", re.IGNORECASE),
    "POST": re.compile(
        r"/v1(?:beta|alpha)?/batches/[^/:]+:cancel$|/v1/messages/batches/[^/]+/cancel$",
        re.IGNORECASE,
    ),
}
_COUNTING = re.compile(
    r"/v1/messages/count_tokens$|:(?:count|compute)Tokens$|/responses/input_tokens$"
    r"|^/model/.+/count-tokens$|/v1/(?:de)?tokenize$",
    re.IGNORECASE,
)
_MODERATIONS = re.compile(r"/moderations$", re.IGNORECASE)


def free_endpoint(provider: Provider, method: str, path: str) -> str | None:
    """Return the name of a call that costs nothing, None when it may cost something."""
    if method in ("GET", "HEAD") and _MODELS.search(path):
        return "models"
    if method in ("GET", "HEAD", "DELETE"):
        return "records" if _RECORDS.search(path) else None
    if method in _CHANGED and _CHANGED[method].search(path):
        return "records"
    if method == "POST" and _COUNTING.search(path):
        return "count_tokens"
    if method == "POST" and provider.free_moderations and _MODERATIONS.search(path):
        return "moderations"
    return None
