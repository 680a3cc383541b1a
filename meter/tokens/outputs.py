"""Count delivered output piece by piece, for calls whose provider reports no usage.

Knows choices, kinds of text and how answers are framed; knows no wire format. Fed by the
providers' observers, read by the pipeline when the call ends.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final

from meter.tokens.counting import TextCounter, byte_bound, count_text
from meter.tokens.makers import is_known
from meter.tokens.models import DEFAULT_ENCODING, ModelEncoding
from meter.tokens.prompt import compact_json
from meter.tokens.shapes import list_of, mapping_of, text_of

_MAX_CHOICES: Final = 256
_MAX_CALLS: Final = 128
_MAX_NAME_CHARS: Final = 256


@dataclass(frozen=True, slots=True)
class AnswerFormat:
    """What frames an answer, in tokens.

    `text` is added to an answer in words, `text_with_tools` when functions were offered; `call`
    to a single call, `calls` to several at once, written as one call with all of them.
    `names_format`: an answer in words names the response format, even when no functions were
    offered. `factor` scales all counts, for tokenizers that are not published; a call of such a
    model takes `each_call` more. `reasoning` is added where an answer shows that it has reasoned.
    """

    text: int = 0
    text_with_tools: int = 1
    call: int = 7
    calls: int = 10
    names_format: bool = False
    factor: float = 1.0
    each_call: int = 0
    reasoning: int = 0


# Exact for 2,669 of 2,841 recorded answers in words of gpt-3.5 to gpt-4.1, and for 357 of 391 with
# calls; most of the others count the token that ends them, see `_counts_its_end`.
_CHAT: Final = AnswerFormat()
_LEGACY: Final = AnswerFormat(call=4)
# Exact for all 34 recorded answers of gpt-5.4 that came without reasoning.
_GPT_5: Final = AnswerFormat(text=3, text_with_tools=3, call=10, calls=13, names_format=True)
# These reason when not told otherwise, which takes six tokens besides the reasoning; the others of
# these families do so when they are asked to (exact for 6 of 8 recorded answers of gpt-5.4).
_REASONING: Final = replace(_GPT_5, text=9, text_with_tools=9, call=16, calls=19)
# The Responses API counts one token more; exact for 258 of 269 recorded answers
# of gpt-4o and 4.1, and for 163 of 164 of gpt-5.4 and later that came without reasoning.
_RESPONSES: Final = AnswerFormat(text=1, text_with_tools=2, call=8, calls=11)
_RESPONSES_GPT_5: Final = replace(_GPT_5, text=4, text_with_tools=4, call=11, calls=14, reasoning=2)
# In all 11 recorded answers of gpt-5.4 and 5.5 that reasoned, two more than the reasoning. The
# reasoning of gpt-5-nano is reported in whole multiples of 64: up to 63 of it stay in the rest.
# Fitted to 728 recorded answers of Claude models; median error 4 %.
_MESSAGES: Final = AnswerFormat(
    text=3, text_with_tools=3, call=15, calls=15, factor=1.1, each_call=28
)
_PLAIN: Final = AnswerFormat(text=0, text_with_tools=0, call=0, calls=0)
# Other makers behind the chat API: a Mistral answer has two tokens more than its words, in the
# median of 307 recorded ones; a DeepSeek call five more than one of OpenAI's, of 101; functions
# that were offered to Grok or Kimi leave no trace, in 14 of 17 recorded streams of words.
_OF_OPENAI: Final = (_CHAT, _LEGACY, _GPT_5, _REASONING)
_UNTRACED: Final = AnswerFormat(text_with_tools=0)
_MISTRAL: Final = AnswerFormat(text=2, text_with_tools=2, call=0, calls=0)
_DEEPSEEK: Final = AnswerFormat(call=12, calls=15)
_MAKERS: Final = (
    ("claude", _MESSAGES), ("stral", _MISTRAL), ("deepseek", _DEEPSEEK), ("grok", _UNTRACED),
    ("kimi", _UNTRACED),
)  # fmt: skip

# From March 2025 to the middle of May OpenAI counted the token that ends a chat answer, unless a
# sequence of `stop` ended it, which the answer does not tell. With it 87 of 89 recorded answers to
# requests without `stop` are exact, and without it 38 of the 40 of the two months after. Azure
# counts it to this day: 33 of 38 are exact with it, of six models and three repositories, from
# August 2025 to August 2026, and all 13 of 2024 without.
_END_COUNTS_FROM_S: Final = 1_741_305_600
_END_COUNTS_UNTIL_S: Final = 1_747_353_600
"""2025-03-07 and 2025-05-16, 00:00 UTC."""

_NEWEST: Final = ("gpt-5", "gpt-6", "gpt-oss")
_REASONS: Final = ("gpt-5-", "gpt-5-mini", "gpt-5-nano", "o1", "o3", "o4")


class _Call:
    """One call of a function as it is delivered."""

    __slots__ = ("arguments", "name")

    def __init__(self, encoding_name: str) -> None:
        self.name = ""
        self.arguments = TextCounter(encoding_name)


class _Choice:
    """What one choice has delivered: text by kind, and calls."""

    __slots__ = ("calls", "texts")

    def __init__(self) -> None:
        self.texts: dict[str, TextCounter] = {}
        self.calls: list[_Call] = []


class OutputTally:
    """Take delivered text of all choices and count its tokens, in bounded memory.

    `encoding` counts; it, `endpoint` and `request` tell how the answer is framed, as far as they
    are known (a bare name tells nothing of the model). Up to 64,000 characters of each text
    are kept, of 256 choices and 128 calls in each; what is beyond is counted by its bytes.
    """

    __slots__ = (
        "_asks_to_reason", "_choices", "_encoding_name", "_endpoint", "_format", "_overflow",
        "_request",
    )  # fmt: skip

    def __init__(
        self,
        encoding: ModelEncoding | str = DEFAULT_ENCODING,
        endpoint: str = "chat",
        *,
        request: Mapping[str, Any] | None = None,
    ) -> None:
        """Begin with nothing delivered."""
        self._encoding_name = encoding if isinstance(encoding, str) else encoding.name
        model = "" if isinstance(encoding, str) else encoding.model
        self._endpoint = endpoint
        self._request: Mapping[str, Any] = request or {}
        self._asks_to_reason = _asks_to_reason(self._request)
        self._format = _format_for(endpoint, model, asks_to_reason=self._asks_to_reason)
        self._choices: dict[int, _Choice] = {}
        self._overflow = 0

    def text(self, choice: int, kind: str, piece: str) -> None:
        """Take a piece of text of one choice.

        `kind` is "content", "refusal", "reasoning", "tool_name" or "tool_arguments"; the last two
        belong to the call that began last in this choice.
        """
        held = self._choice(choice)
        if held is None:
            self._overflow += byte_bound(piece)
        elif kind not in ("tool_name", "tool_arguments"):
            counter = held.texts.get(kind)
            if counter is None:
                counter = held.texts[kind] = TextCounter(self._encoding_name)
            counter.feed(piece)
        else:
            if not held.calls:
                self.tool_call(choice)
            if kind == "tool_arguments":
                held.calls[-1].arguments.feed(piece)
            else:
                held.calls[-1].name = (held.calls[-1].name + piece)[:_MAX_NAME_CHARS]

    def tool_call(self, choice: int) -> None:
        """Note that one more tool call begins in this choice."""
        held = self._choice(choice)
        if held is None or len(held.calls) >= _MAX_CALLS:
            self._overflow += self._format.call
        else:
            held.calls.append(_Call(self._encoding_name))

    def tokens(
        self,
        served: ModelEncoding | None = None,
        provider: str = "",
        created_s: int | None = None,
    ) -> int:
        """Return the counted output tokens of all choices, framing included; 0 for no output.

        `served` is the model that answered, where it names itself: a deployment's or a route's
        name may hide it, and then it is what counts. `created_s` is when the answer says that it
        was made, in seconds since 1970 UTC.
        """
        name, form = self._encoding_name, self._format
        if served is not None and (not served.assumed or is_known(served.model)):
            name = served.name
            form = _format_for(self._endpoint, served.model, asks_to_reason=self._asks_to_reason)
        counts = [self._count(held, name, form) for held in self._choices.values()]
        if form in _OF_OPENAI and _counts_its_end(provider, created_s):
            counts = [count + 1 if count else 0 for count in counts]
        return self._overflow + sum(counts)

    def _choice(self, choice: int) -> _Choice | None:
        held = self._choices.get(choice)
        if held is None and len(self._choices) < _MAX_CHOICES:
            held = self._choices[choice] = _Choice()
        return held

    def _count(self, held: _Choice, encoding_name: str, form: AnswerFormat) -> int:
        texts = sum(counter.count(encoding_name) for counter in held.texts.values())
        reasoning = form.reasoning if "reasoning" in held.texts else 0
        if not held.calls:
            has_tools, answer_name = _has_tools(self._request), _answer_name(self._request)
            framing = form.text_with_tools if has_tools else form.text
            if answer_name and (has_tools or form.names_format):
                framing += 2 + count_text(answer_name, encoding_name)
            return round(form.factor * texts) + framing + reasoning if texts else 0
        is_named = form in (_CHAT, _LEGACY) and _names_function(self._request)
        if is_named and len(held.calls) == 1:
            # The function was named by the request, so only the arguments were generated.
            return texts + held.calls[0].arguments.count(encoding_name)
        calls = form.each_call * len(held.calls)
        calls += form.call if _is_plain_call(held.calls) else form.calls
        counted = texts + self._count_calls(held.calls, encoding_name)
        return round(form.factor * counted) + calls + reasoning

    def _count_calls(self, calls: list[_Call], encoding_name: str) -> int:
        if _is_plain_call(calls):
            qualified = count_text(f"functions.{calls[0].name}", encoding_name) - 1
            return qualified + calls[0].arguments.count(encoding_name)
        uses = []
        apart = 0
        for call in calls:
            arguments = call.arguments.whole_text()
            if arguments is None:
                apart += call.arguments.count(encoding_name)
                arguments = "{}"
            recipient = json.dumps(f"functions.{call.name}")
            parameters = compact_json(arguments)
            uses.append(f'{{"recipient_name":{recipient},"parameters":{parameters}}}')
        written = f'{{"tool_uses":[{",".join(uses)}]}}'
        return apart + count_text(written, encoding_name)


@lru_cache(1024)
def _format_for(endpoint: str, model: str, *, asks_to_reason: bool = False) -> AnswerFormat:
    name = model
    newest = name.startswith(_NEWEST)
    match endpoint:
        case "responses":
            return _RESPONSES_GPT_5 if newest else _RESPONSES
        case "messages":
            return _MESSAGES
        case "completions" | "generateContent" | "embeddings":
            return _PLAIN
    if name.startswith(_REASONS) or name == "gpt-5":
        return _REASONING
    if newest:
        return _REASONING if asks_to_reason else _GPT_5
    if is_known(name):
        return next((form for maker, form in _MAKERS if maker in name), _CHAT)
    return _LEGACY if name in ("gpt-4", "gpt-4-32k") or "-0613" in name else _CHAT


def _counts_its_end(provider: str, created_s: int | None) -> bool:
    """Tell whether the token that ends a chat answer was counted where and when it was made."""
    if provider == "azure":
        return created_s is None or created_s >= _END_COUNTS_FROM_S
    return created_s is not None and _END_COUNTS_FROM_S <= created_s < _END_COUNTS_UNTIL_S


def _asks_to_reason(request: Mapping[str, Any]) -> bool:
    """Tell whether a request asks for more reasoning than the least."""
    effort = text_of(
        request.get("reasoning_effort") or mapping_of(request.get("reasoning")).get("effort")
    )
    return effort not in ("", "none", "minimal")


def _is_plain_call(calls: list[_Call]) -> bool:
    """Tell a single call from calls that are written as one.

    Of those, OpenAI writes the arguments anew and with blanks; a model writes them without.
    """
    if len(calls) > 1:
        return False
    arguments = calls[0].arguments.whole_text()
    return arguments is None or not _is_rewritten(arguments)


def _is_rewritten(arguments: str) -> bool:
    try:
        written = json.dumps(json.loads(arguments), ensure_ascii=False)
    except (RecursionError, ValueError):
        return False
    return '": ' in written and written == arguments


def _answer_name(request: Mapping[str, Any]) -> str:
    chat = mapping_of(mapping_of(request.get("response_format")).get("json_schema"))
    return text_of(
        chat.get("name") or mapping_of(mapping_of(request.get("text")).get("format")).get("name")
    )


def _has_tools(request: Mapping[str, Any]) -> bool:
    return bool(list_of(request.get("tools")) or list_of(request.get("functions")))


def _names_function(request: Mapping[str, Any]) -> bool:
    choice = mapping_of(request.get("tool_choice") or request.get("function_call"))
    return bool(text_of(mapping_of(choice.get("function")).get("name") or choice.get("name")))
