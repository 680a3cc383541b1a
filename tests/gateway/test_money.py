"""Money at the door: limits are lowered to what can be paid, and the rest is refused in words."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import anthropic
import openai
import pytest
from google import genai
from google.genai import errors, types

from meter.core.call import Basis
from meter.core.money import nanos_from_text
from meter.simulator import Simulator
from meter.store.ledger_store import LedgerStore
from meter.store.requests import Settle
from tests.gateway.serving import Served, plainly, served, upstream_that

HELLO = [{"role": "user", "content": "Describe the sea in one line."}]


@pytest.fixture
def client(gateway: Served):
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key(), max_retries=2) as made:
        yield made


def sent(simulator: Simulator, place: int = -1):
    return simulator.requests[place].json()


def test_a_limit_is_lowered_to_what_is_left(gateway, simulator, client):
    # gpt-4o-mini: 0.15 USD a million tokens in, 0.6 out. The prompt is bounded by 395 tokens, which
    # are 0.00005925 USD: 0.00008 pay for them and for 34 tokens more.
    gateway.meter.set_budget("small", subject="alice", limit="0.00008")
    raw = client.chat.completions.with_raw_response.create(
        model="gpt-4o-mini", messages=HELLO, max_tokens=4000
    )
    allowed = int(raw.headers["x-meter-max-tokens"])
    assert sent(simulator)["max_tokens"] == allowed
    assert allowed == 34
    (call,) = gateway.calls()
    assert call.usage["output_tokens"] <= allowed
    assert call.cost_nanos <= call.bound_cost_nanos <= nanos_from_text("0.00008")


def test_a_limit_is_put_in_where_there_is_none(gateway, simulator, client):
    gateway.meter.set_budget("small", subject="alice", limit="0.00008")
    raw = client.chat.completions.with_raw_response.create(model="gpt-4o-mini", messages=HELLO)
    assert sent(simulator)["max_completion_tokens"] == int(raw.headers["x-meter-max-tokens"])
    assert "max_tokens" not in sent(simulator)


def test_a_limit_that_can_be_paid_stays_as_it_is(gateway, simulator, client):
    gateway.meter.set_budget("wide", subject="alice", limit="1")
    raw = client.chat.completions.with_raw_response.create(
        model="gpt-4o-mini", messages=HELLO, max_tokens=4000
    )
    assert "x-meter-max-tokens" not in raw.headers
    assert sent(simulator)["max_tokens"] == 4000


def test_each_of_several_answers_gets_its_share(gateway, simulator, client):
    gateway.meter.set_budget("small", subject="alice", limit="0.00015")
    raw = client.chat.completions.with_raw_response.create(model="gpt-4o-mini", messages=HELLO, n=4)
    allowed = int(raw.headers["x-meter-max-tokens"])
    assert 30 < allowed < 40
    assert gateway.calls()[0].usage["output_tokens"] <= 4 * allowed


def test_a_budget_in_tokens_lowers_too(gateway, simulator, client):
    gateway.meter.set_budget("tokens", subject="alice", limit=600, measure="tokens")
    raw = client.completions.with_raw_response.create(
        model="gpt-3.5-turbo-instruct", prompt=["Say this", "Say that"], max_tokens=500
    )
    allowed = int(raw.headers["x-meter-max-tokens"])
    assert sent(simulator)["max_tokens"] == allowed
    (call,) = gateway.calls()
    assert call.usage["input_tokens"] + call.usage["output_tokens"] <= 600


def test_messages_and_gemini_are_lowered_in_their_own_fields(gateway, simulator):
    key = gateway.key()
    gateway.meter.set_budget("tokens", subject="alice", limit=2400, measure="tokens")
    with anthropic.Anthropic(base_url=gateway.url, api_key=key) as client:
        client.messages.create(model="claude-haiku-4-5", max_tokens=4000, messages=HELLO)
    assert 100 < sent(simulator)["max_tokens"] < 400
    gateway.meter.set_budget("more", subject="bob", limit=1400, measure="tokens")
    options = types.HttpOptions(base_url=gateway.url)
    with genai.Client(api_key=gateway.key("bob"), http_options=options) as gemini:
        gemini.models.generate_content(model="gemini-2.5-flash", contents="The sea")
    assert 100 < sent(simulator)["generationConfig"]["maxOutputTokens"] < 400


def test_a_budget_that_cannot_pay_the_prompt_refuses_in_openai_s_shape(gateway, simulator, client):
    gateway.meter.set_budget("spent", subject="alice", limit="0")
    with pytest.raises(openai.RateLimitError) as caught:
        client.chat.completions.create(model="gpt-4o-mini", messages=HELLO, stream=True)
    assert caught.value.code == "insufficient_quota"
    assert caught.value.response.headers["x-meter-budget"] == "spent"
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert "budget spent has 0 USD left" in caught.value.message
    assert simulator.requests == []
    (call,) = gateway.calls()
    assert (str(call.outcome), call.cost_nanos) == ("refused", 0)
    call_id = caught.value.response.headers["x-meter-call-id"]
    assert call_id == str(call.id)


def test_refusals_in_the_shapes_of_anthropic_and_gemini(gateway):
    key = gateway.key()
    gateway.meter.set_budget("spent", subject="alice", limit="0")
    with anthropic.Anthropic(base_url=gateway.url, api_key=key) as client:
        with pytest.raises(anthropic.RateLimitError) as caught:
            client.messages.create(model="claude-haiku-4-5", max_tokens=9, messages=HELLO)
        assert caught.value.body["error"]["type"] == "rate_limit_error"
    options = types.HttpOptions(base_url=gateway.url)
    with genai.Client(api_key=key, http_options=options) as gemini:
        with pytest.raises(errors.ClientError) as refused:
            gemini.models.generate_content(model="gemini-2.5-flash", contents="The sea")
        assert refused.value.status == "RESOURCE_EXHAUSTED"


def test_embeddings_cannot_be_lowered_and_are_refused(gateway, client):
    gateway.meter.set_budget("few", subject="alice", limit=2, measure="tokens")
    with pytest.raises(openai.RateLimitError):
        client.embeddings.create(model="text-embedding-3-small", input="one two three four")


def test_what_may_not_be_spent_together_is_not_spent_together(gateway, simulator):
    """32 calls at once, of which the budget pays for a few: never more than the limit."""
    limit = nanos_from_text("0.0004")
    gateway.meter.set_budget("tight", subject="alice", limit="0.0004")
    key = gateway.key()

    def ask(_number: int) -> str:
        with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=key, max_retries=0) as client:
            try:
                client.chat.completions.create(model="gpt-4o-mini", messages=HELLO, max_tokens=60)
            except openai.RateLimitError:
                return "refused"
            return "answered"

    with ThreadPoolExecutor(8) as pool:
        ended = list(pool.map(ask, range(32)))
    assert {"refused", "answered"} == set(ended)
    calls = gateway.calls(32)
    assert 0 < sum(call.cost_nanos for call in calls) <= limit


def test_a_call_waits_for_money_that_others_hold(tmp_path):
    go_on = threading.Event()
    usage = {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}
    body = json.dumps({"model": "gpt-4o-mini", "choices": [], "usage": usage}).encode()
    answer = plainly(body)

    def slowly(request, connection):
        go_on.wait(10)
        answer(request, connection)

    with upstream_that(slowly) as up, served(tmp_path, {"openai": up.url}) as gateway:
        gateway.meter.set_budget("one", subject="alice", limit=550, measure="tokens")
        client = openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key(), max_retries=0)

        def ask() -> openai.types.chat.ChatCompletion:
            return client.chat.completions.create(
                model="gpt-4o-mini", messages=HELLO, max_tokens=100
            )

        with client, ThreadPoolExecutor(2) as pool:
            both = [pool.submit(ask) for _ in range(2)]
            while not up.received:
                assert not both[0].done() and not both[1].done()
            go_on.set()
            assert [each.result(15).usage.total_tokens for each in both] == [4, 4]
        assert [json.loads(each.body)["max_tokens"] for each in up.received] == [100, 100]


def test_a_client_that_leaves_while_it_waits_for_money_is_not_sent_on(tmp_path):
    go_on = threading.Event()
    answer = plainly(b"{}")

    def slowly(request, connection):
        go_on.wait(10)
        answer(request, connection)

    with upstream_that(slowly) as up, served(tmp_path, {"openai": up.url}) as gateway:
        gateway.meter.set_budget("one", subject="alice", limit=550, measure="tokens")
        key = gateway.key()
        ours = openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=key, max_retries=0)
        ask = partial(
            ours.chat.completions.create, model="gpt-4o-mini", messages=HELLO, max_tokens=100
        )
        with ours, ThreadPoolExecutor(1) as pool:
            first = pool.submit(ask)
            while not up.received:
                assert not first.done()
            with pytest.raises(openai.APITimeoutError):
                ask(timeout=0.5)
            go_on.set()
            first.result(10)
        gateway.calls(1)
        assert len(up.received) == 1
        (budget,) = gateway.meter.budgets()
        assert budget.standing.held == 0


def test_without_the_ledger_nothing_is_sent(gateway, simulator, client, monkeypatch):
    client.chat.completions.create(model="gpt-4o-mini", messages=HELLO)
    monkeypatch.setattr("meter.store.ledger_store.LedgerStore._transact", _is_away)
    with pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(model="gpt-4o-mini", messages=HELLO)
    assert caught.value.status_code == 503
    assert "was not sent" in caught.value.message
    assert len(simulator.requests) == 1


def test_a_record_that_the_ledger_cannot_take_waits_in_the_spool(gateway, client, monkeypatch):
    write = LedgerStore._transact

    def takes_no_ends(store, requests):
        if any(isinstance(request, Settle) for request in requests):
            _is_away()
        return write(store, requests)

    monkeypatch.setattr(LedgerStore, "_transact", takes_no_ends)
    answer = client.chat.completions.create(model="gpt-4o-mini", messages=HELLO)
    assert answer.usage.total_tokens > 0
    monkeypatch.setattr(LedgerStore, "_transact", write)
    # The next call that is recorded brings the first one's end along.
    client.chat.completions.create(model="gpt-4o-mini", messages=HELLO)
    calls = gateway.calls(2)
    assert [call.basis for call in calls] == [Basis.REPORTED, Basis.REPORTED]


def _is_away(*_arguments):
    from meter.errors import StoreUnavailable

    raise StoreUnavailable("the ledger is away")
