"""Tell where the time of one call goes in the gateway's event loop, without any network.

    python benchmarks/stages.py

The server's connection and the upstream's have transports in memory; ledger, keys, prices and
everything between are the real ones (SQLite, durability full). 64 calls are made at once, again
and again. Each stage is the tenth percentile of what it took, so that others on the machine matter
little; a stage's time has that of the stages within it taken out. The writer's thread is not in
it.
"""

import argparse
import asyncio
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

import uvloop
from driving import Target
from mock_upstream import whole_answer

from meter.gateway import app, direct, headers, routing, tenants
from meter.gateway.http import client, connection
from meter.gateway.lane import Lane
from meter.meter import Meter
from meter.pipeline import OpenCall, Pipeline

CONNECTIONS = 64
WARM_UP_ROUNDS = 5
# Each function with the stage that it belongs to; what stands within another is taken out of it.
FUNCTIONS: Sequence[tuple[Any, str, str]] = (
    (direct.Connection, "data_received", "parse the request, begin its task"),
    (app, "read_request", "read path, headers and key"),
    (Pipeline, "open_call", "read the body: endpoint, model, bounds"),
    (OpenCall, "estimate", "count the prompt, bound the cost"),
    (routing.Router, "candidates", "choose the upstream"),
    (routing.Router, "check", "what the key may do"),
    (tenants, "references_in", "whose the stored objects are"),
    (OpenCall, "reserve", "record before: row, queue, wake the writer"),
    (headers, "outgoing", "headers for the upstream"),
    (client, "request_head", "headers for the upstream"),
    (connection.Connection, "data_received", "parse the answer"),
    (OpenCall, "start", "observe the answer"),
    (OpenCall, "feed", "observe the answer"),
    (headers, "handed_on", "headers for the client"),
    (OpenCall, "close", "rate, record after: event, row, queue"),
    (connection.Connection, "release", "keep the upstream's connection"),
    (app.Gateway, "_note", "count and log"),
)


class Clock:
    """The time that each stage took, round by round."""

    def __init__(self) -> None:
        """Begin with none."""
        self.rounds: list[dict[str, int]] = []
        self._taken: dict[str, int] = {}
        self._within: list[int] = []

    def watch(self, owner: Any, name: str, stage: str) -> None:
        """Time a function from now on."""
        inner: Callable[..., Any] = getattr(owner, name)

        def timed(*arguments: Any, **named: Any) -> Any:
            self._within.append(0)
            begun_ns = time.perf_counter_ns()
            try:
                return inner(*arguments, **named)
            finally:
                whole_ns = time.perf_counter_ns() - begun_ns
                own_ns = whole_ns - self._within.pop()
                self._taken[stage] = self._taken.get(stage, 0) + own_ns
                if self._within:
                    self._within[-1] += whole_ns

        setattr(owner, name, timed)

    def end_round(self, whole_ns: int) -> None:
        """Note a round that took so long in all."""
        self._taken["all of it"] = whole_ns
        self.rounds.append(self._taken)
        self._taken = {}

    def tenth_percentile_us(self, stage: str) -> float:
        """Return what a stage took of a call in all but the slower nine tenths of the rounds."""
        values = sorted(taken.get(stage, 0) for taken in self.rounds)
        return values[len(values) // 10] / 1000 / CONNECTIONS


class Wire:
    """A transport in memory."""

    def __init__(self, on_write: Callable[[bytes], None]) -> None:
        """Hand what is written to a function."""
        self.write = on_write

    def is_closing(self) -> bool:
        """Say that it is open."""
        return False

    def abort(self) -> None:
        """Do nothing."""

    close = pause_reading = resume_reading = abort


async def measure(rounds: int) -> Clock:
    """Make so many rounds of calls; return what they took."""
    loop = asyncio.get_running_loop()
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder, Meter(f"sqlite:///{folder}/meter.db") as meter:
        secret = meter.keys.create("bench").secret
        meter.set_budget("wide", subject="bench", limit="1000000")
        gateway = meter.gateway({"openai": "http://127.0.0.1:1/v1"})
        answer = whole_answer()
        left, done = [0], [loop.create_future()]

        async def connected(origin: Any) -> connection.Connection:
            made = connection.Connection(gateway.services.client)
            wire: Any = Wire(lambda _data: loop.call_soon(made.data_received, answer) and None)
            made.connection_made(wire)
            gateway.services.client._origins[made] = origin
            return made

        def answered(data: bytes) -> None:
            if data.endswith(b"}"):
                left[0] -= 1
                if not left[0]:
                    done[0].set_result(None)

        gateway.services.client._connected = connected  # type: ignore[method-assign]
        # There is no socket to look at before a connection is used again.
        client._UNPROVEN_SECONDS = float("inf")  # type: ignore[misc]
        lane, wire = Lane(gateway, stop_seconds=1), Wire(answered)
        serving = [direct.Connection(lane) for _ in range(CONNECTIONS)]
        for each in serving:
            each.connection_made(wire)  # type: ignore[arg-type]
        bearer = (("authorization", f"Bearer {secret}"),)
        request = Target("127.0.0.1", 1, headers=bearer).request()
        for number in range(WARM_UP_ROUNDS + rounds):
            if number == WARM_UP_ROUNDS:
                for owner, name, stage in FUNCTIONS:
                    clock.watch(owner, name, stage)
            done[0] = loop.create_future()
            left[0] = CONNECTIONS
            begun_ns = time.thread_time_ns()
            for each in serving:
                each.data_received(request)
            await done[0]
            await asyncio.sleep(0)
            if number >= WARM_UP_ROUNDS:
                clock.end_round(time.thread_time_ns() - begun_ns)
        await gateway.end()
    return clock


def main() -> None:
    """Read the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=150)
    given = parser.parse_args()
    os.environ.setdefault("METER_UPSTREAM_OPENAI_KEY", "none")
    clock = uvloop.run(measure(given.rounds))
    whole_us = clock.tenth_percentile_us("all of it")
    left_us = whole_us
    for stage in dict.fromkeys(stage for _, _, stage in FUNCTIONS):
        taken_us = clock.tenth_percentile_us(stage)
        left_us -= taken_us
        print(f"{stage:44} {taken_us:7.1f} µs {taken_us / whole_us:5.0%}")
    rest = "coroutines, futures, the loop itself"
    print(f"{rest:44} {left_us:7.1f} µs {left_us / whole_us:5.0%}")
    print(f"{'all of it, on the event loop':44} {whole_us:7.1f} µs")


if __name__ == "__main__":
    main()
