"""`meter serve --tls-cert --tls-key`: real TLS on a real socket, and mistakes told in one line."""

import ssl
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import httpx
import openai
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from meter.meter import Meter
from tests.gateway.test_leaving import serving


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """The paths of a certificate for 127.0.0.1 and of its key, and a context that trusts it."""
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), True)
        .sign(key, hashes.SHA256())
    )
    chain, secret = folder / "chain.pem", folder / "key.pem"
    chain.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return str(chain), str(secret), ssl.create_default_context(cafile=str(chain))


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
