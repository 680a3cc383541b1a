"""Say no in the words of the API that was asked: key, path, model, size, upstream.

Refusals for money come from the pipeline; these are the gateway's own. Raised by the rooms of the
gateway and turned into an answer by `app`.

Source: https://platform.openai.com/docs/guides/error-codes,
https://docs.claude.com/en/api/errors, https://cloud.google.com/apis/design/errors (2026-11).
"""

from typing import Any, Final

from meter.core.ports import Answer
from meter.providers.foreign import encoded
from meter.providers.provider import Shape

_ANTHROPIC: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
}
_GOOGLE: Final = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    408: "DEADLINE_EXCEEDED",
    413: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}

_MAY_BE_SENT_AGAIN: Final = frozenset({408, 502, 503, 504})


class Rejected(Exception):
    """A request that the gateway answers itself, with a status, a code and one sentence.

    `closes`: the connection cannot be used again, because a body on it was not read.
    """

    def __init__(self, status: int, code: str, message: str, *, closes: bool = False) -> None:
        """Take what the answer says."""
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.closes = closes


class ClientLeft(Exception):
    """The client closed its connection, or has taken nothing for too long."""


def answer_to(rejection: Rejected, shape: Shape) -> Answer:
    """Return the answer that tells a client why, in its API's own shape."""
    status, message = rejection.status, rejection.message
    body: dict[str, Any]
    match shape:
        case "openai":
            kind = "server_error" if status >= 500 else "invalid_request_error"
            error = {"message": message, "type": kind, "param": None, "code": rejection.code}
            body = {"error": error}
        case "anthropic":
            kind = _ANTHROPIC.get(status, "api_error" if status >= 500 else _ANTHROPIC[400])
            body = {"type": "error", "error": {"type": kind, "message": message}}
        case "google":
            state = _GOOGLE.get(status, "INTERNAL" if status >= 500 else _GOOGLE[400])
            body = {"error": {"code": status, "message": message, "status": state}}
    content = encoded(body)
    headers = {"content-type": "application/json", "content-length": str(len(content))}
    if status not in _MAY_BE_SENT_AGAIN:
        headers["x-should-retry"] = "false"
    if rejection.closes:
        headers["connection"] = "close"
    return Answer(status, headers, content)
