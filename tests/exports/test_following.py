"""An export that is followed has every record in exactly one file."""

import json

import pytest

from meter.core.usage import Usage
from meter.errors import InputError
from tests.exports.conftest import correct
from tests.store.examples import CARD, a_call, a_correction, an_event, call_id


def rows_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def settle(meter, number):
    meter._ledger.store.settle(an_event(a_call(number)), CARD).result(10)


def test_calls_come_once_and_again_when_they_are_corrected(filled, tmp_path):
    state, name = tmp_path / "state.json", tmp_path / "calls-{portion}.jsonl"
    first = filled.export("jsonl", name, follow=state)
    assert first.target == str(tmp_path / "calls-1.jsonl")
    shown = sorted(
        (r["call_id"], r["corrections"], r["cost"]) for r in rows_of(tmp_path / "calls-1.jsonl")
    )
    # Call 2 as it ended and as it was corrected: 1 x 1000, then 3 x 1000 nanos.
    assert shown == [
        (str(call_id(1)), 0, "0.000016"), (str(call_id(2)), 0, "0.000001"),
        (str(call_id(2)), 1, "0.000003"), (str(call_id(3)), 0, "0.000035"),
        (str(call_id(4)), 0, None), (str(call_id(5)), 0, None),
    ]  # fmt: skip
    assert filled.export("jsonl", name, follow=state).target is None
    # A call that started before all others and is late.
    settle(filled, 0)
    correct(filled, 1, Usage(input_tokens=2))
    filled.export("jsonl", name, follow=state)
    late = sorted((r["call_id"], r["corrections"]) for r in rows_of(tmp_path / "calls-2.jsonl"))
    assert late == [(str(call_id(0)), 0), (str(call_id(1)), 1)]


def test_lines_of_all_files_sum_up_to_the_ledger(filled, tmp_path):
    state, name = tmp_path / "state.json", tmp_path / "lines-{portion}.jsonl"
    filled.export("jsonl", name, of="lines", follow=state)
    correct(filled, 1, Usage(input_tokens=2))
    done = filled.export("jsonl", name, of="lines", follow=state)
    second = rows_of(tmp_path / "lines-2.jsonl")
    assert [(r["line"], r["unit"], r["quantity"], r["amount"]) for r in second] == [
        (1, "input_tokens", "-4", "-0.000004"),
        (2, "output_tokens", "-6", "-0.000012"),
        (3, "input_tokens", "2", "0.000002"),
    ]
    assert {r["source_id"] for r in second} == {str(a_correction(1, 1).id)}
    # 2,000 - 16,000 nanos.
    assert [total.sums["amount"] for total in done.totals] == [-14_000]
    every = rows_of(tmp_path / "lines-1.jsonl") + second
    assert len({(r["source_id"], r["line"]) for r in every}) == len(every)
    nanos = sum(round(float(r["amount"]) * 1e9) for r in every if r["currency"] == "USD")
    (usd,) = [row for row in filled.usage(by=()) if row.currency == "USD"]
    assert nanos == usd.cost_nanos == 5_000


def test_entries_are_followed_too(filled, tmp_path):
    state, name = tmp_path / "state.json", tmp_path / "entries-{portion}.jsonl"
    filled.export("jsonl", name, of="entries", follow=state)
    settle(filled, 9)
    filled.export("jsonl", name, of="entries", follow=state)
    assert len(rows_of(tmp_path / "entries-1.jsonl")) == 4
    assert [r["source_id"] for r in rows_of(tmp_path / "entries-2.jsonl")] == [str(call_id(9))]


def stopped(*words):
    raise KeyboardInterrupt


def test_an_export_that_was_cut_short_is_repeated_with_the_same_records(
    filled, tmp_path, monkeypatch
):
    from meter.exports import following

    state, name = tmp_path / "state.json", tmp_path / "calls-{portion}.jsonl"
    with monkeypatch.context() as broken:
        # The process ends when the file is written and the state is not.
        broken.setattr(following, "end", stopped)
        with pytest.raises(KeyboardInterrupt):
            filled.export("jsonl", name, follow=state)
    before = (tmp_path / "calls-1.jsonl").read_bytes()
    settle(filled, 9)
    filled.export("jsonl", name, follow=state)
    assert (tmp_path / "calls-1.jsonl").read_bytes() == before
    filled.export("jsonl", name, follow=state)
    assert [r["call_id"] for r in rows_of(tmp_path / "calls-2.jsonl")] == [str(call_id(9))]
    assert sorted(path.name for path in tmp_path.glob("*.jsonl")) == [
        "calls-1.jsonl", "calls-2.jsonl",
    ]  # fmt: skip


def test_filters_hold_for_corrections_as_well(filled, tmp_path):
    done = filled.export("jsonl", tmp_path / "a", follow=tmp_path / "state", subject="陈静")
    assert done.rows == 1
    correct(filled, 1, Usage(input_tokens=2))
    done = filled.export("jsonl", tmp_path / "b", follow=tmp_path / "state", subject="陈静")
    assert done.rows == 0


def test_a_state_of_something_else_is_refused(filled, tmp_path):
    state = tmp_path / "state.json"
    filled.export("jsonl", tmp_path / "a", follow=state)
    with pytest.raises(InputError, match=r"found the state of calls .* expected that of lines"):
        filled.export("jsonl", tmp_path / "b", of="lines", follow=state)
    with pytest.raises(InputError, match="expected that of calls subject=alice"):
        filled.export("jsonl", tmp_path / "b", follow=state, subject="alice")
    with pytest.raises(InputError, match="expected one of calls, lines, entries"):
        filled.export("jsonl", tmp_path / "b", of="usage", follow=tmp_path / "new")
    state.write_text('{"of":"calls","portion":7}')
    with pytest.raises(InputError, match="it is the state of another ledger"):
        filled.export("jsonl", tmp_path / "b", follow=state)
    state.write_text("not a state")
    with pytest.raises(InputError, match="is not a state of meter export"):
        filled.export("jsonl", tmp_path / "b", follow=state)
    assert not (tmp_path / "b").exists()
