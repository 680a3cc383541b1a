"""A key's lists of models and endpoints, also of what a batch or a tool names."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.gateway.object_upstream import Account
from tests.gateway.serving import Served, served, upstream_that
from tests.gateway.test_tenants import TEXT, Tenant


@pytest.fixture
def account() -> Account:
    return Account()


@pytest.fixture(params=[False, True], ids=["kept apart", "shared"])
def gateway(account: Account, tmp_path: Path, request) -> Iterator[Served]:
    with (
        upstream_that(account.answering()) as upstream,
        served(
            tmp_path, {"openai": f"{upstream.url}/v1"}, allow_stored_objects=request.param
        ) as running,
    ):
        yield running


@pytest.fixture
def tenant(gateway: Served) -> Iterator[Callable[..., Tenant]]:
    """Makes alice's keys with some lists."""
    made = []

    def make(**lists: object) -> Tenant:
        made.append(Tenant(gateway, "alice", **lists))
        return made[-1]

    yield make
    for each in made:
        each.close()


def asked(model: str | None = "gpt-4o-mini", url: str = "/v1/chat/completions", **more) -> dict:
    body = {"messages": TEXT["messages"], **more}
    if model is not None:
        body["model"] = model
    return {"custom_id": "one", "method": "POST", "url": url, "body": body}


def batch(account: Account, own: Tenant, *lines: object, **more: object):
    file = own.make("files")
    told = [each if isinstance(each, str) else json.dumps(each) for each in lines]
    account.objects[file]["_events"] = "\n".join([*told, ""]).encode()
    return own.ask("POST", "batches", input_file_id=file, endpoint="/v1/chat/completions", **more)


def code(answer) -> tuple[int, str | None]:
    return answer.status_code, answer.json().get("error", {}).get("code")


def test_the_requests_of_a_batch_are_held_to_the_key_s_models(tenant, account):
    own = tenant(models=["gpt-4o-mini"])
    wrong, unnamed = (404, "model_not_found"), (403, "model_not_named")
    assert code(batch(account, own, asked(), asked("gpt-4o"))) == wrong
    assert code(batch(account, own, asked(models=["gpt-4o-mini", "gpt-4o"]))) == wrong
    assert code(batch(account, own, asked(None))) == unnamed
    assert code(batch(account, own, asked("gpt-4o"), model="gpt-4o-mini")) == wrong
    for no_file in ({}, {"input_file_id": ["file_1"]}, {"input_file_id": ""}):
        assert code(own.ask("POST", "batches", model="gpt-4o-mini", **no_file)) == unnamed
    assert code(batch(account, own, "no request")) == (400, "invalid_value")
    assert not any(name.startswith("batch_") for name in account.objects)
    assert batch(account, own, asked(), asked(), model="gpt-4o").status_code == 200


def test_the_requests_of_a_batch_are_held_to_the_key_s_endpoints(tenant, account):
    own = tenant(endpoints=["batches", "files", "embeddings"])
    assert code(batch(account, own, asked())) == (403, "endpoint_not_allowed")
    made = batch(account, own, asked(url="/v1/embeddings"))
    assert made.status_code == 200
    # Who may make batches may look at them and end them.
    name = made.json()["id"]
    assert own.ask("GET", f"batches/{name}").status_code == 200
    assert own.ask("POST", f"batches/{name}/cancel").status_code == 200
    assert own.ask("GET", f"files/{own.make('files')}").status_code == 200
    assert code(own.ask("GET", "responses/resp_1"))[0] == 403


def test_the_requests_of_an_anthropic_batch_are_held_to_the_key_s_lists(tenant, account):
    def posted(own: Tenant, *models: str | None, **more: object):
        requests = [
            {"custom_id": "one", "params": {"max_tokens": 5, **({"model": m} if m else {})}}
            for m in models
        ]
        return own.ask("POST", "messages/batches", requests=requests, **more)

    own = tenant(models=["claude-haiku-*"])
    assert posted(own, "claude-haiku-4-5", "claude-opus-5").status_code == 404
    assert posted(own, "claude-opus-5", model="claude-haiku-4-5").status_code == 404
    assert posted(own, None, model="claude-haiku-4-5").status_code == 403
    assert len(account.lines) == 0
    made = posted(own, "claude-haiku-4-5")
    assert made.status_code == 200
    assert own.ask("POST", f"messages/batches/{made.json()['id']}/cancel").status_code == 200
    only = tenant(endpoints=["messages.batches"])
    assert posted(only, "claude-haiku-4-5").status_code == 403
    for path in (made.json()["id"], f"{made.json()['id']}/results"):
        assert only.ask("GET", f"messages/batches/{path}").status_code == 200


@pytest.mark.parametrize(
    "more",
    [
        {"models": ["gpt-4o-mini", "gpt-4o"]},
        {"tools": [{"type": "image_generation", "model": "gpt-image-1"}]},
    ],
)
def test_a_model_named_beside_the_call_s_own_is_held_to_the_list_too(tenant, account, more):
    own = tenant(models=["gpt-4o-mini"])
    for path, body in (("chat/completions", TEXT), ("responses", {"input": "hi"})):
        asking = {**body, "model": "gpt-4o-mini", **more}
        assert code(own.ask("POST", path, **asking)) == (404, "model_not_found")
    assert account.lines == []


def test_what_runs_no_model_needs_to_name_none(tenant):
    own = tenant(models=["gpt-4o-mini"])
    file = own.make("files")
    answer = own.make("responses", store=True)
    thread = own.make("threads")
    store = own.make("vector_stores", file_ids=[file])
    for method, path in (
        ("GET", "files"), ("GET", f"files/{file}"), ("GET", f"files/{file}/content"),
        ("GET", f"responses/{answer}"), ("POST", f"threads/{thread}/messages"),
        ("GET", f"vector_stores/{store}"), ("DELETE", f"files/{file}"),
        ("DELETE", f"responses/{answer}"),
    ):  # fmt: skip
        assert own.ask(method, path).status_code == 200, (method, path)
    video = tenant().make("videos", model="sora-2", prompt="x")
    for path in (f"threads/{thread}/runs", "threads/runs", f"videos/{video}/remix", "responses"):
        asked_for = own.ask("POST", path, assistant_id="asst_1")
        assert code(asked_for) == (403, "model_not_named"), path
