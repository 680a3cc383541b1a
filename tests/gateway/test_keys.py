"""Keys: made, shown once, limited, expired, revoked, renewed; and whom they may name."""

import sqlite3
import time
from datetime import UTC, datetime

import anthropic
import httpx
import openai
import pytest

from meter.clock import now_us
from meter.errors import InputError
from meter.meter import Meter
from meter.simulator import Simulator
from tests.gateway.conftest import providers
from tests.gateway.serving import Served, served

HELLO = [{"role": "user", "content": "hello"}]


def ask(gateway: Served, key: str, model: str = "gpt-4o-mini", **more):
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=key, max_retries=0) as client:
        return client.chat.completions.create(model=model, messages=HELLO, **more)


def test_the_secret_is_stored_nowhere(sqlite_url):
    with Meter(sqlite_url) as meter:
        made = meter.keys.create("alice", tags=(("team", "search"),), name="for tests")
        assert made.secret.startswith("mk-")
        assert len(made.secret) == 46
        assert meter.keys.find(made.secret) == made.key
        assert meter.keys.find(made.secret[:-1] + "_") is None
        assert [key.prefix for key in meter.keys.all()] == [made.secret[:9]]
    with sqlite3.connect(sqlite_url.removeprefix("sqlite:///")) as database:
        assert made.secret[9:] not in "\n".join(database.iterdump())
    database.close()


def test_a_renewed_key_keeps_what_it_may_and_loses_its_old_secret(database_url):
    if database_url.startswith("postgresql"):
        from meter.store.migrating import upgrade

        upgrade(database_url)
    with Meter(database_url) as meter:
        made = meter.keys.create("alice", models=["gpt-4*"], endpoints=["chat"])
        renewed = meter.keys.rotate(made.key.id)
        assert meter.keys.find(made.secret) is None
        found = meter.keys.find(renewed.secret)
        assert (found.id, found.models, found.endpoints) == (made.key.id, ("gpt-4*",), ("chat",))
        revoked = meter.keys.revoke(made.key.id)
        assert meter.keys.revoke(made.key.id) == revoked
        with pytest.raises(InputError, match="revoked, expected one that is not"):
            meter.keys.rotate(made.key.id)
        with pytest.raises(InputError, match="found no key 'key-none'"):
            meter.keys.revoke("key-none")


@pytest.mark.parametrize("wrong", ["mk-" + "a" * 43, "sk-something", "mk-" + "a" * 5000])
def test_an_unknown_key_is_refused(standing, wrong):
    with pytest.raises(openai.AuthenticationError) as caught:
        ask(standing, wrong)
    assert caught.value.code == "invalid_api_key"
    with (
        anthropic.Anthropic(base_url=standing.url, api_key=wrong) as client,
        pytest.raises(anthropic.AuthenticationError) as refused,
    ):
        client.messages.create(model="claude-haiku-4-5", max_tokens=9, messages=HELLO)
    assert refused.value.body["error"]["type"] == "authentication_error"


def test_no_key_at_all_is_refused_in_gemini_s_shape(standing):
    answer = httpx.post(f"{standing.url}/v1beta/models/gemini-2.5-flash:generateContent", json={})
    assert answer.status_code == 401
    assert answer.json()["error"]["status"] == "UNAUTHENTICATED"


def test_an_expired_key_is_refused(standing):
    soon = standing.key(expires_us=now_us() + 1_000_000)
    ask(standing, soon)
    while now_us() < standing.meter.keys.find(soon).expires_us:
        time.sleep(0.01)
    with pytest.raises(openai.AuthenticationError, match="is expired"):
        ask(standing, soon)


def test_a_revoked_key_is_refused_within_seconds(simulator: Simulator, tmp_path):
    with served(tmp_path, providers(simulator), key_cache_seconds=1) as gateway:
        made = gateway.meter.keys.create("alice")
        ask(gateway, made.secret)
        gateway.meter.keys.revoke(made.key.id)
        until = time.monotonic() + 5
        with pytest.raises(openai.AuthenticationError, match="is revoked"):
            while time.monotonic() < until:
                ask(gateway, made.secret)


@pytest.mark.parametrize("place", ["authorization", "x-api-key", "x-goog-api-key", "query"])
def test_a_key_is_taken_from_every_usual_place(standing, simulator, place):
    key = standing.key()
    headers = {"authorization": f"Bearer {key}"} if place == "authorization" else {place: key}
    answer = httpx.post(
        f"{standing.url}/v1beta/models/gemini-2.5-flash:generateContent?alt=json",
        params={"key": key, "alt": "json"} if place == "query" else None,
        headers={} if place == "query" else headers,
        json={"contents": [{"parts": [{"text": "hi"}]}]},
    )
    assert answer.status_code == 200
    (request,) = simulator.requests
    assert key not in str(request)
    assert request.headers["x-goog-api-key"] == "upstream-google"
    assert "key" not in request.query


