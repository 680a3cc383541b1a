"""What chat front ends ask for: a balance, a subscription, the usage of some days."""

import json
import time
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import httpx
import openai
import pytest

from tests.gateway.serving import Served

HELLO = [{"role": "user", "content": "Describe the sea in one line."}]
WHY = {"reason": "order 17", "author": "boss"}


def asked(gateway: Served, secret: str, path: str, method: str = "GET", **query: str) -> dict:
    response = httpx.request(
        method, f"{gateway.url}{path}", params=query, headers={"authorization": f"Bearer {secret}"}
    )
    assert response.status_code == 200, response.text
    return json.loads(response.text, parse_float=Decimal)


def used(gateway: Served, secret: str, model: str = "gpt-4o") -> int:
    """Make one call; return what it cost in nanos."""
    before = {call.id for call in gateway.meter.calls()}
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=secret, max_retries=0) as client:
        client.chat.completions.create(model=model, messages=HELLO, max_tokens=50)
    calls = gateway.calls(len(before) + 1)
    (cost,) = [call.cost_nanos for call in calls if call.id not in before]
    return cost


def day_of_the_call(gateway: Served) -> date:
    (call,) = gateway.calls(1)
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=call.started_us)).date()


@pytest.mark.parametrize("prefix", ["/v1", ""])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_balance_has_both_shapes_at_once(gateway, prefix, method):
    secret = gateway.key("alice")
    gateway.meter.credits.grant("alice", "111.8658", "CNY", id="g1", **WHY)
    found = asked(gateway, secret, f"{prefix}/dashboard/billing/credit_grants", method)
    granted = found["grants"].pop("data")
    assert found == {
        "code": 0,
        "msg": "ok",
        "object": "credit_summary",
        "total_granted": Decimal("111.8658"),
        "total_used": 0,
        "total_available": Decimal("111.8658"),
        "total_paid_available": Decimal("111.8658"),
        "currency": "CNY",
        "unlimited": False,
        "grants": {"available_amount": "111.8658", "object": "list"},
    }
    assert granted[0].pop("effective_at") == pytest.approx(time.time(), abs=60)
    assert granted == [
        {
            "object": "credit_grant", "id": "g1", "grant_amount": Decimal("111.8658"),
            "used_amount": 0, "left_amount": Decimal("111.8658"), "state": "live",
            "expires_at": None,
        }
    ]  # fmt: skip


def test_what_calls_use_leaves_the_balance_at_once(gateway):
    secret = gateway.key("alice")
    gateway.meter.credits.grant("alice", "5", **WHY)
    cost = Decimal(used(gateway, secret)) / 10**9
    found = asked(gateway, secret, "/v1/dashboard/billing/credit_grants", "POST")
    assert (found["total_granted"], found["total_used"], found["total_available"]) == (
        5, cost, 5 - cost,
    )  # fmt: skip
    assert found["grants"]["available_amount"] == str(5 - cost)
    subscription = asked(gateway, secret, "/v1/dashboard/billing/subscription")
    usage = asked(gateway, secret, "/v1/dashboard/billing/usage")
    # What front ends do: the limit less a hundredth of the usage is the balance.
    assert subscription["hard_limit_usd"] - usage["total_usage"] / 100 == 5 - cost


def test_a_post_with_a_body_and_one_without_are_the_same_question(gateway):
    secret = gateway.key("alice")
    fields = {"authorization": f"Bearer {secret}", "content-type": "application/json"}
    url = f"{gateway.url}/v1/dashboard/billing/credit_grants"
    with httpx.Client(headers=fields) as client:
        answers = [client.post(url), client.post(url, content=b"{}"), client.post(url)]
    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert answers[0].json() == answers[1].json()


def test_usage_counts_the_days_that_are_asked_for(gateway):
    secret = gateway.key("alice")
    gateway.meter.credits.grant("alice", "5", **WHY)
    cost = Decimal(used(gateway, secret)) / 10**9
    today = day_of_the_call(gateway)
    day = timedelta(days=1)
    path = "/v1/dashboard/billing/usage"
    found = asked(
        gateway, secret, path, start_date=str(today - 30 * day), end_date=str(today + day)
    )
    (costs,) = found["daily_costs"]
    assert found["total_usage"] == 100 * cost
    assert costs["line_items"] == [{"name": "gpt-4o", "cost": 100 * cost}]
    earlier = asked(gateway, secret, path, start_date=str(today - 30 * day), end_date=str(today))
    assert (earlier["total_usage"], earlier["daily_costs"]) == (0, [])


