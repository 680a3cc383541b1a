"""Estimate the input tokens of an Anthropic messages request.

Knows the request's shape, and what Claude is told about tools; `makers` knows what words cost.
Called by `estimates`, and `tool_prompt` by `others`.
"""

from collections.abc import Mapping
from typing import Any, Final

from meter.tokens.bounds import MediaBounds, bound_request
from meter.tokens.files import pdf_outline
from meter.tokens.images import CLAUDE_IMAGE_BOUND, claude_image_tokens, inline_image_size
from meter.tokens.makers import CLAUDE
from meter.tokens.media import Media, media_of
from meter.tokens.models import base_model, encoding_for
from meter.tokens.notes import notes_on
from meter.tokens.records import InputEstimate
from meter.tokens.shapes import json_text, list_of, mapping_of, text_of

_PAGE_TOKENS: Final = 1_600
_CEILINGS: Final = MediaBounds(image=CLAUDE_IMAGE_BOUND, page=10_000, hidden=2_000)

THINKING_TOKENS: Final = 29
"""What thinking adds to a prompt, in each of 32 recorded requests of Claude 4.5."""
# Adaptive thinking: one recorded request.
_THINKING: Final = {"enabled": THINKING_TOKENS, "adaptive": 16}

# What the presence of tools adds: left to the model, or with one that must be called. First match
# counts.
# Source: Anthropic's page "Tool use" for Claude 3; fitted to 965 recorded requests for 3.5 to 4.6.
_TOOL_PROMPT: Final = (
    ("claude-3-5-haiku", 264, 366),
    ("claude-3-haiku", 264, 366),
    ("claude-3-opus", 530, 281),
    ("claude-3-sonnet", 159, 235),
    ("claude-3-5-sonnet-20240620", 294, 261),
    ("claude-3", 316, 316),
    ("claude-sonnet-4-0", 316, 316),
    ("claude-opus-4-0", 316, 316),
    ("claude-sonnet-4-2", 316, 316),
    ("claude-opus-4-2", 316, 316),
    ("claude-opus-4-1", 316, 316),
    ("claude-4-sonnet", 316, 316),
    ("claude-4-opus", 316, 316),
)
_NEWER_TOOL_PROMPT: Final = (498, 600)
# How much shorter the newer ones' is where calls must be made one by one, in 13 of 13 requests.
_ONE_BY_ONE_TOKENS: Final = 208

# Thinking of earlier turns is taken out again by the provider.
_BLOCK_TEXTS: Final = ("text", "title", "context")


def estimate(request: Mapping[str, Any], model: str) -> InputEstimate:
    """Return the input tokens of a messages request, cached ones included; an approximation."""
    known = encoding_for(model)
    words = _Words()
    words.content(request.get("system"))
    messages = list_of(request.get("messages"))
    for message in messages:
        words.content(mapping_of(message).get("content"))
    total = CLAUDE.request + CLAUDE.message * len(messages) + words.tokens
    total += _THINKING.get(text_of(mapping_of(request.get("thinking")).get("type")), 0)
    tools = [tool for tool in list_of(request.get("tools")) if isinstance(tool, Mapping)]
    if tools or words.has_calls:
        choice = mapping_of(request.get("tool_choice"))
        total += tool_prompt(
            model,
            forced=choice.get("type") in ("any", "tool"),
            one_by_one=choice.get("disable_parallel_tool_use") is True,
        )
    total += sum(CLAUDE.declared(json_text(tool)) for tool in tools)
    tokens = round(total)
    answer = request.get("output_format") or mapping_of(request.get("output_config")).get("format")
    if answer:
        tokens += round(CLAUDE.answered(json_text(answer)))
    bound = bound_request(request, _CEILINGS)
    return InputEstimate(
        tokens, max(tokens, bound), known.name, exact=False, notes=notes_on(request, known)
    )


class _Words:
    """Sum up content: tokens of text, of calls and of media."""

    def __init__(self) -> None:
        self.tokens = 0.0
        self.has_calls = False

    def content(self, content: object) -> None:
        """Add a content: a string, or blocks that may hold further contents one level down."""
        pending = [content]
        while pending:
            value = pending.pop()
            if isinstance(value, str):
                self.tokens += CLAUDE.words(value)
            for block in list_of(value):
                pending += self._block(block)

    def _block(self, block: object) -> list[object]:
        if isinstance(block, str):
            return [block]
        fields = mapping_of(block)
        inner: list[object] = [text_of(fields.get(name)) for name in _BLOCK_TEXTS]
        kind = text_of(fields.get("type"))
        if kind.endswith("tool_use"):
            self.has_calls = True
            self.tokens += CLAUDE.called(
                text_of(fields.get("name")), json_text(fields.get("input"))
            )
        elif kind.endswith("tool_result"):
            self.tokens += CLAUDE.result
            inner.append(fields.get("content"))
        media = media_of(fields)
        if media is not None:
            self.tokens += _media_tokens(media)
            source = mapping_of(fields.get("source"))
            if source.get("type") == "text":
                inner.append(text_of(source.get("data")))
        return inner


def _media_tokens(media: Media) -> int:
    if media.kind == "image":
        return claude_image_tokens(inline_image_size(media.encoded))
    content = media.decoded()
    if not content.startswith(b"%PDF"):
        return 0
    outline = pdf_outline(content)
    return round(CLAUDE.words(outline.text)) + _PAGE_TOKENS * outline.pages


def tool_prompt(model: str, *, forced: bool, one_by_one: bool) -> int:
    """Return what Claude is told about tools, the tools themselves not counted."""
    name = base_model(model).replace(".", "-")
    found = ((free, must) for family, free, must in _TOOL_PROMPT if family in name)
    free, must = next(found, _NEWER_TOOL_PROMPT)
    tokens = must if forced else free
    newer = (free, must) == _NEWER_TOOL_PROMPT
    return tokens - _ONE_BY_ONE_TOKENS if newer and one_by_one else tokens
