"""Say which encoding counts for a model, and whether that is known or assumed.

Knows model names only; loads no ranks. Called by the estimating modules of this package and by
whoever counts delivered output.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

DEFAULT_ENCODING: Final = "o200k_base"
"""What counts for models whose tokenizer is not published, with `assumed` set."""


@dataclass(frozen=True, slots=True)
class ModelEncoding:
    """The encoding that counts for a model.

    `assumed`: the tokenizer is not published or the model is not known; `note` then says so in
    one sentence, and is None otherwise. `model` is the model's own name (see `base_model`).
    """

    name: str
    assumed: bool
    note: str | None
    model: str = ""


# Name of the family → encoding; the longest that begins the model's name counts.
# Source: tiktoken 0.14.0 `tiktoken/model.py` (read 2026-11-22), with its gaps filled: it reads
# `ft:gpt-4.1…` as cl100k_base, which is o200k_base, and knows no audio, realtime or image models.
_FAMILIES: Final = {
    "gpt-4o": "o200k_base",
    "gpt-4.1": "o200k_base",
    "gpt-4.5": "o200k_base",
    "gpt-5": "o200k_base",
    "gpt-audio": "o200k_base",
    "gpt-realtime": "o200k_base",
    "gpt-transcribe": "o200k_base",
    "gpt-image": "o200k_base",
    "chatgpt": "o200k_base",
    "codex-mini": "o200k_base",
    "computer-use-preview": "o200k_base",
    "o1": "o200k_base",
    "o3": "o200k_base",
    "o4": "o200k_base",
    "omni-moderation": "o200k_base",
    "gpt-oss": "o200k_harmony",
    "gpt-4": "cl100k_base",
    "gpt-3.5": "cl100k_base",
    "gpt-35": "cl100k_base",
    "davinci-002": "cl100k_base",
    "babbage-002": "cl100k_base",
    "text-embedding-ada-002": "cl100k_base",
    "text-embedding-3": "cl100k_base",
    "text-moderation": "cl100k_base",
    "text-davinci-003": "p50k_base",
    "text-davinci-002": "p50k_base",
    "code-davinci-edit": "p50k_edit",
    "text-davinci-edit": "p50k_edit",
    "code-davinci": "p50k_base",
    "code-cushman": "p50k_base",
    "davinci-codex": "p50k_base",
    "cushman-codex": "p50k_base",
    "text-davinci-001": "r50k_base",
    "text-curie": "r50k_base",
    "text-babbage": "r50k_base",
    "text-ada": "r50k_base",
    "text-similarity": "r50k_base",
    "text-search": "r50k_base",
    "code-search": "r50k_base",
    "davinci": "r50k_base",
    "curie": "r50k_base",
    "babbage": "r50k_base",
    "ada": "r50k_base",
    "gpt2": "r50k_base",
    "gpt-2": "r50k_base",
}

# OpenAI's families whose tokenizer is not published as of 2026-11-22.
_UNPUBLISHED: Final = ("gpt-6", "gpt-daybreak", "whisper", "tts-1", "dall-e", "sora")

# Families that a deployment name may contain; the longest found counts.
_INSIDE: Final = (
    "gpt-4o", "gpt4o", "gpt-4.1", "gpt-41", "gpt-4.5", "gpt-5", "gpt5", "o1-", "o3-", "o4-mini",
    "gpt-4", "gpt4", "gpt-3.5", "gpt-35", "gpt35", "text-embedding-3", "text-embedding-ada-002",
    "gpt-oss",
)  # fmt: skip
_INSIDE_NAMED: Final = {
    "gpt4o": "gpt-4o",
    "gpt-41": "gpt-4.1",
    "gpt5": "gpt-5",
    "gpt4": "gpt-4",
    "gpt35": "gpt-3.5",
    "o1-": "o1",
    "o3-": "o3",
    "o4-mini": "o4",
}

_BY_LENGTH: Final = tuple(sorted(_FAMILIES, key=len, reverse=True))
_INSIDE_BY_LENGTH: Final = tuple(sorted(_INSIDE, key=len, reverse=True))


@lru_cache(maxsize=1024)
def encoding_for(model: str) -> ModelEncoding:
    """Return the encoding for a model name: as sent, dated, fine-tuned, or with a vendor's prefix.

    `openai/gpt-4o`, `ft:gpt-4.1:acme::x`, `gpt-4o-2024-08-06` and `davinci:ft-acme-2023` all find
    their family. A name that only contains a family (an Azure deployment), an unpublished
    tokenizer and a model of another maker give `assumed`.
    """
    name = base_model(model)
    family = _family(name)
    if family is not None:
        return ModelEncoding(_FAMILIES[family], assumed=False, note=None, model=name)
    if name.startswith(_UNPUBLISHED):
        return ModelEncoding(
            DEFAULT_ENCODING,
            assumed=True,
            note=f"The tokenizer of {name} is not published; counted with {DEFAULT_ENCODING}.",
            model=name,
        )
    inside = next((part for part in _INSIDE_BY_LENGTH if part in name), None)
    if inside is not None:
        family = _INSIDE_NAMED.get(inside, inside)
        return ModelEncoding(
            _FAMILIES[family],
            assumed=True,
            note=f"The model {name} is counted as {family}, which its name contains.",
            model=name,
        )
    return ModelEncoding(
        DEFAULT_ENCODING,
        assumed=True,
        note=f"The tokenizer of {name or 'an unnamed model'} is not known; "
        f"counted with {DEFAULT_ENCODING}.",
        model=name,
    )


def base_model(model: str) -> str:
    """Return the model's own name: lower case, without a vendor, a fine-tuning or a route.

    `openai/GPT-4o:online` is `gpt-4o`, `ft:gpt-4o-mini:acme::id` is `gpt-4o-mini`. The name is
    cut at 200 characters.
    """
    name = model[:200].strip().lower()
    name = name.rpartition("/")[2].lstrip("~")
    if name.startswith("ft:"):
        name = name[3:]
    return name.partition(":")[0]


def _family(name: str) -> str | None:
    for family in _BY_LENGTH:
        if name.startswith(family) and (
            len(name) == len(family) or not name[len(family)].isalnum() or family[-1].isdigit()
        ):
            return family
    return None
