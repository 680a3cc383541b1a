"""A FOCUS file keeps every rule that the specification has for the columns it fills."""

import csv
import io
import json
import re
from datetime import datetime
from decimal import Decimal

import pyarrow.parquet as pq
import pytest

from meter.core.rates import Rate, RateCard
from meter.core.rating import rate
from meter.core.usage import Usage
from meter.errors import InputError
from tests.exports.conftest import correct
from tests.store.examples import CARD, NOON_US, a_call, an_event
from tests.store.test_books import LISTED, RESALE, resold

ALWAYS = {
    "BilledCost", "BillingAccountId", "BillingAccountName", "BillingCurrency",
    "BillingPeriodStart", "BillingPeriodEnd", "ChargeCategory", "ChargeClass",
    "ChargeDescription", "ChargePeriodStart", "ChargePeriodEnd", "ContractedCost",
    "EffectiveCost", "InvoiceIssuerName", "ListCost", "PricingQuantity", "PricingUnit",
    "ServiceCategory", "ServiceName",
}  # fmt: skip
"""Mandatory in every version."""

PROVIDERS = {
    "1.2": {"ProviderName", "PublisherName"},
    "1.3": {"ProviderName", "PublisherName", "ServiceProviderName", "HostProviderName"},
    "1.4": {"ServiceProviderName", "HostProviderName"},
}

MAY_BE_NULL = {
    "BillingAccountName", "ChargeClass", "CommitmentDiscountCategory", "CommitmentDiscountId",
    "CommitmentDiscountName", "CommitmentDiscountQuantity", "CommitmentDiscountStatus",
    "CommitmentDiscountType", "CommitmentDiscountUnit", "InvoiceId", "SubAccountId",
    "SubAccountName", "x_ModelServed",
}  # fmt: skip

KNOWN = ALWAYS | {name for names in PROVIDERS.values() for name in names} | MAY_BE_NULL | {
    "ChargeFrequency", "ConsumedQuantity", "ConsumedUnit", "ContractedUnitPrice", "ListUnitPrice",
    "PricingCategory", "ServiceSubcategory", "SkuId", "SkuMeter", "SkuPriceDetails", "SkuPriceId",
    "Tags",
}  # fmt: skip
"""Every column of the specification that we fill; all others are custom and begin with x_."""

UNIT = re.compile(
    r"([1-9][0-9]* )?(Tokens|Seconds|Characters|Pages|Images|Searches|Sessions|Calls|Requests)"
)
DATE_TIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z")
DECIMAL = re.compile(r"-?[0-9]+(\.[0-9]+)?")


def check(rows, version):
    """Hold every row against every rule of FOCUS for the columns that we fill."""
    for row in rows:
        assert ALWAYS | PROVIDERS[version] <= row.keys()
        others = {name for names in PROVIDERS.values() for name in names} - PROVIDERS[version]
        assert not others & row.keys(), "columns of another version"
        for name, text in row.items():
            assert name in KNOWN or name.startswith("x_"), name
            assert text or name in MAY_BE_NULL, f"{name} is null"
            if name.endswith(("Start", "End")):
                assert DATE_TIME.fullmatch(text), f"{name} is {text}"
            if name.endswith(("Cost", "UnitPrice")) or name in (
                "PricingQuantity", "ConsumedQuantity",
            ):  # fmt: skip
                assert DECIMAL.fullmatch(text), f"{name} is {text}"
        check_row(row, version)


def check_row(row, version):
    assert re.fullmatch(r"[A-Z]{3}", row["BillingCurrency"])
    assert row["ChargeCategory"] == "Usage"
    assert row["ChargeClass"] == "", "null, because no earlier billing period is corrected"
    assert row["ChargeFrequency"] == "Usage-Based"
    assert row["PricingCategory"] == "Standard"
    assert row["ServiceCategory"] == "AI and Machine Learning"
    assert row["ServiceSubcategory"] == "Generative AI"
    assert UNIT.fullmatch(row["PricingUnit"]) and UNIT.fullmatch(row["ConsumedUnit"])
    assert not row["ConsumedUnit"][0].isdigit()
    provider = "ProviderName" if "ProviderName" in row else "ServiceProviderName"
    assert row["InvoiceIssuerName"] == row[provider]
    start, end = (datetime.fromisoformat(row[f"ChargePeriod{side}"]) for side in ("Start", "End"))
    opened, closed = (datetime.fromisoformat(row[f"BillingPeriod{s}"]) for s in ("Start", "End"))
    assert opened <= start < end <= closed
    assert all(name.startswith("x_") for name in json.loads(row["SkuPriceDetails"]))
    tags = json.loads(row["Tags"])
    assert isinstance(tags, dict) and all(isinstance(text, str) for text in tags.values())
    assert (row["SubAccountId"] == "") == (row["SubAccountName"] == "")
    quantity = Decimal(row["PricingQuantity"])
    assert quantity >= 0 and Decimal(row["ConsumedQuantity"]) >= 0
    # Each call was rounded to the nano, and a quotient to 18 places.
    rounding = Decimal(row["x_Calls"]) * Decimal("0.0000000005") + Decimal("1e-9")
    for cost, price in (("ContractedCost", "ContractedUnitPrice"), ("ListCost", "ListUnitPrice")):
        assert abs(Decimal(row[cost]) - quantity * Decimal(row[price])) <= rounding, cost
        assert Decimal(row[price]) >= 0
    assert row["EffectiveCost"] == row["ContractedCost"] == row["BilledCost"]


