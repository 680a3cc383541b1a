"""Names of service tiers."""

from typing import Any

import pytest

from meter.providers.tiers import tier_of


@pytest.mark.parametrize(
    ("given", "tier"),
    [
        ("default", "standard"), ("standard", "standard"), ("on_demand", "standard"),
        ("standard_only", "standard"), ("ON_DEMAND", "standard"), ("auto", None),
        ("fast", "priority"), ("priority", "priority"), ("ON_DEMAND_PRIORITY", "priority"),
        ("flex", "flex"), ("batch", "batch"), ("scale", "scale"), ("ultrafast", "ultrafast"),
        ("PROVISIONED_THROUGHPUT", "provisioned"), ("TRAFFIC_TYPE_UNSPECIFIED", None),
        ("", None), (None, None), (7, None), ({}, None), ("x" * 65, None),
    ],
)  # fmt: skip
def test_tiers_have_one_name(given: Any, tier: str | None) -> None:
    assert tier_of(given) == tier


def test_an_unknown_tier_is_not_taken_for_standard() -> None:
    assert tier_of("Warp") == "warp"
