"""What docs/gateway.md tells people to do works when it is done in that order."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tomllib
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

import pytest

from meter.config import load_settings
from meter.gateway.upstreams import read_upstreams
from tests.gateway.serving import SECRETS

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "gateway.md").read_text()


RESELL = re.search(r"^## Resell.*?(?=^## )", PAGE, flags=re.S | re.M)[0]


OTHERS = PAGE.replace(RESELL, "")


def blocks(language, page=OTHERS):
    return re.findall(rf"^```{language}\n(.*?)^```", page, flags=re.S | re.M)


@pytest.fixture
def newcomer(tmp_path):
    """An environment with `meter` on its path and nothing set."""
    own = {k: v for k, v in os.environ.items() if not k.startswith(("METER_", "OPENAI_"))}
    own["PATH"] = f"{Path(sys.executable).parent}:{own['PATH']}"
    return {**own, "COLUMNS": "160"}


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return str(listener.getsockname()[1])


def run(script, folder, environment):
    done = subprocess.run(
        ["bash", "-c", "set -euo pipefail\n" + script],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=400,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextmanager
def serving(script, folder, environment):
    """Run a script whose last command serves, while the block runs."""
    server = subprocess.Popen(
        ["bash", "-c", script.replace("\nmeter", "\nexec meter")],
        cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert server.stdout.readline().startswith("Serving on")
        yield
    finally:
        server.send_signal(signal.SIGTERM)
        server.communicate(timeout=60)


def test_a_newcomer_comes_to_a_customer_with_a_key(simulator, newcomer, tmp_path):
    install, serve, *rest = blocks("sh")
    assert install.startswith("pip install")
    port = free_port()

    def here(text):
        return text.replace("https://api.openai.com", simulator.url).replace("8080", port)

    with serving(here(serve), tmp_path, newcomer):
        said = run(here("".join(rest)), tmp_path, newcomer)
    assert '"object":"chat.completion"' in said
    assert re.search(r"alice +gpt-4o-mini +1 ", said)
    assert "alice-monthly" in said
    assert re.search(r"key-\w+ +mk-\S+… +bob ", said)


def answers_in(said):
    """Return the JSON objects that were said among other things."""
    decoder, found, at = json.JSONDecoder(parse_float=Decimal), [], said.find("{")
    while at >= 0:
        answer, end = decoder.raw_decode(said, at)
        found.append(answer)
        at = said.find("{", end)
    return found


@pytest.mark.timeout(600)
def test_a_reseller_comes_to_a_customer_with_credit_and_a_balance(simulator, newcomer, tmp_path):
    price, serve, *rest = blocks("sh", RESELL)
    port = free_port()

    def here(text):
        return text.replace("https://api.openai.com", simulator.url).replace("8080", port)

    run(price, tmp_path, newcomer)
    with serving(here(serve), tmp_path, newcomer):
        said = run(here("".join(rest)), tmp_path, newcomer)
    chat, balance, subscription, usage = answers_in(said)
    # List is 0.15 and 0.60 USD a million; × 1.2 × 7.1 that is 1.278 and 5.112 CNY.
    tokens = chat["usage"]
    nanos = tokens["prompt_tokens"] * 1_278 + tokens["completion_tokens"] * 5_112
    used = Decimal(nanos) / 10**9
    assert (balance["currency"], balance["total_granted"]) == ("CNY", 50)
    assert balance["grants"]["available_amount"] == str(50 - used)
    assert subscription["hard_limit_usd"] - usage["total_usage"] / 100 == 50 - used
    assert re.search(r"order-1001 ", said)
    closing = re.search(r"closing balance .*?([0-9.]+)  *CNY", said)
    assert Decimal(closing[1]) == 50 - used + Decimal("0.0001") - Decimal("0.01")
    assert "Every invariant holds." in said


def test_the_upstreams_of_the_page_can_be_read(tmp_path, monkeypatch):
    (text,) = blocks("toml")
    secret = tmp_path / "anthropic"
    secret.write_text("sk-ant-from-a-file\n")
    file = tmp_path / "meter.toml"
    file.write_text(text.replace("/run/secrets/anthropic", str(secret)))
    settings = load_settings(environment={"METER_CONFIG": str(file)})
    found = read_upstreams(settings.upstreams, environment=SECRETS)
    assert [each.name for each in found.listed] == list(tomllib.loads(text)["upstreams"])
    assert [each.credential for each in found.listed] == [
        "sk-upstream-openai", "sk-ant-from-a-file", "upstream-google", None,
    ]  # fmt: skip
    assert found.choose("openai", "llama3.1:8b").name == "local"


def test_the_application_of_the_page_can_be_made(newcomer, tmp_path):
    (text,) = blocks("python")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", text + "print(type(app).__name__)\nmeter.close()\n"],
        cwd=tmp_path, env=newcomer, capture_output=True, text=True, timeout=90,
    )  # fmt: skip
    assert (done.returncode, done.stdout.strip()) == (0, "Gateway"), done.stderr
