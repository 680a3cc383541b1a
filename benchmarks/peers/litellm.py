"""LiteLLM's proxy without a database: nothing is recorded, no budget is kept."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from driving import Target
from processes import Running, free_port, running, wait_for_port

from peers.contestant import Contestant
from peers.installing import python_environment

VERSION = "1.106.4"

_SETTINGS = """
model_list:
  - model_name: gpt-4o-mini
    litellm_params:
      model: openai/gpt-4o-mini
      api_base: http://127.0.0.1:{port}/v1
      api_key: none
general_settings:
  master_key: sk-bench
litellm_settings:
  telemetry: false
"""


@contextmanager
def serving(port: int, folder: Path) -> Iterator[tuple[Target, Running]]:
    """Run the proxy before the mock provider."""
    programs = python_environment("litellm", f"litellm[proxy]=={VERSION}")
    own = free_port()
    settings = folder / "litellm.yaml"
    settings.write_text(_SETTINGS.format(port=port))
    command = [
        str(programs / "litellm"), "--config", str(settings), "--host", "127.0.0.1",
        "--port", str(own), "--num_workers", "1",
    ]  # fmt: skip
    environment = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"}
    log_path = folder / "litellm.log"
    with (
        log_path.open("w") as log,
        running(command, folder=folder, environment=environment, log=log) as server,
    ):
        wait_for_port(own, server)
        headers = (("authorization", "Bearer sk-bench"),)
        yield Target("127.0.0.1", own, headers=headers), server


LITELLM = Contestant(f"LiteLLM {VERSION}", "no database: nothing recorded, no budget", serving)
