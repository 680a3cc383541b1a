"""The real SDK clients, pointed at a simulator, and what each of them is asked.

Each `Surface` names a client and how to make it; each question is a function of that client. The
answers of any two clients are compared by `plain`: every field of every object.
"""

import inspect
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass
from typing import Any

import anthropic
import cohere
import groq
import httpx
import httpx2
import openai
from google import genai
from google.genai import types
from mistralai.client import Mistral

HELLO: Any = [{"role": "user", "content": "Describe the sea in one line."}]
KEY = "sk-alice"
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}

Question = Callable[[Any], Any]

OPENAI: dict[str, Question] = {
    "chat": lambda c: c.chat.completions.create(model="gpt-4o-mini", messages=HELLO),
    "chat tools": lambda c: c.chat.completions.create(
        model="gpt-4o", messages=HELLO, tools=[WEATHER], tool_choice="required"
    ),
    "chat stream": lambda c: c.chat.completions.create(
        model="gpt-4o-mini", messages=HELLO, stream=True, n=2
    ),
    "chat stream with usage": lambda c: c.chat.completions.create(
        model="gpt-4o-mini", messages=HELLO, stream=True, stream_options={"include_usage": True}
    ),
    "chat stream helper": lambda c: c.chat.completions.stream(model="gpt-4o-mini", messages=HELLO),
    "chat gzip": lambda c: c.chat.completions.create(
        model="gpt-4o-mini", messages=HELLO, extra_headers={"x-sim-fault": "gzip"}
    ),
    "chat gzip stream": lambda c: c.chat.completions.create(
        model="gpt-4o-mini", messages=HELLO, stream=True, extra_headers={"x-sim-fault": "gzip"}
    ),
    "completions": lambda c: c.completions.create(
        model="gpt-3.5-turbo-instruct", prompt=["Say this", "Say that"], echo=True, n=2
    ),
    "completions stream": lambda c: c.completions.create(
        model="gpt-3.5-turbo-instruct", prompt="Say this", stream=True
    ),
    "responses": lambda c: c.responses.create(model="gpt-5-mini", input="Describe the sea"),
    "responses stream": lambda c: c.responses.create(
        model="gpt-5-mini", input="Describe the sea", stream=True
    ),
    "embeddings": lambda c: c.embeddings.create(model="text-embedding-3-small", input=["a", "b"]),
    "moderations": lambda c: c.moderations.create(input="hello"),
    "models": lambda c: c.models.list(),
    "upload": lambda c: c.audio.transcriptions.create(
        model="whisper-1", file=("a.wav", b"RIFF" * 999)
    ),
    "speech": lambda c: c.audio.speech.create(model="tts-1", voice="alloy", input="hello"),
}

AZURE: dict[str, Question] = {
    "chat": lambda c: c.chat.completions.create(model="gpt-4o-mini", messages=HELLO),
    "chat stream": lambda c: c.chat.completions.create(
        model="deployed", messages=HELLO, stream=True
    ),
    "embeddings": lambda c: c.embeddings.create(model="text-embedding-3-small", input="a"),
}

ANTHROPIC: dict[str, Question] = {
    "messages": lambda c: c.messages.create(
        model="claude-haiku-4-5", max_tokens=64, messages=HELLO, system="Be brief."
    ),
    "messages stream": lambda c: c.messages.create(
        model="claude-haiku-4-5", max_tokens=64, messages=HELLO, stream=True
    ),
    "messages stream helper": lambda c: c.messages.stream(
        model="claude-haiku-4-5", max_tokens=64, messages=HELLO
    ),
    "count tokens": lambda c: c.messages.count_tokens(model="claude-haiku-4-5", messages=HELLO),
}

CHAT: dict[str, Question] = {
    "chat": lambda c: c.chat.completions.create(model="llama-3.3-70b", messages=HELLO),
    "chat stream": lambda c: c.chat.completions.create(
        model="llama-3.3-70b", messages=HELLO, stream=True
    ),
}

COHERE: dict[str, Question] = {
    "chat": lambda c: c.chat(model="command-a-03-2025", messages=HELLO),
    "chat stream": lambda c: c.chat_stream(model="command-a-03-2025", messages=HELLO),
}

