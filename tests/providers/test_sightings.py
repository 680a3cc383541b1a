"""Where usage, names, tiers, costs and errors are seen in an answer."""

from decimal import Decimal
from typing import Any

import pytest

from meter.providers.sightings import Sightings, merge

REPORT = {"prompt_tokens": 3, "completion_tokens": 4}


@pytest.mark.parametrize(
    "payload",
    [
        {"usage": REPORT},
        {"x_groq": {"id": "req_1", "usage": REPORT}},
        {"choices": [{"index": 0}, {"index": 1, "usage": REPORT}]},
        {"response": {"usage": REPORT}},
        {"message": {"usage": REPORT}},
        {"delta": {"usage": REPORT}},
        {"usageMetadata": REPORT},
        {"usage_info": REPORT},
    ],
)
def test_usage_is_found_wherever_a_provider_puts_it(payload: dict[str, Any]) -> None:
    seen = Sightings()
    assert seen.take(payload)
    assert seen.usage == REPORT


@pytest.mark.parametrize("nothing", [None, {}])
def test_empty_usage_is_no_report(nothing: Any) -> None:
    seen = Sightings()
    assert not seen.take({"usage": nothing})
    assert seen.usage == {}
    assert seen.defects == []


def test_usage_of_another_type_is_a_defect() -> None:
    seen = Sightings()
    assert not seen.take({"usage": "many"})
    assert seen.defects == ["found a str as usage, expected an object"]


def test_later_reports_replace_field_by_field_and_never_add() -> None:
    into: dict[str, Any] = {}
    merge(into, {"input_tokens": 9, "output_tokens": 1, "cache_creation": {"a": 5, "b": 6}})
    merge(into, {"input_tokens": None, "output_tokens": 7, "cache_creation": {"b": 8}})
    assert into == {"input_tokens": 9, "output_tokens": 7, "cache_creation": {"a": 5, "b": 8}}


def test_a_later_zero_or_null_does_not_wipe_a_count() -> None:
    into: dict[str, Any] = {"input_tokens": 9, "flag": 0}
    merge(into, {"input_tokens": 0, "flag": 0, "new": 0})
    assert into == {"input_tokens": 9, "flag": 0, "new": 0}


def test_a_report_is_kept_within_bounds() -> None:
    into: dict[str, Any] = {}
    for number in range(1000):
        merge(into, {f"member{number}": number, "notes": ["x"] * 1000, "text": "y" * 1000})
    assert len(into) <= 64
    assert "notes" not in into
    assert len(into["text"]) == 256


def test_names_are_taken_from_the_answer_and_empty_ones_ignored() -> None:
    seen = Sightings()
    seen.take({"id": "", "model": "", "choices": []})
    assert (seen.model, seen.response_id) == (None, None)
    seen.take({"response": {"id": "resp_1", "model": "gpt-5", "service_tier": "default"}})
    assert (seen.model, seen.response_id, seen.service_tier) == ("gpt-5", "resp_1", "standard")
    seen.take({"modelVersion": "models/gemini-2.5-pro", "responseId": "abc"})
    assert (seen.model, seen.response_id) == ("gemini-2.5-pro", "abc")


@pytest.mark.parametrize(
    ("report", "tier"),
    [
        ({"service_tier": "batch"}, "batch"),
        ({"service_tier": "standard", "speed": "fast"}, "fast"),
        ({"trafficType": "ON_DEMAND"}, "standard"),
        ({"trafficType": "PROVISIONED_THROUGHPUT"}, "provisioned"),
        ({"serviceTier": "flex"}, "flex"),
        ({"service_tier": 3}, None),
    ],
)
def test_the_tier_stands_beside_the_usage_too(report: dict[str, Any], tier: str | None) -> None:
    seen = Sightings()
    seen.take({"usage": report})
    assert seen.service_tier == tier


@pytest.mark.parametrize(
    ("report", "cost_nanos"),
    [
        ({"cost_in_usd_ticks": 232856000}, 23_285_600),  # 0.0232856 USD
        ({"cost_in_usd_ticks": 15}, 2),  # 1.5 nanos, half to even
        ({"cost": Decimal("0.066407")}, 66_407_000),
        ({"cost": 2}, 2_000_000_000),
        ({"cost": {"total_cost": Decimal("0.00945")}}, 9_450_000),
        ({"cost": "0.1"}, None),
        ({"cost": -1}, None),
        ({"cost": True}, None),
        ({"cost": 0.5}, None),
        ({"cost_in_usd_ticks": "9"}, None),
    ],
)
def test_the_cost_that_the_issuer_names(report: dict[str, Any], cost_nanos: int | None) -> None:
    seen = Sightings()
    seen.take({"usage": report})
    assert seen.cost_nanos == cost_nanos


@pytest.mark.parametrize(
    ("payload", "error"),
    [
        ({"error": {"type": "model_error", "message": "a secret"}}, "model_error"),
        ({"error": {"code": 502, "message": "a secret"}}, "code 502"),
        ({"error": "a secret"}, "unnamed"),
        ({"type": "error", "error": {"type": "overloaded_error"}}, "overloaded_error"),
        ({"type": "error", "code": "server_error", "message": "a secret"}, "server_error"),
        ({"type": "response.failed", "response": {"error": {"code": "x"}}}, "x"),
        ({"code": 1001, "msg": "no money"}, "code 1001"),
        ({"code": 0, "msg": "ok"}, None),
        ({"code": 7, "msg": "ok", "choices": [], "usage": REPORT}, None),
        ({"error": None, "choices": []}, None),
    ],
)
def test_an_error_is_named_without_its_message(payload: dict[str, Any], error: str | None) -> None:
    seen = Sightings()
    seen.take(payload)
    assert seen.error == error


def test_traits_that_change_the_price_are_kept() -> None:
    seen = Sightings()
    seen.take({"usage": {"inference_geo": "us", "search_context_size": "low"}})
    assert seen.traits == {"inference_geo": "us", "search_context_size": "low"}
    seen = Sightings()
    seen.take({"usage": {"inference_geo": "not_available"}})
    assert seen.traits == {}
