"""Say how a model's prompt is laid out around the messages of a request.

Knows families of OpenAI models and the overheads that recorded usage shows for them; counts
nothing itself. Called by the estimating modules of this package.

Source: recorded requests with the prompt tokens that were reported for them (2023 to 2026).
OpenAI documents only the overheads of messages (cookbook, "How to count tokens with tiktoken",
read 2026-11-22).
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

from meter.tokens.bounds import MediaBounds
from meter.tokens.images import openai_image_bound
from meter.tokens.models import base_model, encoding_for


@dataclass(frozen=True, slots=True)
class PromptFormat:
    """The fixed costs of a prompt, in tokens.

    `message` frames each message, its role not counted, and `name` a name on it; `assistant` is
    added for an answer in the history and `reply` opens the answer to come.

    `tools` is added once when there are functions. Functions and a response format are appended
    to the system message, before which `instructions` then stands; without one, or when that is
    None, they cost `tools_message` or (a format alone) `format_message`. `legacy_schemas`:
    functions are laid out in the oldest way.

    `call` frames a call of a function with its result, `result_prefix` stands before the name in
    the result. `parallel_calls` frames several calls that were made at once and are then one
    call, None when each stands for itself, with `at_once` more. `named_choice` and `no_choice`
    are the costs of a choice that names a function, or none. `call_with_id` is added for a call
    that is sent back with the id it came with.

    `answers_name_format` and `reply_names_format`: answers in the history, and the answer to
    come, name the response format.
    """

    message: int = 3
    name: int = 1
    assistant: int = 0
    reply: int = 3
    tools: int = 0
    instructions: str | None = ""
    tools_message: int = 4
    format_message: int = 4
    legacy_schemas: bool = False
    call: int = 5
    result_prefix: str = ""
    parallel_calls: int | None = 16
    at_once: int = 0
    call_with_id: int = 0
    named_choice: int = 6
    no_choice: int = 1
    answers_name_format: bool = True
    reply_names_format: bool = True


_CHAT: Final = PromptFormat()
_FIRST_CHAT: Final = PromptFormat(message=4, name=-1, legacy_schemas=True, named_choice=4)
_LEGACY: Final = PromptFormat(legacy_schemas=True, named_choice=4)
_O_SERIES: Final = PromptFormat(reply=2, tools=1)
# Approximate: something of about twelve tokens is hidden in each message.
_O1_PREVIEW: Final = PromptFormat(message=15, reply=15)
_GPT_5: Final = PromptFormat(
    assistant=2,
    reply=2,
    tools=82,
    instructions="# Instructions\n\n",
    call=9,
    parallel_calls=20,
    named_choice=0,
    no_choice=0,
    reply_names_format=False,
)

# First match counts.
_FAMILIES: Final = (
    ("gpt-4o", _CHAT),
    ("gpt-4.", _CHAT),
    ("gpt-4-turbo", _CHAT),
    ("gpt-4-0125", _CHAT),
    ("gpt-4-1106", _CHAT),
    ("gpt-4-vision", _CHAT),
    ("gpt-4", _LEGACY),
    ("gpt-3.5-turbo-0301", _FIRST_CHAT),
    ("gpt-3.5-turbo-0613", _LEGACY),
    ("gpt-3.5-turbo-16k", _LEGACY),
    ("gpt-3.5", _CHAT),
    ("gpt-35", _CHAT),
    ("chatgpt-4o", _CHAT),
    ("gpt-5", _GPT_5),
    ("o1-mini", _CHAT),
    ("o1-preview", _O1_PREVIEW),
    ("o1", _O_SERIES),
    ("o3", _O_SERIES),
    ("o4", _O_SERIES),
    ("codex-mini", _O_SERIES),
)
_NEWER: Final = ("gpt-6", "gpt-daybreak", "gpt-oss")
_APPROXIMATE: Final = ("o1-preview", "gpt-4o-search", "gpt-4o-mini-search", "gpt-5-search")

_PAGE_TOKENS: Final = 2_000
_HIDDEN_TOKENS: Final = 256
_KNOWN_MODELS: Final = 1_024

_RESPONSES: Final = replace(
    _CHAT,
    tools=-2,
    tools_message=0,
    format_message=1,
    call=2,
    result_prefix="functions.",
    parallel_calls=None,
    # In 21 of 22 recorded requests. All of them are of 2025, and none without an id is: it may be
    # the year that tells, but only the id is in the request.
    call_with_id=3,
    answers_name_format=False,
    reply_names_format=False,
)
_RESPONSES_GPT_5: Final = replace(
    _GPT_5,
    tools=0,
    instructions=None,
    format_message=0,
    call=6,
    result_prefix="functions.",
    parallel_calls=None,
    at_once=5,
    answers_name_format=False,
)
_RESPONSES_GPT_5_4: Final = replace(_RESPONSES_GPT_5, call=9)


@lru_cache(_KNOWN_MODELS)
def format_for(model: str) -> PromptFormat:
    """Return the prompt format of a model; an unknown one gets that of gpt-4o."""
    name = base_model(model)
    if name.startswith(_NEWER):
        return _GPT_5
    return next((known for family, known in _FAMILIES if name.startswith(family)), _CHAT)


@lru_cache(_KNOWN_MODELS)
def responses_format_for(model: str) -> PromptFormat:
    """Return the prompt format of a model behind the Responses API."""
    form = format_for(model)
    if form is not _GPT_5:
        return replace(_RESPONSES, reply=form.reply)
    first = base_model(model).startswith(("gpt-5-", "gpt-5.1", "gpt-5.2")) or model == "gpt-5"
    return _RESPONSES_GPT_5 if first else _RESPONSES_GPT_5_4


@lru_cache(_KNOWN_MODELS)
def is_openai(model: str) -> bool:
    """Tell whether a model's name is, or contains, that of a family of OpenAI's."""
    known = encoding_for(model)
    return not known.assumed or known.model.startswith(_NEWER) or "gpt" in known.model


@lru_cache(_KNOWN_MODELS)
def is_measured(model: str) -> bool:
    """Tell whether recorded usage of this model's family confirms its format."""
    name = base_model(model)
    if name.startswith(_APPROXIMATE):
        return False
    return any(name.startswith(family) for family, _ in _FAMILIES)


@lru_cache(_KNOWN_MODELS)
def media_bounds_for(model: str) -> MediaBounds:
    """Return the most that images, pages and hidden text can cost with a model.

    OpenAI added 82 tokens at most to the recorded prompts of its measured models; others hide
    instructions of their own.
    """
    image = openai_image_bound(model)
    page = max(image, _PAGE_TOKENS)
    if not is_measured(model):
        return MediaBounds(image, page)
    return MediaBounds(image, page, _HIDDEN_TOKENS)
