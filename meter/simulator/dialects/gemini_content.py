"""Read a Gemini request for content and render what the model says, whole or as a stream.

`candidatesTokenCount` leaves thoughts out; `promptTokenCount` includes the cached tokens; every
chunk of a stream carries running totals. Names of fields come as camelCase or snake_case.
Source: types of the google-genai package 3.4 and recorded exchanges, read 2026-11-22.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Literal

from meter.simulator.composing import Composition, Wish, compose, seed_of
from meter.simulator.dialects.openai_chat import read_limit, read_number
from meter.simulator.dialects.openai_prompt import Count
from meter.simulator.prose import grouped
from meter.simulator.replies import Event, Json, Refusal, Request
from meter.simulator.tools import CALL_FRAME_TOKENS, Tool
from meter.simulator.world import World

_START_TOKENS = 1
_IMAGE_TOKENS = 258
_CACHE_BLOCK_TOKENS = 128
_CANDIDATES_LIMIT = 8
_PIECES_A_CHUNK = 24
_THINKING_MODEL = re.compile(r"gemini-(2\.5|[3-9])")
# The names inside these belong to the caller.
_FOREIGN = {
    "args",
    "parameters",
    "parametersJsonSchema",
    "response",
    "responseJsonSchema",
    "responseSchema",
}


def in_camel_case(value: Any) -> Any:
    """Return a request with its field names in camelCase, as protocol buffers accept both."""
    if isinstance(value, list):
        return [in_camel_case(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    renamed: Json = {}
    for name, inner in value.items():
        camel = re.sub(r"_([a-z])", lambda found: found[1].upper(), str(name))
        renamed[camel] = inner if camel in _FOREIGN else in_camel_case(inner)
    return renamed


class ContentTask:
    """Hold one request for content: the counted prompt and what the model says."""

    def __init__(self, request: Request, world: World) -> None:
        """Read the request and let the model speak. Raises: Refusal."""
        fields = in_camel_case(request.fields)
        given = fields.get("generationConfig")
        config: Json = given if isinstance(given, dict) else {}
        parts, last_text = read_contents(fields, world.settings.count)
        self.prompt_tokens = sum(size for _, size in parts)
        owner = f"{request.key}:{request.model}"
        self.cached = min(
            world.cached_tokens(owner, parts, _CACHE_BLOCK_TOKENS), self.prompt_tokens
        )
        self._count = world.settings.count
        self._model = request.model
        self._id = world.new_id("", 22)
        self.said = [
            compose(wish, world.settings)
            for wish in _read_wishes(request, fields, config, last_text)
        ]
        self.thoughts = sum(said.reasoning_tokens for said in self.said)
        self.candidate_tokens = sum(said.output_tokens for said in self.said) - self.thoughts

    def bill(self) -> dict[str, int]:
        """Return what the answer is billed, by unit."""
        return {
            "input_tokens": self.prompt_tokens,
            "cache_read_tokens": self.cached,
            "output_tokens": self.candidate_tokens + self.thoughts,
            "reasoning_tokens": self.thoughts,
        }

    def usage(self, candidate_tokens: int | None, thoughts: int | None = None) -> Json:
        """Return the totals so far; None leaves the candidates' tokens out."""
        thoughts = self.thoughts if thoughts is None else thoughts
        usage: Json = {"promptTokenCount": self.prompt_tokens}
        if candidate_tokens is not None:
            usage["candidatesTokenCount"] = candidate_tokens
        usage["totalTokenCount"] = self.prompt_tokens + (candidate_tokens or 0) + thoughts
        usage["promptTokensDetails"] = by_modality(self.prompt_tokens)
        if self.cached:
            usage["cachedContentTokenCount"] = self.cached
            usage["cacheTokensDetails"] = by_modality(self.cached)
        if thoughts:
            usage["thoughtsTokenCount"] = thoughts
        usage["serviceTier"] = "standard"
        return usage

    def payload(self, candidates: list[Json], usage: Json) -> Json:
        """Return a body or a chunk."""
        return {
            "candidates": candidates,
            "usageMetadata": usage,
            "modelVersion": self._model,
            "responseId": self._id,
        }

    def candidate(self, index: int, said: Composition) -> Json:
        """Return one whole candidate."""
        parts: list[Json] = []
        if said.reasoning_pieces:
            parts.append({"text": said.reasoning_text, "thought": True})
        if said.call is not None and not said.is_cut_short:
            parts.append(_call_part(said))
        elif said.pieces:
            parts.append({"text": said.text})
        return _candidate(index, parts, said)

    def events(self) -> Iterator[Event]:
        """Return the chunks of a stream."""
        said_before, thought_before = 0, 0
        for index, said in enumerate(self.said):
            hidden = 0 if said.reasoning_pieces else said.reasoning_tokens
            thought = ""
            for text in grouped(said.reasoning_pieces, _PIECES_A_CHUNK):
                thought += text
                usage = self.usage(said_before or None, thought_before + self._count(thought))
                part = {"text": text, "thought": True}
                yield self._event(index, [part], usage, text=text, lane=2 * index)
            thought_before += said.reasoning_tokens
            spoken, frames = "", 0
            for part, text, frame in self._steps(said):
                spoken += text
                frames += frame
                usage = self.usage(said_before + frames + self._count(spoken), thought_before)
                about = {"text": text, "lane": 2 * index + 1, "hidden_tokens": hidden + frame}
                yield self._event(index, [part], usage, **about)
                hidden = 0
            total = said.output_tokens - said.reasoning_tokens
            said_before += total
            # The tokens of a call that was cut short are billed; nothing of it is sent.
            lost = total if said.call is not None and said.is_cut_short else 0
            usage = self.usage(said_before, thought_before)
            payload = self.payload([_candidate(index, [{"text": ""}], said)], usage)
            yield Event(payload, hidden_tokens=hidden + lost, usage_path=("usageMetadata",))

    def _steps(self, said: Composition) -> Iterator[tuple[Json, str, int]]:
        """Return the parts of a stream with their text and the tokens beside the text."""
        if said.call is not None and not said.is_cut_short:
            frame = CALL_FRAME_TOKENS + self._count(said.call.name)
            yield _call_part(said), said.call_json, frame
        for text in grouped(said.pieces, _PIECES_A_CHUNK):
            yield {"text": text}, text, 0

    def _event(self, index: int, parts: list[Json], usage: Json, **about: Any) -> Event:
        candidate = {"content": {"parts": parts, "role": "model"}, "index": index}
        payload = self.payload([candidate], usage)
        return Event(payload, usage_path=("usageMetadata",), **about)


