"""What is copied to ClickHouse says what the ledger says, to the nano, however often it is sent.

ClickHouse runs in the process, as chDB, in an environment of its own; the client is that of a
server.
"""

import os
import subprocess
import sys

import pytest
from sqlalchemy import func, select

from meter.errors import InputError
from meter.exports import clickhouse
from meter.store.copied import CALLS, _text
from meter.store.filters import where

SCRIPT = """
from pathlib import Path

from meter.core.usage import Usage
from meter.exports import clickhouse
from meter.meter import Meter
from tests.exports.conftest import correct
from tests.store.examples import CARD, a_call, an_event
from tests.store.test_rollups import QUESTIONS, SPANS, events

folder = Path({folder!r})
url = f"chdb://{{folder}}/clickhouse"
meter = Meter({url!r}, durability="process")
store = meter._ledger.store


def copy(state="state.json"):
    return meter.export_clickhouse(folder / state, to=url).events


def agree(shift=0):
    for place, question in enumerate(QUESTIONS):
        asked = {{"tz": "UTC", "filters": {{}}, "since_us": None, "until_us": None}}
        asked |= question | SPANS[(place + shift) % len(SPANS)]
        by = asked.pop("by")
        told = clickhouse.usage(url, by, **asked)
        assert told == meter._ledger.usage(by, **asked), asked
    with clickhouse._connected(url) as client:
        lines = "SELECT currency, sum(amount_nanos) FROM meter_charge_lines FINAL GROUP BY 1"
        sums = dict(client.query(lines).result_rows)
    costs = {{}}
    for row in clickhouse.usage(url, [], since_us=None, until_us=None, tz="UTC", filters={{}}):
        if row.cost_nanos:
            costs[row.currency] = costs.get(row.currency, 0) + row.cost_nanos
    assert sums == costs
    return sums


for event in events():
    store.settle(event, CARD).result(20)
assert copy() == 160
agree()
assert copy() == 0
for number in range(1, 30):
    correct(meter, number, Usage(input_tokens=number))
for number in range(1, 12):
    correct(meter, number, Usage(input_tokens=3, output_tokens=number), 2)
assert copy() == 40
first = agree()
# All of it again, in one piece and under another state: nothing changes.
assert copy("other.json") == 200
assert agree(1) == first
late = an_event(a_call(900, started_us=a_call(1).started_us - 5_000_000))
store.settle(late, CARD).result(20)
assert copy() == 1
agree(2)

# Through the setting, as `meter usage` and the dashboard ask.
other = Meter({url!r}, clickhouse_url=url)
assert other.usage(by=["model", "day"], tz="Asia/Shanghai") == meter.usage(
    by=["model", "day"], tz="Asia/Shanghai"
)
store.settle(an_event(a_call(901)), CARD).result(20)
copied = sum(row.calls for row in other.usage(by=[]))
assert copied + 1 == sum(row.calls for row in meter.usage(by=[])) == 162
big = 2**62
with clickhouse._connected(url) as client:
    columns = clickhouse.copied.CALLS.columns.keys()
    from uuid import uuid4
    row = list(clickhouse.copied.copied_row(next(meter.calls(limit=1))))
    row[columns.index("cost_nanos")] = big + 1
    row[columns.index("currency")] = row[columns.index("list_currency")] = "BIG"
    row[columns.index("billed_currency")] = "BIG"
    client.insert("meter_calls", [(uuid4(), *row[1:]) for _ in range(4)], columns)
every = clickhouse.usage(url, [], since_us=None, until_us=None, tz="UTC", filters={{}})
(huge,) = [row for row in every if row.currency == "BIG"]
assert huge.cost_nanos == 4 * (big + 1)
print("all agree")
"""


@pytest.mark.timeout(600)
def test_the_copy_agrees_with_the_ledger_to_the_nano(ledger_url, chdb_path, tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT.format(folder=str(tmp_path), url=ledger_url)],
        capture_output=True, text=True, timeout=590,
        env={**os.environ, "PYTHONPATH": f"{os.getcwd()}:{chdb_path}"},
    )  # fmt: skip
    assert done.stdout.endswith("all agree\n"), done.stderr[-3000:]


def test_statements_divide_whole_numbers_and_escape_texts():
    events = CALLS.alias("events")
    within = where(events, 5, None, {"subject": "o'hara\\", "tag": 'team=odd"='})
    told = _text(select(func.count(), events.c.started_us // 10).where(within))
    assert "intDiv(events.started_us, 10)" in told
    assert "events.subject = 'o\\'hara\\\\'" in told
    assert told.endswith("SETTINGS final = 1")


def test_what_cannot_be_is_said(meter, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="found no address of ClickHouse"):
        meter.export_clickhouse(tmp_path / "state")
    with pytest.raises(InputError, match=r"found ftp://h/ for ClickHouse, expected http\(s\)"):
        meter.export_clickhouse(tmp_path / "state", to="ftp://user:secret@h/")
    from meter.errors import StoreUnavailable

    with pytest.raises(StoreUnavailable, match=r"ClickHouse at http://127.0.0.1:9/x says") as told:
        meter.export_clickhouse(tmp_path / "state", to="http://user:secret@127.0.0.1:9/x")
    assert "secret" not in str(told.value)
    assert clickhouse._shown("http://u:p@h:1/d") == "http://h:1/d"
