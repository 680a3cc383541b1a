"""Read a provider's CSV export: one row for a call, or for a day and a model.

Column names are recognised as providers and resellers write them, English and Chinese; a name
that is not known is told with `columns` ({"amount": "扣费"}).
"""

import csv
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import TextIO

from meter.core.money import Quantity
from meter.core.rates import microseconds_of
from meter.core.windows import Span, Window, zone
from meter.errors import InputError
from meter.reports.reconciling.bill import Bill, BillRow, nanos_of, smallest_step

NAMES = {
    "time": "time date day timestamp created created_at created_time started_at start_time start "
            "request_time usage_date 时间 日期 请求时间 创建时间",
    "until": "end end_time ended_at until 结束时间",
    "model": "model model_name model_id model_served 模型 模型名称",
    "tier": "tier service_tier 等级",
    "key": "key api_key api_key_id key_id token_name 令牌 密钥",
    "calls": "calls requests num_requests num_model_requests request_count n_requests "
    "次数 请求次数 调用次数",
    "input_tokens": "input_tokens prompt_tokens n_context_tokens_total tokens_prompt prompt input "
                    "native_tokens_prompt 输入 提示 输入tokens",
    "cache_read_tokens": "cache_read_tokens cached_tokens input_cached_tokens cached "
                         "native_tokens_cached 缓存 命中缓存",
    "output_tokens": "output_tokens completion_tokens n_generated_tokens_total tokens_completion "
                     "completion output native_tokens_completion 输出 补全 输出tokens",
    "amount": "amount cost total_cost cost_total price fee charge charged billed spend usage_cost "
              "费用 金额 消费 扣费 花费",
    "currency": "currency billing_currency 币种 货币",
    "call_id": "id request_id response_id generation_id call_id 请求id 响应id",
}  # fmt: skip
"""What a column may be called, by our word for it."""

_KNOWN = {name: ours for ours, names in NAMES.items() for name in names.split()}
_UNIT_COLUMNS = ("input_tokens", "cache_read_tokens", "output_tokens")
_MINUTE_US = 60_000_000
_SIGNS = re.compile(r"[,\s$¥€￥]")


def read_csv(
    lines: TextIO,
    name: str,
    *,
    columns: Mapping[str, str],
    tz: str,
    currency: str | None,
) -> Bill:
    """Return the bill of a CSV file with a header.

    `columns` leads from our words to the file's own names, over what is recognised. Times without
    an offset are in the zone `tz`; a bare date is that whole day. `currency` is for files that do
    not say theirs. Raises: InputError naming the row.
    """
    reader = csv.reader(lines, _dialect(lines))
    header = next(reader, None)
    if not header:
        raise InputError(f"found an empty file {name}, expected a CSV export with a header")
    places = _places(header, columns, name)
    amounts: list[Decimal] = []
    rows = tuple(_rows(reader, places, name, tz, currency, amounts))
    return Bill(name, rows, smallest_step(amounts))


def _dialect(lines: TextIO) -> type[csv.Dialect] | csv.Dialect:
    sample = lines.read(8192)
    lines.seek(0)
    try:
        return csv.Sniffer().sniff(sample.splitlines()[0] if sample else ",", delimiters=",;\t|")
    except csv.Error:
        return csv.excel


def _places(header: list[str], columns: Mapping[str, str], name: str) -> dict[str, int]:
    plain = [text.strip().lstrip("\ufeff") for text in header]
    found: dict[str, int] = {}
    for place, text in enumerate(plain):
        ours = _KNOWN.get(re.sub(r"\(.*?\)|（.*?）", "", text).strip().lower().replace(" ", "_"))
        if ours is not None:
            found.setdefault(ours, place)
    for ours, theirs in columns.items():
        if ours not in NAMES:
            raise InputError(f"found column word {ours!r}, expected one of {', '.join(NAMES)}")
        if theirs not in plain:
            raise InputError(f"found no column {theirs!r} in {name}, it has {', '.join(plain)}")
        found[ours] = plain.index(theirs)
    if "time" not in found or not found.keys() & {"amount", "calls", *_UNIT_COLUMNS}:
        raise InputError(
            f"found columns {', '.join(plain)} in {name}, expected a time and an amount, calls or "
            "tokens: name them with --column amount=NAME"
        )
    return found


def _rows(
    reader: Iterator[list[str]],
    places: Mapping[str, int],
    name: str,
    tz: str,
    currency: str | None,
    amounts: list[Decimal],
) -> Iterator[BillRow]:
    number = 1
    while True:
        number += 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise InputError(f"found a broken row {number} in {name}: {error}") from None
        where = f"row {number} of {name}"

        def cell(word: str, cells: list[str] = cells) -> str:
            place = places.get(word, -1)
            return cells[place].strip() if 0 <= place < len(cells) else ""

        if any(text.strip() for text in cells) and cell("time"):
            yield _row(cell, where, tz, currency, amounts)


def _row(
    cell: Callable[[str], str], where: str, tz: str, currency: str | None, amounts: list[Decimal]
) -> BillRow:
    start_us, end_us = _interval(cell("time"), cell("until"), where, tz)
    quantities: dict[str, Quantity] = {}
    for unit in _UNIT_COLUMNS:
        count = _count(cell(unit), where)
        if count is not None:
            quantities[unit] = count
    nanos = None
    if text := _SIGNS.sub("", cell("amount")):
        nanos = nanos_of(text, where)
        amounts.append(Decimal(text))
    said = cell("currency").upper() or currency
    if nanos is not None and said is None:
        raise InputError(f"found an amount without a currency in {where}: say --currency CNY")
    calls = _count(cell("calls"), where)
    return BillRow(
        start_us,
        end_us,
        model=cell("model") or None,
        tier=cell("tier") or None,
        key=cell("key") or None,
        calls=1 if calls is None and start_us == end_us else calls,
        quantities=quantities,
        amount_nanos=nanos,
        currency=said if nanos is not None else None,
        call_id=cell("call_id") or None,
    )


def _count(text: str, where: str) -> int | None:
    text = _SIGNS.sub("", text)
    if not text:
        return None
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite() or number != int(number) or number < 0:
        raise InputError(f"found {text!r} in {where}, expected a whole number")
    return int(number)


def _interval(text: str, until: str, where: str, tz: str) -> tuple[int, int]:
    start_us, is_day = _moment(text, where, tz)
    if until:
        return start_us, _end(_moment(until, where, tz)[0])
    if is_day:
        end_us = Window(Span.DAY, tz).bounds(start_us)[1]
        assert end_us is not None
        return start_us, end_us
    return start_us, start_us


def _end(at_us: int) -> int:
    """Return the first moment after an interval: 23:59:59 is its last second."""
    return at_us + -at_us % _MINUTE_US if at_us % _MINUTE_US >= 59_000_000 else at_us


def _moment(text: str, where: str, tz: str) -> tuple[int, bool]:
    """Return the moment in microseconds, and whether it is a bare date."""
    if re.fullmatch(r"\d{10}(\.\d+)?", text):
        return int(Decimal(text) * 1_000_000), False
    if re.fullmatch(r"\d{13}", text):
        return int(text) * 1000, False
    try:
        moment = datetime.fromisoformat(text.replace("/", "-").replace(" UTC", "+00:00"))
    except ValueError:
        raise InputError(f"found time {text!r} in {where}, expected 2026-11-01 08:00:00") from None
    if not 1970 <= moment.year < 9000:
        raise InputError(f"found time {text!r} in {where}, expected one of the years 1970 to 8999")
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=zone(tz))
    return microseconds_of(moment), len(text) <= 10
