"""`meter keys` and `meter serve` as a person types them."""

import json
import os
import socket
import subprocess
import sys

import pytest


@pytest.fixture
def meter(tmp_path):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("METER_")}
    environment |= {"METER_DATABASE_URL": f"sqlite:///{tmp_path / 'meter.db'}", "COLUMNS": "200"}

    def run(*words, **more):
        return subprocess.run(
            [sys.executable, "-m", "meter", *words],
            cwd=tmp_path, env={**environment, **more}, capture_output=True, text=True, timeout=30,
        )  # fmt: skip

    return run


def test_a_key_s_whole_life(meter):
    made = meter(
        "keys", "create", "--subject", "alice", "--tag", "team=search", "--name", "laptop",
        "--expires", "30d", "--models", "gpt-4o, gpt-4.1*", "--endpoints", "chat,embeddings",
        "--may-name-users", "--format", "json",
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    key = json.loads(made.stdout)
    assert key["secret"].startswith("mk-")
    (row,) = json.loads(meter("keys", "list", "--format", "json").stdout)
    assert row | {"expires": "", "created": ""} == {
        "id": key["id"], "prefix": f"{key['secret'][:9]}…", "subject": "alice", "name": "laptop",
        "tags": "team=search", "models": "gpt-4o, gpt-4.1*", "endpoints": "chat, embeddings",
        "state": "active", "expires": "", "created": "",
    }  # fmt: skip
    renewed = meter("keys", "rotate", key["id"])
    secret = renewed.stdout.splitlines()[-1]
    assert secret.startswith("mk-") and secret != key["secret"]
    assert "is revoked" in meter("keys", "revoke", key["id"]).stdout
    listed = meter("keys", "list").stdout
    assert "revoked" in listed
    assert secret not in listed


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--subject", ""], "found '' as subject or tag"),
        (["--subject", "a", "--tag", "team"], "found tag 'team', expected name=value"),
        (["--subject", "a", "--endpoints", "chat,embedings"], "found endpoint 'embedings'"),
        (["--subject", "a", "--models", " , "], "found an empty list of what a key may use"),
        (["--subject", "a", "--expires", "2020-01-01"], "expected one in the future"),
        (["--subject", "a", "--expires", "soon"], "found time 'soon', expected"),
    ],
)
def test_what_a_key_cannot_be_is_said_in_one_sentence(meter, words, sentence):
    done = meter("keys", "create", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["revoke", "rotate"])
def test_a_key_that_does_not_exist_is_said_so(meter, command):
    done = meter("keys", command, "key-none")
    assert (done.returncode, done.stderr) == (
        2, "meter: found no key 'key-none': meter keys list shows them\n",
    )  # fmt: skip


def test_serving_without_what_it_needs_says_what_that_is(meter):
    assert "found no upstream, expected" in meter("serve").stderr
    assert "found upstream 'openai', expected NAME=URL" in (
        meter("serve", "--upstream", "openai").stderr
    )
    missing = meter("serve", "--upstream", "openai=http://127.0.0.1:9/v1")
    assert missing.returncode == 2
    assert "in the variable METER_UPSTREAM_OPENAI_KEY" in missing.stderr
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        busy = meter(
            "serve", "--port", port, "--upstream", "openai=http://127.0.0.1:9/v1",
            METER_UPSTREAM_OPENAI_KEY="k",
        )  # fmt: skip
    assert busy.returncode == 2
    assert f"cannot listen on 127.0.0.1 port {port}" in busy.stderr
