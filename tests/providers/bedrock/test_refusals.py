"""Refusals that Amazon's SDKs understand and do not try again."""

import json

from meter.providers.registry import dialect_named
from tests.providers.native_answers import ask

HOST = "bedrock-runtime.us-east-1.amazonaws.com"


def test_a_spent_budget_is_a_quota_and_not_a_throttle() -> None:
    for operation in ("converse", "invoke-with-response-stream"):
        reading = ask(HOST, f"/model/m/{operation}")
        refused = dialect_named("bedrock").refuse(reading, 429, "No money is left.", "b1")
        assert (refused.status, refused.headers["x-amzn-errortype"]) == (
            400, "ServiceQuotaExceededException",
        )  # fmt: skip
        assert json.loads(refused.body)["message"] == "No money is left."
        assert refused.headers["x-meter-budget"] == "b1"


def test_the_meters_own_trouble_keeps_its_status() -> None:
    refused = dialect_named("bedrock").refuse(ask(HOST, "/model/m/converse"), 503, "Away.", None)
    assert (refused.status, refused.headers["x-amzn-errortype"]) == (
        503, "ServiceUnavailableException",
    )  # fmt: skip
