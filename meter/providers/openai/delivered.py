"""Hand the output of a chat message or delta to a sink: OpenAI's shape and its relatives'.

Called by `chat.py`. Providers differ in what they call reasoning, and Mistral sends content as
parts; padding (`obfuscation`) is not output.
"""

from typing import Any

from meter.core.ports import OutputSink
from meter.providers.foreign import JSONObject, index, mapping, objects, text

MOST_TOOL_CALLS = 10_000
"""Tool calls of one answer that are told apart; those beyond are counted by the delta."""

_REASONING = ("reasoning_content", "reasoning")


class ChatOutput:
    """Read one chat answer's output. Remembers which tool calls have begun."""

    __slots__ = ("_begun", "_numbers", "_streamed")

    def __init__(self) -> None:
        # Tool calls as (choice, number, id), and without the id.
        self._begun: set[tuple[int, int, str]] = set()
        self._numbers: set[tuple[int, int]] = set()
        self._streamed = False

    def deliver(self, payload: JSONObject, sink: OutputSink) -> None:
        """Hand every piece of output in this payload to the sink."""
        for choice in objects(payload.get("choices")):
            number = index(choice.get("index"))
            # Perplexity sends both: in chunks the message so far, in a body an empty delta.
            streamed = self._message(number, mapping(choice.get("delta")), sink)
            self._streamed = self._streamed or streamed
            if not self._streamed:
                self._message(number, mapping(choice.get("message")), sink)

    def _message(self, choice: int, message: JSONObject, sink: OutputSink) -> bool:
        """Hand a message's or delta's output to the sink; return whether there was any."""
        texts = _texts(message)
        for kind, piece in texts:
            sink.text(choice, kind, piece)
        for place, call in enumerate(objects(message.get("tool_calls"))):
            number = index(call.get("index")) if "index" in call else place
            function = mapping(call.get("function")) or mapping(call.get("custom"))
            self._call(choice, (choice, number, text(call.get("id"))), function, sink)
        function = mapping(message.get("function_call"))
        if function:
            self._call(choice, (choice, -1, ""), function, sink)
        return bool(texts or function or message.get("tool_calls"))

    def _call(
        self, choice: int, call: tuple[int, int, str], function: JSONObject, sink: OutputSink
    ) -> None:
        # Deltas after the first repeat the number only, or the id as well.
        begun = call in self._begun if call[2] else call[:2] in self._numbers
        if not begun:
            if len(self._begun) < MOST_TOOL_CALLS:
                self._begun.add(call)
                self._numbers.add(call[:2])
            sink.tool_call(choice)
        for key, kind in (("name", "tool_name"), ("arguments", "tool_arguments"),
                          ("input", "tool_arguments")):  # fmt: skip
            piece = text(function.get(key))
            if piece:
                sink.text(choice, kind, piece)


def _texts(message: JSONObject) -> list[tuple[str, str]]:
    found = _parts("content", message.get("content"))
    found += _parts("refusal", message.get("refusal"))
    # Some servers send the same reasoning under both names.
    for key in _REASONING:
        reasoning = _parts("reasoning", message.get(key))
        if reasoning:
            found += reasoning
            break
    return found


def _parts(kind: str, value: Any) -> list[tuple[str, str]]:
    """Return the texts of a string, or of a list of typed parts as Mistral sends it."""
    if isinstance(value, str):
        return [(kind, value)] if value else []
    found = []
    for part in objects(value):
        if "thinking" in part:
            found += _parts("reasoning", part["thinking"])
        elif part.get("type") == "refusal":
            found += _parts("refusal", part.get("refusal"))
        elif isinstance(part.get("text"), str):
            found += _parts(kind, part["text"])
    return found
