"""Two tenants on one Google account: neither sees the other's caches and batches."""

import json
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from google import genai
from google.genai import errors, types

from meter.gateway import app, watching
from tests.gateway.object_upstream import Account
from tests.gateway.serving import WAIT_S, Received, Served, served, upstream_that

MODEL = "gemini-2.5-flash"
TEXT = [{"role": "user", "parts": [{"text": "hi"}]}]
USED = {"promptTokenCount": 7, "candidatesTokenCount": 3, "totalTokenCount": 10}


class GoogleAccount(Account):
    """Everything in one account, as Google stores it, whoever made it."""

    def answer(self, method: str, path: str, request: Received) -> tuple[int, dict[str, Any]]:
        asked = json.loads(request.body) if request.body.startswith(b"{") else {}
        name = path.removeprefix("/v1beta/").removeprefix("/v1/").partition(":")[0]
        if name == "models":
            return 200, {"models": [{"name": f"models/{MODEL}", "displayName": "Flash"}]}
        if path.endswith(":generateContent"):
            answered = [{"content": {"parts": [{"text": "ho"}]}, "finishReason": "STOP"}]
            return 200, {"candidates": answered, "usageMetadata": USED}
        if path.endswith(":batchGenerateContent"):
            made = self.add("batches", metadata={"model": f"models/{MODEL}", "batchStats": {}})
            return 200, made
        if name == "cachedContents" and method == "POST":
            return 200, self.add(name, model=asked["model"], usageMetadata={"totalTokenCount": 9})
        if name in ("cachedContents", "batches", "files"):
            return 200, {name: list(self.objects.values())}
        if name not in self.objects:
            return 404, {"error": {"code": 404, "message": "gone", "status": "NOT_FOUND"}}
        if method == "DELETE":
            del self.objects[name]
            return 200, {}
        return 200, self.objects[name]

    def add(self, collection: str, **more: Any) -> dict[str, Any]:
        name = f"{collection}/{next(self._numbers)}abc"
        self.objects[name] = {"name": name, **more}
        return self.objects[name]


@pytest.fixture
def account() -> GoogleAccount:
    return GoogleAccount()


@pytest.fixture
def gateway(account: GoogleAccount, tmp_path: Path) -> Iterator[Served]:
    with (
        upstream_that(account.answering()) as upstream,
        served(tmp_path, {"google": upstream.url}) as running,
    ):
        yield running


class Tenant:
    """One customer with a key."""

    def __init__(self, gateway: Served, subject: str) -> None:
        self._client = httpx.Client(
            base_url=f"{gateway.url}/v1beta", headers={"x-goog-api-key": gateway.key(subject)}
        )

    def ask(self, method: str, path: str, **body: Any) -> httpx.Response:
        with_body = {"json": body} if method in ("POST", "PATCH") else {}
        return self._client.request(method, f"/{path}", **with_body)

    def close(self) -> None:
        self._client.close()

    def make(self, collection: str) -> str:
        if collection == "batches":
            answer = self.ask("POST", f"models/{MODEL}:batchGenerateContent", batch={})
        else:
            answer = self.ask("POST", collection, model=f"models/{MODEL}", contents=TEXT)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["name"])


@pytest.fixture
def alice(gateway: Served) -> Iterator[Tenant]:
    with closing(Tenant(gateway, "alice")) as tenant:
        yield tenant


@pytest.fixture
def bob(gateway: Served) -> Iterator[Tenant]:
    with closing(Tenant(gateway, "bob")) as tenant:
        yield tenant


@pytest.mark.parametrize("collection", ["cachedContents", "batches"])
def test_what_one_made_is_not_there_for_the_other(alice, bob, account, collection):
    name = alice.make(collection)
    assert alice.ask("GET", name).json()["name"] == name
    sent = len(account.lines)
    identity = name.partition("/")[2]
    for method, path in (
        ("GET", name), ("PATCH", name), ("DELETE", name), ("POST", f"{name}:cancel"),
        ("GET", f"{collection.upper()}/{identity}"), ("GET", f"{collection}/%{ord(identity[0]):x}"
                                                             f"{identity[1:]}"),
    ):  # fmt: skip
        answer = bob.ask(method, path)
        assert answer.status_code == 404, (method, path, answer.text)
        assert answer.json()["error"]["status"] == "NOT_FOUND"
    assert len(account.lines) == sent
    assert alice.ask("DELETE", name).status_code == 200
    assert alice.ask("GET", name).status_code == 404


@pytest.mark.parametrize(
    ("collection", "member"), [("cachedContents", "cachedContents"), ("batches", "operations")]
)
def test_a_list_shows_one_s_own_only(alice, bob, account, collection, member):
    names = [alice.make(collection) for _ in range(5)]
    bobs = bob.make(collection)
    account.add(collection)  # past the gateway
    assert [each["name"] for each in bob.ask("GET", collection).json()[member]] == [bobs]
    seen: list[str] = []
    token = ""
    while True:
        page = alice.ask("GET", f"{collection}?pageSize=2{token}").json()
        seen += [each["name"] for each in page[member]]
        if "nextPageToken" not in page:
            break
        assert len(page[member]) == 2
        token = f"&pageToken={page['nextPageToken']}"
    assert seen == names[::-1]
    # Another's token leads nowhere.
    stolen = bob.ask("GET", f"{collection}?pageToken={names[2]}").json()
    assert stolen == {member: []}


