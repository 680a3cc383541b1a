"""Mistral's OCR and conversations."""

import pytest

from meter.core.usage import Usage
from tests.providers.answers import SSE, event
from tests.providers.native_answers import SIZES, answer, ask, body, cut

HOST = "api.mistral.ai"
REPORT = {"prompt_tokens": 188, "completion_tokens": 55, "total_tokens": 7355,
          "connector_tokens": 7112,
          "connectors": {"web_search": 2, "code_interpreter": 1}}  # fmt: skip
# 188 + 7112 in.
USAGE = Usage(
    input_tokens=7300, tool_use_input_tokens=7112, output_tokens=55, searches=2, tool_calls=3
)
STREAM = [
    event({"type": "conversation.response.started", "conversation_id": "c1"}),
    event({"type": "message.output.delta", "content": "He"}),
    event({"type": "message.output.delta", "content": {"type": "text", "text": "llo"}}),
    event({"type": "function.call.delta", "tool_call_id": "t", "name": "sum", "arguments": "{"}),
    event({"type": "function.call.delta", "tool_call_id": "t", "name": "sum", "arguments": "}"}),
    event({"type": "conversation.response.done", "usage": REPORT}),
]


def test_ocr_is_billed_by_the_page() -> None:
    reading = ask(HOST, "/v1/ocr", model="mistral-ocr-latest", document={})
    assert (reading.endpoint, reading.model) == ("ocr", "mistral-ocr-latest")
    payload = {"pages": [], "model": "mistral-ocr-2503",
               "usage_info": {"pages_processed": 29, "doc_size_bytes": 3}}  # fmt: skip
    seen, _ = answer(HOST, reading, body(payload))
    assert (seen.usage, seen.model_served) == (Usage(pages=29), "mistral-ocr-2503")


@pytest.mark.parametrize(
    "path", ["/v1/conversations", "/v1/conversations/c1", "/v1/conversations/c1/restart"]
)
def test_what_connectors_read_is_input(path: str) -> None:
    reading = ask(HOST, path, model="mistral-medium", completion_args={"max_tokens": 9})
    assert (reading.endpoint, reading.free, reading.max_output_tokens) == (
        "conversations",
        False,
        9,
    )
    payload = {"conversation_id": "c1", "outputs": [], "usage": REPORT}
    seen, _ = answer(HOST, reading, body(payload))
    assert (seen.usage, seen.response_id, seen.finished) == (USAGE, "c1", True)


@pytest.mark.parametrize("size", SIZES)
def test_a_streamed_conversation_reports_at_its_end(size: int) -> None:
    reading = ask(HOST, "/v1/conversations", model="mistral-medium", stream=True)
    seen, _ = answer(HOST, reading, cut(STREAM, size), SSE)
    assert (seen.usage, seen.finished, seen.response_id) == (USAGE, True, "c1")


def test_a_broken_conversation_is_handed_out_to_be_counted() -> None:
    reading = ask(HOST, "/v1/conversations", model="mistral-medium", stream=True)
    seen, sink = answer(HOST, reading, STREAM[:-1], SSE, finish=False)
    assert (seen.usage, sink.joined("content"), sink.tool_calls) == (None, "Hello", [0])
    assert (sink.joined("tool_name"), sink.joined("tool_arguments")) == ("sum", "{}")


def test_elsewhere_a_conversation_is_a_record() -> None:
    assert ask("api.openai.com", "/v1/conversations", items=[]).free


def test_an_agents_completions_are_chat() -> None:
    reading = ask(HOST, "/v1/agents/completions", agent_id="a", messages=[], max_tokens=5)
    assert (reading.endpoint, reading.max_output_tokens) == ("chat", 5)
