"""Decide whether a model calls a tool, and write arguments that fit the tool's JSON schema.

Knows no provider: dialects translate their tool definitions to `Tool` and `ToolCall` back.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Json = dict[str, Any]
_DEPTH_LIMIT = 6
_WORDS = ("Lisbon", "Kyoto", "Nairobi", "Chengdu", "Bergen", "Quito")
# The hidden tokens with which a provider frames one call.
# Source: recorded OpenAI chat answers have about 7 more tokens than name and arguments
# (corpus of recorded exchanges, read 2026-11-22).
CALL_FRAME_TOKENS = 7


@dataclass(frozen=True, slots=True)
class Tool:
    """Hold the definition of one tool; `schema` is the JSON schema of its arguments."""

    name: str
    description: str = ""
    schema: Json = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ToolCall:
    """Hold one call that the model makes."""

    name: str
    arguments: Json

    @property
    def arguments_json(self) -> str:
        """Return the arguments as the JSON text that travels in a string field."""
        return json.dumps(self.arguments, ensure_ascii=False)


def choose_call(
    tools: Sequence[Tool],
    choice: Literal["auto", "none", "any"] | str,
    last_text: str,
    seed: str,
) -> ToolCall | None:
    """Return the call that the model makes, or None when it answers in words.

    `choice` other than auto, none and any is the name of the tool that must be called.
    `last_text` is the newest text of the user, "" when the newest message is no user's: with
    "auto" a tool is called when this text has the tool's name or a long word of it.
    """
    if not tools or choice == "none":
        return None
    named = next((tool for tool in tools if tool.name == choice), None)
    if named is None and choice == "auto":
        named = next((tool for tool in tools if _is_asked_for(tool, last_text)), None)
        if named is None:
            return None
    chosen = named or tools[0]
    return ToolCall(chosen.name, example_of(chosen.schema or {"type": "object"}, seed))


def example_of(schema: Json, seed: str) -> Json:
    """Return an object that fits a JSON schema; unknown keywords are ignored."""
    value = _value_of(schema, random.Random(seed), depth=0)
    return value if isinstance(value, dict) else {"value": value}


def _is_asked_for(tool: Tool, text: str) -> bool:
    asked = text.lower()
    if tool.name.lower() in asked:
        return True
    return any(len(word) > 3 and word in asked for word in re.split(r"[^a-z]+", tool.name.lower()))


def _value_of(schema: Any, chance: random.Random, depth: int) -> Any:
    if not isinstance(schema, dict) or depth > _DEPTH_LIMIT:
        return None
    if schema.get("enum"):
        return chance.choice(schema["enum"])
    kind = schema.get("type", "object" if "properties" in schema else "string")
    if isinstance(kind, list):
        kind = kind[0]
    kind = str(kind).lower()
    if kind == "object":
        properties = schema.get("properties") or {}
        return {name: _value_of(inner, chance, depth + 1) for name, inner in properties.items()}
    if kind == "array":
        return [_value_of(schema.get("items", {}), chance, depth + 1)]
    simple = {
        "integer": chance.randint(1, 9),
        "number": chance.randint(1, 90) / 2,
        "boolean": chance.random() < 0.5,
        "null": None,
    }
    return simple[kind] if kind in simple else chance.choice(_WORDS)
