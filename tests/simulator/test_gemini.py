import json
from collections.abc import Iterator
from typing import Any

import pytest
from google import genai
from google.genai import errors, types

from meter.simulator import Simulator
from tests.simulator.asking import ask

KEY = {"x-goog-api-key": "k"}
HELLO = {"contents": [{"role": "user", "parts": [{"text": "Say hello"}]}]}
PATH = "/v1beta/models/gemini-2.0-flash@output-60"


@pytest.fixture
def gemini(simulator: Simulator) -> Iterator[genai.Client]:
    with genai.Client(api_key="k", http_options={"base_url": simulator.url}) as client:
        yield client


def test_thoughts_are_outside_the_candidates_and_inside_the_total(
    gemini: genai.Client, simulator: Simulator
) -> None:
    answer = gemini.models.generate_content(
        model="gemini-2.5-flash@output-20", contents="Say hello"
    )
    usage = answer.usage_metadata
    # 1 for the start + "Say", " hello"
    assert usage.prompt_token_count == 3
    assert usage.candidates_token_count == 20
    assert usage.thoughts_token_count > 0
    assert usage.total_token_count == 23 + usage.thoughts_token_count
    quantities = simulator.books()["quantities"]
    assert quantities["output_tokens"] == 20 + usage.thoughts_token_count
    assert quantities["reasoning_tokens"] == usage.thoughts_token_count


def test_stream_carries_running_totals_and_ends_like_the_whole(gemini: genai.Client) -> None:
    asked: Any = {"model": "gemini-2.5-flash@output-60", "contents": "Say hello"}
    whole = gemini.models.generate_content(**asked)
    chunks = list(gemini.models.generate_content_stream(**asked))
    counts = [chunk.usage_metadata.candidates_token_count for chunk in chunks]
    assert counts == sorted(counts)
    assert counts[-1] == 60
    assert chunks[-1].usage_metadata == whole.usage_metadata
    assert "".join(chunk.text or "" for chunk in chunks) == whole.text
    assert len(chunks) > 2


def test_shown_thoughts_come_first_and_without_candidates(gemini: genai.Client) -> None:
    thinking = types.ThinkingConfig(include_thoughts=True)
    chunks = list(
        gemini.models.generate_content_stream(
            model="gemini-2.5-flash@output-20",
            contents="Say hello",
            config=types.GenerateContentConfig(thinking_config=thinking),
        )
    )
    assert chunks[0].candidates[0].content.parts[0].thought
    assert chunks[0].usage_metadata.candidates_token_count is None
    assert chunks[-1].usage_metadata.candidates_token_count == 20


def test_thinking_can_be_switched_off(gemini: genai.Client) -> None:
    config = types.GenerateContentConfig(
        thinking_config=types.ThinkingConfig(thinking_budget=0), max_output_tokens=7
    )
    answer = gemini.models.generate_content(
        model="gemini-2.5-flash", contents="Say hello", config=config
    )
    assert answer.usage_metadata.thoughts_token_count is None
    assert answer.usage_metadata.candidates_token_count == 7
    assert answer.candidates[0].finish_reason == types.FinishReason.MAX_TOKENS


def test_function_is_called(gemini: genai.Client) -> None:
    def get_weather(city: str) -> str:
        """Get the weather."""
        return city

    config = types.GenerateContentConfig(
        tools=[get_weather],
        automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
    )
    asked: Any = {"model": "gemini-2.0-flash", "contents": "weather?", "config": config}
    whole = gemini.models.generate_content(**asked)
    (call,) = whole.function_calls
    assert (call.name, list(call.args)) == ("get_weather", ["city"])
    *_, last = gemini.models.generate_content_stream(**asked)
    assert last.usage_metadata == whole.usage_metadata


def test_candidates_are_billed_together(gemini: genai.Client) -> None:
    answer = gemini.models.generate_content(
        model="gemini-2.0-flash@output-20",
        contents="Say hello",
        config=types.GenerateContentConfig(candidate_count=2),
    )
    assert len(answer.candidates) == 2
    assert answer.usage_metadata.candidates_token_count == 40


