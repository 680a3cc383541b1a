"""Simulate providers of language models, with pacing, faults and books of their own.

The demo, the tests and the benchmarks send their calls here instead of to a real provider:

    with Simulator() as simulator:
        client = OpenAI(base_url=f"{simulator.url}/v1", api_key="sk-anything")

    OpenAI     /v1/…                                  Azure      /openai/deployments/NAME/…
    Anthropic  /v1/messages                           Mistral    /mistral/v1/…
    Gemini     /v1beta/models/NAME:…, /v1/models/…    Groq       /groq/openai/v1/…
    Cohere     /cohere/v2/chat                        DeepSeek   /deepseek/chat/completions
    its own    GET /sim/books, POST /sim/reset, GET /healthz

One request can order its own faults by header or model name: see `orders`. The package shares no
code with the rest of `meter` (not even its numbers), so that an error there cannot hide behind the
same error here. It needs the standard library only; `Simulator`, which opens a port, also needs
uvicorn.
"""

from meter.simulator.app import SimulatorApp, simulator_app
from meter.simulator.server import Simulator
from meter.simulator.settings import REALISTIC_PACING, Pacing, SimulatorSettings

__all__ = [
    "REALISTIC_PACING",
    "Pacing",
    "Simulator",
    "SimulatorApp",
    "SimulatorSettings",
    "simulator_app",
]
