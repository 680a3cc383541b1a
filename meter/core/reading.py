"""Hold what a request says of itself, as a provider's reader understood it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from meter.core.call import Attribution

UNMETERED = "unmetered"
"""The endpoint name of a call that passes through unread, and is counted as such."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a request says of itself.

    `request` is the parsed body (empty when it is not a JSON object). `max_output_tokens` bounds
    the output of all choices and prompts together, None when the request gives no bound;
    `choices` is how many answers were asked for, each bounded by the model's own limit then.
    `service_tier` is the tier asked for, in the core's names, None when none was.
    `hint` is the attribution that the request itself carries (`user`, `safety_identifier`).
    `free` calls are known to cost nothing (listing models, counting tokens).
    `body` is the body to send instead of the client's (usage was asked for on its behalf), None
    to send the client's own bytes; `strip_usage` then says that the usage chunk is the meter's
    and must be taken out again. `defects` are sentences on what could not be read.
    """

    provider: str
    endpoint: str
    model: str | None = None
    streaming: bool = False
    max_output_tokens: int | None = None
    choices: int = 1
    service_tier: str | None = None
    traits: Mapping[str, str] = field(default_factory=dict)
    hint: Attribution = field(default_factory=Attribution)
    free: bool = False
    body: bytes | None = None
    strip_usage: bool = False
    request: Mapping[str, Any] = field(default_factory=dict)
    defects: tuple[str, ...] = ()

    @property
    def metered(self) -> bool:
        """Whether the meter knows how to read this endpoint's answers."""
        return self.endpoint != UNMETERED
