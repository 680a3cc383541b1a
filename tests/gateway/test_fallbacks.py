"""Several upstreams for one model: shares, fallbacks, and upstreams that come and go."""

import json
import time
from collections import Counter

import httpx
import pytest

from meter.core.call import Outcome
from meter.errors import ConfigError
from meter.gateway import reloading
from meter.gateway.upstreams import read_upstreams
from tests.gateway.serving import in_chunks, plainly, served, upstream_that

ASK = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 5}
USAGE = {"prompt_tokens": 8, "completion_tokens": 2, "total_tokens": 10}
ANSWER = json.dumps({
    "id": "chatcmpl-1", "object": "chat.completion", "model": "gpt-4o",
    "choices": [{"index": 0, "finish_reason": "stop",
                 "message": {"role": "assistant", "content": "Hello."}}], "usage": USAGE,
}).encode()  # fmt: skip


def table(url, **more):
    return {"base_url": f"{url}/v1", "dialect": "openai", "key_env": "", **more}


def ask(gateway, **more):
    headers = {"authorization": f"Bearer {gateway.key()}"}
    return httpx.post(
        f"{gateway.url}/v1/chat/completions", json={**ASK, **more}, headers=headers, timeout=20
    )


def upstreams(**tables):
    return read_upstreams({name: table("http://x", **more) for name, more in tables.items()})


def test_equals_share_calls_by_weight_and_others_follow():
    found = upstreams(
        one={"models": ["gpt-4o"], "weight": 3}, two={"models": ["gpt-4o"], "weight": 1},
        never={"models": ["gpt-4o"], "weight": 0}, rest={},
    )  # fmt: skip
    firsts = Counter(found.candidates("openai", "gpt-4o")[0].name for _ in range(4000))
    # 3 to 1 of 4,000; the deviation is √(4,000 × ¾ × ¼) ≈ 27.
    assert set(firsts) == {"one", "two"} and abs(firsts["one"] - 3000) < 200
    assert [each.name for each in found.candidates("openai", "gpt-4o")][-1] == "never"
    assert [each.name for each in found.candidates("openai", "o3")] == ["rest"]


def test_without_weights_the_first_is_taken_and_only_named_fallbacks_follow():
    found = upstreams(one={"fallbacks": ["three"]}, two={}, three={"models": ["other"]})
    assert [each.name for each in found.candidates("openai", "gpt-4o")] == ["one", "three"]


@pytest.mark.parametrize("fallbacks", [["nobody"], ["one"]])
def test_a_fallback_must_be_another_upstream(fallbacks):
    with pytest.raises(ConfigError, match=f"{fallbacks[0]!r} of upstream one"):
        upstreams(one={"fallbacks": fallbacks}, two={})


@pytest.mark.parametrize("status", ["429 Too Many Requests", "500 No", "503 Busy", "529 Busy"])
def test_another_upstream_answers_when_the_first_fails(tmp_path, status):
    with (
        upstream_that(plainly(b'{"error": {"message": "no"}}', status=status)) as first,
        upstream_that(plainly(ANSWER)) as second,
    ):
        tables = {"one": table(first.url, fallbacks=["two"]), "two": table(second.url)}
        with served(tmp_path, {}, tables) as gateway:
            answer = ask(gateway)
            assert (answer.status_code, answer.content) == (200, ANSWER)
            failed, made = gateway.calls(2)
            assert answer.headers["x-meter-call-id"] == str(made.id)
            assert [failed.upstream, made.upstream] == ["one", "two"]
            assert failed.operation_id == made.operation_id == failed.id
            assert (failed.outcome, failed.cost_nanos) == (Outcome.UPSTREAM_FAILED, 0)
            assert made.usage["input_tokens"] == 8
            # The one that failed rests: the next call goes past it.
            assert ask(gateway).status_code == 200
            assert len(first.received) == 1 and len(second.received) == 2


def test_an_upstream_that_is_away_costs_nothing_and_the_next_answers(tmp_path):
    with upstream_that(plainly(ANSWER)) as second:
        tables = {
            "one": table("http://127.0.0.1:9", fallbacks=["two"]),
            "two": table(second.url),
        }
        with served(tmp_path, {}, tables) as gateway:
            gateway.meter.set_budget("alice", subject="alice", limit="1")
            assert ask(gateway).status_code == 200
            (call,) = gateway.calls()
            assert call.upstream == "two"
            (budget,) = gateway.meter.budgets()
            assert (budget.standing.held, budget.standing.spent) == (0, call.cost_nanos)