def test_a_subject_without_credit_sees_its_budget(gateway):
    secret = gateway.key("alice")
    gateway.meter.set_budget("alice", subject="alice", limit="20", currency="USD", window="month")
    gateway.meter.set_budget("bob", subject="bob", limit="1", currency="USD")
    gateway.meter.set_budget("all", limit="3", currency="USD")
    cost = Decimal(used(gateway, secret)) / 10**9
    found = asked(gateway, secret, "/v1/dashboard/billing/credit_grants")
    assert (found["total_granted"], found["total_used"]) == (20, cost)
    assert found["grants"]["available_amount"] == str(20 - cost)
    subscription = asked(gateway, secret, "/v1/dashboard/billing/subscription")
    assert subscription["hard_limit_usd"] == 20
    assert subscription["access_until"] > time.time()
    today = day_of_the_call(gateway)
    usage = asked(
        gateway, secret, "/v1/dashboard/billing/usage",
        start_date=str(today), end_date=str(today + timedelta(days=1)),
    )  # fmt: skip
    assert usage["total_usage"] == 100 * cost


def test_nothing_limits_a_subject_with_neither(gateway):
    secret = gateway.key("alice")
    cost = Decimal(used(gateway, secret)) / 10**9
    found = asked(gateway, secret, "/v1/dashboard/billing/credit_grants")
    assert (found["unlimited"], found["total_granted"], found["total_used"]) == (
        True, 100_000_000, cost,
    )  # fmt: skip
    assert found["total_available"] == 100_000_000 - cost
    subscription = asked(gateway, secret, "/dashboard/billing/subscription")
    assert (subscription["hard_limit_usd"], subscription["access_until"]) == (100_000_000, 0)
    usage = asked(gateway, secret, "/dashboard/billing/usage")
    assert usage["total_usage"] == 100 * cost


def test_a_key_sees_its_own_subject_only(gateway):
    gateway.meter.credits.grant("bob", "7", **WHY)
    used(gateway, gateway.key("bob"))
    found = asked(gateway, gateway.key("alice"), "/v1/dashboard/billing/credit_grants", user="bob")
    assert found["unlimited"] is True
    assert found["total_used"] == 0


def test_of_several_currencies_one_with_something_left_is_shown(gateway):
    secret = gateway.key("alice")
    for currency, amount in (("CNY", "1"), ("USD", "2")):
        gateway.meter.credits.grant("alice", amount, currency, **WHY)
    gateway.meter.credits.adjust("alice", "-1", "CNY", **WHY)
    path = "/v1/dashboard/billing/credit_grants"
    assert asked(gateway, secret, path)["currency"] == "USD"
    chosen = asked(gateway, secret, path, currency="CNY")
    assert (chosen["currency"], chosen["total_available"]) == ("CNY", 0)


def test_an_expired_grant_is_gone_from_the_balance(gateway):
    secret = gateway.key("alice")
    soon = datetime.now(UTC) + timedelta(milliseconds=30)
    gateway.meter.credits.grant("alice", "4", id="soon", expires=soon, **WHY)
    gateway.meter.credits.grant("alice", "3", id="late", expires=soon + timedelta(days=9), **WHY)
    while datetime.now(UTC) <= soon:
        time.sleep(0.005)
    found = asked(gateway, secret, "/v1/dashboard/billing/credit_grants")
    assert (found["total_granted"], found["total_available"]) == (3, 3)
    assert [grant["id"] for grant in found["grants"]["data"]] == ["late"]
    subscription = asked(gateway, secret, "/v1/dashboard/billing/subscription")
    assert subscription["access_until"] == int((soon + timedelta(days=9)).timestamp())


@pytest.mark.parametrize(
    ("path", "status", "sentence"),
    [
        ("/v1/dashboard/billing/shoes", 404, "expected credit_grants, subscription, usage"),
        ("/v1/dashboard/billing/usage?start_date=yesterday", 400, "'yesterday' for start_date"),
        ("/v1/dashboard/billing/usage?start_date=2026-11-01", 400, "'' for end_date"),
        (
            "/v1/dashboard/billing/usage?start_date=2026-11-02&end_date=2026-11-01",
            400,
            "expected 1 to 366 days",
        ),
        (
            "/v1/dashboard/billing/usage?start_date=2026-11-01&end_date=2026-11-02&tz=Moon",
            400,
            "expected one such as Asia/Shanghai",
        ),
    ],
)
def test_what_cannot_be_answered_is_said_in_one_sentence(standing, path, status, sentence):
    secret = standing.key("alice")
    response = httpx.get(f"{standing.url}{path}", headers={"authorization": f"Bearer {secret}"})
    assert response.status_code == status
    assert sentence in response.json()["error"]["message"]


def test_without_a_key_nothing_is_shown(standing):
    for path in ("/v1/dashboard/billing/credit_grants", "/dashboard/billing/usage"):
        assert httpx.get(f"{standing.url}{path}").status_code == 401
