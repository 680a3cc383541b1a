"""`meter keys` and `meter serve` as a person types them."""

import json
import os
import socket
import subprocess
import sys
from dataclasses import dataclass

import pytest

from meter.cli.main import run


@dataclass
class Done:
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def meter(tmp_path, monkeypatch, capsys):
    for name in [name for name in os.environ if name.startswith("METER_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("METER_DATABASE_URL", f"sqlite:///{tmp_path / 'meter.db'}")
    monkeypatch.setenv("COLUMNS", "200")

    def type_in(*words):
        status = run(list(words))
        return Done(status, *capsys.readouterr())

    return type_in


def test_a_key_s_whole_life(meter):
    made = meter(
        "keys", "create", "--subject", "alice", "--tag", "team=search", "--project", "crawler",
        "--name", "laptop",
        "--expires", "30d", "--models", "gpt-4o, gpt-4.1*", "--endpoints", "chat,embeddings",
        "--may-name-users", "--format", "json",
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    key = json.loads(made.stdout)
    assert key["secret"].startswith("mk-")
    (row,) = json.loads(meter("keys", "list", "--format", "json").stdout)
    assert row | {"expires": "", "created": ""} == {
        "id": key["id"], "prefix": f"{key['secret'][:9]}…", "subject": "alice", "name": "laptop",
        "team": "search", "project": "crawler", "role": None,
        "tags": "project=crawler, team=search", "models": "gpt-4o, gpt-4.1*",
        "endpoints": "chat, embeddings", "limits": None, "state": "active",
        "expires": "", "created": "",
    }  # fmt: skip
    for words in (["--team", "search"], ["--project", "crawler"], ["--subject", "alice"]):
        assert key["id"] in meter("keys", "list", *words, "--format", "csv").stdout
    assert key["id"] not in meter("keys", "list", "--team", "ads", "--format", "csv").stdout
    assert json.loads(meter("keys", "show", key["id"], "--format", "json").stdout) == [row]
    assert "crawler" in meter("keys", "show", key["id"]).stdout
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
        (["--subject", "a", "--tag", "team=b", "--team", "c"], "found team 'c' and a tag team=b"),
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


def test_an_upstream_is_named(meter):
    done = meter("serve", "--upstream", "openai")
    assert (done.returncode, done.stderr) == (
        2, "meter: found upstream 'openai', expected NAME=URL\n",
    )  # fmt: skip


def serving(tmp_path, *words, **more):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("METER_")}
    command = [sys.executable, "-m", "meter", "serve", *words]
    return subprocess.run(
        [*command, "--upstream", "openai=http://127.0.0.1:9/v1"],
        cwd=tmp_path, env={**environment, **more}, capture_output=True, text=True, timeout=30,
    )  # fmt: skip


def test_serving_without_a_credential_says_where_it_was_looked_for(tmp_path):
    done = serving(tmp_path)
    assert done.returncode == 2
    assert "in the variable METER_UPSTREAM_OPENAI_KEY" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_port_that_is_taken_is_said_so(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = serving(tmp_path, "--port", port, METER_UPSTREAM_OPENAI_KEY="k")
    assert done.returncode == 2
    assert f"cannot listen on 127.0.0.1 port {port}" in done.stderr


def test_an_upstream_s_whole_life(meter):
    made = meter(
        "upstreams", "set", "azure", "https://x.openai.azure.com", "--key-env", "AZURE_KEY",
        "--models", "gpt-4o, o3*", "--weight", "2", "--fallbacks", "openai",
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    (row,) = json.loads(meter("upstreams", "list", "--format", "json").stdout)
    assert row == {
        "name": "azure", "base_url": "https://x.openai.azure.com", "dialect": "azure",
        "models": "gpt-4o, o3*", "weight": 2, "fallbacks": "openai", "key": "AZURE_KEY",
        "kept": "ledger",
    }  # fmt: skip
    assert meter("upstreams", "show", "azure").returncode == 0
    assert "no longer" in meter("upstreams", "remove", "azure").stdout
    assert "no upstream" in meter("upstreams", "list").stdout


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["set", "a b", "https://x"], "upstream name 'a b'"),
        (["set", "one", "ftp://x"], "base_url 'ftp://x'"),
        (["set", "one", "https://x", "--weight", "-1"], "weight -1"),
        (["set", "one", "https://x", "--seconds", "0"], "0 seconds"),
        (["set", "one", "https://x", "--key-env", "A", "--key-file", "b"], "expected one of them"),
        (["show", "nobody"], "'nobody'"),
        (["remove", "nobody"], "'nobody'"),
    ],
)
def test_what_no_upstream_can_be_is_told(meter, words, told):
    done = meter("upstreams", *words)
    assert done.returncode == 2
    assert told in done.stderr and done.stderr.count("\n") == 1
