"""`meter serve --tls-cert --tls-key`: real TLS on a real socket, and mistakes told in one line."""

import subprocess
import sys

import httpx
import openai
import pytest

from meter.meter import Meter
from tests.gateway.test_leaving import serving


@pytest.mark.parametrize("workers", ["1", "2"])
def test_calls_and_streams_over_tls_are_metered(simulator, tmp_path, certificate, workers):
    chain, secret, trusting = certificate
    ledger = f"sqlite:///{tmp_path / 'meter.db'}"
    with Meter(ledger) as meter:
        key = meter.keys.create("alice").secret
    process, url = serving(
        simulator.url, ledger, "--workers", workers, "--tls-cert", chain, "--tls-key", secret
    )
    try:
        assert url.startswith("https://")
        with (
            httpx.Client(verify=trusting) as plain,
            openai.OpenAI(base_url=f"{url}/v1", api_key=key, http_client=plain) as client,
        ):
            ask = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "The sea."}]}
            whole = client.chat.completions.create(**ask)
            pieces = list(client.chat.completions.create(**ask, stream=True))
        with pytest.raises(httpx.HTTPError):
            httpx.get(url.replace("https", "http") + "/healthz")
    finally:
        process.terminate()
        _, told = process.communicate(timeout=20)
    assert process.returncode == 0, told
    assert len(pieces) > 1
    with Meter(ledger) as meter:
        calls = list(meter.calls(newest_first=False))
    assert len(calls) == 2
    assert calls[0].usage["output_tokens"] == whole.usage.completion_tokens


def test_mistakes_are_told_in_one_sentence(tmp_path, certificate):
    chain, secret, _ = certificate
    (tmp_path / "none.pem").write_text("nothing of the kind\n")
    none = str(tmp_path / "none.pem")
    for options, told in (
        (["--tls-cert", chain], "expected both"),
        (["--tls-cert", none, "--tls-key", secret], "none.pem"),
        (["--tls-cert", chain, "--tls-key", chain], "chain.pem"),
        (["--tls-cert", "nowhere.pem", "--tls-key", secret], "nowhere.pem"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "meter", "serve", "--upstream", "openai=http://127.0.0.1:9/v1",
             "--port", "0", *options],
            cwd=tmp_path, capture_output=True, text=True, timeout=30,
        )  # fmt: skip
        assert done.returncode == 2
        assert told in done.stderr and done.stderr.count("\n") == 1
