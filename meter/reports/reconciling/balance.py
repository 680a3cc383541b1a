"""Read a reseller's balance as it was at several moments, and turn it into what was charged.

A reading is a line of CSV (`time,balance[,currency]`) or a JSON object with a time and a balance:
`{"time": "2026-11-01T08:00:00Z", "balance": "111.8658", "currency": "CNY"}`, or the saved answer
of a balance endpoint in `answer`. Between two readings the balance fell by what was charged.
"""

import csv
import io
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from itertools import pairwise
from typing import Any

from meter.core.rates import microseconds_of
from meter.core.windows import zone
from meter.errors import InputError
from meter.reports.reconciling.bill import Bill, BillRow, nanos_of, smallest_step

_TIMES = ("time", "at", "date", "timestamp", "时间")
_BALANCES = ("balance", "available_amount", "available", "total_available", "left", "余额")


def read_balances(text: str, parsed: Any, name: str, *, tz: str, currency: str | None) -> Bill:
    """Return one row for each pair of readings that follow each other.

    `parsed` is the file as JSON (a list of readings), None where it is CSV. Times without an
    offset are in `tz`; `currency` is for readings that do not say theirs.

    Raises: InputError for fewer than two readings or one that cannot be read.
    """
    readings = parsed if parsed is not None else list(csv.DictReader(io.StringIO(text)))
    if not isinstance(readings, list):
        raise InputError(f"found no list of readings in {name}, expected time and balance of each")
    amounts: list[Decimal] = []
    points = sorted(_reading(each, name, tz, currency, amounts) for each in readings)
    if len(points) < 2:
        raise InputError(f"found {len(points)} readings in {name}, expected at least two")
    rows = []
    for (start_us, before, said), (end_us, after, _) in pairwise(points):
        if end_us > start_us:
            rows.append(BillRow(start_us, end_us, amount_nanos=before - after, currency=said))
    return Bill(name, tuple(rows), smallest_step(amounts), is_of_balances=True)


def _reading(
    given: Any, name: str, tz: str, currency: str | None, amounts: list[Decimal]
) -> tuple[int, int, str]:
    if not isinstance(given, Mapping):
        raise InputError(f"found {given!r} in {name}, expected a reading with time and balance")
    at = next((given[key] for key in _TIMES if given.get(key) not in (None, "")), None)
    balance = next((given[key] for key in _BALANCES if given.get(key) not in (None, "")), None)
    if balance is None and isinstance(given.get("answer"), Mapping):
        balance = _in_answer(given["answer"])
    if at is None or balance is None:
        raise InputError(f"found a reading without time or balance in {name}: {dict(given)!r:.120}")
    said = str(given.get("currency") or currency or "").upper()
    if not said:
        raise InputError(f"found a balance without a currency in {name}: say --currency CNY")
    text = str(balance).replace(",", "")
    nanos = nanos_of(text, name)
    amounts.append(Decimal(text))
    return _moment(at, name, tz), nanos, said


def _in_answer(answer: Mapping[str, Any]) -> Any:
    """Return the balance in the answer of a balance endpoint, as resellers and makers give it."""
    grants = answer.get("grants")
    if isinstance(grants, Mapping) and grants.get("available_amount") is not None:
        return grants["available_amount"]
    infos = answer.get("balance_infos")
    if isinstance(infos, list) and infos and isinstance(infos[0], Mapping):
        return infos[0].get("total_balance")
    return next((answer[key] for key in _BALANCES if answer.get(key) is not None), None)


def _moment(given: Any, name: str, tz: str) -> int:
    if isinstance(given, (int, Decimal)) or (isinstance(given, str) and given.isdecimal()):
        return int(Decimal(given) * 1_000_000)
    try:
        moment = datetime.fromisoformat(str(given))
    except ValueError:
        raise InputError(f"found time {given!r} in {name}, expected 2026-11-01T08:00:00Z") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=zone(tz))
    return microseconds_of(moment)
