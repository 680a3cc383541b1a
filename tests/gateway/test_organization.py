"""Usage and costs in OpenAI's shapes: exact, one's own, cut and grouped as asked."""

import json
import time
from decimal import Decimal

import httpx
import openai
import pytest

from tests.gateway.serving import Served

HELLO = [{"role": "user", "content": "Describe the sea in one line."}]
DAY = 86_400


def asked(gateway: Served, secret: str, path: str, **query: object) -> httpx.Response:
    return httpx.get(
        f"{gateway.url}/v1/organization/{path}",
        params={name: value for name, value in query.items()},
        headers={"authorization": f"Bearer {secret}"},
    )


def used(gateway: Served, secret: str, *models: str) -> None:
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=secret, max_retries=0) as client:
        for model in models:
            client.chat.completions.create(model=model, messages=HELLO, max_tokens=50)


@pytest.fixture
def today() -> int:
    return int(time.time()) // DAY * DAY


def results(response: httpx.Response) -> list[dict]:
    assert response.status_code == 200, response.text
    page = json.loads(response.text, parse_float=Decimal)
    return [result for bucket in page["data"] for result in bucket["results"]]


def test_usage_equals_the_ledger_by_model(gateway, today):
    secret = gateway.key("alice")
    used(gateway, secret, "gpt-4o-mini", "gpt-4o-mini", "gpt-4o")
    used(gateway, gateway.key("bob"), "gpt-4o")
    calls = gateway.calls(4)
    found = results(asked(gateway, secret, "usage/completions", start_time=today, group_by="model"))
    assert len(found) == 2
    for result in found:
        mine = [c for c in calls if c.subject == "alice" and c.model_served == result["model"]]
        assert result["num_model_requests"] == len(mine) > 0
        assert result["input_tokens"] == sum(c.usage["input_tokens"] for c in mine)
        assert result["output_tokens"] == sum(c.usage["output_tokens"] for c in mine)
        assert result["user_id"] is result["api_key_id"] is None


def test_costs_are_the_ledgers_to_the_nano(gateway, today):
    secret = gateway.key("alice")
    used(gateway, secret, "gpt-4o-mini", "gpt-4o")
    nanos = sum(call.cost_nanos for call in gateway.calls(2))
    (whole,) = results(asked(gateway, secret, "costs", start_time=today))
    assert whole["amount"] == {"value": Decimal(nanos) / 10**9, "currency": "usd"}
    items = results(asked(gateway, secret, "costs", start_time=today, group_by="line_item"))
    assert sum(item["amount"]["value"] for item in items) == Decimal(nanos) / 10**9
    assert {item["line_item"].partition(", ")[2] for item in items} == {
        "input_tokens", "output_tokens"
    }  # fmt: skip


def test_one_key_never_sees_anothers(gateway, today):
    used(gateway, gateway.key("bob"), "gpt-4o")
    gateway.calls(1)
    secret = gateway.key("alice")
    assert results(asked(gateway, secret, "costs", start_time=today)) == []
    for path in ("usage/completions", "costs"):
        asked_for = asked(gateway, secret, path, start_time=today, user_ids="bob")
        assert results(asked_for) == []


def test_pages_follow_each_other_without_gap_or_repeat(gateway, today):
    secret = gateway.key("alice")
    used(gateway, secret, "gpt-4o")
    gateway.calls(1)
    query = {"start_time": today - 9 * DAY + 5, "end_time": today + DAY, "limit": 4}
    starts, total, page = [], 0, None
    for _ in range(5):
        more = {} if page is None else {"page": page}
        content = asked(gateway, secret, "usage/completions", **query, **more).json()
        starts += [bucket["start_time"] for bucket in content["data"]]
        total += sum(r["num_model_requests"] for b in content["data"] for r in b["results"])
        page = content["next_page"]
        if not content["has_more"]:
            break
    assert starts == list(range(today - 9 * DAY, today + DAY, DAY))
    assert total == 1 and page is None


def test_other_endpoints_stand_in_their_own_list(gateway, today):
    secret = gateway.key("alice")
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=secret) as client:
        client.embeddings.create(model="text-embedding-3-small", input="the sea")
    (call,) = gateway.calls(1)
    (found,) = results(asked(gateway, secret, "usage/embeddings", start_time=today))
    assert found["input_tokens"] == call.usage["input_tokens"]
    assert results(asked(gateway, secret, "usage/completions", start_time=today)) == []


def test_speech_counts_characters(gateway, today):
    secret = gateway.key("alice")
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=secret) as client:
        client.audio.speech.create(model="tts-1", voice="alloy", input="the sea")
    gateway.calls(1)
    (found,) = results(asked(gateway, secret, "usage/audio_speeches", start_time=today))
    assert found["characters"] == 7
    assert found["num_model_requests"] == 1


@pytest.mark.parametrize(
    ("path", "query", "status", "word"),
    [
        ("costs", {}, 400, "start_time"),
        ("costs", {"start_time": "x"}, 400, "start_time"),
        ("costs", {"start_time": "1" * 400}, 400, "start_time"),
        ("costs", {"start_time": "1", "bucket_width": "1h"}, 400, "bucket_width"),
        ("costs", {"start_time": "1", "group_by": "model"}, 400, "group_by"),
        ("usage/completions", {"start_time": "1", "limit": "32"}, 400, "limit"),
        ("usage/completions", {"start_time": "1", "limit": "0"}, 400, "limit"),
        ("usage/completions", {"start_time": "9", "page": "page_1"}, 400, "page"),
        ("usage/completions", {"start_time": "9", "page": "2"}, 400, "page"),
        ("usage/nonsense", {"start_time": "1"}, 404, "completions"),
    ],
)
def test_what_cannot_be_understood_is_said(standing, path, query, status, word):
    response = asked(standing, standing.key(), path, **query)
    assert response.status_code == status
    assert word in response.json()["error"]["message"]


def test_without_a_key_there_is_no_answer(standing):
    assert asked(standing, "mk-wrong", "costs", start_time=1).status_code == 401
