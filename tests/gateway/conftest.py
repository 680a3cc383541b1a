"""A simulator for a test process, and gateways before it."""

import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from meter.simulator import Simulator
from tests.gateway.serving import SECRETS, Served, served


@pytest.fixture(scope="session")
def running_simulator() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def simulator(running_simulator: Simulator) -> Simulator:
    running_simulator.reset()
    return running_simulator


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, secret in SECRETS.items():
        monkeypatch.setenv(name, secret)


@pytest.fixture(scope="session")
def running_gateway(
    running_simulator: Simulator, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    with pytest.MonkeyPatch.context() as patch:
        for name, secret in SECRETS.items():
            patch.setenv(name, secret)
        folder = tmp_path_factory.mktemp("gateway")
        with served(folder, providers(running_simulator)) as running:
            yield running


@pytest.fixture
def standing(running_gateway: Served, simulator: Simulator) -> Served:
    """A gateway for tests that do not look into its ledger: it keeps what others did."""
    return running_gateway


@pytest.fixture
def gateway(simulator: Simulator, tmp_path: Path) -> Iterator[Served]:
    """A gateway before the simulator, which plays all three providers."""
    with served(tmp_path, providers(simulator)) as running:
        yield running


def providers(simulator: Simulator) -> dict[str, str]:
    return {
        "openai": f"{simulator.url}/v1",
        "anthropic": simulator.url,
        "google": simulator.url,
    }


@pytest.fixture(scope="session")
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
