"""Two tenants on one upstream account: neither sees what the other made."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import openai
import pytest

from tests.gateway.object_upstream import PREFIXES, Account
from tests.gateway.serving import Served, served, upstream_that

TEXT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]}
BODIES = {
    "chat/completions": {**TEXT, "store": True},
    "responses": {"model": "gpt-4o-mini", "input": "hi"},
    "fine_tuning/jobs": {"model": "gpt-4o-mini"},
    "messages/batches": {"requests": []},
}
LISTED = sorted(set(PREFIXES) - {"uploads", "threads", "responses", "conversations"})


class Tenant:
    """One customer: a client with a key."""

    def __init__(self, gateway: Served, subject: str, **more: object) -> None:
        self.subject = subject
        headers = {"authorization": f"Bearer {gateway.key(subject, **more)}"}
        self._client = httpx.Client(base_url=f"{gateway.url}/v1", headers=headers, timeout=20)

    def ask(self, method: str, path: str, **body: object) -> httpx.Response:
        with_body = {"json": body} if method in ("POST", "PATCH") else {}
        return self._client.request(method, f"/{path}", **with_body)

    def make(self, family: str, **more: object) -> str:
        answer = self.ask("POST", family, **{**BODIES.get(family, {}), **more})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["id"])

    def close(self) -> None:
        self._client.close()


@pytest.fixture
def account() -> Account:
    return Account()


@pytest.fixture
def gateway(account: Account, tmp_path: Path) -> Iterator[Served]:
    with (
        upstream_that(account.answering()) as upstream,
        served(tmp_path, {"openai": f"{upstream.url}/v1"}) as running,
    ):
        yield running


@pytest.fixture
def alice(gateway: Served) -> Iterator[Tenant]:
    tenant = Tenant(gateway, "alice")
    yield tenant
    tenant.close()


@pytest.fixture
def bob(gateway: Served) -> Iterator[Tenant]:
    tenant = Tenant(gateway, "bob")
    yield tenant
    tenant.close()


@pytest.mark.parametrize("family", sorted(PREFIXES))
def test_what_one_made_is_not_there_for_the_other(alice, bob, account, family):
    name = alice.make(family)
    if family != "uploads":  # which cannot be read back
        assert alice.ask("GET", f"{family}/{name}").json()["id"] == name
    sent = len(account.lines)
    tries = [
        ("GET", ""), ("POST", ""), ("DELETE", ""), ("GET", "/content"), ("POST", "/cancel"),
        ("GET", "/events"), ("GET", "/input_items"), ("POST", "/messages"), ("HEAD", ""),
    ]  # fmt: skip
    for method, rest in tries:
        answer = bob.ask(method, f"{family}/{name}{rest}")
        assert answer.status_code == 404, (method, rest, answer.text)
        if method != "HEAD":
            assert name in answer.json()["error"]["message"]
    # Its own bytes, whether the object exists or not.
    absent = bob.ask("GET", f"{family}/{name}0").json()["error"]
    present = bob.ask("GET", f"{family}/{name}").json()["error"]
    assert {**absent, "message": absent["message"].replace(f"{name}0", name)} == present
    assert len(account.lines) == sent
    assert name in account.objects


@pytest.mark.parametrize("family", sorted(PREFIXES))
def test_another_api_s_header_or_verb_opens_nothing(gateway, alice, account, family):
    name = alice.make(family)
    sent = len(account.lines)
    with httpx.Client(headers={"x-goog-api-key": gateway.key("bob")}) as client:
        for path in (
            f"v1/{family}/{name}", f"v1/{family}/{name}/content", f"v1/{family}/{name}:cancel",
            f"v1beta/{family}/{name}",
        ):  # fmt: skip
            assert client.get(f"{gateway.url}/{path}").status_code in (403, 404), path
    assert len(account.lines) == sent


@pytest.mark.parametrize("family", LISTED)
def test_a_list_shows_one_s_own_only(alice, bob, account, family):
    names = [alice.make(family) for _ in range(5)]
    bobs = bob.make(family)
    page = alice.ask("GET", family).json()
    assert [each["id"] for each in page["data"]] == names[::-1]
    assert page["has_more"] is False
    first, last = ("after_id", "before_id") if family == "messages/batches" else ("after", "before")
    seen: list[str] = []
    cursor = ""
    while True:
        page = alice.ask("GET", f"{family}?limit=2{cursor}").json()
        seen += [each["id"] for each in page["data"]]
        if not page["has_more"]:
            break
        assert page["last_id"] == seen[-1] and len(page["data"]) == 2
        cursor = f"&{first}={seen[-1]}"
    assert seen == names[::-1]
    page = alice.ask("GET", f"{family}?limit=2&{last}={names[0]}").json()
    assert [each["id"] for each in page["data"]] == [names[2], names[1]]
    assert page["has_more"] is True
    assert [each["id"] for each in bob.ask("GET", family).json()["data"]] == [bobs]
    assert bob.ask("GET", f"{family}?{first}={names[2]}").json()["data"] == []
    assert f"GET /v1/{family}" not in account.lines


def test_what_is_deleted_leaves_the_list(alice, account):
    first, second, third = (alice.make("files") for _ in range(3))
    assert alice.ask("DELETE", f"files/{second}").json()["deleted"]
    del account.objects[third]  # it expired, and nobody told
    page = alice.ask("GET", "files").json()
    assert [each["id"] for each in page["data"]] == [first]
    assert alice.ask("GET", f"files/{second}").status_code == 404


def test_a_page_is_full_although_some_are_gone(alice, account):
    names = [alice.make("files") for _ in range(8)]
    for gone in names[3:7]:
        del account.objects[gone]
    page = alice.ask("GET", "files?limit=3").json()
    assert [each["id"] for each in page["data"]] == [names[7], names[2], names[1]]
    assert page["has_more"] is True


def test_a_list_is_filtered_as_asked(alice, account):
    kept, other = alice.make("files"), alice.make("files")
    account.objects[other]["purpose"] = "vision"
    page = alice.ask("GET", "files?purpose=batch").json()
    assert [each["id"] for each in page["data"]] == [kept]


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "limit=-1", "order=up"])
def test_a_question_that_cannot_be_understood_is_told(alice, query):
    answer = alice.ask("GET", f"files?{query}")
    assert answer.status_code == 400 and "expected" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("family", "path", "body"),
    [
        ("files", "batches", {"input_file_id": "?", "endpoint": "/v1/chat/completions"}),
        ("files", "fine_tuning/jobs", {"model": "gpt-4o-mini", "training_file": "?"}),
        ("files", "fine_tuning/jobs", {"model": "gpt-4o-mini", "validation_file": "?"}),
        ("files", "vector_stores", {"file_ids": ["?"]}),
        ("files", "assistants", {"tool_resources": {"code_interpreter": {"file_ids": ["?"]}}}),
        (
            "files", "chat/completions",
            {"model": "gpt-4o-mini", "messages": [
                {"role": "user", "content": [{"type": "file", "file": {"file_id": "?"}}]}]},
        ),
        (
            "files", "responses",
            {"model": "gpt-4o", "input": [
                {"role": "user", "content": [{"type": "input_file", "file_id": "?"}]}]},
        ),
        ("responses", "responses", {"model": "gpt-4o", "input": "x", "previous_response_id": "?"}),
        ("conversations", "responses", {"model": "gpt-4o", "input": "x", "conversation": "?"}),
        (
            "conversations", "responses",
            {"model": "gpt-4o", "input": "x", "conversation": {"id": "?"}},
        ),
        (
            "vector_stores", "responses",
            {"model": "gpt-4o", "input": "x", "tools": [
                {"type": "file_search", "vector_store_ids": ["?"]}]},
        ),
        (
            "containers", "responses",
            {"model": "gpt-4o", "input": "x", "tools": [
                {"type": "code_interpreter", "container": "?"}]},
        ),
        ("assistants", "threads/runs", {"assistant_id": "?"}),
        ("files", "messages", {"model": "claude-sonnet-4-5", "max_tokens": 5, "messages": [
            {"role": "user", "content": [
                {"type": "document", "source": {"type": "file", "file_id": "?"}}]}]}),
    ],
)  # fmt: skip
def test_a_request_cannot_name_what_belongs_to_another(alice, bob, account, family, path, body):
    name = alice.make(family)
    sent = len(account.lines)

    def filled(value):
        if isinstance(value, dict):
            return {key: filled(member) for key, member in value.items()}
        if isinstance(value, list):
            return [filled(member) for member in value]
        return name if value == "?" else value

    answer = bob.ask("POST", path, **filled(body))
    assert answer.status_code == 404 and name in answer.text
    assert len(account.lines) == sent
    assert alice.ask("POST", path, **filled(body)).status_code in (200, 404)
    # The requests of a batch are looked through first.
    assert len(account.lines) == sent + (2 if path == "batches" else 1)


@pytest.mark.parametrize("place", [1, 2_000])
def test_a_batch_cannot_name_what_belongs_to_another(alice, bob, account, place):
    picture, own, file = alice.make("files"), bob.make("files"), bob.make("files")
    ask = {"custom_id": "one", "method": "POST", "url": "/v1/responses", "body": {
        "model": "gpt-4o", "input": [{"role": "user", "content": [
            {"type": "input_image", "file_id": "?"}]}]}}  # fmt: skip
    lines = [json.dumps(ask).replace("?", own)] * 2_000
    lines[place - 1] = json.dumps(ask).replace("?", picture)
    account.objects[file]["_events"] = "\n".join(lines).encode()
    wanted = {"input_file_id": file, "endpoint": "/v1/responses"}
    answer = bob.ask("POST", "batches", **wanted)
    assert answer.status_code == 404 and picture in answer.text
    assert not any(name.startswith("batch_") for name in account.objects)
    lines[place - 1] = json.dumps(ask).replace("?", own)
    account.objects[file]["_events"] = "\n".join([*lines, "no JSON", ""]).encode()
    assert bob.ask("POST", "batches", **wanted).status_code == 200


@pytest.mark.parametrize(
    ("family", "line"),
    [
        ("responses", '{"body": {"previous_response_id": "?"}}'),
        ("responses", r'{"body": {"previous\u005fresponse\u005fi\u0064": "?"}}'),
        ("conversations", '{"body": {"conversation": {"id": "?"}}}'),
        ("vector_stores", '{"body": {"tools": [{"vector_store_ids": ["?"]}]}}'),
        ("containers", '{"body": {"tools": [{"container": "?"}]}}'),
        ("files", '\ufeff{"body": {"messages": [{"content": [{"file": {"file_id": "?"}}]}]}}'),
        ("files", '{"body": {"x": NaN, "file_id": "?"}}'),
        ("models", '{"body": {"model": "?"}}'),
    ],
)
def test_no_request_of_a_batch_names_what_belongs_to_another(alice, bob, account, family, line):
    if family == "models":
        job = alice.make("fine_tuning/jobs")
        account.objects[job]["fine_tuned_model"] = name = "ft:gpt-4o-mini:org::1"
        alice.ask("GET", f"fine_tuning/jobs/{job}")
    else:
        name = alice.make(family)
    file = bob.make("files")
    account.objects[file]["_events"] = b"{}\n" + line.replace("?", name).encode() + b"\n"
    answer = bob.ask("POST", "batches", input_file_id=file, endpoint="/v1/responses")
    assert answer.status_code == 404 and name in answer.text


@pytest.mark.parametrize("between", ["\r", "\u2028", " "])
def test_a_line_that_names_objects_and_cannot_be_read_is_refused(alice, bob, account, between):
    name, file = alice.make("files"), bob.make("files")
    lines = ['{"body": {}}', json.dumps({"body": {"file_id": name}})]
    account.objects[file]["_events"] = between.join(lines).encode()
    answer = bob.ask("POST", "batches", input_file_id=file, endpoint="/v1/responses")
    assert answer.status_code == 400 and "looked through" in answer.text


def test_a_batch_whose_file_cannot_be_read_is_told_why(bob, account):
    file = bob.make("files")
    del account.objects[file]
    answer = bob.ask("POST", "batches", input_file_id=file, endpoint="/v1/responses")
    assert answer.status_code == 400
    assert "the upstream answered 404 for its file" in answer.json()["error"]["message"]


def test_an_escaped_name_is_the_same_name(alice, bob):
    name = alice.make("responses")
    text = (
        r'{"model": "gpt-4o", "input": "x", "previous\u005fresponse\u005fi\u0064": "'
        + name.replace("_", r"\u005f")
        + '"}'
    )
    for tenant, status in ((bob, 404), (alice, 200)):
        answer = tenant._client.post(
            "/responses", content=text, headers={"content-type": "application/json"}
        )
        assert answer.status_code == status


def test_a_name_in_a_text_is_no_reference(alice, bob):
    name = alice.make("files")
    body = {"model": "gpt-4o", "input": f'{{"file_id": "{name}"}}', "metadata": {"file_id": name}}
    assert bob.ask("POST", "responses", **body).status_code == 200


def test_what_a_client_writes_into_an_answer_makes_it_nobody_s(bob, account):
    """The operator's own file, made past the gateway, stays unseen although bob knows its name."""
    account.objects["file-operator"] = {"id": "file-operator", "object": "file"}
    bob.make("responses", metadata={"output_file_id": "file-operator", "id": "file-operator"})
    bob.make("threads", metadata={"thread_id": "file-operator"})
    assert bob.ask("GET", "files/file-operator").status_code == 404


