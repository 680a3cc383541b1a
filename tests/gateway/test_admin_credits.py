"""Prepaid credit, teams and projects over the admin API, and what they do at the door."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.gateway.serving import Served
from tests.gateway.test_admin import Admin, call

WHY = {"reason": "order 17", "author": "carol"}


@pytest.fixture
def admin(gateway: Served) -> Iterator[Admin]:
    made = Admin(gateway)
    yield made
    made.client.close()


def test_credit_from_its_grant_to_its_statement(gateway: Served, admin: Admin) -> None:
    grant = {"amount": "5", "currency": "USD", **WHY}
    made = admin.ask("PUT", "/credits/acme/grants/g1", json=grant)
    assert (made["subject"], made["left"], made["state"]) == ("acme", "5", "live")
    assert admin.ask("PUT", "/credits/acme/grants/g1", json=grant)["id"] == "g1"
    told = admin.ask("PUT", "/credits/acme/grants/g1", 409, json={**grant, "amount": "6"})
    assert told["error"]["code"] == "conflict"
    assert call(gateway, gateway.key("acme")).status_code == 200
    (cost,) = [each.cost_nanos for each in gateway.calls(1)]
    (shown,) = admin.ask("GET", "/credits")["data"]
    assert (shown["id"], shown["held"]) == ("credit:acme:USD", "0")
    left = 5_000_000_000 - cost
    assert shown["balance"] == shown["free"] == f"{left // 10**9}.{left % 10**9:09d}".rstrip("0")
    admin.ask("PUT", "/credits/acme/adjustments/a1", json={"amount": "-1", **WHY})
    told = admin.ask("PUT", "/credits/acme/refunds/r1", 422, json={"amount": "1", **WHY})
    assert "expected at most" in told["error"]["message"]
    ended = admin.ask("POST", "/credits/acme/grants/g1/revoke", json=WHY)
    assert (ended["state"], ended["left"]) == ("revoked", "0")
    found = admin.ask("GET", "/credits/acme/statement", params={"by": "model"})
    assert [(line["kind"], line["id"]) for line in found["lines"]] == [
        ("grant", "g1"), ("usage", None), ("adjustment", "a1"), ("revocation", "g1"),
    ]  # fmt: skip
    assert found["lines"][1]["groups"] == {"model": "gpt-4o-mini"}
    assert (found["opening_balance"], found["closing_balance"]) == ("0", "0")
    whole = admin.ask("GET", "/credits/acme")
    assert [balance["balance"] for balance in whole["balances"]] == ["0"]
    assert [each["id"] for each in whole["grants"]] == ["g1"]


def test_the_door_names_the_credit_that_is_used_up(gateway: Served, admin: Admin) -> None:
    admin.ask("PUT", "/credits/acme/grants/g1", json={"amount": "0.000000001", **WHY})
    refused = call(gateway, gateway.key("acme"))
    assert refused.status_code == 429
    assert refused.headers["x-meter-budget"] == "credit:acme:USD"
    assert refused.headers["x-should-retry"] == "false"
    error = refused.json()["error"]
    assert error["code"] == error["type"] == "insufficient_quota"
    assert error["message"].startswith(
        "This call was refused by a spending limit: the prepaid credit of acme has 0.000000001 USD "
        "left and this call may need "
    )
    shown = admin.ask("GET", "/budgets/credit:acme:USD")
    assert (shown["measure"], shown["limit"]) == ("credit", "0.000000001")
    assert admin.ask("GET", "/budgets")["data"] == []


def test_a_subject_of_any_script_is_named_in_a_header_that_every_client_can_read(
    gateway: Served, admin: Admin
) -> None:
    admin.ask("PUT", "/credits/张三/grants/g1", json={"amount": "0.000000001", **WHY})
    refused = call(gateway, gateway.key("张三"))
    assert refused.status_code == 429
    assert refused.headers["x-meter-budget"] == "credit:%E5%BC%A0%E4%B8%89:USD"
    assert "the prepaid credit of 张三 has" in refused.json()["error"]["message"]


def test_balances_come_in_pages(gateway: Served, admin: Admin) -> None:
    for name in ("a", "b", "c"):
        gateway.meter.credits.grant(name, "1", **WHY)
    first = admin.ask("GET", "/credits", params={"limit": "2"})
    assert [each["subject"] for each in first["data"]] == ["a", "b"]
    rest = admin.ask("GET", "/credits", params={"limit": "2", "after": first["next"]})
    assert ([each["subject"] for each in rest["data"]], rest["next"]) == (["c"], None)


def test_a_grant_that_expires_says_when(admin: Admin) -> None:
    at = (datetime.now(UTC) + timedelta(days=30)).replace(microsecond=0)
    asked = {"amount": "1", "expires_at": at.isoformat(), **WHY}
    made = admin.ask("PUT", "/credits/acme/grants/g1", json=asked)
    assert datetime.fromisoformat(made["expires_at"]) == at


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "told"),
    [
        ("GET", "/credits/nobody", None, 404, "no prepaid credit of 'nobody'"),
        ("GET", "/credits/nobody/statement", None, 422, "no prepaid credit of 'nobody'"),
        ("GET", "/credits?after=x", None, 422, "found no credit 'x'"),
        ("PUT", "/credits/a/grants/g", {"amount": "1e5", "author": "c"}, 422, "body.amount"),
        ("PUT", "/credits/a/grants/g", {"amount": "0", "author": "c"}, 422, "more than zero"),
        ("PUT", "/credits/a/grants/g", {"amount": "1"}, 422, "author"),
        ("PUT", "/credits/a/grants/credit:x", {"amount": "1", "author": "c"}, 422, "begin with"),
        ("PUT", "/credits/a/grants/g",
         {"amount": "1", "author": "c", "expires_at": "2020-01-01T00:00:00Z"}, 422, "in the past"),
        ("POST", "/credits/a/grants/g/revoke", WHY, 404, "found no grant 'g' of 'a'"),
        ("PUT", "/credits/a/adjustments/x", {"amount": "1", **WHY}, 422, "expected a grant before"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_in_one_sentence(
    admin: Admin, method: str, path: str, body: Any, status: int, told: str
) -> None:
    more = {} if body is None else {"json": body}
    error = admin.ask(method, path, status, **more)["error"]
    assert told in error["message"] and "\n" not in error["message"]


def test_a_team_and_a_project_are_limited_shown_and_summed(gateway: Served, admin: Admin) -> None:
    asked = {"subject": "acme", "team": "search", "project": "crawler"}
    made = admin.ask("POST", "/keys", 201, json=asked)
    assert (made["key"]["team"], made["key"]["project"]) == ("search", "crawler")
    assert made["key"]["tags"] == {"team": "search", "project": "crawler"}
    assert admin.ask("GET", "/keys", params={"team": "search"})["data"] == [made["key"]]
    assert admin.ask("GET", "/keys", params={"project": "other"})["data"] == []
    contradiction = {**asked, "tags": {"team": "ads"}}
    told = admin.ask("POST", "/keys", 422, json=contradiction)["error"]["message"]
    assert told == "found team 'search' and a tag team=ads, expected one"
    admin.ask("PUT", "/budgets/search", json={"limit": "1", "team": "search", "measure": "calls"})
    assert call(gateway, made["secret"]).status_code == 200
    assert call(gateway, made["secret"]).headers["x-meter-budget"] == "search"
    (row,) = admin.ask("GET", "/usage", params={"by": "team,project"})["data"]
    assert row["group"] == {"team": "search", "project": "crawler"}
    assert row["calls"] == 2
    both = {"limit": "1", "team": "a", "project": "b"}
    assert "at most one" in admin.ask("PUT", "/budgets/b", 422, json=both)["error"]["message"]
