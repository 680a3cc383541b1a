"""Estimate the input tokens of a chat completion request.

Knows the request's shape; `prompt` counts it for OpenAI's models and `others` approximates it for
those of other makers. Called by `estimates`.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from meter.tokens.bounds import bound_request
from meter.tokens.content import Reader, content_text
from meter.tokens.formats import format_for, is_openai, media_bounds_for
from meter.tokens.models import encoding_for
from meter.tokens.notes import notes_on
from meter.tokens.others import count_other
from meter.tokens.prompt import (
    FunctionCall,
    Message,
    Prompt,
    count_prompt,
    is_exact,
    response_format_of,
)
from meter.tokens.records import InputEstimate
from meter.tokens.shapes import is_mapping, list_of, mapping_of, text_of


def estimate(request: Mapping[str, Any], model: str) -> InputEstimate:
    """Return the input tokens of a chat request."""
    known = encoding_for(model)
    reader = Reader(model, known.name, pages_shown=True)
    prompt = Prompt(
        messages=tuple(_messages(list_of(request.get("messages")), reader)),
        functions=tuple(_functions(request)),
        answer=response_format_of(mapping_of(request.get("response_format")).get("json_schema")),
        choice=_choice(request.get("tool_choice") or request.get("function_call")),
        must_call=request.get("tool_choice") in ("required", "any"),
        one_by_one=request.get("parallel_tool_calls") is False,
        thinks=is_mapping(request.get("reasoning"))
        or mapping_of(request.get("thinking")).get("type") == "enabled",
    )
    if is_openai(model):
        tokens = count_prompt(prompt, format_for(model), known.name)
    else:
        tokens = count_other(prompt, model)
    notes = notes_on(request, known)
    return InputEstimate(
        tokens,
        max(tokens, bound_request(request, media_bounds_for(model))),
        known.name,
        exact=is_exact(prompt, model) and not notes,
        notes=notes,
    )


def _messages(messages: Sequence[object], reader: Reader) -> Iterator[Message]:
    """Yield each message; the results of several calls at once go with the calls."""
    at = 0
    while at < len(messages):
        message = mapping_of(messages[at])
        at += 1
        calls = tuple(_calls(message))
        results: list[str] = []
        while len(calls) > 1 and at < len(messages) and _role(messages[at]) == "tool":
            results.append(content_text(mapping_of(messages[at]).get("content")))
            at += 1
        role = text_of(message.get("role"))
        is_result = role in ("tool", "function")
        texts, media_tokens = reader.read(message.get("content"), is_result=is_result)
        name = "" if is_result else text_of(message.get("name"))
        yield Message(role, texts, media_tokens, name, calls, tuple(results))


def _role(message: object) -> object:
    return mapping_of(message).get("role")


def _calls(message: Mapping[str, Any]) -> Iterator[FunctionCall]:
    functions = [mapping_of(call).get("function") for call in list_of(message.get("tool_calls"))]
    if is_mapping(message.get("function_call")):
        functions.append(message["function_call"])
    for value in functions:
        function = mapping_of(value)
        yield FunctionCall(text_of(function.get("name")), text_of(function.get("arguments")))


def _functions(request: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    tools = [mapping_of(tool).get("function") for tool in list_of(request.get("tools"))]
    for function in [*tools, *list_of(request.get("functions"))]:
        if isinstance(function, Mapping):
            yield function


def _choice(choice: object) -> str:
    if isinstance(choice, str):
        return "none" if choice == "none" else ""
    named = mapping_of(choice)
    return text_of(mapping_of(named.get("function")).get("name") or named.get("name"))
