"""Encodings are built from the bundled ranks: no network, no environment."""

import base64
import hashlib
import json
import os
import subprocess
import sys
import threading

import pytest
import tiktoken_ext.openai_public as published

from meter.errors import InputError
from meter.tokens import encodings
from meter.tokens.encodings import ENCODING_NAMES, encoding, packed_tokens
from meter.tokens.ranks import PUBLISHED_SHA256


@pytest.mark.parametrize("name", PUBLISHED_SHA256)
def test_packed_ranks_hold_the_published_bytes(name):
    lines = [
        base64.b64encode(token) + b" %d\n" % rank
        for rank, token in enumerate(packed_tokens(name))
        if token
    ]
    assert hashlib.sha256(b"".join(lines)).hexdigest() == PUBLISHED_SHA256[name]


def test_ids_are_those_of_the_published_examples(shared_folder):
    facts = json.loads((shared_folder / "facts_fixtures.json").read_text())
    for text, by_encoding in facts["encode_ids"].items():
        for name, ids in by_encoding.items():
            assert encoding(name).encode_ordinary(text) == ids


@pytest.mark.parametrize(
    ("name", "ids"),
    [
        ("p50k_base", [17, 1343, 362, 796, 604]),
        ("cl100k_base", [17, 489, 220, 17, 284, 220, 19]),
        ("o200k_base", [17, 659, 220, 17, 314, 220, 19]),
    ],
)
def test_ids_of_two_plus_two(name, ids):
    assert encoding(name).encode_ordinary("2 + 2 = 4") == ids


@pytest.mark.parametrize("name", [name for name in ENCODING_NAMES if name != "gpt2"])
def test_patterns_and_special_tokens_are_those_of_the_installed_tiktoken(name, monkeypatch):
    monkeypatch.setattr(published, "load_tiktoken_bpe", lambda *_, **__: {})
    recipe = published.ENCODING_CONSTRUCTORS[name]()
    built = encoding(name)
    assert built._pat_str == recipe["pat_str"]
    assert built._special_tokens == recipe["special_tokens"]


def test_gpt2_is_r50k_base():
    assert encoding("gpt2") is encoding("r50k_base")


def test_an_unknown_encoding_is_an_input_error():
    with pytest.raises(InputError, match="found the encoding 'q9k', expected one of r50k_base"):
        encoding("q9k")


def test_damaged_ranks_are_found(monkeypatch):
    monkeypatch.setitem(encodings._PACKED_SHA256, "r50k_base", "0" * 64)
    with pytest.raises(InputError, match="rank file of r50k_base has sha256"):
        packed_tokens("r50k_base")


def test_many_threads_get_one_encoding(monkeypatch):
    monkeypatch.setattr(encodings, "_loaded", {})
    gate = threading.Barrier(8)
    found = []

    def ask():
        gate.wait()
        found.append(encoding("r50k_base"))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len({id(one) for one in found}) == 1


def test_the_first_count_works_without_network_and_leaves_the_environment_alone():
    script = """
import os, socket, sys
def refuse(*arguments, **named):
    raise AssertionError("a socket was made")
before = dict(os.environ)
import meter.tokens
from meter.tokens import estimates, outputs
assert "tiktoken" not in sys.modules, "importing meter.tokens imports tiktoken"
socket.socket = refuse
from meter.tokens.counting import count_text
assert count_text("tiktoken is great!", "o200k_base") == 6
assert dict(os.environ) == before
"""
    environment = {**os.environ, "TIKTOKEN_CACHE_DIR": "/nowhere"}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
