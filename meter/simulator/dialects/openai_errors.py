"""Render errors as OpenAI does; many other providers copied the shape."""

from __future__ import annotations

from meter.simulator.replies import Event, Json, Refusal, Whole
from meter.simulator.routing import MESSAGES, ordered_refusal

# Source: error bodies in recorded exchanges and the openai package 3.54, read 2026-11-22.
_TYPES = {
    401: "invalid_request_error",
    403: "invalid_request_error",
    429: "requests",
}
_CODES = {401: "invalid_api_key", 429: "rate_limit_exceeded"}


def refuse(refusal: Refusal) -> Whole:
    """Return the body of an error."""
    return Whole(payload={"error": _error(refusal)}, status=refusal.status)


def error_event(status: int) -> Event:
    """Return the event that ends a stream which failed on the way."""
    return Event({"error": _error(ordered_refusal(status))})


def _error(refusal: Refusal) -> Json:
    fallback = "server_error" if refusal.status >= 500 else "invalid_request_error"
    return {
        "message": refusal.message or MESSAGES.get(refusal.status, "Error."),
        "type": _TYPES.get(refusal.status, fallback),
        "param": refusal.param,
        "code": refusal.code or _CODES.get(refusal.status),
    }