def _call_part(said: Composition) -> Json:
    name = said.call.name if said.call is not None else ""
    arguments = said.call.arguments if said.call is not None else {}
    return {"functionCall": {"name": name, "args": arguments}}


def _candidate(index: int, parts: list[Json], said: Composition) -> Json:
    return {
        "content": {"parts": parts, "role": "model"},
        "finishReason": "MAX_TOKENS" if said.is_cut_short else "STOP",
        "index": index,
    }


def _read_wishes(request: Request, fields: Json, config: Json, last_text: str) -> list[Wish]:
    given = config.get("thinkingConfig")
    thinking: Json = given if isinstance(given, dict) else {}
    shape = None
    if config.get("responseMimeType") == "application/json":
        shape = config.get("responseSchema") or config.get("responseJsonSchema") or {}
    seed = seed_of({**fields, "generationConfig": {**config, "maxOutputTokens": None}})
    reasoning: Literal["none", "hidden", "visible"] = "none"
    if _THINKING_MODEL.match(request.model) and thinking.get("thinkingBudget") != 0:
        reasoning = "visible" if thinking.get("includeThoughts") else "hidden"
    return [
        Wish(
            seed=f"{seed}:{index}",
            last_text=last_text,
            limit=read_limit(config, "maxOutputTokens"),
            tools=_read_tools(fields),
            tool_choice=_read_tool_choice(fields.get("toolConfig")),
            schema=shape,
            reasoning=reasoning,
            orders=request.orders,
        )
        for index in range(read_number(config, "candidateCount", 1, _CANDIDATES_LIMIT))
    ]


def _read_tools(fields: Json) -> tuple[Tool, ...]:
    return tuple(
        Tool(
            name=str(function.get("name", "")),
            description=str(function.get("description") or ""),
            schema=function.get("parameters") or function.get("parametersJsonSchema") or {},
        )
        for entry in fields.get("tools") or ()
        if isinstance(entry, dict)
        for function in entry.get("functionDeclarations") or ()
    )


def _read_tool_choice(given: Any) -> str:
    config = given.get("functionCallingConfig") if isinstance(given, dict) else None
    config = config if isinstance(config, dict) else {}
    mode = str(config.get("mode", "AUTO")).lower()
    names = config.get("allowedFunctionNames") or ()
    return str(names[0]) if mode == "any" and names else mode


def read_contents(fields: Json, count: Count) -> tuple[list[tuple[str, int]], str]:
    """Return the prompt's parts with their tokens, and the newest text of the user.

    Raises: Refusal.
    """
    contents = fields.get("contents")
    if isinstance(contents, dict):
        contents = [contents]
    if not isinstance(contents, list) or not contents:
        raise Refusal(400, "GenerateContentRequest.contents: contents is not specified")
    parts: list[tuple[str, int]] = [("", _START_TOKENS)]
    for name in ("tools", "systemInstruction"):
        inner = fields.get(name)
        if isinstance(inner, dict):
            parts.append((json.dumps(inner), content_tokens(inner, count)))
        elif inner:
            parts.append((json.dumps(inner), count(json.dumps(inner))))
    for content in contents:
        row = content if isinstance(content, dict) else {}
        parts.append((json.dumps(row, ensure_ascii=False), content_tokens(row, count)))
    newest = contents[-1] if isinstance(contents[-1], dict) else {}
    rows = _rows(newest) if newest.get("role", "user") == "user" else []
    return parts, "".join(str(part["text"]) for part in rows if "text" in part)


def _rows(content: Json) -> list[Json]:
    parts = content.get("parts")
    parts = [parts] if isinstance(parts, dict) else parts
    return [part for part in parts or () if isinstance(part, dict)]


def content_tokens(content: Json, count: Count) -> int:
    """Return the tokens of one content: its texts, files and calls."""
    total = 0
    for part in _rows(content):
        if isinstance(part.get("text"), str):
            total += count(part["text"])
        elif "inlineData" in part or "fileData" in part:
            total += _IMAGE_TOKENS
        else:
            total += count(json.dumps(part, ensure_ascii=False))
    return total


def by_modality(tokens: int) -> list[Json]:
    """Return the details that stand beside a count of text tokens."""
    return [{"modality": "TEXT", "tokenCount": tokens}]
