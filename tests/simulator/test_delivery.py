"""Pacing, faults, and what is billed when an answer does not arrive."""

import gzip
import json
import time
from typing import Any

import httpx
import pytest
from openai import APIConnectionError, APIError, OpenAI, RateLimitError

from meter.simulator import Pacing, Simulator, SimulatorSettings, simulator_app
from tests.simulator.asking import HELLO, KEY, ask

CHAT = "/v1/chat/completions"
USAGE: Any = {"include_usage": True}


def stream_of(orders: str, **more: Any) -> dict[str, Any]:
    return {
        "model": f"gpt-4o@{orders}",
        "messages": HELLO,
        "stream": True,
        "stream_options": USAGE,
        **more,
    }


def usages(payloads: list[Any]) -> list[Any]:
    return [payload["usage"] for payload in payloads if payload.get("usage")]


def test_cut_stream_breaks_the_connection_and_bills_what_was_sent(
    client: OpenAI, simulator: Simulator
) -> None:
    seen = []
    stream = client.chat.completions.create(model="gpt-4o@cut-5", messages=HELLO, stream=True)
    with pytest.raises(APIConnectionError):
        for chunk in stream:
            seen.append(chunk.choices[0].delta.content)
    assert len("".join(filter(None, seen))) > 0
    assert len(seen) == 1 + 5
    books = simulator.books()
    assert books["cut"] == 1
    assert books["quantities"]["input_tokens"] == 9
    assert books["quantities"]["output_tokens"] == 5


def test_cut_before_the_first_piece_bills_the_hidden_reasoning(simulator: Simulator) -> None:
    body = {**stream_of("cut-0"), "model": "gpt-5@cut-0"}
    reply = ask(simulator.app, CHAT, body)
    assert not reply.is_complete
    quantities = simulator.books()["quantities"]
    assert quantities["output_tokens"] == quantities["reasoning_tokens"] > 0


def test_cut_whole_answer_breaks_in_its_middle_and_is_billed_in_full(
    client: OpenAI, simulator: Simulator
) -> None:
    with pytest.raises(APIConnectionError):
        client.chat.completions.create(model="gpt-4o@cut-0,output-20", messages=HELLO)
    assert simulator.books()["cut"] == 1
    assert simulator.books()["quantities"]["output_tokens"] == 20


def test_fault_can_be_ordered_by_header(client: OpenAI) -> None:
    with pytest.raises(RateLimitError) as refused:
        client.chat.completions.create(
            model="gpt-4o", messages=HELLO, extra_headers={"x-sim-fault": "status=429"}
        )
    assert refused.value.response.headers["retry-after"] == "1"
    assert refused.value.code == "rate_limit_exceeded"


def test_errors_are_not_billed(client: OpenAI, simulator: Simulator) -> None:
    with pytest.raises(APIError):
        client.chat.completions.create(model="gpt-4o@status-500", messages=HELLO)
    books = simulator.books()
    assert (books["failed"], books["quantities"]) == (1, {})


def test_unknown_order_is_refused(client: OpenAI) -> None:
    with pytest.raises(APIError, match="unknown order 'cutt-5'"):
        client.chat.completions.create(model="gpt-4o@cutt-5", messages=HELLO)


def test_sdk_retries_after_the_ordered_wait(simulator: Simulator) -> None:
    settings = SimulatorSettings(error_rate=0.6, error_statuses=(429,), retry_after_seconds=0.01)
    with (
        Simulator(settings) as failing,
        OpenAI(base_url=f"{failing.url}/v1", api_key="k", max_retries=20) as client,
    ):
        for _ in range(3):
            client.chat.completions.create(model="gpt-4o", messages=HELLO)
        books = failing.books()
    assert (books["ok"], books["requests"]) == (3, 3 + books["failed"])
    assert books["failed"] > 0