def test_a_key_s_models_are_the_only_ones(standing, simulator):
    key = standing.key(models=["gpt-4o-mini", "claude-*"])
    ask(standing, key)
    with pytest.raises(openai.NotFoundError) as caught:
        ask(standing, key, model="gpt-4o")
    assert caught.value.code == "model_not_found"
    with openai.OpenAI(base_url=f"{standing.url}/v1", api_key=key, max_retries=0) as client:
        assert [model.id for model in client.models.list()] == [
            "claude-haiku-4-5", "claude-sonnet-4-5", "gpt-4o-mini",
        ]  # fmt: skip
        assert client.models.retrieve("gpt-4o-mini").id == "gpt-4o-mini"
        with pytest.raises(openai.NotFoundError):
            client.models.retrieve("gpt-4o")
        with pytest.raises(openai.NotFoundError):
            client.models.retrieve("ft:gpt-4o:org::gpt-4o-mini")
        with pytest.raises(openai.PermissionDeniedError, match="names none"):
            client.moderations.create(input="hello")
        with pytest.raises(openai.NotFoundError):
            client.audio.transcriptions.create(model="whisper-1", file=("a.wav", b"RIFF"))
    sent = {request.path for request in simulator.requests}
    assert sent == {"/v1/chat/completions", "/v1/models", "/v1/models/gpt-4o-mini"}


def test_the_last_of_two_models_in_a_body_is_the_one_that_counts(standing, simulator):
    key = standing.key(models=["gpt-4o-mini"])
    body = '{"model":"gpt-4o-mini","messages":[],"model":"gpt-4o"}'
    answer = httpx.post(
        f"{standing.url}/v1/chat/completions", content=body, headers={"x-api-key": key}
    )
    assert answer.status_code == 404
    assert simulator.requests == []


def test_a_key_s_endpoints_are_the_only_ones(standing):
    key = standing.key(endpoints=["chat"])
    ask(standing, key)
    with openai.OpenAI(base_url=f"{standing.url}/v1", api_key=key, max_retries=0) as client:
        assert client.models.list().data
        with pytest.raises(openai.PermissionDeniedError) as caught:
            client.embeddings.create(model="text-embedding-3-small", input="a")
    assert caught.value.code == "endpoint_not_allowed"


def test_only_a_key_that_may_names_another_user(gateway):
    plain = gateway.key("alice", tags=(("team", "search"),))
    naming = gateway.key("shop", tags=(("team", "search"),), may_name_users=True)
    ask(gateway, plain, user="mallory", metadata={"team": "other", "paid": "no"})
    ask(gateway, naming, user="bob")
    ask(
        gateway, naming, user="ignored",
        extra_headers={"x-meter-user": "carol", "x-meter-tags": "feature=chat, team=other"},
    )  # fmt: skip
    ask(gateway, naming)
    found = [(call.subject, dict(call.tags)) for call in gateway.calls(4)]
    assert found == [
        ("alice", {"team": "search"}),
        ("bob", {"team": "search"}),
        ("carol", {"team": "search", "feature": "chat"}),
        ("shop", {"team": "search"}),
    ]
    with pytest.raises(openai.PermissionDeniedError, match="may not name users"):
        ask(gateway, plain, extra_headers={"x-meter-user": "mallory"})
    with pytest.raises(openai.BadRequestError, match="expected name=value"):
        ask(gateway, naming, extra_headers={"x-meter-tags": "nonsense"})


def test_the_key_is_on_record(gateway):
    made = gateway.meter.keys.create("alice")
    ask(gateway, made.secret)
    (call,) = gateway.calls()
    assert call.key_id == made.key.id
    made_at = datetime.fromtimestamp(made.key.created_us / 1e6, UTC)
    assert made_at <= datetime.now(UTC)


def test_the_list_of_models_says_what_each_costs_the_keys_subject(simulator, tmp_path):
    rates = tmp_path / "rates.toml"
    rates.write_text(
        """
        [[exchange]]
        from = "USD"
        to = "CNY"
        rate = "7.2"
        effective_from = "2026-01-01T00:00:00Z"
        source = "made up"

        [[rule]]
        book = "resale"
        subject = "bob"
        models = ["*"]
        multiplier = "1.2"
        currency = "CNY"
        source = "made up"
        """
    )
    with served(tmp_path, {"openai": f"{simulator.url}/v1"}, rate_file=str(rates)) as gateway:

        def pricing(subject: str) -> dict:
            headers = {"authorization": f"Bearer {gateway.key(subject)}"}
            page = httpx.get(f"{gateway.url}/v1/models", headers=headers).json()
            return next(each for each in page["data"] if each["id"] == "gpt-4o-mini")["pricing"]

        listed = pricing("alice")
        assert (listed["currency"], listed["input_tokens"]) == (
            "USD", {"price": "0.15", "per": 1_000_000},
        )  # fmt: skip
        # 0.15 USD × 1.2 × 7.2
        resold = pricing("bob")
        assert (resold["currency"], resold["input_tokens"]["price"]) == ("CNY", "1.296")