def test_the_last_one_s_answer_stands_whatever_it_is(tmp_path):
    body = b'{"error": {"message": "still no"}}'
    with (
        upstream_that(plainly(b"{}", status="500 No")) as first,
        upstream_that(plainly(body, status="429 Slow")) as second,
    ):
        tables = {"one": table(first.url, fallbacks=["two"]), "two": table(second.url)}
        with served(tmp_path, {}, tables) as gateway:
            answer = ask(gateway)
            assert (answer.status_code, answer.content) == (429, body)
            gateway.calls(2)


def test_what_the_client_has_heard_is_not_asked_for_again(tmp_path):
    chunk = b'data: {"id": "c", "choices": [{"index": 0, "delta": {"content": "Hel"}}]}\n\n'
    with (
        upstream_that(in_chunks(chunk, ends=False)) as first,
        upstream_that(plainly(ANSWER)) as second,
    ):
        tables = {"one": table(first.url, fallbacks=["two"]), "two": table(second.url)}
        with served(tmp_path, {}, tables) as gateway:
            with pytest.raises(httpx.RemoteProtocolError):
                ask(gateway, stream=True)
            gateway.calls(1)
            assert second.received == []


def test_a_mistake_of_the_client_is_not_tried_elsewhere(tmp_path):
    with (
        upstream_that(plainly(b'{"error": {}}', status="400 Bad")) as first,
        upstream_that(plainly(ANSWER)) as second,
    ):
        tables = {"one": table(first.url, fallbacks=["two"]), "two": table(second.url)}
        with served(tmp_path, {}, tables) as gateway:
            assert ask(gateway).status_code == 400
            assert second.received == []


def test_an_upstream_is_added_and_removed_while_the_gateway_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(reloading, "SECONDS", 0.05)
    with (
        upstream_that(plainly(ANSWER)) as first,
        upstream_that(plainly(ANSWER)) as second,
        served(tmp_path, {}, {"one": table(first.url)}) as gateway,
    ):
        router = gateway.gateway.services.router
        gateway.meter.upstreams.set("two", table(second.url, models=["gpt-4o"]))
        _until(lambda: len(router.upstreams.listed) == 2)
        assert ask(gateway).status_code == 200
        assert len(second.received) == 1
        gateway.meter.upstreams.remove("two")
        _until(lambda: len(router.upstreams.listed) == 1)
        assert ask(gateway).status_code == 200
        assert len(first.received) == 1


def test_an_upstream_of_the_ledger_that_cannot_be_used_here_is_left_out(caplog):
    stored = {"two": {"base_url": "https://two/v1", "dialect": "openai"}}
    found = read_upstreams({"one": table("http://x")}, environment={}, stored=stored)
    assert [each.name for each in found.listed] == ["one"]
    assert "METER_UPSTREAM_TWO_KEY" in caplog.text


def test_a_broken_setting_leaves_the_upstreams_as_they_were(tmp_path, monkeypatch, caplog):
    with upstream_that(plainly(ANSWER)) as first:
        monkeypatch.setenv("METER_CONFIG", str(tmp_path / "meter.toml"))
        config = tmp_path / "meter.toml"
        config.write_text(f'[upstreams.one]\nbase_url = "{first.url}/v1"\ndialect = "openai"\n'
                          'key_env = ""\n')  # fmt: skip
        with served(tmp_path, {}, None) as gateway:
            before = gateway.gateway.services.router.upstreams
            config.write_text('[upstreams.one]\nbase_url = "nonsense"\n')
            gateway.gateway.reload()
            _until(lambda: "stay as they were" in caplog.text)
            assert gateway.gateway.services.router.upstreams is before
            config.write_text(f'[upstreams.other]\nbase_url = "{first.url}/v1"\n'
                              'dialect = "openai"\nkey_env = ""\n')  # fmt: skip
            gateway.gateway.reload()
            _until(lambda: gateway.gateway.services.router.upstreams is not before)
            assert ask(gateway).status_code == 200


def _until(holds):
    until = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.01)
