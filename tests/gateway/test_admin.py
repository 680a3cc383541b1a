"""The admin API: what it does, who may, and that its document is true."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.specs.openapi.checks import (
    ensure_resource_availability,
    missing_required_header,
    positive_data_acceptance,
    unsupported_method,
    use_after_free,
)

from meter.gateway.admin.describing import document
from meter.simulator import Simulator
from tests.gateway.conftest import providers
from tests.gateway.serving import SECRETS, Served, served

ASK = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 9}


class Admin:
    """A client of the admin API."""

    def __init__(self, gateway: Served, role: str = "admin") -> None:
        self.secret = gateway.key("ops", role=role)
        headers = {"authorization": f"Bearer {self.secret}"}
        self.client = httpx.Client(base_url=f"{gateway.url}/meter/v1", headers=headers, timeout=20)

    def ask(self, method: str, path: str, status: int = 200, **more: Any) -> Any:
        answer = self.client.request(method, path, **more)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None


@pytest.fixture
def admin(gateway: Served) -> Iterator[Admin]:
    made = Admin(gateway)
    yield made
    made.client.close()


def call(gateway: Served, secret: str) -> httpx.Response:
    headers = {"authorization": f"Bearer {secret}"}
    return httpx.post(f"{gateway.url}/v1/chat/completions", json=ASK, headers=headers)


def test_a_key_from_its_making_to_its_end(gateway: Served, admin: Admin) -> None:
    asked = {"subject": "acme", "name": "web", "tags": {"team": "search"}, "models": ["gpt-4o*"]}
    made = admin.ask("POST", "/keys", 201, json={**asked, "calls_per_minute": 60})
    shown, secret = made["key"], made["secret"]
    assert (shown["subject"], shown["state"], shown["models"]) == ("acme", "active", ["gpt-4o*"])
    assert secret.startswith(shown["begins"])
    assert call(gateway, secret).status_code == 200
    assert admin.ask("GET", f"/keys/{shown['id']}") == shown
    assert shown in admin.ask("GET", "/keys", params={"subject": "acme"})["data"]
    assert admin.ask("GET", f"/budgets/rate:{shown['id']}:calls")["spent"] == "1"

    renewed = admin.ask("POST", f"/keys/{shown['id']}/rotate")
    assert call(gateway, renewed["secret"]).status_code == 200
    limits = {"calls_per_minute": 0}
    limited = admin.ask("PUT", f"/keys/{shown['id']}/limits", json=limits)
    assert [each["limit"] for each in limited["data"]] == ["0"]
    assert call(gateway, renewed["secret"]).json()["error"]["code"] == "rate_limit_exceeded"
    assert admin.ask("DELETE", f"/keys/{shown['id']}")["state"] == "revoked"
    for stated in ("found key", "revoked"):
        told = admin.ask("POST", f"/keys/{shown['id']}/rotate", 422)["error"]["message"]
        assert stated in told


def test_keys_come_in_pages(gateway: Served, admin: Admin) -> None:
    made = [gateway.meter.keys.create("paged").key.id for _ in range(5)]
    seen: list[str] = []
    after: dict[str, str] = {}
    while True:
        page = admin.ask("GET", "/keys", params={"subject": "paged", "limit": "2", **after})
        seen += [key["id"] for key in page["data"]]
        if page["next"] is None:
            break
        after = {"after": page["next"]}
    assert sorted(seen) == sorted(made) and len(set(seen)) == 5


def test_a_budget_set_here_holds_at_the_door(gateway: Served, admin: Admin) -> None:
    asked = {"limit": "0.001", "subject": "acme", "window": "day", "tz": "Asia/Shanghai"}
    shown = admin.ask("PUT", "/budgets/acme day", json=asked)
    assert (shown["limit"], shown["left"], shown["currency"]) == ("0.001", "0.001", "USD")
    start = datetime.fromisoformat(shown["window_start"])
    assert start.astimezone(UTC).hour == 16  # midnight in Shanghai
    assert call(gateway, gateway.key("acme")).status_code == 200
    admin.ask("PUT", "/budgets/acme day", json={**asked, "limit": "0"})
    refused = call(gateway, gateway.key("acme"))
    assert (refused.status_code, refused.headers["x-meter-budget"]) == (429, "acme day")
    listed = admin.ask("GET", "/budgets")["data"]
    assert [each["id"] for each in listed] == ["acme day"]
    assert admin.ask("DELETE", "/budgets/acme%20day", 204) is None
    assert admin.ask("GET", "/budgets/acme%20day", 404)["error"]["code"] == "not_found"
    assert admin.ask("DELETE", "/budgets/acme%20day", 404)["error"]["code"] == "not_found"


def test_usage_and_calls_are_those_of_the_ledger(gateway: Served, admin: Admin) -> None:
    for subject in ("alice", "alice", "bob"):
        assert call(gateway, gateway.key(subject)).status_code == 200
    calls = gateway.calls(3)
    rows = admin.ask("GET", "/usage", params={"by": "subject"})["data"]
    assert {row["group"]["subject"]: row["calls"] for row in rows} == {"alice": 2, "bob": 1}
    costs = {row["group"]["subject"]: row["cost"] for row in rows}
    nanos = sum(each.cost_nanos or 0 for each in calls if each.subject == "alice")
    assert round(float(costs["alice"]) * 1e9) == nanos
    page = admin.ask("GET", "/calls", params={"limit": "2"})
    rest = admin.ask("GET", "/calls", params={"limit": "2", "after": page["next"]})
    ids = [each["id"] for each in page["data"] + rest["data"]]
    assert ids == [str(each.id) for each in reversed(calls)] and rest["next"] is None
    shown = admin.ask("GET", f"/calls/{ids[0]}")
    assert shown == page["data"][0]
    assert shown["usage"]["input_tokens"] and shown["lines"] and shown["basis"] == "reported"
    # Times are microseconds and [since, until) is half open.
    since = shown["started_at"]
    later = datetime.fromisoformat(since) + timedelta(microseconds=1)
    asked = {"since": since, "until": later.isoformat()}
    assert [each["id"] for each in admin.ask("GET", "/calls", params=asked)["data"]] == [ids[0]]


def test_a_subject_called_null_is_a_subject(gateway: Served, admin: Admin) -> None:
    gateway.meter.keys.create("somebody")
    assert admin.ask("GET", "/keys", params={"subject": "null"})["data"] == []


def test_an_upstream_is_shown_without_its_credential(admin: Admin) -> None:
    answer = admin.client.get("/upstreams")
    assert [each["name"] for each in answer.json()["data"]] == ["openai", "anthropic", "google"]
    assert "sk-upstream" not in answer.text


@pytest.mark.parametrize(
    ("method", "path", "more", "status", "told"),
    [
        ("POST", "/keys", {"json": {}}, 422, "missing required field subject"),
        ("POST", "/keys", {"json": {"subject": "a", "x": 1}}, 422, "unknown field x"),
        ("POST", "/keys", {"json": {"subject": 1}}, 422, "expected str, got int"),
        ("POST", "/keys", {"content": b"{", "headers": {"content-type": "application/json"}},
         422, "no JSON"),
        ("POST", "/keys", {"content": b"[" * 10_000, "headers": {"content-type":
         "application/json"}}, 422, "expected object"),
        ("POST", "/keys", {"content": b"{}", "headers": {"content-type": "text/plain"}}, 415,
         "application/json"),
        ("POST", "/keys", {"json": {"subject": "a", "endpoints": ["chats"]}}, 422,
         "found endpoint 'chats'"),
        ("POST", "/keys", {"json": {"subject": "a", "expires_at": "2020-01-01T00:00:00Z"}}, 422,
         "in the past"),
        ("POST", "/keys", {"json": {"subject": "a\0"}}, 422, "expected"),
        ("PUT", "/budgets/b", {"json": {"limit": "1e5"}}, 422, "body.limit"),
        ("PUT", "/budgets/b", {"json": {"limit": "1.5", "measure": "calls"}}, 422, "whole number"),
        ("PUT", "/budgets/b", {"json": {"limit": "1", "tz": "Mars"}}, 422, "time zone"),
        ("PUT", "/budgets/b", {"json": {"limit": "1", "subject": "a", "model": "m"}}, 422,
         "at most one"),
        ("PUT", "/budgets/b", {"json": {"limit": "9" * 30}}, 422, "body.limit"),
        ("GET", "/usage?by=colour", {}, 422, "query.by"),
        ("GET", "/usage?since=yesterday", {}, 422, "RFC3339"),
        ("GET", "/usage?subject=a&subject=b", {}, 422, "twice"),
        ("GET", "/usage?by=day,day", {}, 422, "different names"),
        ("GET", "/calls?limit=0", {}, 422, "expected int"),
        ("GET", "/calls?after=x", {}, 422, "query.after"),
        ("GET", "/calls/nothing", {}, 404, "expected a UUID"),
        ("GET", "/calls?colour=red", {}, 422, "unknown field colour"),
        ("GET", "/keys/key-none", {}, 404, "found no key"),
        ("GET", "/nothing", {}, 404, "/meter/docs"),
        ("PATCH", "/keys", {}, 405, "expected GET, POST"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_in_one_sentence(
    admin: Admin, method: str, path: str, more: Any, status: int, told: str
) -> None:
    error = admin.ask(method, path, status, **more)["error"]
    assert told in error["message"] and "\n" not in error["message"]


def test_who_may_do_what(gateway: Served, admin: Admin) -> None:
    reader = Admin(gateway, "reader")
    assert reader.ask("GET", "/keys")["data"]
    assert reader.ask("POST", "/keys", 403, json={"subject": "a"})["error"]["code"] == "read_only"
    for secret, status in (("", 401), ("mk-guessed", 401), (gateway.key("alice"), 403)):
        headers = {"authorization": f"Bearer {secret}"} if secret else {}
        for path in ("/keys", "/nothing"):
            answer = httpx.get(f"{gateway.url}/meter/v1{path}", headers=headers)
            assert answer.status_code == status
    # An admin key calls no model, and the API neither renews nor revokes one.
    assert call(gateway, admin.secret).status_code == 403
    own = next(key for key in admin.ask("GET", "/keys")["data"] if key["role"] == "admin")
    assert "meter keys" in admin.ask("DELETE", f"/keys/{own['id']}", 422)["error"]["message"]
    reader.client.close()


def test_a_large_body_is_refused(admin: Admin) -> None:
    large = b'{"subject": "' + b"a" * 2_000_000 + b'"}'
    admin.ask("POST", "/keys", 413, content=large, headers={"content-type": "application/json"})


def test_the_ledger_is_away(gateway: Served, admin: Admin, monkeypatch: Any) -> None:
    from meter.errors import StoreUnavailable

    admin.ask("GET", "/budgets")

    def away(*_: object, **__: object) -> None:
        raise StoreUnavailable("found no database")

    monkeypatch.setattr(type(gateway.gateway.services.ledger), "budgets", away)
    assert admin.ask("GET", "/budgets", 503)["error"]["code"] == "ledger_unavailable"


def test_the_document_and_the_page_are_public_and_say_nothing_secret(gateway: Served) -> None:
    document_text = httpx.get(f"{gateway.url}/meter/openapi.json").text
    page = httpx.get(f"{gateway.url}/meter/docs", headers={"accept": "text/html"})
    as_json = httpx.get(f"{gateway.url}/meter/docs", headers={"accept": "application/json"})
    assert as_json.text == document_text
    assert page.headers["content-type"].startswith("text/html")
    assert "http://" not in page.text and "https://" not in page.text
    for operation in ("/keys/{id}/rotate", "/budgets/{id}", "/usage"):
        assert operation in page.text and operation in document_text


schema = schemathesis.openapi.from_dict(document())
# Resources and methods are tested by hand above, and no schema says what a time zone is.
NOT_CHECKED = [
    positive_data_acceptance, ensure_resource_availability, use_after_free, unsupported_method,
    missing_required_header,
]  # fmt: skip


@pytest.fixture(scope="module")
def besieged(
    running_simulator: Simulator, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """A gateway of its own for made-up questions: they set budgets that refuse everybody."""
    with pytest.MonkeyPatch.context() as patch:
        for name, secret in SECRETS.items():
            patch.setenv(name, secret)
        folder = tmp_path_factory.mktemp("besieged")
        with served(folder, providers(running_simulator)) as running:
            yield running


@schema.parametrize()
@settings(
    max_examples=25,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_the_document_is_true(case: schemathesis.Case, besieged: Served) -> None:
    # Said to be ours: a secret among the made up headers may be taken for made up as well.
    headers = {"Authorization": f"Bearer {_secret(besieged)}"}
    answer = case.call(base_url=besieged.url, headers=headers)
    assert answer.status_code < 500
    case.validate_response(answer, excluded_checks=NOT_CHECKED)


_SECRETS: dict[str, str] = {}


def _secret(gateway: Served) -> str:
    if gateway.url not in _SECRETS:
        _SECRETS[gateway.url] = gateway.key("ops", role="admin")
    return _SECRETS[gateway.url]


RESALE = """
[[rule]]
book = "resale"
multiplier = "2"
currency = "CNY"
[[exchange]]
from = "USD"
to = "CNY"
rate = "7"
source = "a bank"
"""


def test_prices_are_imported_used_at_once_and_taken_back(gateway: Served, admin: Admin) -> None:
    made = admin.ask("PUT", "/prices/ours", json={"content": RESALE})
    assert (made["name"], made["version"], made["format"]) == ("ours", 1, "toml")
    assert admin.ask("GET", "/prices") == {"data": [made]}
    secret = gateway.key("acme")
    assert call(gateway, secret).status_code == 200
    (row,) = gateway.calls(1)
    # Twice the list price, at 7 yuan a dollar.
    assert row.billed.currency == "CNY"
    assert row.billed.amount_nanos > 0
    assert abs(row.billed.amount_nanos - row.cost_nanos * 14) <= 14
    shown = admin.ask("GET", f"/calls/{row.id}")
    assert (shown["billed_currency"], shown["currency"]) == ("CNY", "USD")
    # A customer sees what it is billed, never what the call cost.
    day = row.started_us // 1_000_000 // 86_400 * 86_400
    answer = httpx.get(
        f"{gateway.url}/v1/organization/costs",
        params={"start_time": day, "group_by": "line_item"},
        headers={"authorization": f"Bearer {secret}"},
        timeout=20,
    ).json()
    found = [result for bucket in answer["data"] for result in bucket["results"]]
    assert {result["amount"]["currency"] for result in found} == {"cny"}
    total = sum(round(result["amount"]["value"] * 10**9) for result in found)
    assert total == row.billed.amount_nanos
    admin.ask("DELETE", "/prices/ours", 204)
    admin.ask("DELETE", "/prices/ours", 404)
    assert admin.ask("GET", "/prices") == {"data": []}
    assert call(gateway, secret).status_code == 200
    assert sum(row.is_resold for row in gateway.calls(2)) == 1


def test_a_rate_file_that_cannot_be_used_is_refused(admin: Admin) -> None:
    refused = admin.ask("PUT", "/prices/ours", 422, json={"content": "[[rule]]"})
    assert "rate file ours, rule 1" in str(refused)
    assert admin.ask("GET", "/prices") == {"data": []}
