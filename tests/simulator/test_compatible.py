"""The providers that copied OpenAI's chat with differences of their own, and Cohere."""

from collections.abc import Iterator
from typing import Any

import cohere
import httpx
import httpx2
import pytest
from anthropic import Anthropic
from cohere.errors import TooManyRequestsError
from groq import Groq
from mistralai.client import Mistral
from mistralai.client.errors import SDKError
from openai import AzureOpenAI, BadRequestError

from meter.simulator import Pacing, Simulator, SimulatorSettings
from tests.simulator.asking import HELLO, KEY, ask

WEATHER: Any = [{"role": "user", "content": "What is the weather?"}]
TOOL: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


def test_every_client_reads_over_keep_alive_comments() -> None:
    asked: Any = {"model": "m@output-9", "messages": HELLO}
    with Simulator(SimulatorSettings(pacing=Pacing(keep_alive_every=2))) as simulator:
        with Mistral(api_key="k", server_url=f"{simulator.url}/mistral") as mistral:
            assert len(list(mistral.chat.stream(**asked))) == 11
        with Groq(api_key="k", base_url=f"{simulator.url}/groq") as groq:
            assert len(list(groq.chat.completions.create(**asked, stream=True))) == 11
        with cohere.ClientV2(api_key="k", base_url=f"{simulator.url}/cohere") as client:
            assert len(list(client.chat_stream(**asked))) == 13
        with (
            Anthropic(base_url=simulator.url, api_key="k") as claude,
            claude.messages.stream(**asked, max_tokens=50) as stream,
        ):
            assert stream.get_final_message().usage.output_tokens == 9


def test_cut_streams_surface_as_lost_connections(simulator: Simulator) -> None:
    asked: Any = {"model": "m@cut-2", "messages": HELLO}
    with Anthropic(base_url=simulator.url, api_key="k", max_retries=0) as claude:
        stream = claude.messages.create(**asked, max_tokens=50, stream=True)
        with pytest.raises(httpx2.RemoteProtocolError):
            list(stream)
    with Mistral(api_key="k", server_url=f"{simulator.url}/mistral") as mistral:
        events = mistral.chat.stream(**asked)
        with pytest.raises(httpx2.RemoteProtocolError):
            list(events)
    with Groq(api_key="k", base_url=f"{simulator.url}/groq", max_retries=0) as groq:
        chunks = groq.chat.completions.create(**asked, stream=True)
        with pytest.raises(httpx.RemoteProtocolError):
            list(chunks)
    assert simulator.books()["cut"] == 3


class TestMistral:
    @pytest.fixture
    def mistral(self, simulator: Simulator) -> Iterator[Mistral]:
        with Mistral(api_key="k", server_url=f"{simulator.url}/mistral") as client:
            yield client

    def test_usage_comes_on_the_last_chunk_unasked(self, mistral: Mistral) -> None:
        asked: Any = {"model": "mistral-small@output-20", "messages": HELLO}
        whole = mistral.chat.complete(**asked)
        chunks = [event.data for event in mistral.chat.stream(**asked)]
        assert (whole.usage.prompt_tokens, whole.usage.completion_tokens) == (9, 20)
        assert chunks[-1].usage == whole.usage
        assert chunks[-1].choices[0].finish_reason == "stop"
        assert all(chunk.usage is None for chunk in chunks[:-1])

    def test_stream_options_are_forbidden(self) -> None:
        body = {"model": "m", "messages": HELLO, "stream": True}
        body["stream_options"] = {"include_usage": True}
        reply = ask(None, "/mistral/v1/chat/completions", body)
        assert reply.status == 422
        (problem,) = reply.json()["message"]["detail"]
        assert (problem["type"], problem["loc"]) == ("extra_forbidden", ["body", "stream_options"])

    def test_tools_embeddings_and_errors_parse(self, mistral: Mistral) -> None:
        answer = mistral.chat.complete(model="m", messages=WEATHER, tools=[TOOL])
        assert answer.choices[0].message.tool_calls[0].function.name == "get_weather"
        embedded = mistral.embeddings.create(model="mistral-embed", inputs=["Say hello"])
        assert embedded.usage.prompt_tokens == 2
        assert len(embedded.data[0].embedding) == 1024
        with pytest.raises(SDKError, match="Status 429"):
            mistral.chat.complete(model="m@status-429", messages=HELLO)


class TestGroq:
    @pytest.fixture
    def groq(self, simulator: Simulator) -> Iterator[Groq]:
        with Groq(api_key="k", base_url=f"{simulator.url}/groq", max_retries=0) as client:
            yield client

    def test_usage_comes_inside_x_groq_unasked(self, groq: Groq) -> None:
        asked: Any = {"model": "llama@output-20", "messages": HELLO}
        whole = groq.chat.completions.create(**asked)
        first, *_, last = groq.chat.completions.create(**asked, stream=True)
        assert whole.usage.completion_tokens == 20
        assert whole.usage.total_time > 0
        assert first.x_groq.id.startswith("req_")
        assert last.x_groq.usage == whole.usage
        assert last.usage is None
        assert last.choices[0].finish_reason == "stop"

    def test_usage_can_be_left_out_by_order(self, groq: Groq) -> None:
        chunks = list(
            groq.chat.completions.create(model="llama@no-usage", messages=HELLO, stream=True)
        )
        assert all(chunk.x_groq is None or chunk.x_groq.usage is None for chunk in chunks)


