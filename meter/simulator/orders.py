"""Read what one request orders for itself: faults and fixed lengths.

An order stands in the header `x-sim-fault` (`cut=5, no-usage`) or behind "@" in the model name
(`gpt-4o-mini@cut-5,no-usage`), because many clients and gateways drop headers they do not know.

    status=N          answer with this error status        retry-after=S  seconds in that header
    cut=N             break the connection after N pieces of output; a whole body after its half
    error-after=N     send an error event after N pieces of output, then end the stream
    truncated         end the body half-way, but end HTTP properly
    bad-json          break the JSON of one event in the middle, or of the whole body
    slow-first=S      wait S seconds before the first byte
    stall=S           wait S seconds after the first piece of output
    gzip              compress the body
    no-usage          leave every usage object out
    usage-twice       send the last usage twice
    usage-every-chunk send a running (cumulative) usage on every event, where the provider's copies
                      do that (OpenAI's chat and completions)
    zero-usage-first  send a usage of zeros first
    negative-usage, string-usage, huge-usage   spoil the numbers
    output=N          write exactly N tokens of text, as far as the request's own limit allows

Knows no provider. `app` reads the orders and the dialects and `delivery` obey them.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import Literal

from meter.simulator.settings import SimulatorSettings

OUTPUT_LIMIT_TOKENS = 100_000
SECONDS_LIMIT = 600.0

UsageFault = Literal["none", "twice", "every-chunk", "zero-first", "negative", "string", "huge"]
BodyFault = Literal["truncated", "bad-json"]

_USAGE_WORDS: dict[str, UsageFault] = {
    "no-usage": "none",
    "usage-twice": "twice",
    "usage-every-chunk": "every-chunk",
    "zero-usage-first": "zero-first",
    "negative-usage": "negative",
    "string-usage": "string",
    "huge-usage": "huge",
}
_BODY_WORDS: dict[str, BodyFault] = {"truncated": "truncated", "bad-json": "bad-json"}
_NUMBERED = ("status", "cut", "error-after", "output")
_TIMED = ("slow-first", "stall", "retry-after")


class UnknownOrderError(ValueError):
    """Say that an order is misspelt or has no usable value."""


@dataclass(frozen=True, slots=True)
class Orders:
    """Hold the orders of one request; None or False means honest behaviour."""

    status: int | None = None
    retry_after_seconds: float | None = None
    cut_after: int | None = None
    error_after: int | None = None
    slow_first_seconds: float = 0.0
    stall_seconds: float = 0.0
    usage: UsageFault | None = None
    body: BodyFault | None = None
    is_gzipped: bool = False
    output_tokens: int | None = None


HONEST = Orders()


def split_model(model: str) -> tuple[str, str]:
    """Return the model's name and the orders behind "@", "" when there are none."""
    name, _, words = model.partition("@")
    return name, words


def read_orders(*texts: str) -> Orders:
    """Return the orders of these texts, a later one winning over an earlier one.

    Raises: UnknownOrderError.
    """
    orders = HONEST
    for text in texts:
        for word in text.replace(";", ",").split(","):
            if word.strip():
                orders = _obey(orders, word.strip().lower())
    return orders


def draw_orders(orders: Orders, settings: SimulatorSettings, chance: random.Random) -> Orders:
    """Add the faults that the settings' rates call for; orders of the request itself win."""
    if orders != HONEST:
        return orders
    if chance.random() < settings.error_rate:
        return replace(orders, status=chance.choice(settings.error_statuses))
    if chance.random() < settings.cut_rate:
        return replace(orders, cut_after=chance.randint(0, 12))
    if chance.random() < settings.stall_rate:
        orders = replace(orders, stall_seconds=settings.stall_seconds)
    if chance.random() < settings.no_usage_rate:
        orders = replace(orders, usage="none")
    return orders


def _obey(orders: Orders, word: str) -> Orders:
    if word == "gzip":
        return replace(orders, is_gzipped=True)
    if word in _USAGE_WORDS:
        return replace(orders, usage=_USAGE_WORDS[word])
    if word in _BODY_WORDS:
        return replace(orders, body=_BODY_WORDS[word])
    for name in (*_NUMBERED, *_TIMED):
        if word.startswith((f"{name}=", f"{name}-")):
            return _obey_value(orders, name, word[len(name) + 1 :])
    raise UnknownOrderError(f"unknown order {word!r} for the simulator")


def _obey_value(orders: Orders, name: str, text: str) -> Orders:
    try:
        value = float(text)
    except ValueError:
        raise UnknownOrderError(f"the order {name!r} needs a number, found {text!r}") from None
    if name in _TIMED:
        seconds = _within(name, value, 0.0, SECONDS_LIMIT)
        if name == "slow-first":
            return replace(orders, slow_first_seconds=seconds)
        if name == "stall":
            return replace(orders, stall_seconds=seconds)
        return replace(orders, retry_after_seconds=seconds)
    if name == "status":
        return replace(orders, status=int(_within(name, value, 400, 599)))
    number = int(_within(name, value, 0, OUTPUT_LIMIT_TOKENS))
    if name == "cut":
        return replace(orders, cut_after=number)
    if name == "error-after":
        return replace(orders, error_after=number)
    return replace(orders, output_tokens=number)


def _within(name: str, value: float, least: float, most: float) -> float:
    if not least <= value <= most:
        raise UnknownOrderError(f"the order {name!r} takes {least:g} to {most:g}, found {value:g}")
    return value
