"""Spoil the usage of an answer as ordered: leave it out, repeat it, falsify its numbers.

Pure: a reply goes in, another comes out; the bill stays what an honest provider would bill.
Knows only the path at which a payload carries its usage. Called by `delivery`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from meter.simulator.orders import UsageFault
from meter.simulator.replies import Event, Json, Streamed, Whole

# Above 2**63, so that no 64-bit integer holds it.
HUGE_TOKENS = 10**22


def spoil_whole(reply: Whole, fault: UsageFault) -> Whole:
    """Return a whole answer with its usage spoilt; faults of streams leave it as it is."""
    if not reply.usage_path or not isinstance(reply.payload, dict):
        return reply
    if fault == "none":
        return replace(reply, payload=_without(reply.payload, reply.usage_path))
    number = _falsifier(fault)
    if number is None:
        return reply
    return replace(reply, payload=_with_numbers(reply.payload, reply.usage_path, number))


def spoil_stream(reply: Streamed, fault: UsageFault, count: Callable[[str], int]) -> Streamed:
    """Return a stream with its usage spoilt."""
    match fault:
        case "none":
            kept = (_unreported(event) for event in reply.events if not event.is_usage_only)
            return replace(reply, events=tuple(kept))
        case "twice":
            return replace(reply, events=_with_last_repeated(reply.events))
        case "every-chunk":
            return replace(reply, events=_with_running_usage(reply, count))
        case "zero-first":
            return replace(reply, events=_with_zeros_first(reply))
    number = _falsifier(fault)
    return replace(reply, events=tuple(_falsified(event, number) for event in reply.events))


def _falsifier(fault: UsageFault) -> Callable[[int], Any] | None:
    falsifiers: dict[UsageFault, Callable[[int], Any]] = {
        "negative": lambda number: -number,
        "string": str,
        "huge": lambda _: HUGE_TOKENS,
    }
    return falsifiers.get(fault)


def _unreported(event: Event) -> Event:
    if not event.usage_path:
        return event
    return replace(event, payload=_without(event.payload, event.usage_path), usage_path=())


def _falsified(event: Event, number: Callable[[int], Any] | None) -> Event:
    if not event.usage_path or number is None:
        return event
    return replace(event, payload=_with_numbers(event.payload, event.usage_path, number))


def _with_last_repeated(events: tuple[Event, ...]) -> tuple[Event, ...]:
    for place in range(len(events) - 1, -1, -1):
        if events[place].usage_path:
            again = replace(events[place], text="", hidden_tokens=0)
            return (*events[: place + 1], again, *events[place + 1 :])
    return events


def _with_running_usage(reply: Streamed, count: Callable[[str], int]) -> tuple[Event, ...]:
    if reply.usage_at is None:
        return reply.events
    lanes: dict[int, str] = {}
    hidden = 0
    events: list[Event] = []
    for event in reply.events:
        lanes[event.lane] = lanes.get(event.lane, "") + event.text
        hidden += event.hidden_tokens
        if event.usage_path:
            events.append(event)
            continue
        tokens = hidden + sum(count(text) for text in lanes.values())
        payload = _with_value(event.payload, reply.running_path, reply.usage_at(tokens))
        events.append(replace(event, payload=payload, usage_path=reply.running_path))
    return tuple(events)


def _with_zeros_first(reply: Streamed) -> tuple[Event, ...]:
    reporting = [place for place, event in enumerate(reply.events) if event.usage_path]
    if len(reporting) > 1:
        first = reporting[0]
        zeroed = _falsified(reply.events[first], lambda _: 0)
        return (*reply.events[:first], zeroed, *reply.events[first + 1 :])
    if reply.usage_at is None or not reply.events:
        return reply.events
    head = reply.events[0]
    payload = _with_value(head.payload, reply.running_path, reply.usage_at(0))
    payload = _with_numbers(payload, reply.running_path, lambda _: 0)
    return (replace(head, payload=payload, usage_path=reply.running_path), *reply.events[1:])


def _without(payload: Json, path: tuple[str, ...]) -> Json:
    changed = copy.deepcopy(payload)
    inner = changed
    for name in path[:-1]:
        inner = inner[name]
    inner.pop(path[-1], None)
    return changed


def _with_value(payload: Json, path: tuple[str, ...], value: Any) -> Json:
    changed = copy.deepcopy(payload)
    inner = changed
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    return changed


def _with_numbers(payload: Json, path: tuple[str, ...], number: Callable[[int], Any]) -> Json:
    usage: Any = payload
    for name in path:
        usage = usage[name]
    return _with_value(payload, path, _each_number(usage, number))


def _each_number(value: Any, number: Callable[[int], Any]) -> Any:
    if isinstance(value, dict):
        return {name: _each_number(inner, number) for name, inner in value.items()}
    if isinstance(value, list):
        return [_each_number(inner, number) for inner in value]
    if isinstance(value, int) and not isinstance(value, bool):
        return number(value)
    return value
