"""Refuse a call in the provider's own words, so that its SDK raises its own error.

Knows no budgets. Called through `Dialect.refuse`. `x-should-retry: false` keeps the SDKs made by
Stainless (OpenAI's, Anthropic's, Groq's) from sending a refused call again; over a rate limit they
are told when to come again instead.

Source: https://platform.openai.com/docs/guides/error-codes (a 429 with `insufficient_quota` is
out of money), https://docs.claude.com/en/api/errors, https://cloud.google.com/apis/design/errors,
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html (2026-11).
"""

from typing import Any
from urllib.parse import quote

from meter.core.ports import Answer
from meter.providers.foreign import encoded
from meter.providers.provider import Shape

_OUT_OF_MONEY = 429
_PLAIN = "".join(chr(code) for code in range(32, 127) if chr(code) != "%")


def refusal(
    shape: Shape, status: int, message: str, budget_id: str | None, again_s: int | None = None
) -> Answer:
    """Return a refusal: 429 for a spent budget, another status for the meter's own trouble.

    `again_s`: seconds until a rate limit lets calls through again, None for a budget.
    """
    headers = {"content-type": "application/json"}
    if again_s is None:
        headers["x-should-retry"] = "false"
    else:
        headers["retry-after"] = str(again_s)
    if budget_id is not None:
        # A subject may be written in any script, a header may not.
        headers["x-meter-budget"] = quote(budget_id, safe=_PLAIN)
    match shape:
        case "openai":
            body = _openai(status, message, is_rate=again_s is not None)
        case "anthropic":
            body = _anthropic(status, message)
        case "google":
            body = _google(status, message, again_s)
        case "aws":
            status, body = _aws(status, message, is_rate=again_s is not None)
            headers["x-amzn-errortype"] = body["__type"]
    content = encoded(body)
    headers["content-length"] = str(len(content))
    return Answer(status, headers, content)


def _openai(status: int, message: str, *, is_rate: bool) -> dict[str, Any]:
    if is_rate:
        limit = {"type": "requests", "param": None, "code": "rate_limit_exceeded"}
        return {"error": {"message": message, **limit}}
    kind = "insufficient_quota" if status == _OUT_OF_MONEY else "server_error"
    code = kind if status == _OUT_OF_MONEY else "ledger_unavailable"
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def _anthropic(status: int, message: str) -> dict[str, Any]:
    kind = "rate_limit_error" if status == _OUT_OF_MONEY else "api_error"
    return {"type": "error", "error": {"type": kind, "message": message}}


def _google(status: int, message: str, again_s: int | None) -> dict[str, Any]:
    state = "RESOURCE_EXHAUSTED" if status == _OUT_OF_MONEY else "UNAVAILABLE"
    error: dict[str, Any] = {"code": status, "message": message, "status": state}
    if again_s is not None:
        kind = "type.googleapis.com/google.rpc.RetryInfo"
        error["details"] = [{"@type": kind, "retryDelay": f"{again_s}s"}]
    return {"error": error}


def _aws(status: int, message: str, *, is_rate: bool) -> tuple[int, dict[str, Any]]:
    """Return status and body. Amazon's SDKs try a 429 again, but not this 400."""
    if is_rate:
        return status, {"__type": "ThrottlingException", "message": message}
    if status == _OUT_OF_MONEY:
        return 400, {"__type": "ServiceQuotaExceededException", "message": message}
    return status, {"__type": "ServiceUnavailableException", "message": message}