class TestCohere:
    @pytest.fixture
    def client(self, simulator: Simulator) -> Iterator[cohere.ClientV2]:
        with cohere.ClientV2(api_key="k", base_url=f"{simulator.url}/cohere") as client:
            yield client

    def test_texts_are_billed_and_the_frame_is_not(
        self, client: cohere.ClientV2, simulator: Simulator
    ) -> None:
        asked: Any = {"model": "command-a@output-20", "messages": HELLO}
        whole = client.chat(**asked)
        assert (whole.usage.billed_units.input_tokens, whole.usage.tokens.input_tokens) == (2, 209)
        assert whole.usage.billed_units.output_tokens == 20
        *events, end = client.chat_stream(**asked)
        assert end.type == "message-end"
        assert end.delta.usage == whole.usage
        deltas = [event for event in events if event.type == "content-delta"]
        text = "".join(event.delta.message.content.text for event in deltas)
        assert text == whole.message.content[0].text
        assert simulator.books()["quantities"] == {"input_tokens": 4, "output_tokens": 40}

    def test_tools_are_called_whole_and_streamed(self, client: cohere.ClientV2) -> None:
        whole = client.chat(model="command-a", messages=WEATHER, tools=[TOOL])
        (call,) = whole.message.tool_calls
        assert call.function.name == "get_weather"
        *events, end = client.chat_stream(model="command-a", messages=WEATHER, tools=[TOOL])
        deltas = [event for event in events if event.type == "tool-call-delta"]
        arguments = "".join(event.delta.message.tool_calls.function.arguments for event in deltas)
        assert arguments == call.function.arguments
        assert end.delta.finish_reason == "TOOL_CALL"

    def test_errors_parse(self, client: cohere.ClientV2) -> None:
        with pytest.raises(TooManyRequestsError):
            client.chat(
                model="command-a@status-429,retry-after-0",
                messages=HELLO,
                request_options={"max_retries": 0},
            )


class TestDeepSeek:
    def test_usage_is_on_the_finish_chunk_with_hits_and_misses(self) -> None:
        long = [{"role": "user", "content": "word " * 2000}]
        body = {"model": "deepseek-chat@output-5", "messages": long, "stream": True}
        *_, last = ask(None, "/deepseek/chat/completions", body).payloads()
        assert last["choices"][0]["finish_reason"] == "stop"
        assert last["usage"] == {
            "prompt_tokens": 2008,
            "completion_tokens": 5,
            "total_tokens": 2013,
            "prompt_tokens_details": {"cached_tokens": 0},
            "prompt_cache_hit_tokens": 0,
            "prompt_cache_miss_tokens": 2008,
        }

    def test_reasoning_is_shown_and_inside_the_completion(self) -> None:
        body = {"model": "deepseek-reasoner@output-5", "messages": HELLO, "stream": True}
        payloads = ask(None, "/deepseek/chat/completions", body).payloads()
        usage = payloads[-1]["usage"]
        reasoned = usage["completion_tokens_details"]["reasoning_tokens"]
        shown = [one["choices"][0]["delta"].get("reasoning_content") for one in payloads]
        # Every shown piece is one token.
        assert sum(piece is not None for piece in shown) == reasoned
        assert usage["completion_tokens"] == reasoned + 5


class TestAzure:
    def client(self, simulator: Simulator, version: str) -> AzureOpenAI:
        return AzureOpenAI(
            azure_endpoint=simulator.url, api_key="k", api_version=version, max_retries=0
        )

    def test_deployment_is_not_the_model_and_filters_come_first(self, simulator: Simulator) -> None:
        with self.client(simulator, "2024-10-21") as azure:
            first, *_, last = azure.chat.completions.create(
                model="our-chat@output-5",
                messages=HELLO,
                stream=True,
                stream_options={"include_usage": True},
            )
        assert (first.choices, first.usage) == ([], None)
        assert first.model_extra["prompt_filter_results"]
        assert last.model == "gpt-4o-mini-2024-07-18"
        assert last.usage.completion_tokens == 5
        (exchange,) = simulator.books()["exchanges"]
        assert exchange["model_requested"] == "our-chat"

    def test_books_know_the_model_behind_the_deployment(self, simulator: Simulator) -> None:
        with self.client(simulator, "2024-10-21") as azure:
            azure.chat.completions.create(model="our-chat", messages=HELLO)
        assert list(simulator.books()["models"]) == ["gpt-4o-mini-2024-07-18"]

    def test_old_versions_refuse_stream_options(self, simulator: Simulator) -> None:
        with self.client(simulator, "2024-02-01") as azure, pytest.raises(BadRequestError):
            azure.chat.completions.create(
                model="our-chat",
                messages=HELLO,
                stream=True,
                stream_options={"include_usage": True},
            )

    def test_version_one_paths_are_those_of_openai(self) -> None:
        body = {"model": "gpt-4o", "messages": HELLO}
        reply = ask(None, "/openai/v1/chat/completions", body, headers={"api-key": "k"})
        assert reply.json()["model"] == "gpt-4o-2024-08-06"
        assert ask(None, "/openai/v1/chat/completions", body, headers=KEY).status == 200
