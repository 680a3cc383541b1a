"""One simulator for the tests of a file, emptied before each test, and the real clients of it."""

from collections.abc import Iterator

import pytest
from openai import OpenAI

from meter.simulator import Simulator


@pytest.fixture(scope="module")
def running_simulator() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def simulator(running_simulator: Simulator) -> Simulator:
    running_simulator.reset()
    return running_simulator


@pytest.fixture
def client(simulator: Simulator) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{simulator.url}/v1", api_key="sk-alice", max_retries=0) as client:
        yield client
