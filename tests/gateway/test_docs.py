"""What docs/gateway.md tells people to do works when it is done in that order."""

import os
import re
import signal
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from meter.config import load_settings
from meter.gateway.upstreams import read_upstreams
from tests.gateway.serving import SECRETS

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "gateway.md").read_text()


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, flags=re.S | re.M)


@pytest.fixture
def newcomer(tmp_path):
    """An environment with `meter` on its path and nothing set."""
    own = {k: v for k, v in os.environ.items() if not k.startswith(("METER_", "OPENAI_"))}
    own["PATH"] = f"{Path(sys.executable).parent}:{own['PATH']}"
    return {**own, "COLUMNS": "160"}


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return str(listener.getsockname()[1])


def test_a_newcomer_comes_to_a_customer_with_a_key(simulator, newcomer, tmp_path):
    install, serve, *rest = blocks("sh")
    assert install.startswith("pip install")
    port = free_port()

    def here(text):
        return text.replace("https://api.openai.com", simulator.url).replace("8080", port)

    server = subprocess.Popen(
        ["bash", "-c", here(serve).replace("\nmeter", "\nexec meter")],
        cwd=tmp_path, env=newcomer, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert server.stdout.readline().startswith("Serving on")
        script = "set -euo pipefail\n" + here("".join(rest))
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=tmp_path, env=newcomer, capture_output=True, text=True, timeout=180,
        )  # fmt: skip
    finally:
        server.send_signal(signal.SIGTERM)
        server.communicate(timeout=60)
    assert done.returncode == 0, done.stderr
    assert '"object":"chat.completion"' in done.stdout
    assert re.search(r"alice +gpt-4o-mini +1 ", done.stdout)
    assert "alice-monthly" in done.stdout
    assert re.search(r"key-\w+ +mk-\S+… +bob ", done.stdout)


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
