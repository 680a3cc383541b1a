"""Describe a dialect: its paths, its keys, its refusals.

Knows no provider; the dialects are in `meter.simulator.dialects`, one file each.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from meter.simulator.replies import Event, Refusal, Reply, Request, Whole
from meter.simulator.world import World

Answer = Callable[[Request, World], Reply]


@dataclass(frozen=True, slots=True)
class Route:
    """Hold one path of a dialect and the function that answers it.

    `pattern` matches the whole path; its named groups become the request's parts.
    """

    method: str
    pattern: re.Pattern[str]
    endpoint: str
    answer: Answer
    # A header that must be there; "" asks for none. Two providers share one path.
    header: str = ""


@dataclass(frozen=True, slots=True)
class Dialect:
    """Hold what one provider's wire format needs beside its routes.

    `read_key` returns the credential of a request, "" when there is none; `refuse` renders an
    error in the provider's shape; `error_event` the same in the middle of a stream.
    """

    name: str
    # Paths that begin like this are refused in this dialect when no route matches.
    prefix: str
    routes: tuple[Route, ...]
    read_key: Callable[[Mapping[str, str], Mapping[str, str]], str]
    refuse: Callable[[Refusal], Whole]
    error_event: Callable[[int], Event]
    headers: Callable[[World], list[tuple[str, str]]] = lambda _: []
    # Statuses for a missing and for a wrong key.
    key_statuses: tuple[int, int] = (401, 401)


class Router:
    """Find the dialect and the route of a request."""

    def __init__(self, dialects: Sequence[Dialect]) -> None:
        """Index the routes; an earlier dialect wins, and the last one takes unknown paths."""
        self._dialects = dialects
        self._fixed: dict[tuple[str, str], tuple[Dialect, Route]] = {}
        self._patterned: list[tuple[Dialect, Route]] = []
        for dialect in dialects:
            for route in dialect.routes:
                if route.pattern.groups or route.header:
                    self._patterned.append((dialect, route))
                else:
                    path = re.sub(r"\\(.)", r"\1", route.pattern.pattern)
                    self._fixed.setdefault((route.method, path), (dialect, route))

    def find(
        self, method: str, path: str, headers: Mapping[str, str]
    ) -> tuple[Dialect, Route | None, dict[str, str]]:
        """Return the dialect of a path and, where one matches, its route and the path's parts."""
        trimmed = path.rstrip("/") or "/"
        for dialect, route in self._patterned:
            if route.method != method or (route.header and route.header not in headers):
                continue
            if found := route.pattern.fullmatch(trimmed):
                return dialect, route, found.groupdict()
        if known := self._fixed.get((method, trimmed)):
            return *known, {}
        for dialect in self._dialects:
            if path.startswith(dialect.prefix):
                return dialect, None, {}
        return self._dialects[-1], None, {}


def route(method: str, template: str, endpoint: str, answer: Answer, header: str = "") -> Route:
    """Return a route; `{name}` in the template stands for one part of the path."""
    pattern = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+?)", re.escape(template))
    return Route(method, re.compile(pattern), endpoint, answer, header)


def read_bearer(headers: Mapping[str, str], _query: Mapping[str, str]) -> str:
    """Return the key behind `Authorization: Bearer`, "" when there is none."""
    scheme, _, key = headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""


MESSAGES: Mapping[int, str] = {
    400: "The request was not understood.",
    401: "Incorrect API key provided.",
    403: "This key may not use this resource.",
    404: "The requested resource was not found.",
    408: "The request took too long.",
    413: "The request is too large.",
    429: "Rate limit reached. Please try again later.",
    500: "The server had an error while processing your request.",
    503: "The service is temporarily unavailable.",
    529: "Overloaded",
}


def ordered_refusal(status: int) -> Refusal:
    """Return the refusal that a request ordered for itself or that chance chose."""
    return Refusal(status, MESSAGES.get(status, f"The simulator was told to answer {status}."))
