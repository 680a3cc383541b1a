"""Approximate the prompt of a chat request to a model of another maker than OpenAI.

Knows how a prompt is put together; `makers` knows what its parts cost. Called by `chat`.
"""

from dataclasses import replace

from meter.tokens.anthropic import THINKING_TOKENS, tool_prompt
from meter.tokens.makers import CLAUDE, maker_of
from meter.tokens.prompt import Prompt
from meter.tokens.shapes import json_text


def count_other(prompt: Prompt, model: str) -> int:
    """Return the tokens of a prompt for a model of another maker; an approximation."""
    maker = maker_of(model)
    has_calls = any(message.calls for message in prompt.messages)
    if maker is CLAUDE:
        forced = prompt.must_call or prompt.choice not in ("", "none")
        told = tool_prompt(model, forced=forced, one_by_one=prompt.one_by_one)
        thinking = THINKING_TOKENS if prompt.thinks else 0
        maker = replace(maker, tools=told, request=maker.request + thinking)
    total = maker.request + prompt.hidden_tokens
    for message in prompt.messages:
        total += maker.message + message.media_tokens
        total += sum(map(maker.words, (*message.texts, *message.results)))
        # The results of several calls at once are no messages here, but were ones.
        total += (maker.result + maker.message) * len(message.results)
        total += maker.result if message.role in ("tool", "function") else 0
        total += sum(maker.called(call.name, call.arguments) for call in message.calls)
    if prompt.functions or (has_calls and maker.tools > 0):
        total += maker.tools
    total += sum(maker.declared(json_text(function)) for function in prompt.functions)
    if prompt.answer is not None:
        total += maker.answered(json_text(prompt.answer.schema))
    return max(0, round(total))
