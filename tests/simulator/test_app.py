"""Keys, routes, limits, records, and what the simulator says about itself."""

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai import AuthenticationError, NotFoundError, OpenAI

from meter.simulator import Simulator, SimulatorSettings, simulator_app
from tests.simulator.asking import HELLO, KEY, ask

CHAT = "/v1/chat/completions"
BODY = {"model": "gpt-4o", "messages": HELLO}


def test_missing_and_wrong_keys_are_refused(client: OpenAI) -> None:
    assert ask(None, CHAT, BODY, headers={}).status == 401
    with pytest.raises(AuthenticationError) as refused:
        client.with_options(api_key="bad-key").models.list()
    assert refused.value.code == "invalid_api_key"


def test_keys_can_be_named() -> None:
    app = simulator_app(SimulatorSettings(keys=frozenset({"sk-alice"})))
    assert ask(app, CHAT, BODY).status == 200
    assert ask(app, CHAT, BODY, headers={"authorization": "Bearer sk-bob"}).status == 401


def test_unknown_models_and_paths_are_not_found(client: OpenAI) -> None:
    with pytest.raises(NotFoundError) as refused:
        client.chat.completions.create(model="not-found", messages=HELLO)
    assert refused.value.code == "model_not_found"
    app = simulator_app(SimulatorSettings(models=frozenset({"gpt-4o"})))
    assert ask(app, CHAT, {**BODY, "model": "gpt-4"}).status == 404
    assert ask(app, "/v1/nothing", BODY).json()["error"]["type"] == "invalid_request_error"
    assert ask(app, "/mistral/v1/nothing", BODY).json()["object"] == "error"
    assert ask(app, CHAT, None, method="GET").status == 404


def test_too_large_bodies_are_refused_by_length_and_by_reading() -> None:
    app = simulator_app(SimulatorSettings(body_limit_bytes=1000))
    big = {**BODY, "messages": [{"role": "user", "content": "x" * 1000}]}
    assert ask(app, CHAT, big).status == 413
    announced = ask(app, CHAT, BODY, headers={**KEY, "content-length": "1001"})
    assert announced.status == 413
    assert ask(app, CHAT, BODY).status == 200


def test_requests_are_recorded_and_bounded() -> None:
    app = simulator_app(SimulatorSettings(request_records=2, request_record_bytes=10))
    for path in ("/v1/a?x=1", "/v1/b?x=2", "/v1/c?x=3"):
        ask(app, path, BODY)
    assert [(one.path, one.query) for one in app.requests] == [
        ("/v1/b", {"x": "2"}),
        ("/v1/c", {"x": "3"}),
    ]
    assert app.requests[0].headers == KEY
    assert app.requests[0].body == b'{"model": '


def test_books_are_served_and_reset_without_a_key() -> None:
    app = simulator_app()
    ask(app, CHAT, {**BODY, "model": "gpt-4o@output-20", "user": "bob"})
    books = ask(app, "/sim/books", method="GET", headers={}).json()
    row = books["models"]["gpt-4o-2024-08-06"]["chat"]
    assert row["quantities"]["output_tokens"] == 20
    (exchange,) = books["exchanges"]
    assert (exchange["user"], exchange["key_prefix"]) == ("bob", "sk-alice")
    assert (exchange["model_requested"], exchange["status"]) == ("gpt-4o", 200)
    assert ask(app, "/sim/reset", headers={}).status == 200
    assert ask(app, "/sim/books", method="GET", headers={}).json()["requests"] == 0
    assert ask(app, "/healthz", method="GET", headers={}).json() == {"status": "ok"}
    assert ask(app, "/sim/nothing", headers={}).status == 404


def test_same_seed_draws_the_same_faults_again_after_a_reset() -> None:
    app = simulator_app(SimulatorSettings(error_rate=0.5, seed=3))
    first = [ask(app, CHAT, BODY).status for _ in range(12)]
    app.reset()
    assert [ask(app, CHAT, BODY).status for _ in range(12)] == first
    assert len(set(first)) > 1


def test_books_equal_what_a_mixed_crowd_of_clients_saw(
    client: OpenAI, simulator: Simulator
) -> None:
    seen = [0, 0]
    for number in range(20):
        model = ("gpt-4o", "gpt-5", "gpt-3.5-turbo")[number % 3]
        messages: Any = [{"role": "user", "content": f"Question {number} about tea"}]
        if number % 2:
            stream = client.chat.completions.create(
                model=model, messages=messages, stream=True, stream_options={"include_usage": True}
            )
            usage = list(stream)[-1].usage
        else:
            usage = client.chat.completions.create(model=model, messages=messages).usage
        seen[0] += usage.prompt_tokens
        seen[1] += usage.completion_tokens
    quantities = simulator.books()["quantities"]
    assert [quantities["input_tokens"], quantities["output_tokens"]] == seen


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["role", "content", "type", "text", "name", "function", "parameters", "parts"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)
FIELDS = [
    *("messages", "input", "prompt", "contents", "tools", "tool_choice", "stream", "n"),
    *("max_tokens", "response_format", "stream_options", "system", "thinking", "metadata"),
    *("generationConfig", "toolConfig", "text", "reasoning", "dimensions", "content", "requests"),
]


@settings(max_examples=300)
@given(
    path=st.sampled_from(
        [
            *(CHAT, "/v1/completions", "/v1/responses", "/v1/embeddings", "/v1/messages"),
            *("/v1/images/generations", "/v1/audio/speech", "/cohere/v2/chat"),
            *("/mistral/v1/chat/completions", "/v1beta/models/g:generateContent"),
            *("/v1beta/models/g:streamGenerateContent", "/v1beta/models/g:batchEmbedContents"),
        ]
    ),
    fields=st.dictionaries(st.sampled_from(FIELDS), JSON_VALUES, max_size=5),
)
def test_no_request_makes_the_simulator_fail(path: str, fields: dict[str, Any]) -> None:
    body = {"max_tokens": 5, "messages": HELLO, "model": "gpt-4o@output-3", **fields}
    headers = {**KEY, "x-api-key": "k", "x-goog-api-key": "k"}
    assert ask(None, path, body, headers=headers).status in (200, 400, 422)


def test_body_that_is_no_json_is_refused() -> None:
    assert ask(None, CHAT, b"\xff{").status == 400
    assert ask(None, CHAT, b"[1, 2]").status == 400


def test_lifespan_and_websocket_are_answered() -> None:
    async def talk(scope: dict[str, Any], incoming: list[dict[str, Any]]) -> list[str]:
        sent: list[str] = []

        async def receive() -> dict[str, Any]:
            return incoming.pop(0)

        async def send(message: dict[str, Any]) -> None:
            sent.append(message["type"])

        await simulator_app()(scope, receive, send)
        return sent

    events = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    assert asyncio.run(talk({"type": "lifespan"}, events)) == [
        "lifespan.startup.complete",
        "lifespan.shutdown.complete",
    ]
    connect = [{"type": "websocket.connect"}]
    assert asyncio.run(talk({"type": "websocket"}, connect)) == ["websocket.close"]
