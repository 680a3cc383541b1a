"""Portkey's open gateway on Node: nothing is recorded, no budget is kept."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from driving import Target
from processes import Running, free_port, running, wait_for_port

from peers.contestant import Contestant
from peers.installing import node_modules

VERSION = "1.15.2"


@contextmanager
def serving(port: int, folder: Path) -> Iterator[tuple[Target, Running]]:
    """Run the gateway before the mock provider."""
    package = node_modules("portkey", f"@portkey-ai/gateway@{VERSION}")
    own = free_port()
    command = ["node", str(package / "build" / "start-server.js"), f"--port={own}", "--headless"]
    log_path = folder / "portkey.log"
    environment = {"TRUSTED_CUSTOM_HOSTS": "127.0.0.1,localhost", "NODE_ENV": "production"}
    with (
        log_path.open("w") as log,
        running(command, folder=folder, environment=environment, log=log) as server,
    ):
        wait_for_port(own, server)
        headers = (
            ("authorization", "Bearer none"),
            ("x-portkey-provider", "openai"),
            ("x-portkey-custom-host", f"http://127.0.0.1:{port}/v1"),
        )
        yield Target("127.0.0.1", own, headers=headers), server


PORTKEY = Contestant(f"Portkey {VERSION}", "nothing recorded, no budget", serving)
