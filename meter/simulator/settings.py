"""Say how the simulated providers behave: pacing, fault rates, tokenizer, model names, bounds.

Knows nothing of HTTP. Read by every other module of the simulator.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from meter.simulator.tokenizer import count_tokens

# Source: `model` of answers to these aliases in recorded exchanges, read 2026-11-22.
SERVED_MODELS: Mapping[str, str] = MappingProxyType(
    {
        "claude-haiku-4-5": "claude-haiku-4-5-20251001",
        "claude-sonnet-4-5": "claude-sonnet-4-5-20250929",
        "gpt-3.5-turbo": "gpt-3.5-turbo-0125",
        "gpt-4.1": "gpt-4.1-2025-04-14",
        "gpt-4.1-mini": "gpt-4.1-mini-2025-04-14",
        "gpt-4.1-nano": "gpt-4.1-nano-2025-04-14",
        "gpt-4o": "gpt-4o-2024-08-06",
        "gpt-4o-mini": "gpt-4o-mini-2024-07-18",
        "gpt-5": "gpt-5-2025-08-07",
        "gpt-5-mini": "gpt-5-mini-2025-08-07",
        "gpt-5-nano": "gpt-5-nano-2025-08-07",
        "o3": "o3-2025-04-16",
        "o4-mini": "o4-mini-2025-04-16",
    }
)


@dataclass(frozen=True, slots=True)
class Pacing:
    """Hold the rhythm of answers; each pair is the least and the most, drawn evenly.

    A whole (not streamed) answer takes as long as its stream would take.
    """

    first_byte_seconds: tuple[float, float] = (0.0, 0.0)
    chunk_seconds: tuple[float, float] = (0.0, 0.0)
    # A comment line goes before every Nth event of a stream; 0 sends none.
    keep_alive_every: int = 0


REALISTIC_PACING = Pacing(
    first_byte_seconds=(0.03, 0.15), chunk_seconds=(0.005, 0.02), keep_alive_every=60
)


@dataclass(frozen=True, slots=True)
class SimulatorSettings:
    """Hold every choice of a simulator; the defaults answer at once and without faults.

    Rates are chances in [0, 1] for each call that is billed, drawn from a generator seeded with
    `seed`. `count` gives the tokens of a text; pass another tokenizer's count to make the
    simulator agree with it exactly. `counts` has the counts of models with another tokenizer, by
    the beginning of their names; embeddings and legacy completions heed it. `keys` None accepts
    every key that does not begin with "bad"; `models` None accepts every name that does not
    contain "not-found".
    """

    pacing: Pacing = field(default_factory=Pacing)
    count: Callable[[str], int] = count_tokens
    counts: Mapping[str, Callable[[str], int]] = field(default_factory=dict)
    seed: int = 0
    error_rate: float = 0.0
    error_statuses: tuple[int, ...] = (429, 500, 503)
    cut_rate: float = 0.0
    stall_rate: float = 0.0
    stall_seconds: float = 2.0
    no_usage_rate: float = 0.0
    retry_after_seconds: float = 1.0
    keys: frozenset[str] | None = None
    models: frozenset[str] | None = None
    served_models: Mapping[str, str] = field(default_factory=lambda: SERVED_MODELS)
    # Prompts shorter than this are never cached.
    cache_minimum_tokens: int = 1024
    answer_tokens: tuple[int, int] = (20, 200)
    body_limit_bytes: int = 64 * 2**20
    exchange_records: int = 10_000
    request_records: int = 64
    request_record_bytes: int = 2**20
    file_limit: int = 256
    file_limit_bytes: int = 64 * 2**20

    def count_of(self, model: str) -> Callable[[str], int]:
        """Return the count of a model's tokenizer."""
        for beginning, count in self.counts.items():
            if model.startswith(beginning):
                return count
        return self.count
