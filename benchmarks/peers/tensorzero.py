"""TensorZero's gateway in Rust, as its Python package carries it, with observability off."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from driving import Target
from processes import Running, running

from peers.contestant import Contestant, Unavailable
from peers.installing import python_environment

VERSION = "2026.6.0"

_SETTINGS = """
[gateway]
observability.enabled = false

[models.mock]
routing = ["mock"]

[models.mock.providers.mock]
type = "openai"
model_name = "gpt-4o-mini"
api_base = "http://127.0.0.1:{port}/v1/"
api_key_location = "none"
"""
_PROGRAM = """
import sys, time
from tensorzero.tensorzero import _start_http_gateway
gateway = _start_http_gateway(
    config_file=sys.argv[1], clickhouse_url=None, postgres_url=None, valkey_url=None,
    async_setup=False,
)
print(gateway.base_url, flush=True)
while True:
    time.sleep(3600)
"""


@contextmanager
def serving(port: int, folder: Path) -> Iterator[tuple[Target, Running]]:
    """Run the gateway before the mock provider."""
    programs = python_environment("tensorzero", f"tensorzero=={VERSION}")
    settings = folder / "tensorzero.toml"
    settings.write_text(_SETTINGS.format(port=port))
    command = [str(programs / "python"), "-c", _PROGRAM, str(settings)]
    with running(command, folder=folder) as server:
        assert server.process.stdout is not None
        told = ""
        for line in server.process.stdout:
            told = line.strip()
            if told.startswith("http://"):
                break
        else:
            raise Unavailable(f"did not start: {told[:160]}")
        port_text = told.partition("://")[2].partition("/")[0].rpartition(":")[2]
        path = told.partition("://")[2].partition("/")[2].strip("/")
        target = Target(
            "127.0.0.1",
            int(port_text),
            path=f"/{path}/chat/completions" if path else "/openai/v1/chat/completions",
            model="tensorzero::model_name::mock",
        )
        yield target, server


TENSORZERO = Contestant(f"TensorZero {VERSION}", "observability off: nothing recorded", serving)
