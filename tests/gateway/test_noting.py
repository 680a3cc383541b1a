"""A fine-tuning job's own name, tags and note: kept by us, shown to its owner alone."""

from collections.abc import Iterator

import pytest

from tests.gateway.test_tenants import Tenant, account, alice, gateway

__all__ = ["account", "alice", "gateway"]


@pytest.fixture
def bob(gateway) -> Iterator[Tenant]:
    tenant = Tenant(gateway, "bob")
    yield tenant
    tenant.close()


def test_a_job_keeps_what_its_owner_says_of_it(alice, account):
    job = alice.make("fine_tuning/jobs")
    sent = len(account.lines)
    told = alice.ask(
        "POST", f"fine_tuning/jobs/{job}", name="support", tags=["v2", "中文"], note="try again"
    )
    assert told.status_code == 200
    assert told.json() == {
        "id": job, "object": "fine_tuning.job", "purpose": "batch", "name": "support",
        "tags": ["v2", "中文"], "note": "try again",
    }  # fmt: skip
    # The provider, which has no such call, was only asked for the job.
    assert account.lines[sent:] == [f"GET /v1/fine_tuning/jobs/{job}"]
    (listed,) = alice.ask("GET", "fine_tuning/jobs").json()["data"]
    assert (listed["name"], listed["note"]) == ("support", "try again")


def test_what_is_left_out_stays_and_null_takes_it_away(alice):
    job = alice.make("fine_tuning/jobs")
    alice.ask("POST", f"fine_tuning/jobs/{job}", name="support", note="first", metadata={"a": "b"})
    told = alice.ask("POST", f"fine_tuning/jobs/{job}", note=None, tags={"team": "search"}).json()
    assert (told["name"], told["tags"], told["note"], told["metadata"]) == (
        "support", {"team": "search"}, None, {"a": "b"},
    )  # fmt: skip
    told = alice.ask("POST", f"fine_tuning/jobs/{job}").json()
    assert "note" not in told
    assert told["name"] == "support"


def test_a_job_of_another_is_not_there(alice, bob, account):
    job = alice.make("fine_tuning/jobs")
    told = bob.ask("POST", f"fine_tuning/jobs/{job}", name="mine")
    assert told.status_code == 404
    assert told.json()["error"]["message"] == f"Could not find fine tune: {job}"
    (listed,) = alice.ask("GET", "fine_tuning/jobs").json()["data"]
    assert "name" not in listed


def test_a_job_that_is_gone_is_not_there(alice, account):
    job = alice.make("fine_tuning/jobs")
    del account.objects[job]
    assert alice.ask("POST", f"fine_tuning/jobs/{job}", name="late").status_code == 404


def test_cancelling_a_job_is_still_the_providers(alice, account):
    job = alice.make("fine_tuning/jobs")
    assert alice.ask("POST", f"fine_tuning/jobs/{job}/cancel").json()["rest"] == "cancel"


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"name": 5}, "found something else for name, expected a text of at most 256 characters"),
        ({"note": "x" * 4097}, "expected a text of at most 4096 characters"),
        ({"tags": "v2"}, "found something else for tags, expected at most 32 texts"),
        ({"tags": ["x"] * 33}, "expected at most 32 texts"),
        ({"metadata": ["x"]}, "found something else for metadata"),
        ({"model": "gpt-4o"}, "found 'model', expected name, tags, note or metadata"),
    ],
)
def test_what_cannot_be_kept_is_said_in_one_sentence(alice, body, sentence):
    job = alice.make("fine_tuning/jobs")
    told = alice.ask("POST", f"fine_tuning/jobs/{job}", **body)
    assert told.status_code == 400
    assert sentence in told.json()["error"]["message"]