GOOGLE: dict[str, Question] = {
    "generate": lambda c: c.models.generate_content(model="gemini-2.5-flash", contents="The sea"),
    "generate stream": lambda c: c.models.generate_content_stream(
        model="gemini-2.5-flash", contents="The sea"
    ),
    "embed": lambda c: c.models.embed_content(model="gemini-embedding-001", contents=["a", "b"]),
    "count": lambda c: c.models.count_tokens(model="gemini-2.5-flash", contents="The sea"),
}

MISTRAL: dict[str, Question] = {
    "chat": lambda c: c.chat.complete(model="mistral-small-latest", messages=HELLO),
    "chat stream": lambda c: c.chat.stream(model="mistral-small-latest", messages=HELLO),
    "embeddings": lambda c: c.embeddings.create(model="mistral-embed", inputs=["a", "b"]),
}

MISTRAL_ASYNC: dict[str, Question] = {
    "chat": lambda c: c.chat.complete_async(model="mistral-small-latest", messages=HELLO),
    "chat stream": lambda c: c.chat.stream_async(model="mistral-small-latest", messages=HELLO),
    "embeddings": lambda c: c.embeddings.create_async(model="mistral-embed", inputs=["a", "b"]),
}


@dataclass(frozen=True, slots=True)
class Surface:
    """One client class on one HTTP library, made for a simulator's address.

    `dialect` is how the meter reads the simulator's host; `ask` picks the part of the client that
    questions are put to; `http` returns the HTTP clients inside, to be closed.
    """

    make: Callable[[str], Any]
    dialect: str
    questions: dict[str, Question]
    http: Callable[[Any], list[Any]]
    ask: Callable[[Any], Any] = lambda client: client


def _stainless(client: Any) -> list[Any]:
    return [client._client]


def _cohere(client: Any) -> list[Any]:
    return [client._client_wrapper.httpx_client.httpx_client]


def _google(client: Any) -> list[Any]:
    return [client._api_client._httpx_client, client._api_client._async_httpx_client]


def _mistral(client: Any) -> list[Any]:
    return [client.sdk_configuration.client, client.sdk_configuration.async_client]


def _genai(url: str) -> Any:
    return genai.Client(api_key=KEY, http_options=types.HttpOptions(base_url=url))


SYNC: dict[str, Surface] = {
    "openai": Surface(
        lambda url: openai.OpenAI(base_url=f"{url}/v1", api_key=KEY), "openai", OPENAI, _stainless
    ),
    "openai on httpx": Surface(
        lambda url: openai.OpenAI(
            base_url=f"{url}/v1",
            api_key=KEY,
            http_client=httpx.Client(timeout=30),  # type: ignore[arg-type]
        ),
        "openai",
        OPENAI,
        _stainless,
    ),
    "openai on a given httpx2": Surface(
        lambda url: openai.OpenAI(
            base_url=f"{url}/v1", api_key=KEY, http_client=httpx2.Client(headers={"x-own": "1"})
        ),
        "openai",
        OPENAI,
        _stainless,
    ),
    "azure": Surface(
        lambda url: openai.AzureOpenAI(azure_endpoint=url, api_key=KEY, api_version="2024-10-21"),
        "azure",
        AZURE,
        _stainless,
    ),
    "anthropic": Surface(
        lambda url: anthropic.Anthropic(base_url=url, api_key=KEY),
        "anthropic",
        ANTHROPIC,
        _stainless,
    ),
    "groq": Surface(
        lambda url: groq.Groq(base_url=f"{url}/groq", api_key=KEY), "groq", CHAT, _stainless
    ),
    "cohere": Surface(
        lambda url: cohere.ClientV2(base_url=f"{url}/cohere", api_key=KEY),
        "cohere",
        COHERE,
        _cohere,
    ),
    "google": Surface(_genai, "google", GOOGLE, _google),
    "mistral": Surface(
        lambda url: Mistral(server_url=f"{url}/mistral", api_key=KEY),
        "mistral",
        MISTRAL,
        _mistral,
    ),
}

