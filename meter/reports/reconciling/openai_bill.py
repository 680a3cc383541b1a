"""Read what OpenAI's organization API says of usage and costs (saved answers, one or many pages).

Takes one page (`{"object": "page", "data": [...]}`), a list of pages, or JSON lines of pages;
pages of usage and of costs may be mixed.

Source: https://platform.openai.com/docs/api-reference/usage (2026-11).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from meter.core.money import Quantity
from meter.core.units import UNITS
from meter.errors import InputError
from meter.reports.reconciling.bill import Bill, BillRow, Interval, bill_of_pages, nanos_of

_SECOND_US = 1_000_000

_UNITS = {
    "input_tokens": "input_tokens",
    "input_cached_tokens": "cache_read_tokens",
    "input_cache_write_tokens": "cache_write_tokens",
    "output_tokens": "output_tokens",
    "input_audio_tokens": "input_audio_tokens",
    "input_image_tokens": "input_image_tokens",
    "output_audio_tokens": "output_audio_tokens",
    "output_image_tokens": "output_image_tokens",
    "images": "images",
    "characters": "characters",
    "seconds": "audio_seconds",
    "num_sessions": "sessions",
}
_OUR_UNITS_IN_LINE_ITEMS = {
    "input": "input_tokens",
    "input tokens": "input_tokens",
    "cached input": "cache_read_tokens",
    "cached input tokens": "cache_read_tokens",
    "input cached tokens": "cache_read_tokens",
    "cache write tokens": "cache_write_tokens",
    "output": "output_tokens",
    "output tokens": "output_tokens",
}
_OBJECT = re.compile(r"organization\.usage\.(\w+)\.result")
_SEPARATOR = re.compile(r"[\s_]+")


def read_openai(pages: Sequence[Any], name: str) -> Bill:
    """Return the bill of these pages, parsed with exact decimals.

    Raises: InputError naming the first thing that is not as OpenAI writes it.
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
            "GET /v1/organization/usage/completions or /v1/organization/costs answers"
        )
    for bucket in buckets:
        if not isinstance(bucket, Mapping) or not _is_second(bucket.get("start_time")):
            raise InputError(f"found a bucket without a start_time in {name}, expected seconds")
        if bucket.get("end_time") is not None and not (
            _is_second(bucket["end_time"]) and bucket["start_time"] < bucket["end_time"]
        ):
            raise InputError(
                f"found end_time {bucket['end_time']!r:.80} in {name}, expected seconds after the "
                f"start_time {bucket['start_time']}"
            )
        yield bucket


def _interval(bucket: Mapping[str, Any]) -> Interval:
    start_us = bucket["start_time"] * _SECOND_US
    end_time = bucket.get("end_time")
    return start_us, (bucket["start_time"] + 86_400 if end_time is None else end_time) * _SECOND_US


def _is_second(given: Any) -> bool:
    return type(given) is int


def _rows(bucket: Mapping[str, Any], amounts: list[Decimal]) -> Iterator[BillRow]:
    start_us, end_us = _interval(bucket)
    # Older answers call the list "result".
    for result in bucket.get("results") or bucket.get("result") or ():
        if not isinstance(result, Mapping):
            raise InputError(f"found {result!r} among the results of a bucket, expected an object")
        if isinstance(result.get("amount"), Mapping):
            yield _cost_row(result, start_us, end_us, amounts)
        else:
            yield _usage_row(result, start_us, end_us)


def _usage_row(result: Mapping[str, Any], start_us: int, end_us: int) -> BillRow:
    quantities: dict[str, Quantity] = {}
    for theirs, ours in _UNITS.items():
        given = result.get(theirs)
        if isinstance(given, int) and not isinstance(given, bool) and given >= 0:
            quantities[ours] = given
    calls = result.get("num_model_requests")
    tier = "batch" if result.get("batch") else _tier(result.get("service_tier"))
    return BillRow(
        start_us,
        end_us,
        model=_text(result.get("model")),
        tier=tier if tier or result.get("batch") is None else "standard",
        key=_text(result.get("api_key_id")),
        calls=calls if isinstance(calls, int) else None,
        quantities=quantities,
        kind=_kind(result.get("object")),
    )


def _cost_row(
    result: Mapping[str, Any], start_us: int, end_us: int, amounts: list[Decimal]
) -> BillRow:
    amount = result["amount"]
    value = amount.get("value")
    nanos = nanos_of(value if value is not None else 0, "a costs bucket")
    amounts.append(Decimal(value if value is not None else 0))
    model, unit, tier = _line_item(_text(result.get("line_item")))
    quantity = result.get("quantity")
    quantities: dict[str, Quantity] = {}
    if unit is not None and isinstance(quantity, (int, Decimal)):
        scale = 1000 if result.get("quantity_unit") == "1000_tokens" else 1
        quantities[unit] = quantity * scale
    return BillRow(
        start_us,
        end_us,
        model=model,
        tier=tier,
        key=_text(result.get("api_key_id")),
        quantities=quantities,
        amount_nanos=nanos,
        currency=str(amount.get("currency") or "usd").upper(),
        unit=unit,
    )


def _line_item(text: str | None) -> tuple[str | None, str | None, str | None]:
    """Return model, unit and tier of a line item such as "gpt-4o, cached input"."""
    if text is None:
        return None, None, None
    model, _, rest = text.partition(",")
    words = _SEPARATOR.sub(" ", rest.strip().lower())
    tier = "batch" if "batch" in words else None
    words = words.replace("batch", "").strip(" ,|-")
    unit = _OUR_UNITS_IN_LINE_ITEMS.get(words)
    if unit is None and words.replace(" ", "_") in UNITS:
        unit = words.replace(" ", "_")
    return model.strip() or None, unit, tier


def _kind(given: Any) -> str | None:
    """Return the kind of usage of a result: "organization.usage.images.result" is of images."""
    found = _OBJECT.fullmatch(given) if isinstance(given, str) else None
    return found[1] if found else None


def _tier(given: Any) -> str | None:
    if not isinstance(given, str):
        return None
    return "standard" if given in ("default", "auto") else given


def _text(given: Any) -> str | None:
    return given if isinstance(given, str) and given else None