def rows_of(path):
    return list(csv.DictReader(io.StringIO(path.read_text("utf-8"))))


@pytest.mark.parametrize("version", ["1.2", "1.3", "1.4"])
def test_every_row_keeps_every_rule(filled, tmp_path, version):
    done, unpriced = filled.export_focus(tmp_path / "focus.csv", version=version)
    rows = rows_of(tmp_path / "focus.csv")
    check(rows, version)
    assert (len(rows), done.rows, unpriced) == (3, 3, 2)


def test_a_row_is_a_day_of_a_subject_a_model_and_a_unit(filled, tmp_path):
    filled.export_focus(tmp_path / "focus.csv", account="acme", tz="Asia/Shanghai")
    given, taken, other = rows_of(tmp_path / "focus.csv")
    # Alice's calls 1 and 2: 4 + 3 input tokens at 1 USD, 6 output tokens at 2 USD a million.
    assert (given["SkuMeter"], given["ConsumedQuantity"], given["BilledCost"]) == (
        "input tokens", "7", "0.000007",
    )  # fmt: skip
    assert (taken["SkuMeter"], taken["ConsumedQuantity"], taken["BilledCost"]) == (
        "output tokens", "6", "0.000012",
    )  # fmt: skip
    assert (other["SubAccountId"], other["BillingCurrency"], other["BilledCost"]) == (
        "陈静", "CNY", "0.000035",
    )  # fmt: skip
    assert given["PricingQuantity"] == "0.000007"
    assert (given["PricingUnit"], given["ConsumedUnit"]) == ("1000000 Tokens", "Tokens")
    assert given["BillingAccountId"] == "acme"
    # The 22nd of November and November in Shanghai, in UTC.
    assert (given["ChargePeriodStart"], given["ChargePeriodEnd"]) == (
        "2026-11-21T16:00:00Z", "2026-11-22T16:00:00Z",
    )  # fmt: skip
    assert (given["BillingPeriodStart"], given["BillingPeriodEnd"]) == (
        "2026-10-31T16:00:00Z", "2026-11-30T16:00:00Z",
    )  # fmt: skip
    assert json.loads(other["Tags"]) == {"team": "a", "x": "=1"}
    assert other["PublisherName"] == "Zhipu AI"


def test_the_costs_sum_to_those_of_usage(filled, tmp_path):
    done, _ = filled.export_focus(tmp_path / "focus.csv")
    sums = {total.currency: total.sums["EffectiveCost"] for total in done.totals}
    assert sums == {
        row.currency: row.cost_nanos for row in filled.usage(by=()) if row.currency
    } == {"CNY": 35_000, "USD": 19_000}  # fmt: skip


def test_days_are_rows_of_their_own(meter, tmp_path):
    day_us = 86_400_000_000
    for number in range(3):
        call = a_call(number, started_us=NOON_US + number * day_us)
        meter._ledger.store.settle(an_event(call), CARD).result(10)
    meter.export_focus(tmp_path / "focus.csv")
    rows = rows_of(tmp_path / "focus.csv")
    check(rows, "1.2")
    days = [row["ChargePeriodStart"][:10] for row in rows]
    assert days == ["2026-11-22"] * 2 + ["2026-11-23"] * 2 + ["2026-11-24"] * 2


def test_the_published_price_stands_beside_the_cost(meter, tmp_path):
    meter._ledger.store.settle(resold(), CARD, others=(LISTED, RESALE)).result(10)
    meter.export_focus(tmp_path / "focus.csv")
    rows = rows_of(tmp_path / "focus.csv")
    check(rows, "1.2")
    # By contract 4 x 1000 and 6 x 2000 nanos, by the list 4 x 2000 and 6 x 4000.
    shown = [(r["EffectiveCost"], r["ListCost"], r["ListUnitPrice"]) for r in rows]
    assert shown == [("0.000004", "0.000008", "2"), ("0.000012", "0.000024", "4")]


