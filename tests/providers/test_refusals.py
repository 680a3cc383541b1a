"""Refusals in each provider's own words, as its SDK reads them."""

import json
from collections.abc import Callable

import anthropic
import httpx
import httpx2
import openai
import pytest
from google import genai

from meter.core.ports import Answer
from meter.core.reading import Reading
from meter.providers.refusals import refusal
from meter.providers.registry import dialect_for, dialect_named

MESSAGE = "This call was refused by a spending limit: 2.00 of 2.00 USD are spent."


def test_refusals_have_the_shape_of_the_endpoint() -> None:
    dialect = dialect_named("openai")
    answer = dialect.refuse(Reading("openai", "chat"), 429, MESSAGE, "budget-1")
    assert answer.status == 429
    assert json.loads(answer.body) == {
        "error": {
            "message": MESSAGE, "type": "insufficient_quota", "param": None,
            "code": "insufficient_quota",
        }
    }  # fmt: skip
    assert answer.headers == {
        "content-type": "application/json",
        "content-length": str(len(answer.body)),
        "x-should-retry": "false",
        "x-meter-budget": "budget-1",
    }
    answer = dialect.refuse(Reading("openai", "messages"), 429, MESSAGE, None)
    assert json.loads(answer.body) == {
        "type": "error", "error": {"type": "rate_limit_error", "message": MESSAGE},
    }  # fmt: skip
    assert "x-meter-budget" not in answer.headers
    answer = dialect.refuse(Reading("openai", "generateContent"), 429, MESSAGE, "b")
    assert json.loads(answer.body) == {
        "error": {"code": 429, "message": MESSAGE, "status": "RESOURCE_EXHAUSTED"}
    }


def test_an_unknown_call_is_refused_in_the_shape_of_the_host() -> None:
    unmetered = Reading("anthropic", "unmetered")
    answer = dialect_for("api.anthropic.com").refuse(unmetered, 429, MESSAGE, "b")
    assert json.loads(answer.body)["type"] == "error"


def test_the_meters_own_trouble_is_not_a_spent_budget() -> None:
    for shape, words in (
        ("openai", "ledger_unavailable"), ("anthropic", "api_error"), ("google", "UNAVAILABLE"),
    ):  # fmt: skip
        answer = refusal(shape, 503, "The ledger is away.", None)  # type: ignore[arg-type]
        assert answer.status == 503
        assert words in answer.body.decode()


def counting(answer: Answer, seen: list[str]) -> Callable[[httpx2.Request], httpx2.Response]:
    """Return a handler that gives this answer and notes each request."""

    def handle(request: httpx2.Request) -> httpx2.Response:
        seen.append(str(request.url))
        return httpx2.Response(answer.status, headers=dict(answer.headers), content=answer.body)

    return handle


def test_the_openai_sdk_raises_its_own_error_and_does_not_retry() -> None:
    seen: list[str] = []
    answer = refusal("openai", 429, MESSAGE, "b")
    with httpx2.Client(transport=httpx2.MockTransport(counting(answer, seen))) as http:
        client = openai.OpenAI(api_key="k", base_url="http://127.0.0.1/v1", http_client=http)
        with pytest.raises(openai.RateLimitError) as raised:
            client.chat.completions.create(model="m", messages=[])
    assert raised.value.code == "insufficient_quota"
    assert MESSAGE in str(raised.value)
    assert len(seen) == 1


def test_the_anthropic_sdk_raises_its_own_error_and_does_not_retry() -> None:
    seen: list[str] = []
    answer = refusal("anthropic", 429, MESSAGE, "b")
    with httpx2.Client(transport=httpx2.MockTransport(counting(answer, seen))) as http:
        client = anthropic.Anthropic(api_key="k", base_url="http://127.0.0.1", http_client=http)
        with pytest.raises(anthropic.RateLimitError, match="spending limit"):
            client.messages.create(
                model="m", max_tokens=1, messages=[{"role": "user", "content": "x"}]
            )
    assert len(seen) == 1


def test_the_gemini_sdk_raises_its_own_error() -> None:
    seen: list[str] = []
    answer = refusal("google", 429, MESSAGE, "b")
    with httpx2.Client(transport=httpx2.MockTransport(counting(answer, seen))) as http:
        options = genai.types.HttpOptions(base_url="http://127.0.0.1", httpx_client=http)
        client = genai.Client(api_key="k", http_options=options)
        with pytest.raises(genai.errors.ClientError) as raised:
            client.models.generate_content(model="m", contents="x")
    assert raised.value.code == 429
    assert raised.value.status == "RESOURCE_EXHAUSTED"
    assert len(seen) == 1


def test_the_older_transport_reads_the_same_answer() -> None:
    answer = refusal("openai", 429, MESSAGE, "b")
    transport = httpx.MockTransport(
        lambda _: httpx.Response(answer.status, headers=dict(answer.headers), content=answer.body)
    )
    with httpx.Client(transport=transport) as http:
        client = openai.OpenAI(api_key="k", base_url="http://127.0.0.1/v1", http_client=http)
        with pytest.raises(openai.RateLimitError):
            client.chat.completions.create(model="m", messages=[])
