"""Build tiktoken encodings from the packed ranks of this package: no network, no environment.

Knows nothing of models (see `models`) or of requests. Called by `counting` only; tiktoken is
imported when the first encoding is asked for, so that importing `meter` stays cheap.
"""

from __future__ import annotations

import hashlib
import threading
import zlib
from dataclasses import dataclass
from importlib.resources import files
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Final

from meter.errors import InputError

if TYPE_CHECKING:
    import tiktoken

# The sha256 of each packed file; checking 1 MB costs less than a millisecond at load.
_PACKED_SHA256: Final = {
    "r50k_base": "10c69dd0fc5929c1ab181ec705afa1fc7666330fb618000295049795e95dc095",
    "p50k_base": "189d2e687bc37aa9f9cd404a11a9dfdb3ab7a608612cf9cbca038774d691f66f",
    "cl100k_base": "1b57c7f611a970e92cfb0d6b24bba94d62b107e2fdeb89a0ef76f248e6169b88",
    "o200k_base": "dce434c331e2b595eab34335423e5d1924359ebb49b6d2eae3c4539c0c0ed1c0",
}

# How text is cut before the merges. Source: the patterns that tiktoken 0.14.0 publishes with
# each encoding; a test compares them with the installed tiktoken.
_GPT2_PATTERN: Final = (
    r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"
)
_CL100K_PATTERN: Final = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+"
    r"|\s++$|\s*[\r\n]|\s+(?!\S)|\s"
)
_O200K_WORD_START: Final = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
_O200K_WORD_END: Final = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_O200K_CONTRACTION: Final = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
_O200K_PATTERN: Final = "|".join(
    (
        f"{_O200K_WORD_START}*{_O200K_WORD_END}+{_O200K_CONTRACTION}",
        f"{_O200K_WORD_START}+{_O200K_WORD_END}*{_O200K_CONTRACTION}",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    )
)

_END_OF_TEXT: Final = "<|endoftext|>"
_HARMONY_NAMED: Final = {
    "<|startoftext|>": 199998,
    _END_OF_TEXT: 199999,
    "<|return|>": 200002,
    "<|constrain|>": 200003,
    "<|channel|>": 200005,
    "<|start|>": 200006,
    "<|end|>": 200007,
    "<|message|>": 200008,
    "<|call|>": 200012,
    "<|endofprompt|>": 200018,
}


@dataclass(frozen=True, slots=True)
class _Recipe:
    """What makes an encoding: the packed ranks' name, the cutting pattern, the special tokens."""

    ranks: str
    pattern: str
    specials: dict[str, int]


def _fill_in_middle(first: int) -> dict[str, int]:
    names = ("<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>")
    return {name: first + place for place, name in enumerate(names)}


def _harmony_specials() -> dict[str, int]:
    taken = set(_HARMONY_NAMED.values())
    reserved = {f"<|reserved_{i}|>": i for i in range(200000, 201088) if i not in taken}
    # tiktoken lists 200018 under both names.
    return _HARMONY_NAMED | reserved | {"<|reserved_200018|>": 200018}


_RECIPES: Final = {
    "r50k_base": _Recipe("r50k_base", _GPT2_PATTERN, {_END_OF_TEXT: 50256}),
    "p50k_base": _Recipe("p50k_base", _GPT2_PATTERN, {_END_OF_TEXT: 50256}),
    "p50k_edit": _Recipe(
        "p50k_base", _GPT2_PATTERN, {_END_OF_TEXT: 50256} | _fill_in_middle(50281)
    ),
    "cl100k_base": _Recipe(
        "cl100k_base",
        _CL100K_PATTERN,
        {_END_OF_TEXT: 100257, "<|endofprompt|>": 100276} | _fill_in_middle(100258),
    ),
    "o200k_base": _Recipe(
        "o200k_base", _O200K_PATTERN, {_END_OF_TEXT: 199999, "<|endofprompt|>": 200018}
    ),
    "o200k_harmony": _Recipe("o200k_base", _O200K_PATTERN, _harmony_specials()),
}

# gpt2 has the same merges and pattern as r50k_base, published in two other files.
_ALIASES: Final = {"gpt2": "r50k_base"}

ENCODING_NAMES: Final = (*_RECIPES, *_ALIASES)

_lock = threading.Lock()
_loaded: dict[str, tiktoken.Encoding] = {}


def encoding(name: str) -> tiktoken.Encoding:
    """Return the encoding of that name, built on first use and kept for the process.

    Safe to call from any thread; loading takes 0.05 to 0.25 s, once for each encoding.

    Raises: InputError when the name is not one of `ENCODING_NAMES` or the packed ranks are damaged.
    """
    name = _ALIASES.get(name, name)
    found = _loaded.get(name)
    if found is not None:
        return found
    with _lock:
        if name not in _loaded:
            _loaded[name] = _build(name)
        return _loaded[name]


def packed_tokens(name: str) -> list[bytes]:
    """Return the tokens of a packed rank file in rank order; an empty one marks an unused rank.

    Raises: InputError when the bytes are not those that were packed.
    """
    packed = files("meter.tokens.ranks").joinpath(f"{name}.ranks.zlib").read_bytes()
    found = hashlib.sha256(packed).hexdigest()
    if found != _PACKED_SHA256[name]:
        raise InputError(
            f"the rank file of {name} has sha256 {found}, expected {_PACKED_SHA256[name]}"
        )
    plain = zlib.decompress(packed)
    slots = int.from_bytes(plain[:4], "big")
    ends = accumulate(plain[4 : 4 + slots], initial=4 + slots)
    return [plain[start:end] for start, end in pairwise(ends)]


def _build(name: str) -> tiktoken.Encoding:
    recipe = _RECIPES.get(name)
    if recipe is None:
        raise InputError(f"found the encoding {name!r}, expected one of {', '.join(_RECIPES)}")
    import tiktoken

    tokens = packed_tokens(recipe.ranks)
    made = tiktoken.Encoding(
        name,
        pat_str=recipe.pattern,
        mergeable_ranks={token: rank for rank, token in enumerate(tokens) if token},
        special_tokens=recipe.specials,
    )
    # It keeps them once more, 24 MB for o200k_base, only so that it could be pickled.
    made._mergeable_ranks = {}
    return made