def test_the_files_of_a_batch_belong_to_its_owner(alice, bob, account):
    batch = alice.make("batches")
    for name, member in (("file-out", "output_file_id"), ("file-err", "error_file_id")):
        account.objects[name] = {"id": name, "object": "file"}
        assert alice.ask("GET", f"files/{name}").status_code == 404
        account.objects[batch][member] = name
    alice.ask("GET", f"batches/{batch}")
    for name in ("file-out", "file-err"):
        assert alice.ask("GET", f"files/{name}/content").status_code == 200
        assert bob.ask("GET", f"files/{name}/content").status_code == 404


def test_a_tuned_model_belongs_to_its_job_s_owner(gateway, alice, bob, account):
    job = alice.make("fine_tuning/jobs")
    model = "ft:gpt-4o-mini:org::1"
    account.models.append(model)
    account.objects[job]["fine_tuned_model"] = model
    body = {**TEXT, "model": model}
    assert alice.ask("POST", "chat/completions", **body).status_code == 404
    alice.ask("GET", f"fine_tuning/jobs/{job}")
    assert alice.ask("POST", "chat/completions", **body).status_code == 200
    # Neither does a header of another API open it.
    headers, sent = {"x-goog-api-key": gateway.key("bob")}, len(account.lines)
    for path in (f"models/{model}", f"models/{model.replace('ft', '%66t')}"):
        assert httpx.get(f"{gateway.url}/v1/{path}", headers=headers).status_code == 404
    assert len(account.lines) == sent
    refused = bob.ask("POST", "chat/completions", **body)
    assert refused.status_code == 404 and refused.json()["error"]["code"] == "model_not_found"
    assert bob.ask("DELETE", f"models/{model}").status_code == 404

    def names(tenant: Tenant) -> list[str]:
        return [each["id"] for each in tenant.ask("GET", "models").json()["data"]]

    assert names(alice) == ["gpt-4o-mini", model]
    assert names(bob) == ["gpt-4o-mini"]
    carol = Tenant(gateway, "carol", models=["gpt-4o-mini", "ft:gpt-4o-mini:org::1"])
    assert carol.ask("POST", "chat/completions", **body).status_code == 200
    assert names(carol) == ["gpt-4o-mini", model]
    carol.close()


