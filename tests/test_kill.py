"""What a killed process had in flight is found again."""

import os
import signal
import subprocess
import sys
import textwrap

from meter.meter import Meter
from meter.simulator import Simulator, SimulatorSettings

STREAM_FOR_EVER = textwrap.dedent(
    """
    import sys
    from openai import OpenAI
    from meter import Meter, attribute

    url, host, ledger = sys.argv[1:]
    client = Meter(ledger, hosts={host: "auto"}).wrap(OpenAI(api_key="k", base_url=url + "/v1"))
    with attribute("alice", team="search"):
        stream = client.chat.completions.create(
            model="gpt-4o-mini@stall-600",
            stream=True,
            messages=[{"role": "user", "content": "Count for ever, please."}],
        )
        for chunk in stream:
            print("chunk", flush=True)
    """
)


def test_a_stream_under_way_at_kill_9_is_found_unsettled_with_its_estimate(database_url):
    if database_url.startswith("postgresql"):
        from meter.store.migrating import upgrade

        upgrade(database_url)
    with Simulator(SimulatorSettings()) as simulator:
        host = simulator.url.removeprefix("http://")
        process = subprocess.Popen(
            [sys.executable, "-c", STREAM_FOR_EVER, simulator.url, host, database_url],
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert process.stdout.readline() == "chunk\n"
        finally:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            process.stdout.close()

    with Meter(database_url) as meter:
        (call,) = meter.calls(basis="unknown")
        assert call.subject == "alice"
        assert call.model_requested == "gpt-4o-mini@stall-600"
        # 3 for the message, 1 for its role, 6 for its text, 3 for the answer's beginning.
        assert call.estimated_input_tokens == 13
        assert call.cost_nanos is None
    with Meter(database_url) as meter:
        assert len(list(meter.calls())) == 1
