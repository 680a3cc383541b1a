"""The gateway's own server and client with nothing between them: the floor of this stack."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from driving import Target
from processes import Running, running

from peers.contestant import Contestant


@contextmanager
def serving(port: int, folder: Path) -> Iterator[tuple[Target, Running]]:
    """Run the relay before the mock provider."""
    program = str(Path(__file__).parents[1] / "bare_relay.py")
    command = [sys.executable, program, "--upstream", f"127.0.0.1:{port}"]
    with running(command, folder=folder) as server:
        assert server.process.stdout is not None
        yield Target("127.0.0.1", int(server.process.stdout.readline())), server


BARE_RELAY = Contestant("bare relay", "the same server and client, no metering", serving)
