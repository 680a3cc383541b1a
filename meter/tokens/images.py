"""Count the tokens of images by the published tile and patch formulas, and read image headers.

Knows sizes and model names; never decodes pixels and never fetches an address. Called by the
estimating modules of this package.
"""

import base64
import binascii
import math
from dataclasses import dataclass
from typing import Final

from meter.tokens.models import base_model

_HEADER_CHARS: Final = 400_000


@dataclass(frozen=True, slots=True)
class Tiles:
    """A base, and a price in tokens for each 512-pixel tile."""

    base: int
    tile: int


@dataclass(frozen=True, slots=True)
class Patches:
    """A token for each 32-pixel patch up to a budget, times a factor, and one more an image."""

    budget: int
    factor: float
    max_side: int = 2048


# Source: OpenAI's guide "Images and vision" (mirror read 2026-11-22), but for the factors of
# gpt-5-mini, gpt-5-nano and gpt-5.4, which recorded usage shows. First match counts.
_OPENAI: Final[tuple[tuple[str, Tiles | Patches], ...]] = (
    ("gpt-4o-mini", Tiles(2833, 5667)),
    ("gpt-4.1-mini", Patches(1536, 1.62)),
    ("gpt-4.1-nano", Patches(1536, 2.46)),
    ("gpt-4", Tiles(85, 170)),
    ("chatgpt-4o", Tiles(85, 170)),
    ("gpt-5-mini", Patches(1536, 1.2)),
    ("gpt-5.4-mini", Patches(1536, 1.2)),
    ("gpt-5-nano", Patches(1536, 1.5)),
    ("gpt-5.4-nano", Patches(1536, 1.5)),
    ("gpt-5-codex-mini", Patches(1536, 1.2)),
    ("gpt-5.1-codex-mini", Patches(1536, 1.2)),
    ("gpt-5.6", Patches(10_000, 1.2, 6000)),
    ("gpt-5.5", Patches(10_000, 1.2, 6000)),
    ("gpt-5.4", Patches(2500, 1.2)),
    ("gpt-5.3", Patches(1536, 1.0)),
    ("gpt-5.2", Patches(1536, 1.0)),
    ("gpt-5.1-codex", Patches(1536, 1.0)),
    ("gpt-5-codex", Patches(1536, 1.0)),
    ("gpt-5", Tiles(70, 140)),
    ("gpt-6", Patches(10_000, 1.2, 6000)),
    ("o4-mini", Patches(1536, 1.72)),
    ("o1", Tiles(75, 150)),
    ("o3", Tiles(75, 150)),
    ("computer-use-preview", Tiles(65, 129)),
)
_OTHER_OPENAI: Final = Tiles(85, 170)

CLAUDE_IMAGE_BOUND: Final = 4784
"""The most that an image costs with the newest Claude models."""

_CLAUDE_FRAME_TOKENS: Final = 3

_UNKNOWN_SIZE: Final = (1024, 1024)
"""What an image of unknown size is taken for in an estimate (never in a bound)."""


def openai_image_tokens(model: str, size: tuple[int, int] | None, detail: str) -> int:
    """Return the input tokens of one image; `size` is (width, height) in pixels, None unknown."""
    rule = _rule(model)
    width, height = size or _UNKNOWN_SIZE
    if isinstance(rule, Tiles):
        return rule.base if detail == "low" else rule.base + rule.tile * _tiles(width, height)
    if detail == "low":
        width, height = _fit(width, height, 512)
    # The factor is applied in binary floating point: 300 patches at 1.62 are billed as 487.
    return math.ceil(_patches(width, height, rule) * rule.factor) + 1


def openai_image_bound(model: str) -> int:
    """Return the most input tokens that one image of any size can have."""
    rule = _rule(model)
    if isinstance(rule, Tiles):
        # Short side 768 and long side 2048 at most: two by four tiles.
        return rule.base + rule.tile * 8
    return math.ceil(rule.budget * rule.factor) + 1


def claude_image_tokens(size: tuple[int, int] | None) -> int:
    """Return the input tokens of one image for a Claude model: one for each 28-pixel patch.

    Source: Anthropic's guide "Vision" (quoted, read 2026-11-22): a long side of at most 1568
    pixels and at most 1568 tokens; the newest models allow 2576 and 4784, which only the bound
    takes into account.
    """
    width, height = _fit(*(size or _UNKNOWN_SIZE), 1568)
    return min(math.ceil(width / 28) * math.ceil(height / 28), 1568) + _CLAUDE_FRAME_TOKENS