ASYNC: dict[str, Surface] = {
    "openai on aiohttp": Surface(
        lambda url: openai.AsyncOpenAI(
            base_url=f"{url}/v1", api_key=KEY, http_client=openai.DefaultAioHttpClient()
        ),
        "openai",
        OPENAI,
        _stainless,
    ),
    "openai": Surface(
        lambda url: openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=KEY),
        "openai",
        OPENAI,
        _stainless,
    ),
    "openai on httpx": Surface(
        lambda url: openai.AsyncOpenAI(
            base_url=f"{url}/v1",
            api_key=KEY,
            http_client=httpx.AsyncClient(timeout=30),  # type: ignore[arg-type]
        ),
        "openai",
        OPENAI,
        _stainless,
    ),
    "azure": Surface(
        lambda url: openai.AsyncAzureOpenAI(
            azure_endpoint=url, api_key=KEY, api_version="2024-10-21"
        ),
        "azure",
        AZURE,
        _stainless,
    ),
    "anthropic": Surface(
        lambda url: anthropic.AsyncAnthropic(base_url=url, api_key=KEY),
        "anthropic",
        ANTHROPIC,
        _stainless,
    ),
    "groq": Surface(
        lambda url: groq.AsyncGroq(base_url=f"{url}/groq", api_key=KEY), "groq", CHAT, _stainless
    ),
    "cohere": Surface(
        lambda url: cohere.AsyncClientV2(base_url=f"{url}/cohere", api_key=KEY),
        "cohere",
        COHERE,
        _cohere,
    ),
    "google": Surface(_genai, "google", GOOGLE, _google, ask=lambda client: client.aio),
    "mistral": Surface(
        lambda url: Mistral(server_url=f"{url}/mistral", api_key=KEY),
        "mistral",
        MISTRAL_ASYNC,
        _mistral,
    ),
}


def answered(client: Any, question: Question) -> Any:
    """Return the answer of a sync client: an object, or the list of a stream's events."""
    answer = question(client)
    if isinstance(answer, AbstractContextManager) and not hasattr(answer, "model_dump"):
        with answer as entered:
            return _listed(entered)
    return _listed(answer)


def _listed(answer: Any) -> Any:
    return list(answer) if isinstance(answer, Iterator) else answer


async def answered_async(client: Any, question: Question) -> Any:
    """Return the answer of an async client."""
    answer = question(client)
    if isinstance(answer, Awaitable) and not isinstance(answer, AbstractAsyncContextManager):
        answer = await answer
    if isinstance(answer, AbstractAsyncContextManager) and not hasattr(answer, "model_dump"):
        async with answer as entered:
            return [event async for event in entered]
    if isinstance(answer, AsyncIterator) or inspect.isasyncgen(answer):
        return [event async for event in answer]
    return answer


async def closed(client: Any, surface: Surface) -> None:
    """Close every HTTP client inside."""
    for http in surface.http(client):
        if hasattr(http, "aclose"):
            await http.aclose()
        else:
            http.close()


IDENTITIES = frozenset({"id", "response_id", "item_id", "x-request-id", "request-id"})
VARYING = frozenset({"created", "created_at", "completed_at", "create_time", "date", "obfuscation"})
"""Moments, and padding that is random on purpose."""


def plain(answer: Any) -> Any:
    """Return an answer as plain values, with what differs from call to call named by its order.

    An id becomes the number of its first sight, so that equal ids stay equal.
    """
    seen: dict[str, str] = {}

    def walk(value: Any, name: str = "") -> Any:
        if hasattr(value, "model_dump"):
            value = {"class": type(value).__qualname__, **value.model_dump(warnings=False)}
        if name == "headers" and isinstance(value, dict):
            # aiohttp keeps the case in which a server wrote them, httpx does not.
            value = {key.lower(): inner for key, inner in value.items()}
        if isinstance(value, dict):
            return {key: walk(inner, str(key)) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [walk(inner) for inner in value]
        if name in IDENTITIES and isinstance(value, str):
            return seen.setdefault(value, f"{name} {len(seen)}")
        if name in VARYING and value is not None:
            return type(value).__name__
        if hasattr(value, "read") and hasattr(value, "response"):
            return ("bytes", value.read())
        return value

    walked = walk(answer)
    json.dumps(walked, default=repr)
    return walked
