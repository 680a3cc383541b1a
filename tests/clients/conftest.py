"""One simulator for a test process, a ledger in memory for each test."""

from collections.abc import Iterator
from types import ModuleType

import httpx
import httpx2
import pytest

from meter.pipeline import Pipeline
from meter.simulator import Simulator
from tests.clients.memory import MemoryStore, pipeline_on


@pytest.fixture(scope="session")
def running_simulator() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def simulator(running_simulator: Simulator) -> Simulator:
    running_simulator.reset()
    return running_simulator


@pytest.fixture
def store() -> Iterator[MemoryStore]:
    store = MemoryStore()
    yield store
    assert store.unfinished() == []


@pytest.fixture
def pipeline(store: MemoryStore) -> Pipeline:
    return pipeline_on(store)


@pytest.fixture(params=["httpx", "httpx2"])
def library(request: pytest.FixtureRequest) -> ModuleType:
    return {"httpx": httpx, "httpx2": httpx2}[request.param]
