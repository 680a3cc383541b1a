"""Run the simulated providers as a process: `python -m meter.simulator --port 9100`."""

from __future__ import annotations

import argparse
import contextlib
import logging
import socket
import sys

import uvicorn

from meter.simulator.app import SimulatorApp
from meter.simulator.server import server_config
from meter.simulator.settings import REALISTIC_PACING, Pacing, SimulatorSettings


def main(arguments: list[str] | None = None) -> int:
    """Serve until the process is stopped; the first line of stdout says where."""
    parser = argparse.ArgumentParser(
        prog="python -m meter.simulator",
        description="Simulated providers of language models, on 127.0.0.1.",
    )
    parser.add_argument("--port", type=int, default=0, help="port; 0 takes a free one")
    parser.add_argument("--seed", type=int, default=0, help="seed of the faults")
    parser.add_argument("--paced", action="store_true", help="answer in a realistic rhythm")
    parser.add_argument("--error-rate", type=float, default=0.0, help="share of error answers")
    parser.add_argument("--cut-rate", type=float, default=0.0, help="share of broken answers")
    parser.add_argument("--stall-rate", type=float, default=0.0, help="share of stalled answers")
    chosen = parser.parse_args(arguments)
    settings = SimulatorSettings(
        pacing=REALISTIC_PACING if chosen.paced else Pacing(),
        seed=chosen.seed,
        error_rate=chosen.error_rate,
        cut_rate=chosen.cut_rate,
        stall_rate=chosen.stall_rate,
    )
    try:
        listener = socket.create_server(("127.0.0.1", chosen.port), backlog=2048)
    except OSError as error:
        print(f"port {chosen.port} cannot be opened: {error.strerror}", file=sys.stderr)
        return 2
    print(f"simulator on http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
    server = uvicorn.Server(server_config(SimulatorApp(settings)))
    with contextlib.suppress(KeyboardInterrupt):
        server.run(sockets=[listener])
    return 0


if __name__ == "__main__":
    sys.exit(main())