def gemini_image_tokens(size: tuple[int, int] | None) -> int:
    """Return the input tokens of one image for a Gemini model: 258 for each tile of 768 pixels."""
    width, height = size or _UNKNOWN_SIZE
    if width <= 384 and height <= 384:
        return 258
    unit = min(max(256, math.floor(min(width, height) / 1.5)), 768)
    return 258 * math.ceil(width / unit) * math.ceil(height / unit)


def other_image_tokens(model: str, size: tuple[int, int] | None) -> int:
    """Return the input tokens of one image for a model of another maker than OpenAI.

    Mistral's models take a token for each patch of 28 pixels and one for each row, in 30 of 30
    recorded requests; Qwen's are alike. What is not known costs as with gpt-4o.
    """
    name = model.lower()
    width, height = _fit(*(size or _UNKNOWN_SIZE), 1540)
    across, down = math.ceil(width / 28), math.ceil(height / 28)
    if "claude" in name:
        return claude_image_tokens(size)
    if "gemini" in name:
        return gemini_image_tokens(size)
    if "stral" in name:
        return across * down + down
    if "qwen" in name:
        return across * down + 2
    return openai_image_tokens("gpt-4o", size, "")


def inline_image_size(source: str) -> tuple[int, int] | None:
    """Return (width, height) of base64 image data or a `data:` address, None when not readable."""
    if source.startswith("data:"):
        head, comma, source = source.partition(",")
        if not comma or ";base64" not in head:
            return None
    elif "://" in source[:16]:
        return None
    text = source[:_HEADER_CHARS]
    try:
        head_bytes = base64.b64decode(text[: len(text) // 4 * 4])
    except (binascii.Error, ValueError):
        return None
    return image_size(head_bytes)


def image_size(head: bytes) -> tuple[int, int] | None:
    """Return (width, height) from the first bytes of a PNG, GIF, WebP or JPEG, None otherwise."""
    if head.startswith(b"\x89PNG\r\n\x1a\n") and len(head) >= 24:
        return _positive(int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big"))
    if head[:6] in (b"GIF87a", b"GIF89a") and len(head) >= 10:
        return _positive(int.from_bytes(head[6:8], "little"), int.from_bytes(head[8:10], "little"))
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return _webp_size(head)
    if head.startswith(b"\xff\xd8"):
        return _jpeg_size(head)
    return None


def _rule(model: str) -> Tiles | Patches:
    name = base_model(model)
    return next((rule for family, rule in _OPENAI if name.startswith(family)), _OTHER_OPENAI)


def _tiles(width: int, height: int) -> int:
    scale = min(1.0, 2048 / max(width, height))
    scale *= min(1.0, 768 / (min(width, height) * scale))
    across = math.ceil(int(width * scale) / 512) or 1
    return across * (math.ceil(int(height * scale) / 512) or 1)


def _patches(width: int, height: int, rule: Patches) -> int:
    width, height = _fit(width, height, rule.max_side)
    count = math.ceil(width / 32) * math.ceil(height / 32)
    if count <= rule.budget:
        return count
    scale = math.sqrt(32 * 32 * rule.budget / (width * height))
    across, down = width * scale / 32, height * scale / 32
    scale *= min(math.floor(across) / across, math.floor(down) / down) or 1.0
    across_fit = math.ceil(int(width * scale) / 32)
    down_fit = math.ceil(int(height * scale) / 32)
    return min(max(across_fit, 1) * max(down_fit, 1), rule.budget)


def _fit(width: int, height: int, side: int) -> tuple[int, int]:
    scale = min(1.0, side / max(width, height))
    return max(int(width * scale), 1), max(int(height * scale), 1)


def _positive(width: int, height: int) -> tuple[int, int] | None:
    return (width, height) if width > 0 and height > 0 else None


def _webp_size(head: bytes) -> tuple[int, int] | None:
    kind = head[12:16]
    if kind == b"VP8 " and len(head) >= 30:
        width = int.from_bytes(head[26:28], "little") & 0x3FFF
        return _positive(width, int.from_bytes(head[28:30], "little") & 0x3FFF)
    if kind == b"VP8L" and len(head) >= 25:
        bits = int.from_bytes(head[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8X" and len(head) >= 30:
        width = int.from_bytes(head[24:27], "little") + 1
        return width, int.from_bytes(head[27:30], "little") + 1
    return None


def _jpeg_size(head: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 9 <= len(head):
        if head[at] != 0xFF:
            return None
        marker = head[at + 1]
        if marker == 0xFF:
            at += 1
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height = int.from_bytes(head[at + 5 : at + 7], "big")
            return _positive(int.from_bytes(head[at + 7 : at + 9], "big"), height)
        elif 0xD0 <= marker <= 0xD8 or marker == 0x01:
            at += 2
        else:
            at += 2 + int.from_bytes(head[at + 2 : at + 4], "big")
    return None
