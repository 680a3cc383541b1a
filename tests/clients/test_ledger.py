"""Wrapped clients on the real ledger: what is kept, what is refused, what a kill leaves."""

import asyncio
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from meter.attribution import attribute
from meter.meter import Meter
from meter.simulator import Simulator
from tests.clients.answers import delta
from tests.clients.sdks import HELLO, KEY, SYNC, closed
from tests.clients.upstream import SSE_HEAD, Upstream, event

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def meter(simulator: Simulator, sqlite_url: str, tmp_path: Path) -> Iterator[Meter]:
    hosts = {simulator.url[7:]: "openai"}
    with Meter(sqlite_url, hosts=hosts, spool_path=str(tmp_path / "meter.spool")) as meter:
        yield meter


def test_an_answer_is_on_disk_before_it_ends(
    simulator: Simulator, meter: Meter, sqlite_url: str
) -> None:
    with openai.OpenAI(base_url=f"{simulator.url}/v1", api_key=KEY) as bare:
        client = meter.wrap(bare)
        with attribute("alice", team="search"):
            answer = client.chat.completions.create(model="gpt-4o-mini@output-40", messages=HELLO)
        # Another process would see the same.
        [call] = meter.calls()
        assert answer.usage is not None
        assert (call.subject, call.tags) == ("alice", (("team", "search"),))
        assert call.usage is not None
        assert call.usage["input_tokens"] == answer.usage.prompt_tokens
        assert call.usage["output_tokens"] == 40
        # 0.15 and 0.60 USD for a million tokens: 150 and 600 nanos each.
        assert call.cost_nanos == answer.usage.prompt_tokens * 150 + 40 * 600


def test_a_spent_budget_refuses_the_next_call(simulator: Simulator, meter: Meter) -> None:
    meter.set_budget("two", limit=2, measure="calls", subject="alice")
    with openai.OpenAI(base_url=f"{simulator.url}/v1", api_key=KEY) as bare:
        client = meter.wrap(bare)
        with attribute("alice"):
            for _ in range(2):
                client.chat.completions.create(model="gpt-4o-mini", messages=HELLO)
            with pytest.raises(openai.RateLimitError, match="budget two"):
                client.chat.completions.create(model="gpt-4o-mini", messages=HELLO)
        with attribute("bob"):
            client.chat.completions.create(model="gpt-4o-mini", messages=HELLO)
    assert simulator.books()["requests"] == 3
    refused = [call for call in meter.calls() if call.outcome == "refused"]
    assert [call.cost_nanos for call in refused] == [0]


def test_many_tasks_share_one_ledger(simulator: Simulator, meter: Meter) -> None:
    async def ask(client: Any, subject: str) -> None:
        with attribute(subject):
            stream = await client.chat.completions.create(
                model="gpt-4o-mini", messages=HELLO, stream=True
            )
            async for _ in stream:
                pass

    async def all_of_them() -> None:
        bare = openai.AsyncOpenAI(base_url=f"{simulator.url}/v1", api_key=KEY)
        client = meter.wrap(bare)
        await asyncio.gather(*(ask(client, f"user-{number % 4}") for number in range(40)))
        await closed(bare, SYNC["openai"])

    asyncio.run(all_of_them())
    rows = meter.usage(by=("subject",))
    assert {row.group: row.calls for row in rows} == {(f"user-{n}",): 10 for n in range(4)}
    billed = simulator.books()["quantities"]
    assert sum(row.output_tokens or 0 for row in rows) == billed["output_tokens"]
    assert {call.basis for call in meter.calls()} == {"reported"}


PROGRAM = """
import sys, time
from openai import OpenAI
from meter.attribution import attribute
from meter.meter import Meter

url, host, spool = sys.argv[1:]
meter = Meter(url, hosts={host: "openai"}, spool_path=spool)
client = meter.wrap(OpenAI(base_url=f"http://{host}/v1", api_key="k"))
with attribute("alice"):
    stream = client.chat.completions.create(
        model="gpt-4o-mini", messages=[{"role": "user", "content": "hello"}], stream=True
    )
    print(next(iter(stream)).choices[0].delta.content, flush=True)
    time.sleep(60)
"""


def test_a_killed_stream_is_found_unsettled(tmp_path: Path, sqlite_url: str) -> None:
    never = threading.Event()
    spool = str(tmp_path / "meter.spool")
    with Upstream([SSE_HEAD, event(delta("one")), never]) as upstream:
        command = [sys.executable, "-c", PROGRAM, sqlite_url, upstream.host, spool]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "one\n"
            process.send_signal(signal.SIGKILL)
        never.set()
    with Meter(sqlite_url, spool_path=spool) as meter:
        [call] = meter.calls()
    assert (call.subject, call.state, call.usage) == ("alice", "unsettled", None)
    # Eight tokens: three for the message, one each for its role and its word, three to begin.
    assert call.estimated_input_tokens == 8
