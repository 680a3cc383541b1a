"""A simulator for a test process, and gateways before it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

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
