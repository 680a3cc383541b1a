"""Read what Anthropic's admin API says of usage and costs (saved answers, one or many pages).

Usage reports carry no number of calls; cost reports carry amounts as decimal text in *cents*.

Source: https://docs.anthropic.com/en/api/admin-api/usage-cost (2026-11).
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from meter.core.money import Quantity
from meter.core.rates import microseconds_of
from meter.errors import InputError
from meter.reports.reconciling.bill import Bill, BillRow, Interval, bill_of_pages, nanos_of

_TIERS = {"flex_discount": "flex", "priority_on_demand": "priority"}
_UNITS = {
    "uncached_input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    "cache_read_input_tokens": "cache_read_tokens",
    "cache_creation.ephemeral_5m_input_tokens": "cache_write_5m_tokens",
    "cache_creation.ephemeral_1h_input_tokens": "cache_write_1h_tokens",
}


def read_anthropic(pages: Sequence[Any], name: str) -> Bill:
    """Return the bill of these pages, parsed with exact decimals.

    Raises: InputError naming the first thing that is not as Anthropic writes it.
    """
    amounts: list[Decimal] = []
    read = [
        [(_interval(bucket), list(_rows(bucket, amounts))) for bucket in _buckets(page, name)]
        for page in pages
    ]
    return bill_of_pages(name, read, amounts)


def _buckets(page: Any, name: str) -> Iterator[Mapping[str, Any]]:
    buckets = page.get("data") if isinstance(page, Mapping) else None
    if not isinstance(buckets, list):
        raise InputError(
            f"found no page of buckets in {name}, expected what "
            "GET /v1/organizations/usage_report/messages or /cost_report answers"
        )
    for bucket in buckets:
        if not isinstance(bucket, Mapping) or not isinstance(bucket.get("starting_at"), str):
            raise InputError(f"found a bucket without starting_at in {name}, expected a time")
        yield bucket


def _interval(bucket: Mapping[str, Any]) -> Interval:
    start_us = _moment(bucket["starting_at"])
    ending = bucket.get("ending_at")
    end_us = _moment(ending) if isinstance(ending, str) else start_us + 86_400_000_000
    if end_us <= start_us:
        raise InputError(f"found a bucket that ends at {ending}, expected a time after its start")
    return start_us, end_us


def _rows(bucket: Mapping[str, Any], amounts: list[Decimal]) -> Iterator[BillRow]:
    start_us, end_us = _interval(bucket)
    for result in bucket.get("results") or ():
        if not isinstance(result, Mapping):
            raise InputError(f"found {result!r} among the results of a bucket, expected an object")
        if "amount" in result:
            yield _cost_row(result, start_us, end_us, amounts)
        else:
            yield _usage_row(result, start_us, end_us)


def _usage_row(result: Mapping[str, Any], start_us: int, end_us: int) -> BillRow:
    created = _object(result.get("cache_creation"))
    write_5m = _count(created.get("ephemeral_5m_input_tokens"))
    write_1h = _count(created.get("ephemeral_1h_input_tokens"))
    read = _count(result.get("cache_read_input_tokens"))
    tools = _object(result.get("server_tool_use"))
    quantities: dict[str, Quantity] = {
        "input_tokens": _count(result.get("uncached_input_tokens")) + read + write_5m + write_1h,
        "cache_read_tokens": read,
        "cache_write_tokens": write_5m + write_1h,
        "cache_write_5m_tokens": write_5m,
        "cache_write_1h_tokens": write_1h,
        "output_tokens": _count(result.get("output_tokens")),
    }
    if searches := _count(tools.get("web_search_requests")):
        quantities["searches"] = searches
    return BillRow(
        start_us,
        end_us,
        model=_text(result.get("model")),
        tier=_tier(result.get("service_tier")),
        key=_text(result.get("api_key_id")),
        quantities=quantities,
    )


def _cost_row(
    result: Mapping[str, Any], start_us: int, end_us: int, amounts: list[Decimal]
) -> BillRow:
    cents = result["amount"]
    nanos = nanos_of(cents, "a cost report", places=-2)
    amounts.append(Decimal(cents).scaleb(-2))
    unit = _UNITS.get(str(result.get("token_type")))
    if result.get("cost_type") == "web_search":
        unit = "searches"
    return BillRow(
        start_us,
        end_us,
        model=_text(result.get("model")),
        tier=_tier(result.get("service_tier")),
        amount_nanos=nanos,
        currency=str(result.get("currency") or "USD").upper(),
        unit=unit,
    )


def _tier(given: Any) -> str | None:
    return _TIERS.get(given, given) if isinstance(given, str) else None


def _count(given: Any) -> int:
    return given if isinstance(given, int) and not isinstance(given, bool) and given > 0 else 0


def _object(given: Any) -> Mapping[str, Any]:
    return given if isinstance(given, Mapping) else {}


def _moment(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InputError(
            f"found time {text!r}, expected one such as 2026-11-01T00:00:00Z"
        ) from None
    if moment.tzinfo is None:
        raise InputError(f"found time {text!r} without a zone, expected one that ends in Z")
    return microseconds_of(moment)


def _text(given: Any) -> str | None:
    return given if isinstance(given, str) and given else None
