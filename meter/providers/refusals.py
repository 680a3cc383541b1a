"""Refuse a call in the provider's own words, so that its SDK raises its own error.

Knows no budgets. Called through `Dialect.refuse`. `x-should-retry: false` keeps the SDKs made by
Stainless (OpenAI's, Anthropic's, Groq's) from sending a refused call again.

Source: https://platform.openai.com/docs/guides/error-codes (a 429 with `insufficient_quota` is
out of money), https://docs.claude.com/en/api/errors, https://cloud.google.com/apis/design/errors,
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html (2026-11).
"""

from typing import Any

from meter.core.ports import Answer
from meter.providers.foreign import encoded
from meter.providers.provider import Shape

_OUT_OF_MONEY = 429


def refusal(shape: Shape, status: int, message: str, budget_id: str | None) -> Answer:
    """Return a refusal: 429 for a spent budget, another status for the meter's own trouble."""
    headers = {"content-type": "application/json", "x-should-retry": "false"}
    if budget_id is not None:
        headers["x-meter-budget"] = budget_id
    match shape:
        case "openai":
            body = _openai(status, message)
        case "anthropic":
            body = _anthropic(status, message)
        case "google":
            body = _google(status, message)
        case "aws":
            status, body = _aws(status, message)
            headers["x-amzn-errortype"] = body["__type"]
    content = encoded(body)
    headers["content-length"] = str(len(content))
    return Answer(status, headers, content)


def _openai(status: int, message: str) -> dict[str, Any]:
    kind = "insufficient_quota" if status == _OUT_OF_MONEY else "server_error"
    code = kind if status == _OUT_OF_MONEY else "ledger_unavailable"
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def _anthropic(status: int, message: str) -> dict[str, Any]:
    kind = "rate_limit_error" if status == _OUT_OF_MONEY else "api_error"
    return {"type": "error", "error": {"type": kind, "message": message}}


def _google(status: int, message: str) -> dict[str, Any]:
    state = "RESOURCE_EXHAUSTED" if status == _OUT_OF_MONEY else "UNAVAILABLE"
    return {"error": {"code": status, "message": message, "status": state}}


def _aws(status: int, message: str) -> tuple[int, dict[str, Any]]:
    """Return status and body. Amazon's SDKs try a 429 again, but not this 400."""
    if status == _OUT_OF_MONEY:
        return 400, {"__type": "ServiceQuotaExceededException", "message": message}
    return status, {"__type": "ServiceUnavailableException", "message": message}