class TestSpoiltUsage:
    def test_left_out(self) -> None:
        assert usages(ask(None, CHAT, stream_of("no-usage")).payloads()) == []
        whole = ask(None, CHAT, {"model": "m@no-usage", "messages": HELLO}).json()
        assert "usage" not in whole

    def test_sent_twice(self) -> None:
        first, second = usages(ask(None, CHAT, stream_of("usage-twice,output-7")).payloads())
        assert first == second
        assert first["completion_tokens"] == 7

    def test_on_every_chunk_it_is_cumulative(self) -> None:
        found = usages(ask(None, CHAT, stream_of("usage-every-chunk,output-3")).payloads())
        # role, three tokens, finish, the chunk with usage alone
        assert [usage["completion_tokens"] for usage in found] == [0, 1, 2, 3, 3, 3]

    def test_on_every_chunk_even_when_not_asked(self) -> None:
        body = {"model": "m@usage-every-chunk,output-3", "messages": HELLO, "stream": True}
        assert len(usages(ask(None, CHAT, body).payloads())) == 5

    def test_zeros_first(self) -> None:
        first, last = usages(ask(None, CHAT, stream_of("zero-usage-first,output-3")).payloads())
        assert (first["prompt_tokens"], first["completion_tokens"]) == (0, 0)
        assert (last["prompt_tokens"], last["completion_tokens"]) == (9, 3)

    @pytest.mark.parametrize(
        ("order", "prompt_tokens"),
        [("negative-usage", -9), ("string-usage", "9"), ("huge-usage", 10**22)],
    )
    def test_false_numbers(self, order: str, prompt_tokens: Any) -> None:
        (usage,) = usages(ask(None, CHAT, stream_of(order)).payloads())
        assert usage["prompt_tokens"] == prompt_tokens
        whole = ask(None, CHAT, {"model": f"m@{order}", "messages": HELLO}).json()
        assert whole["usage"]["prompt_tokens"] == prompt_tokens

    def test_books_stay_honest(self, simulator: Simulator) -> None:
        for order in ("negative-usage", "huge-usage", "no-usage", "usage-twice"):
            ask(simulator.app, CHAT, stream_of(f"{order},output-3"))
        quantities = simulator.books()["quantities"]
        assert (quantities["input_tokens"], quantities["output_tokens"]) == (36, 12)

    def test_anthropic_and_gemini_obey_too(self) -> None:
        body = {"model": "c@no-usage", "max_tokens": 9, "messages": HELLO, "stream": True}
        reply = ask(None, "/v1/messages", body, headers={"x-api-key": "k"})
        assert b"usage" not in reply.body
        path = "/v1beta/models/g@zero-usage-first,output-60:streamGenerateContent?alt=sse"
        contents = {"contents": [{"parts": [{"text": "Say hello"}]}]}
        chunks = ask(None, path, contents, headers={"x-goog-api-key": "k"}).payloads()
        counts = [chunk["usageMetadata"]["candidatesTokenCount"] for chunk in chunks]
        assert counts[0] == 0
        assert counts[-1] == 60


class TestBrokenBodies:
    def test_bad_json_breaks_one_event_and_the_rest_arrives(self, simulator: Simulator) -> None:
        reply = ask(simulator.app, CHAT, stream_of("bad-json,output-9"))
        lines = [line for line in reply.body.decode().split("\n\n") if line]
        broken = 0
        for line in lines[:-1]:
            try:
                json.loads(line.removeprefix("data: "))
            except ValueError:
                broken += 1
        assert broken == 1
        assert lines[-1] == "data: [DONE]"
        assert simulator.books()["ok"] == 1

    def test_truncated_stream_ends_http_properly_in_the_middle_of_an_event(
        self, simulator: Simulator
    ) -> None:
        reply = ask(simulator.app, CHAT, stream_of("truncated,output-9"))
        assert reply.is_complete
        assert not reply.body.endswith(b"\n\n")
        assert b"[DONE]" not in reply.body
        books = simulator.books()
        assert books["cut"] == 1
        # The fifth of nine pieces is the broken one.
        assert books["quantities"]["output_tokens"] == 4

    def test_truncated_whole_answer_has_an_honest_length(self, simulator: Simulator) -> None:
        reply = ask(simulator.app, CHAT, {"model": "m@truncated", "messages": HELLO})
        assert int(reply.headers["content-length"]) == len(reply.body)
        with pytest.raises(ValueError, match=r"Unterminated|unexpected end"):
            reply.json()

    def test_gzip_is_announced_and_flushed_chunk_by_chunk(self, client: OpenAI) -> None:
        stream = client.chat.completions.create(
            model="gpt-4o@gzip,output-9", messages=HELLO, stream=True
        )
        assert stream.response.headers["content-encoding"] == "gzip"
        assert len(list(stream)) == 11
        reply = ask(None, CHAT, {"model": "m@gzip", "messages": HELLO})
        assert json.loads(gzip.decompress(reply.body))["object"] == "chat.completion"

    def test_error_event_ends_a_stream(self, client: OpenAI, simulator: Simulator) -> None:
        stream = client.chat.completions.create(
            model="gpt-4o@error-after-3", messages=HELLO, stream=True
        )
        with pytest.raises(APIError, match="server had an error"):
            list(stream)
        assert simulator.books()["quantities"]["output_tokens"] == 3


