"""Rate limits: calls and tokens a minute, for a key."""

import time
from collections.abc import Iterator
from datetime import datetime

import anthropic
import httpx
import openai
import pytest
from google import genai

from meter.clock import now_us
from tests.gateway.serving import Served

QUESTION = [{"role": "user", "content": "Describe the sea in one line."}]


@pytest.fixture(autouse=True)
def early_in_a_minute() -> Iterator[None]:
    """Calls of one test must fall into one minute."""
    left = 60 - datetime.now().second
    if left < 8:
        time.sleep(left)
    yield


def limited(gateway: Served, measure: str, limit: int) -> str:
    made = gateway.meter.keys.create("alice")
    name = f"rate:{made.key.id}:{measure}"
    gateway.meter.set_budget(name, limit=limit, key=made.key.id, measure=measure, window="minute")
    return made.secret


def ask(gateway: Served, key: str, **more: object) -> httpx.Response:
    body = {"model": "gpt-4o-mini", "messages": QUESTION, "max_tokens": 20, **more}
    headers = {"authorization": f"Bearer {key}"}
    return httpx.post(f"{gateway.url}/v1/chat/completions", json=body, headers=headers)


def test_calls_a_minute(gateway: Served) -> None:
    key = limited(gateway, "calls", 3)
    assert [ask(gateway, key).status_code for _ in range(5)] == [200, 200, 200, 429, 429]
    refused = ask(gateway, key)
    error = refused.json()["error"]
    assert (error["type"], error["code"]) == ("requests", "rate_limit_exceeded")
    assert "rate limit" in error["message"] and "0 calls left of 3 calls" in error["message"]
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert "x-should-retry" not in refused.headers
    assert refused.headers["x-meter-budget"].startswith("rate:key-")
    # Another key of the same subject has a minute of its own.
    assert ask(gateway, gateway.key("alice")).status_code == 200


def test_tokens_a_minute_count_what_was_used(gateway: Served) -> None:
    key = limited(gateway, "tokens", 100)
    # No limit of its own is asked for: the answer may be long, and the call fits nevertheless.
    first = ask(gateway, key, max_tokens=90)
    assert first.status_code == 200
    used = first.json()["usage"]["total_tokens"]
    answers = []
    while len(answers) < 20 and (answer := ask(gateway, key, max_tokens=10)).status_code == 200:
        assert "x-meter-max-tokens" not in answer.headers
        used += answer.json()["usage"]["total_tokens"]
        answers.append(answer)
    # The prompt has 14 tokens: a call that may use 24 is refused when fewer are left.
    assert used > 100 - 24


def test_a_call_above_the_limit_itself_fits_an_untouched_minute(gateway: Served) -> None:
    key = limited(gateway, "tokens", 5)
    assert ask(gateway, key).status_code == 200
    assert ask(gateway, key).status_code == 429


def test_the_next_minute_is_a_new_one(gateway: Served) -> None:
    key = limited(gateway, "calls", 1)
    assert ask(gateway, key).status_code == 200
    refused = ask(gateway, key)
    assert refused.status_code == 429
    ledger = gateway.meter._ledger
    rows = {row.budget.id: row for row in ledger.budgets()}
    row = next(row for name, row in rows.items() if name.startswith("rate:"))
    assert row.window_end_us is not None and row.window_end_us - row.window_start_us == 60_000_000
    assert row.standing.spent == 1


def test_past_minutes_are_forgotten_and_the_ledger_is_whole(gateway: Served) -> None:
    from meter.store.checking import check
    from meter.store.sweeping import sweep

    key = limited(gateway, "calls", 5)
    ask(gateway, key)
    gateway.calls(1)
    engine = gateway.meter._ledger._engine
    assert list(check(engine)) == []

    def windows() -> int:
        with engine.connect() as connection:
            found = connection.exec_driver_sql(
                "SELECT count(*) FROM budget_windows WHERE budget_id LIKE 'rate:%'"
            )
            return int(found.scalar_one())

    assert windows() == 1
    sweep(engine, now_us() + 60_000_000, dead_owners=False)
    assert windows() == 1
    sweep(engine, now_us() + 15 * 60_000_000, dead_owners=False)
    assert windows() == 0
    assert list(check(engine)) == []


def test_the_sdks_raise_their_own_errors(gateway: Served) -> None:
    key = limited(gateway, "calls", 0)
    with (
        openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=key, max_retries=0) as ours,
        pytest.raises(openai.RateLimitError) as told,
    ):
        ours.chat.completions.create(model="gpt-4o-mini", messages=QUESTION)
    assert told.value.code == "rate_limit_exceeded"
    with (
        anthropic.Anthropic(base_url=gateway.url, api_key=key, max_retries=0) as theirs,
        pytest.raises(anthropic.RateLimitError, match="rate limit"),
    ):
        theirs.messages.create(model="claude-haiku-4-5", max_tokens=9, messages=QUESTION)
    client = genai.Client(api_key=key, http_options={"base_url": gateway.url})
    with pytest.raises(genai.errors.ClientError) as refused:
        client.models.generate_content(model="gemini-2.5-flash", contents="hi")
    assert refused.value.code == 429
    assert refused.value.details["error"]["details"][0]["retryDelay"].endswith("s")