def test_a_key_in_google_s_header_opens_no_other_api_s_objects(gateway, account):
    headers = {"x-goog-api-key": gateway.key("bob")}
    with httpx.Client(base_url=f"{gateway.url}/v1", headers=headers) as client:
        for path, status in (("files/file-1", 403), ("files", 403), ("batches/batch_1", 404)):
            assert client.get(path).status_code == status, path
    assert account.lines == []


@pytest.mark.parametrize("verb", ["generateContent", "streamGenerateContent", "countTokens"])
@pytest.mark.parametrize("member", ["cachedContent", "cached_content"])
def test_a_request_cannot_name_another_s_cache(alice, bob, account, verb, member):
    name = alice.make("cachedContents")
    sent = len(account.lines)
    body = {"contents": TEXT, member: name}
    answer = bob.ask("POST", f"models/{MODEL}:{verb}", **body)
    assert answer.status_code == 404 and name in answer.text
    assert len(account.lines) == sent
    alice.ask("POST", f"models/{MODEL}:{verb}", **body)
    assert len(account.lines) == sent + 1


def test_a_file_made_past_the_gateway_is_nobody_s_and_an_address_elsewhere_anybody_s(bob, account):
    for uri, status in (
        ("https://generativelanguage.googleapis.com/v1beta/files/operator", 404),
        ("files/operator", 404),
        ("https://www.youtube.com/watch?v=9hE5", 200),
        ("https://example.com/files/report.pdf", 200),
    ):
        parts = [{"fileData": {"fileUri": uri}}]
        body = {"contents": [{"role": "user", "parts": parts}]}
        answer = bob.ask("POST", f"models/{MODEL}:generateContent", **body)
        assert answer.status_code == status, uri
    assert bob.ask("GET", "files/operator").status_code == 403
    assert bob.ask("GET", "files").status_code == 403


def test_google_s_sdk_uses_a_cache_of_its_own(gateway):
    def client(subject: str) -> genai.Client:
        options = types.HttpOptions(base_url=gateway.url)
        return genai.Client(api_key=gateway.key(subject), http_options=options)

    with client("alice") as alice, client("bob") as bob:
        made = [
            alice.caches.create(model=MODEL, config=types.CreateCachedContentConfig(contents="hi"))
            for _ in range(3)
        ]
        assert alice.caches.get(name=made[0].name).name == made[0].name
        listed = alice.caches.list(config=types.ListCachedContentsConfig(page_size=2))
        assert [each.name for each in listed] == [each.name for each in made[::-1]]
        using = types.GenerateContentConfig(cached_content=made[0].name)
        assert alice.models.generate_content(model=MODEL, contents="x", config=using).text == "ho"
        assert list(bob.caches.list()) == []
        assert [each.name for each in bob.models.list()] == [f"models/{MODEL}"]
        batch = alice.batches.create(model=MODEL, src=[types.InlinedRequest(contents="x")])
        assert alice.batches.get(name=batch.name).name == batch.name
        assert [each.name for each in alice.batches.list()] == [batch.name]
        assert list(bob.batches.list()) == []
        for ask in (bob.batches.get, bob.batches.cancel, bob.batches.delete, bob.caches.delete):
            with pytest.raises(errors.ClientError, match="404"):
                ask(name=batch.name if "batches" in type(ask.__self__).__module__ else made[0].name)
        with pytest.raises(errors.ClientError, match="404"):
            bob.models.generate_content(model=MODEL, contents="x", config=using)


def test_a_batch_that_nobody_asks_for_is_billed_at_its_end_once(account, tmp_path, monkeypatch):
    monkeypatch.setattr(app, "_SWEEP_SECONDS", 0.1)
    monkeypatch.setattr("meter.gateway.tenants._FIRST_LOOK_US", 0)
    monkeypatch.setattr(watching, "_MINUTE_US", 100_000)
    with (
        upstream_that(account.answering()) as upstream,
        served(tmp_path, {"google": upstream.url}) as gateway,
        closing(Tenant(gateway, "alice")) as alice,
    ):
        name = alice.make("batches")
        account.objects[name] |= {
            "done": True,
            "response": {"inlinedResponses": {"inlinedResponses": [
                {"response": {"usageMetadata": USED}}, {"response": {"usageMetadata": USED}}]}},
        }  # fmt: skip
        until = time.monotonic() + WAIT_S
        while True:
            billed = [c for c in gateway.meter.calls(subject="alice") if c.usage]
            if billed:
                break
            assert time.monotonic() < until, "nobody has looked"
            time.sleep(0.1)
        alice.ask("GET", name)
        time.sleep(0.5)
        sums = gateway.meter.usage(("subject",), subject="alice")
    assert [(row.input_tokens, row.output_tokens) for row in sums] == [(14, 6)]
