"""List the units that usage is measured in, and which unit contains which.

A quantity of a contained unit is also inside its containers: `cache_read_tokens` are input
tokens. Rating relies on this so that no token is billed twice. Names follow genai-prices where
it has one. Nothing here knows a price or a provider.
"""

from dataclasses import dataclass
from types import MappingProxyType

from meter.errors import UnitError


@dataclass(frozen=True, slots=True)
class Unit:
    """One thing that can be counted.

    `inside` names the units that contain it (several where dimensions cross: cached audio is
    inside both the cached and the audio tokens). `fractional` allows exact decimals (seconds).
    `incidental` units are billed only where the rate card has a rate for them and are otherwise
    just information; all others make a call unpriced when no rate covers them.
    """

    name: str
    label: str
    inside: tuple[str, ...] = ()
    fractional: bool = False
    incidental: bool = False


_ALL = (
    Unit("input_tokens", "input tokens"),
    Unit("cache_read_tokens", "cached input tokens", ("input_tokens",)),
    Unit("cache_write_tokens", "cache write tokens", ("input_tokens",)),
    Unit("cache_write_5m_tokens", "cache write tokens (5 min)", ("cache_write_tokens",)),
    Unit("cache_write_30m_tokens", "cache write tokens (30 min)", ("cache_write_tokens",)),
    Unit("cache_write_1h_tokens", "cache write tokens (1 h)", ("cache_write_tokens",)),
    Unit("cache_write_12h_tokens", "cache write tokens (12 h)", ("cache_write_tokens",)),
    Unit("input_audio_tokens", "audio input tokens", ("input_tokens",)),
    Unit("input_image_tokens", "image input tokens", ("input_tokens",)),
    Unit("input_video_tokens", "video input tokens", ("input_tokens",)),
    Unit("cache_audio_read_tokens", "cached audio tokens",
         ("cache_read_tokens", "input_audio_tokens")),
    Unit("cache_image_read_tokens", "cached image tokens",
         ("cache_read_tokens", "input_image_tokens")),
    Unit("tool_use_input_tokens", "tool use input tokens", ("input_tokens",)),
    Unit("output_tokens", "output tokens"),
    Unit("reasoning_tokens", "reasoning tokens", ("output_tokens",)),
    Unit("output_audio_tokens", "audio output tokens", ("output_tokens",)),
    Unit("output_image_tokens", "image output tokens", ("output_tokens",)),
    Unit("rejected_prediction_tokens", "rejected prediction tokens", ("output_tokens",)),
    Unit("trained_tokens", "trained tokens"),
    Unit("searches", "searches"),
    Unit("sessions", "sessions"),
    Unit("pages", "pages", incidental=True),
    Unit("images", "images", incidental=True),
    Unit("characters", "characters", incidental=True),
    Unit("audio_seconds", "audio seconds", fractional=True, incidental=True),
    Unit("video_seconds", "video seconds", fractional=True, incidental=True),
    Unit("tool_calls", "tool calls", incidental=True),
    Unit("requests", "requests", incidental=True),
    Unit("minimum_charges", "minimum charges", incidental=True),
)  # fmt: skip

UNITS = MappingProxyType({unit.name: unit for unit in _ALL})
"""Every unit by name, containers before what they contain."""


def unit(name: str) -> Unit:
    """Return the unit of that name. Raises: UnitError when there is none."""
    found = UNITS.get(name)
    if found is None:
        raise UnitError(f"found unit {name!r}, expected one of {', '.join(UNITS)}")
    return found


def _ancestors(name: str) -> frozenset[str]:
    parents = UNITS[name].inside
    return frozenset(parents).union(*(_ancestors(parent) for parent in parents))


CONTAINERS = MappingProxyType({name: _ancestors(name) for name in UNITS})
"""For each unit, every unit that contains it, directly or not."""

CONTENTS = MappingProxyType(
    {name: tuple(u for u in UNITS if name in CONTAINERS[u]) for name in UNITS}
)
"""For each unit, every unit inside it, directly or not, in registry order."""

ROOTS = tuple(name for name, u in UNITS.items() if not u.inside)
"""The units that are inside no other."""