class TestPacing:
    def test_first_byte_and_chunks_take_their_time(self) -> None:
        pacing = Pacing(first_byte_seconds=(0.05, 0.05), chunk_seconds=(0.01, 0.01))
        app = simulator_app(SimulatorSettings(pacing=pacing))
        begun = time.perf_counter()
        ask(app, CHAT, stream_of("output-8"))
        # 0.05 + role, eight pieces, finish, usage: 11 x 0.01
        assert 0.16 <= time.perf_counter() - begun < 5.0
        begun = time.perf_counter()
        ask(app, CHAT, {"model": "m@output-8", "messages": HELLO})
        assert 0.13 <= time.perf_counter() - begun < 5.0

    def test_slow_first_and_stall_wait(self) -> None:
        begun = time.perf_counter()
        ask(None, CHAT, stream_of("slow-first-0.05,stall-0.05"))
        assert 0.1 <= time.perf_counter() - begun < 5.0

    def test_keep_alive_comments_stand_between_events(self) -> None:
        settings = SimulatorSettings(pacing=Pacing(keep_alive_every=3))
        with (
            Simulator(settings) as simulator,
            OpenAI(base_url=f"{simulator.url}/v1", api_key="k", max_retries=0) as client,
        ):
            raw = httpx.post(f"{simulator.url}{CHAT}", json=stream_of("output-9"), headers=KEY)
            chunks = list(
                client.chat.completions.create(model="gpt-4o@output-9", messages=HELLO, stream=True)
            )
        # 12 events: role, nine pieces, finish, usage
        assert raw.content.count(b": keep-alive\n\n") == 4
        assert len(chunks) == 11


class TestClientGone:
    @pytest.mark.parametrize("path", [CHAT, "/v1/messages"])
    def test_abandoned_stream_bills_what_was_written(self, path: str) -> None:
        settings = SimulatorSettings(pacing=Pacing(chunk_seconds=(0.01, 0.01)))
        body = {**stream_of("output-400"), "max_tokens": 500}
        with Simulator(settings) as simulator:
            with httpx.stream("POST", f"{simulator.url}{path}", json=body, headers=KEY) as reply:
                lines = reply.iter_lines()
                for _ in range(24):
                    next(lines)
            books = simulator.wait_for_requests(1)
        assert books["client_gone"] == 1
        assert books["quantities"]["input_tokens"] == 9
        assert 3 <= books["quantities"]["output_tokens"] < 200
        assert books["exchanges"][0]["chunks"] > 5

    def test_abandoned_whole_answer_is_billed_in_full(self, simulator: Simulator) -> None:
        body = {"model": "gpt-4o@slow-first-5,output-20", "messages": HELLO}
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{simulator.url}{CHAT}", json=body, headers=KEY, timeout=0.1)
        books = simulator.wait_for_requests(1)
        assert books["client_gone"] == 1
        assert books["quantities"]["output_tokens"] == 20