def test_a_thread_that_a_run_made_is_its_maker_s(alice, bob):
    thread = alice.ask("POST", "threads/runs", model="gpt-4o").json()["thread_id"]
    assert alice.ask("GET", f"threads/{thread}").status_code == 200
    assert bob.ask("GET", f"threads/{thread}").status_code == 404


def test_a_remixed_video_is_its_maker_s(alice, bob):
    video = alice.make("videos")
    remix = alice.ask("POST", f"videos/{video}/remix", prompt="x").json()["id"]
    assert remix != video
    assert alice.ask("GET", f"videos/{remix}").status_code == 200
    assert bob.ask("GET", f"videos/{remix}").status_code == 404


@pytest.mark.parametrize("family", ["responses", "chat/completions"])
def test_a_streamed_answer_is_its_asker_s(alice, bob, account, family):
    answer = alice.ask("POST", family, **{**BODIES[family], "stream": True})
    assert answer.status_code == 200
    name = next(reversed(account.objects))
    assert alice.ask("GET", f"{family}/{name}").status_code == 200
    assert bob.ask("GET", f"{family}/{name}").status_code == 404


def test_an_answer_that_is_not_stored_has_no_owner(gateway, alice):
    alice.ask("POST", "responses", **{**BODIES["responses"], "store": False})
    alice.ask("POST", "chat/completions", **TEXT)
    ledger = gateway.gateway.services.ledger
    assert ledger.owned.page("openai", "alice", "responses", limit=9) == []
    assert ledger.owned.page("openai", "alice", "chat/completions", limit=9) == []


