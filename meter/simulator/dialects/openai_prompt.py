"""Count the prompt of a chat request by the overheads that OpenAI published.

3 tokens for each message, 1 for a name, 3 for the start of the answer, on top of the texts;
tools by the published formula for functions.
Source: OpenAI cookbook, "How to count tokens with tiktoken", read 2026-11-22.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from meter.simulator.replies import Json, Refusal
from meter.simulator.tools import Tool

Count = Callable[[str], int]

_MESSAGE_TOKENS = 3
_NAME_TOKENS = 1
_START_TOKENS = 3
# A 1024 x 1024 image of the gpt-4o family, and one at low detail; sizes are not looked at.
_IMAGE_TOKENS = 765
_LOW_IMAGE_TOKENS = 85
# 100 ms of 16 kHz 16-bit mono sound are one token.
_SOUND_BYTES_A_TOKEN = 3200
_FUNCTION_TOKENS = {"gpt-3.5": 10, "gpt-4-": 10}
_FUNCTION_TOKENS_ELSE = 7


@dataclass(frozen=True, slots=True)
class Prompt:
    """Hold a counted prompt.

    `parts` are its pieces in order with their tokens, for the prompt cache; `last_text` is the
    newest text of the user, "" when the newest message is not the user's.
    """

    parts: tuple[tuple[str, int], ...]
    tokens: int
    last_text: str


def read_prompt(fields: Json, count: Count) -> Prompt:
    """Read the messages of a chat request. Raises: Refusal."""
    messages = fields.get("messages")
    if not isinstance(messages, list) or not messages:
        raise Refusal(400, "'messages' must be a list with at least one message.", None, "messages")
    parts: list[tuple[str, int]] = []
    tools = read_tools(fields.get("tools"))
    if tools:
        model = str(fields.get("model", ""))
        parts.append((json.dumps(fields["tools"]), count_tools(tools, model, count)))
    shape = fields.get("response_format")
    if isinstance(shape, dict) and shape.get("type") == "json_schema":
        text = json.dumps(shape.get("json_schema"), ensure_ascii=False)
        parts.append((text, count(text)))
    for place, message in enumerate(messages):
        if not isinstance(message, dict):
            raise Refusal(400, f"messages[{place}] must be an object.", None, "messages")
        parts.append((json.dumps(message, ensure_ascii=False), _count_message(message, count)))
    newest = messages[-1]
    return Prompt(
        parts=tuple(parts),
        tokens=sum(size for _, size in parts) + _START_TOKENS,
        last_text=text_of(newest.get("content")) if newest.get("role") == "user" else "",
    )


def read_tools(given: Any) -> tuple[Tool, ...]:
    """Return the functions among a request's tools."""
    functions = [
        entry["function"]
        for entry in given or ()
        if isinstance(entry, dict) and isinstance(entry.get("function"), dict)
    ]
    return tuple(
        Tool(
            name=str(function.get("name", "")),
            description=str(function.get("description") or ""),
            schema=function.get("parameters") or {},
        )
        for function in functions
    )


def read_tool_choice(given: Any) -> str:
    """Return auto, none, any or the name of the function that must be called."""
    if isinstance(given, dict):
        function = given.get("function")
        name = function.get("name") if isinstance(function, dict) else given.get("name")
        return str(name or "any")
    return {"required": "any", "any": "any", "none": "none"}.get(given, "auto")


def text_of(content: Any) -> str:
    """Return the text of a message's content, the parts joined."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    texts = (part.get("text") for part in content if isinstance(part, dict))
    return "".join(text for text in texts if isinstance(text, str))


def count_content(content: Any, count: Count) -> int:
    """Return the tokens of a message's content: texts, images, sound."""
    if isinstance(content, str):
        return count(content)
    if not isinstance(content, list):
        return 0
    return sum(_count_part(part, count) for part in content if isinstance(part, dict))


def count_tools(tools: tuple[Tool, ...], model: str, count: Count) -> int:
    """Return the tokens of function definitions by the published formula."""
    beginning = next(
        (size for name, size in _FUNCTION_TOKENS.items() if model.startswith(name)),
        _FUNCTION_TOKENS_ELSE,
    )
    total = 12
    for tool in tools:
        description = tool.description.removesuffix(".")
        total += beginning + count(f"{tool.name}:{description}")
        properties = tool.schema.get("properties") or {}
        total += 3 if properties else 0
        for name, about in properties.items():
            total += _count_property(name, about if isinstance(about, dict) else {}, count)
    return total


def _count_property(name: str, about: Json, count: Count) -> int:
    description = str(about.get("description", "")).removesuffix(".")
    total = 3 + count(f"{name}:{about.get('type', '')}:{description}")
    if "enum" in about:
        total += sum(3 + count(str(item)) for item in about["enum"]) - 3
    return total


def _count_message(message: Json, count: Count) -> int:
    total = _MESSAGE_TOKENS + count(str(message.get("role", "")))
    total += count_content(message.get("content"), count)
    if isinstance(message.get("name"), str):
        total += _NAME_TOKENS + count(message["name"])
    for call in message.get("tool_calls") or ():
        function = call.get("function", {}) if isinstance(call, dict) else {}
        total += count(str(function.get("name", ""))) + count(str(function.get("arguments", "")))
    return total


def _count_part(part: Json, count: Count) -> int:
    kind = str(part.get("type", ""))
    if isinstance(part.get("text"), str):
        return count(part["text"])
    if "image" in kind:
        image = part.get("image_url")
        detail = image.get("detail") if isinstance(image, dict) else part.get("detail")
        return _LOW_IMAGE_TOKENS if detail == "low" else _IMAGE_TOKENS
    if kind == "input_audio":
        sound = part.get("input_audio")
        encoded = str(sound.get("data", "")) if isinstance(sound, dict) else ""
        return sound_tokens(encoded)
    return 0


def sound_tokens(encoded: str) -> int:
    """Return the tokens of base64 sound, at least 1. Raises: Refusal."""
    try:
        size = len(base64.b64decode(encoded, validate=True))
    except binascii.Error:
        raise Refusal(400, "The sound is not valid base64.", "invalid_value") from None
    return max(1, size // _SOUND_BYTES_A_TOKEN)
