"""List the names under which a model may be priced, the most exact first. Pure.

`gpt-4o-2024-08-06` may be listed as itself or as `gpt-4o`; a fine-tuned model is never priced as
its base, whose price differs. Called by `book.py`.
"""

import re

LONGEST_NAME = 256
"""Longer model names are nobody's."""

_ALIASES = {
    "azure-openai": "azure",
    "azure_ai": "azure",
    "bedrock": "aws",
    "fireworks_ai": "fireworks",
    "gemini": "google",
    "moonshotai": "moonshot",
    "together_ai": "together",
    "vertex_ai": "vertex",
    "voyageai": "voyage",
    "x-ai": "xai",
    "zhipuai": "zhipu",
}
_ROUTERS = frozenset({"litellm"})
_PATH = re.compile(r"^(?:.*/)?models/(?P<name>[^/]+)$")
_FINE_TUNED = re.compile(r"^(?P<base>ft:[^:]+):")
_DATED = re.compile(
    r"^(?P<name>.+?)[-@](?:20\d\d-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])"
    r"|20\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01]))$"
)


def provider_named(name: str) -> str:
    """Return the meter's own name of a provider that others spell differently."""
    lower = name.strip().lower()
    return _ALIASES.get(lower, lower)


def names_of(provider: str, model: str) -> tuple[tuple[str, str], ...]:
    """Return (provider, model) pairs to look up in order, () for a name that cannot be one.

    `models/gemini-…` and `projects/…/models/…` are their last part; `openai/gpt-4o` at openai is
    `gpt-4o`, and at a router (litellm) it is openai's `gpt-4o`; `ft:gpt-4o-mini:org::id` is
    `ft:gpt-4o-mini`. Last comes each name without its date.
    """
    provider, model = provider_named(provider), model.strip()
    if not model or len(model) > LONGEST_NAME or len(provider) > LONGEST_NAME:
        return ()
    head, _, tail = model.partition("/")
    if provider in _ROUTERS:
        return names_of(head, tail) if tail and provider_named(head) not in _ROUTERS else ()
    names = [model]
    if tail and provider_named(head) == provider:
        names.append(tail)
    if path := _PATH.match(model):
        names.append(path["name"])
    if tuned := _FINE_TUNED.match(names[-1]):
        names.append(tuned["base"])
    names += [dated["name"] for name in names if (dated := _DATED.match(name))]
    return tuple((provider, name) for name in dict.fromkeys(names))
