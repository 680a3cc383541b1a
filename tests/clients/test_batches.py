"""Batches through the wrapper: each request is billed once, to whom its custom_id names."""

import asyncio
import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from meter import Meter, attribute
from meter.core.usage import Usage
from meter.errors import ConfigError
from meter.store.checking import check

REQUESTS = 600
PATTERN = r"(?P<subject>\w+):(?P<feature>\w+):"
BATCH = {
    "id": "batch_1", "object": "batch", "status": "completed", "model": "gpt-4o-mini",
    "output_file_id": "file-out", "request_counts": {"total": REQUESTS, "completed": REQUESTS},
    # Of each request 100 in and 20 out.
    "usage": {"input_tokens": 100 * REQUESTS, "output_tokens": 20 * REQUESTS},
}  # fmt: skip
WHOLE_NANOS = REQUESTS * (100 * 75 + 20 * 300)
"""Half of 0.15 and 0.60 USD a million: 75 and 300 nanos a token."""


def a_line(number: int) -> bytes:
    body = {
        "object": "chat.completion", "model": "gpt-4o-mini-2024-07-18", "choices": [],
        "usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120},
    }  # fmt: skip
    who = ("amy", "bob", "cyd")[number % 3]
    told = {
        "id": f"batch_req_{number}", "custom_id": f"{who}:mail:{number}",
        "response": {"status_code": 200, "request_id": f"r{number}", "body": body},
    }  # fmt: skip
    return json.dumps(told).encode() + b"\n"


OUTPUT = b"".join(a_line(number) for number in range(REQUESTS))


def a_result(number: int) -> bytes:
    message = {
        "type": "message", "model": "claude-haiku-4-5-20251001",
        "usage": {"input_tokens": 100, "output_tokens": 20},
    }  # fmt: skip
    told = {"custom_id": f"r-{number}", "result": {"type": "succeeded", "message": message}}
    return json.dumps(told).encode() + b"\n"


RESULTS = b"".join(a_result(number) for number in range(REQUESTS))


def answer(request: httpx.Request) -> httpx.Response:
    path = request.url.path
    if path.endswith("/results"):
        return httpx.Response(200, content=RESULTS)
    if request.url.host == "api.anthropic.com":
        return httpx.Response(200, json={"id": "msgbatch_1", "type": "message_batch"})
    if path.endswith("/content"):
        stretch = request.headers.get("range", "").removeprefix("bytes=0-")
        content = OUTPUT[: int(stretch) + 1] if stretch else OUTPUT
        return httpx.Response(206 if stretch else 200, content=content)
    status = "validating" if request.method == "POST" else "completed"
    told = {**BATCH, "status": status}
    return httpx.Response(200, json=told if request.method == "GET" else {
        "id": "batch_1", "object": "batch", "status": status})  # fmt: skip


@pytest.fixture
def meter(tmp_path: Path) -> Any:
    with Meter(
        f"sqlite:///{tmp_path}/meter.db", custom_id_pattern=PATTERN, durability="process"
    ) as made:
        yield made


@pytest.fixture
def client(meter: Meter) -> Any:
    with httpx.Client(
        transport=meter.transport(httpx.MockTransport(answer)), base_url="https://api.openai.com/v1"
    ) as made:
        yield made


def billed(meter: Meter) -> Counter[str]:
    sums: Counter[str] = Counter()
    for row in meter.usage(by=("subject",)):
        sums[row.group[0] or "nobody"] += row.cost_nanos or 0
    return +sums


def test_poll_and_fetch_in_any_order_by_many_bill_each_request_once(meter, client):
    with attribute("ops"):
        client.post("/batches", json={"input_file_id": "file-in"})
        assert client.get("/batches/batch_1").json()["status"] == "completed"
        assert billed(meter) == {"ops": WHOLE_NANOS}
        # 40 KB: some of the requests, the last one cut off.
        client.get("/files/file-out/content", headers={"range": "bytes=0-39999"})
        part = billed(meter)
        assert part.total() == WHOLE_NANOS
        assert 0 < part["ops"] < WHOLE_NANOS

        def once(number: int) -> None:
            path = "/batches/batch_1" if number % 2 else "/files/file-out/content"
            with attribute(f"client-{number}"):
                assert client.get(path).status_code == 200

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(once, range(16)))
    third = WHOLE_NANOS // 3
    assert billed(meter) == {"amy": third, "bob": third, "cyd": third}
    requests = [call for call in meter.calls() if call.usage]
    assert len(requests) == REQUESTS
    assert len({dict(call.tags)["custom_id"] for call in requests}) == REQUESTS
    assert {dict(call.tags)["feature"] for call in requests} == {"mail"}
    assert {(call.endpoint, call.service_tier) for call in requests} == {("chat", "batch")}
    assert not [call for call in meter.calls() if call.state == "unsettled"]
    assert list(check(meter._ledger._engine)) == []


def test_the_async_client_bills_them_as_well(meter):
    async def run() -> None:
        async with httpx.AsyncClient(
            transport=meter.async_transport(httpx.MockTransport(answer)),
            base_url="https://api.openai.com/v1",
        ) as client:
            await asyncio.gather(*(client.get("/files/file-out/content") for _ in range(3)))
            await client.get("/batches/batch_1")

    asyncio.run(run())
    assert billed(meter).total() == WHOLE_NANOS
    assert len([call for call in meter.calls() if call.usage]) == REQUESTS


def test_the_results_of_a_message_batch_settle_its_receipt(meter, client):
    base = "https://api.anthropic.com/v1/messages/batches"
    client.post(base, json={"requests": []})
    client.get(f"{base}/msgbatch_1")
    assert [call.state for call in meter.calls()].count("unsettled") == 1
    for _ in range(2):
        client.get(f"{base}/msgbatch_1/results")
    calls = list(meter.calls())
    assert [call.state for call in calls].count("unsettled") == 0
    # Half of 1 and 5 USD a million: 500 and 2500 nanos a token.
    assert sum(call.cost_nanos or 0 for call in calls) == REQUESTS * (100 * 500 + 20 * 2500)
    assert sum(call.usage == Usage(input_tokens=100, output_tokens=20) for call in calls) == 600


def test_an_abandoned_fetch_bills_what_it_showed(meter, client):
    with client.stream("GET", "/files/file-out/content") as response:
        next(response.iter_raw(30_000))
    shown = len([call for call in meter.calls() if call.usage])
    assert billed(meter).total() == shown * (100 * 75 + 20 * 300)
    client.get("/batches/batch_1")
    assert billed(meter).total() == WHOLE_NANOS
    client.get("/files/file-out/content")
    assert billed(meter).total() == WHOLE_NANOS
    assert len([call for call in meter.calls() if call.usage]) == REQUESTS


@pytest.mark.parametrize("pattern", ["(", "no group", "(?P<subject>x" + "(?P<a>" * 2])
def test_a_pattern_that_names_nobody_is_refused(tmp_path, pattern):
    with pytest.raises(ConfigError, match="custom_id_pattern"):
        Meter(f"sqlite:///{tmp_path}/m.db", custom_id_pattern=pattern)