def test_two_keys_of_one_subject_share(gateway, alice):
    name = alice.make("files")
    other = Tenant(gateway, "alice")
    assert other.ask("GET", f"files/{name}").status_code == 200
    other.close()


def test_an_end_user_named_by_a_customer_owns_nothing(gateway, bob):
    reseller = Tenant(gateway, "reseller", may_name_users=True)
    answer = reseller._client.post("/files", json={}, headers={"x-meter-user": "bob"})
    name = answer.json()["id"]
    assert reseller.ask("GET", f"files/{name}").status_code == 200
    assert bob.ask("GET", f"files/{name}").status_code == 404
    reseller.close()


def test_the_sdk_lists_its_own_files_page_by_page(gateway, account):
    def client(subject: str) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key(subject))

    with client("alice") as alice, client("bob") as bob:
        made = [alice.files.create(file=("a.jsonl", b"{}\n"), purpose="batch").id for _ in range(5)]
        assert [each.id for each in alice.files.list(limit=2)] == made[::-1]
        assert list(bob.files.list()) == []
        with pytest.raises(openai.NotFoundError, match="No such File object"):
            bob.files.retrieve(made[0])
        with pytest.raises(openai.NotFoundError, match="No such File object"):
            bob.batches.create(
                input_file_id=made[0], endpoint="/v1/chat/completions", completion_window="24h"
            )