def test_what_subjects_are_charged_says_nothing_of_the_cost(meter, tmp_path):
    meter._ledger.store.settle(resold(), CARD, others=(LISTED, RESALE)).result(10)
    meter.export_focus(tmp_path / "focus.csv", side="billed")
    rows = rows_of(tmp_path / "focus.csv")
    check(rows, "1.2")
    # 4 x 3 and 6 x 5 CNY a million; the list is in USD and cannot stand beside them.
    shown = [(r["BilledCost"], r["ListCost"], r["BillingCurrency"]) for r in rows]
    assert shown == [("0.000012", "0.000012", "CNY"), ("0.00003", "0.00003", "CNY")]
    assert {row["InvoiceIssuerName"] for row in rows} == {"meter"}
    assert "0.000016" not in (tmp_path / "focus.csv").read_text()


def test_a_list_with_other_units_keeps_its_sum(meter, tmp_path):
    usage = Usage(input_tokens=10, cache_read_tokens=4, output_tokens=6)
    listed = RateCard(
        "openai", "small", "USD",
        {"standard": (Rate("input_tokens", 3 * 10**9), Rate("cache_read_tokens", 10**9),
                      Rate("output_tokens", 4 * 10**9))},
        book="list",
    )  # fmt: skip
    event = an_event(a_call(1), usage, listed=rate(usage, listed, at_us=NOON_US))
    meter._ledger.store.settle(event, CARD, others=(listed,)).result(10)
    done, _ = meter.export_focus(tmp_path / "focus.csv")
    rows = rows_of(tmp_path / "focus.csv")
    check(rows, "1.2")
    # By the list 6 x 3000 + 4 x 1000 + 6 x 4000 = 46,000 nanos, by contract 10,000 + 12,000.
    assert [total.sums["ListCost"] for total in done.totals] == [46_000]
    assert [total.sums["EffectiveCost"] for total in done.totals] == [22_000]
    # Shared out by 10 to 12: 20,909 and 25,091 nanos.
    assert [row["ListCost"] for row in rows] == ["0.000020909", "0.000025091"]


def test_a_unit_that_is_priced_by_the_minute_is_said_as_such(meter, tmp_path):
    card = RateCard("openai", "whisper-1", "USD", {"standard": (Rate("audio_seconds", 6_000_000,
                                                                     per=60),)})  # fmt: skip
    usage = Usage(audio_seconds=Decimal("8.47"))
    call = a_call(1, model_requested="whisper-1", endpoint="transcriptions")
    event = an_event(call, usage, charge=rate(usage, card, at_us=NOON_US))
    meter._ledger.store.settle(event, card).result(10)
    meter.export_focus(tmp_path / "focus.csv")
    (row,) = rows_of(tmp_path / "focus.csv")
    check([row], "1.2")
    # 8.47 s / 60 is 0.1411666…; 8.47 x 0.006 / 60 = 0.000847 USD.
    assert (row["PricingUnit"], row["ConsumedUnit"], row["ConsumedQuantity"]) == (
        "60 Seconds", "Seconds", "8.47",
    )  # fmt: skip
    assert row["PricingQuantity"] == "0.141166666666666667"
    assert row["BilledCost"] == "0.000847"


def test_corrections_are_in_the_rows(filled, tmp_path):
    correct(filled, 1, Usage(input_tokens=1, output_tokens=6))
    filled.export_focus(tmp_path / "focus.csv")
    assert rows_of(tmp_path / "focus.csv")[0]["ConsumedQuantity"] == "4"


def test_parquet_has_the_same_columns_typed(filled, tmp_path):
    filled.export_focus(tmp_path / "focus.parquet")
    found = pq.read_table(tmp_path / "focus.parquet")
    assert str(found.schema.field("ChargePeriodStart").type) == "timestamp[us, tz=UTC]"
    assert str(found.schema.field("BilledCost").type) == "decimal128(38, 9)"
    assert found["x_Calls"].to_pylist() == [2, 1, 1]


def test_what_is_not_known_is_refused(filled, tmp_path):
    with pytest.raises(InputError, match=r"expected one of 1\.2, 1\.3, 1\.4"):
        filled.export_focus(tmp_path / "focus.csv", version="1.1")
    with pytest.raises(InputError, match="expected cost or billed"):
        filled.export_focus(tmp_path / "focus.csv", side="list")
    with pytest.raises(InputError, match=r"expected a name that ends in one of \.csv"):
        filled.export_focus(tmp_path / "focus.txt")
    assert list(tmp_path.glob("focus*")) == []
