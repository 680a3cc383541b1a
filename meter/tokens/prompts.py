"""Read prompts that are text, token ids, or lists of either: completions and embeddings share it.

Knows no endpoint. Called by `completions` and `embeddings`.
"""

from meter.tokens.counting import byte_bound, count_text
from meter.tokens.shapes import list_of


def prompts_in(value: object) -> list[str | int]:
    """Return each prompt as its text, or as the number of token ids that it consists of.

    A string is one prompt, a list of ids is one prompt, a list of strings or of lists of ids is
    as many. What is none of these is left out.
    """
    if isinstance(value, str):
        return [value]
    items = list_of(value)
    if items and all(_is_id(item) for item in items):
        return [len(items)]
    prompts: list[str | int] = []
    for item in items:
        if isinstance(item, str):
            prompts.append(item)
        elif isinstance(item, list | tuple):
            prompts.append(len(item))
    return prompts


def count_prompts(prompts: list[str | int], encoding_name: str) -> int:
    """Return the tokens of all prompts; ids count as they are, without a tokenizer."""
    return sum(p if isinstance(p, int) else count_text(p, encoding_name) for p in prompts)


def bound_prompts(prompts: list[str | int]) -> int:
    """Return an upper bound of the tokens of all prompts, from their bytes."""
    return sum(byte_bound(prompt) for prompt in prompts)


def _is_id(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
