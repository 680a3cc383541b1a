"""Describe what a dialect answers, before anything is sent: a whole body or a list of events.

Knows no provider and no socket. Dialects build these records; `delivery` sends them with pacing
and faults, and keeps the books by what they say.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from meter.simulator.orders import Orders

Json = dict[str, Any]
# unit -> quantity, with cached tokens inside input_tokens and reasoning inside output_tokens.
Bill = Mapping[str, int]
# sse: `data:` lines; named: `event:` and `data:` lines; padded: the same with blanks at the end of
# the line; crlf: as sse with \r\n; array: a JSON array.
Framing = Literal["sse", "named", "padded", "crlf", "array"]

_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


class Refusal(Exception):
    """Stop answering a request and send an error in the dialect's own shape.

    `code` is a short reason as OpenAI spells it; dialects without codes leave it out.
    """

    def __init__(
        self, status: int, message: str, code: str | None = None, param: str | None = None
    ):
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.param = param


@dataclass(frozen=True, slots=True)
class Request:
    """Hold one request after its head and body were read.

    `model` is the name that serves it, without the orders behind "@"; "" where there is none.
    `fields` is the JSON body, {} where the body is empty or not JSON.
    """

    method: str
    path: str
    parts: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    fields: Json
    model_requested: str
    model: str
    orders: Orders
    key: str


@dataclass(frozen=True, slots=True)
class Event:
    """Hold one event of a stream and what its arrival adds to the bill.

    `text` is output that the event delivers, counted together with the other texts of its `lane`
    (a choice, a tool call); `hidden_tokens` are billed on top of it (reasoning, the frame of a tool
    call). `usage_path` leads to the usage object inside `payload`; () means that it has none.
    """

    payload: Json
    name: str | None = None
    text: str = ""
    lane: int = 0
    hidden_tokens: int = 0
    usage_path: tuple[str, ...] = ()
    is_usage_only: bool = False


@dataclass(frozen=True, slots=True)
class Streamed:
    """Hold a streamed answer; `model` is whom it is billed for, "" for the request's own model.

    `usage_at` gives the usage object after a number of output tokens, for servers that report on
    every chunk; None where no server of this dialect does. It is put at `running_path`.
    """

    events: tuple[Event, ...]
    bill: Bill
    framing: Framing = "sse"
    content_type: str = "text/event-stream; charset=utf-8"
    closing: bytes = b""
    allows_comments: bool = True
    usage_at: Callable[[int], Json] | None = None
    running_path: tuple[str, ...] = ("usage",)
    model: str = ""


@dataclass(frozen=True, slots=True)
class Whole:
    """Hold an answer that is sent in one piece: a JSON payload, or bytes of another type.

    `model` is whom it is billed for, "" for the request's own model.
    """

    payload: Json | list[Any] | None = None
    body: bytes = b""
    status: int = 200
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    usage_path: tuple[str, ...] = ()
    bill: Bill = field(default_factory=dict)
    model: str = ""


Reply = Whole | Streamed


def to_json(value: object) -> bytes:
    """Return compact UTF-8 JSON, the form in which the providers send it."""
    # Lone surrogates, which a JSON request can carry, are no UTF-8.
    return _ENCODER.encode(value).encode(errors="replace")