def test_long_prompt_is_cached_inside_the_prompt(gemini: genai.Client) -> None:
    usages = [
        gemini.models.generate_content(
            model="gemini-2.0-flash", contents="word " * 2000
        ).usage_metadata
        for _ in range(2)
    ]
    assert [usage.prompt_token_count for usage in usages] == [2002, 2002]
    assert [usage.cached_content_token_count for usage in usages] == [None, 1920]


def test_stream_without_sse_is_one_array() -> None:
    sse = ask(None, f"{PATH}:streamGenerateContent?alt=sse", HELLO, headers=KEY)
    assert b"\r\n\r\n" in sse.body
    array = ask(None, f"{PATH}:streamGenerateContent", HELLO, headers=KEY)
    assert array.headers["content-type"].startswith("application/json")
    chunks = array.json()
    assert len(chunks) == len(sse.payloads())
    assert chunks[-1]["usageMetadata"]["candidatesTokenCount"] == 60


def test_tokens_are_counted_and_contents_embedded(gemini: genai.Client) -> None:
    counted = gemini.models.count_tokens(model="gemini-2.0-flash", contents="Say hello")
    assert counted.total_tokens == 3
    texts: Any = ["Say hello", "Hi"]
    embedded = gemini.models.embed_content(model="gemini-embedding-001", contents=texts)
    assert [len(row.values) for row in embedded.embeddings] == [768, 768]
    one = ask(
        None,
        "/v1beta/models/e:embedContent",
        {"content": {"parts": [{"text": "Hi"}]}, "outputDimensionality": 4},
        headers=KEY,
    )
    assert len(one.json()["embedding"]["values"]) == 4


@pytest.mark.parametrize(
    ("model", "code", "status"),
    [
        ("gemini@status-429", 429, "RESOURCE_EXHAUSTED"),
        ("gemini@status-500", 500, "INTERNAL"),
        ("gemini@status-503", 503, "UNAVAILABLE"),
        ("not-found", 404, "NOT_FOUND"),
    ],
)
def test_errors_have_its_own_shape(
    gemini: genai.Client, model: str, code: int, status: str
) -> None:
    with pytest.raises(errors.APIError) as raised:
        gemini.models.generate_content(model=model, contents="Say hello")
    assert (raised.value.code, raised.value.status) == (code, status)


def test_wrong_key_is_a_wrong_argument_and_no_key_is_forbidden() -> None:
    wrong = ask(None, f"{PATH}:generateContent?key=bad", HELLO, headers={})
    assert wrong.status == 400
    assert wrong.json()["error"]["details"][0]["reason"] == "API_KEY_INVALID"
    assert ask(None, f"{PATH}:generateContent", HELLO, headers={}).status == 403


def test_snake_case_is_understood_but_the_callers_names_are_kept() -> None:
    body = {
        **HELLO,
        "generation_config": {"max_output_tokens": 500},
        "tool_config": {"function_calling_config": {"mode": "ANY"}},
        "tools": [
            {
                "function_declarations": [
                    {"name": "f", "parameters": {"properties": {"order_id": {"type": "STRING"}}}}
                ]
            }
        ],
    }
    reply = ask(None, f"{PATH}:generateContent", body, headers=KEY).json()
    (part,) = reply["candidates"][0]["content"]["parts"]
    assert list(part["functionCall"]["args"]) == ["order_id"]
    assert json.dumps(reply).count("MAX_TOKENS") == 0


# Where aiohttp is installed the package's async half runs on it, and aiohttp dislikes how.
@pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession:DeprecationWarning")
@pytest.mark.anyio
async def test_async_client_sees_the_same(simulator: Simulator) -> None:
    client = genai.Client(api_key="k", http_options={"base_url": simulator.url})
    async with client.aio as gemini:
        answer = await gemini.models.generate_content(
            model="gemini-2.0-flash@output-20", contents="Say hello"
        )
    client.close()
    assert answer.usage_metadata.candidates_token_count == 20
