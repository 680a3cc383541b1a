"""Commands on a small ledger, run in this process."""

import csv
import gzip
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from meter.attribution import attribute
from meter.cli.main import run
from meter.meter import Meter


@pytest.fixture
def ledger(tmp_path, monkeypatch):
    """A ledger with three calls: alice 1 M + 0 and 2,000 + 100 tokens, bob 3,000 + 10."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("METER_DATABASE_URL", "sqlite:///own.db")
    monkeypatch.setenv("COLUMNS", "140")
    with Meter() as meter:
        for subject, given, taken in (
            ("alice", 1_000_000, 0),
            ("alice", 2000, 100),
            ("bob", 3000, 10),
        ):
            with attribute(subject, team="search"):
                call = meter.reserve(
                    provider="openai", model="gpt-4o", input_tokens=given, max_output_tokens=taken
                )
                call.settle(input_tokens=given, output_tokens=taken)
    return tmp_path


def output(capsys, *words, status=0):
    assert run([*words]) == status
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def refusal(capsys, *words):
    assert run([*words]) == 2
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return captured.err


def test_usage_as_json_has_exact_sums(ledger, capsys):
    rows = json.loads(output(capsys, "usage", "--by", "subject", "--format", "json"))
    alice, bob = rows
    assert (alice["subject"], alice["calls"], alice["input_tokens"]) == ("alice", 2, 1_002_000)
    # 1,002,000 × 2.50 USD / 10⁶ + 100 × 10 USD / 10⁶ = 2.505 + 0.001 = 2.506 USD
    assert (alice["cost"], alice["currency"]) == ("2.506", "USD")
    # 3,000 × 2.50 USD / 10⁶ + 10 × 10 USD / 10⁶ = 0.0075 + 0.0001 = 0.0076 USD
    assert bob["cost"] == "0.0076"
    assert alice["cache_read_tokens"] is None


def test_usage_as_csv_has_every_column_and_empty_for_unknown(ledger, capsys):
    (row,) = csv.DictReader(io.StringIO(output(capsys, "usage", "--by", "model", "--format=csv")))
    assert row["calls"] == "3"
    assert row["cost"] == "2.5136"
    assert row["reasoning_tokens"] == ""


def test_usage_as_a_table_names_the_currency_once_and_totals(ledger, capsys):
    shown = output(capsys, "usage")
    assert "Cost USD" in shown
    assert "1,002,000" in shown
    assert "Total 2.5136 USD for 3 calls." in shown


def test_usage_by_a_tag_and_by_day_in_a_zone(ledger, capsys):
    words = ["usage", "--by", "tag:team,day", "--tz", "Asia/Shanghai", "--format", "json"]
    rows = json.loads(output(capsys, *words))
    assert {row["tag:team"] for row in rows} == {"search"}
    assert sum(row["calls"] for row in rows) == 3


def test_usage_of_a_past_period_is_empty(ledger, capsys):
    shown = output(capsys, "usage", "--until", "2020-01-01")
    assert "No call is recorded" in shown


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["usage", "--by", "feature"], "a tag called feature is tag:feature"),
        (["usage", "--by", ""], "expected different names"),
        (["usage", "--since", "soon"], "found time 'soon'"),
        (["usage", "--tz", "Mars"], "found time zone 'Mars'"),
        (["usage", "--format", "xml"], "xml"),
        (["usage", "--nonsense"], "--nonsense"),
        (["nonsense"], "nonsense"),
        (["calls", "--basis", "guessed"], "guessed"),
        (["calls", "--database-url", "mysql://host/db"], "expected sqlite or postgresql"),
        (["estimate", "absent.json"], "cannot read absent.json"),
        (["estimate", "-", "--endpoint", "dance"], "expected one of chat"),
        (["replay", "absent.jsonl"], "found no file absent.jsonl"),
        (["budgets", "set", "b", "--limit", "lots"], "found amount 'lots'"),
        (["budgets", "set", "b", "--limit", "1", "--tag", "team"], "expected name=value"),
        (["budgets", "set", "b", "--limit", "1", "--window", "year"], "found window 'year'"),
        (["budgets", "remove", "absent"], "found no budget 'absent'"),
        (["prices", "show", "no-such-model"], "no price is known"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(ledger, capsys, monkeypatch, words, sentence):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"{}")))
    assert sentence in refusal(capsys, *words)


def test_calls_as_jsonl_tell_everything(ledger, capsys):
    lines = output(capsys, "calls", "--subject", "bob", "--format", "jsonl").splitlines()
    (call,) = map(json.loads, lines)
    assert call["usage"] == {"input_tokens": 3000, "output_tokens": 10}
    assert call["tags"] == {"team": "search"}
    assert call["state"] == "settled"
    assert [line["amount"] for line in call["lines"]] == ["0.0075", "0.0001"]
    assert call["estimated_input_tokens"] == 3000


def test_calls_as_a_table_stop_at_the_limit_and_say_so(ledger, capsys):
    shown = output(capsys, "calls", "--limit", "2")
    assert "The newest 2; --limit shows more." in shown
    assert shown.count("gpt-4o") == 2


def test_a_sound_ledger_passes_the_check(ledger, capsys):
    assert "Every invariant holds." in output(capsys, "check")


def test_a_changed_amount_fails_the_check(ledger, capsys):
    from meter.store.engine import open_engine, write_connection

    engine = open_engine("sqlite:///own.db")
    with write_connection(engine) as connection:
        connection.exec_driver_sql("UPDATE usage_events SET cost_nanos = cost_nanos + 1")
    engine.dispose()
    shown = output(capsys, "check", "--format", "json", status=1)
    assert len(json.loads(shown)) >= 1


def test_a_budget_is_set_shown_and_removed(ledger, capsys):
    output(capsys, "budgets", "set", "all", "--limit", "10", "--window", "total")
    (row,) = json.loads(output(capsys, "budgets", "list", "--format", "json"))
    assert (row["limit"], row["spent"], row["left"]) == (
        "10", "2.5136", "7.4864"
    )  # fmt: skip
    output(capsys, "budgets", "remove", "all")
    assert "No budget is set." in output(capsys, "budgets", "list")


def test_an_estimate_is_exact_for_a_chat_text(ledger, capsys):
    request = {
        "model": "gpt-4o",
        "max_tokens": 100,
        "messages": [{"role": "user", "content": "hi"}],
    }
    Path("request.json").write_text(json.dumps(request))
    found = json.loads(output(capsys, "estimate", "request.json", "--format", "json"))
    # 3 for the message, 1 for its role, 1 for "hi", 3 for the answer's beginning.
    assert found["input_tokens"] == 8
    assert found["max_output_tokens"] == 100
    # 8 × 2.50 USD / 10⁶ = 0.00002 USD
    assert found["input_cost"] == "0.00002"
    assert float(found["max_cost"]) >= 0.001


def test_a_recording_is_replayed_line_by_line(ledger, capsys):
    answer = {
        "model": "gpt-4o",
        "choices": [{"index": 0, "message": {"content": "Hi"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 8, "completion_tokens": 1, "total_tokens": 9},
    }
    exchange = {
        "id": "one",
        "provider": "openai",
        "path": "/v1/chat/completions",
        "request": {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]},
        "status": 200,
        "response_content_type": "application/json",
        "response": answer,
    }
    with gzip.open("own.jsonl.gz", "wb") as file:
        file.write(json.dumps(exchange).encode() + b"\nnot json\n[]\n")
    lines = output(capsys, "replay", "own.jsonl.gz", "--workers", "1", "--format", "jsonl")
    first, second, third = map(json.loads, lines.splitlines())
    assert first == {
        "id": "one",
        "provider": "openai",
        "endpoint": "chat",
        "model": "gpt-4o",
        "estimated_input_tokens": 8,
        "counted_output_tokens": 1,
        "usage": {"input_tokens": 8, "output_tokens": 1},
        "basis": "reported",
        # 8 × 2.50 USD / 10⁶ + 1 × 10 USD / 10⁶ = 0.00003 USD
        "cost": "0.00003",
        "currency": "USD",
        "error": None,
    }
    assert (second["usage"], third["usage"]) == (None, None)
    assert "JSON" in second["error"] and "JSON" in third["error"]


def test_a_file_that_is_not_gzip_is_refused(ledger, capsys):
    Path("own.jsonl.gz").write_bytes(b"{}")
    assert "cannot read recording" in refusal(capsys, "replay", "own.jsonl.gz", "--workers", "1")


def test_the_doctor_finds_a_good_set_up(ledger, capsys):
    shown = output(capsys, "doctor")
    assert "fault" not in shown
    assert "schema revision" in shown


def test_the_schema_is_current_after_the_first_use(ledger, capsys):
    assert "this release needs" in output(capsys, "db", "current")


def test_a_reader_that_goes_away_is_no_error(ledger):
    command = f"{sys.executable} -m meter calls --format jsonl | head -n 1"
    ended = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    assert ended.stderr == ""


def test_a_fault_of_our_own_is_one_sentence_too(ledger, capsys, monkeypatch):
    def broken(*_, **__):
        raise ZeroDivisionError("made up")

    monkeypatch.setattr(Meter, "usage", broken)
    said = refusal(capsys, "usage")
    assert said.count("\n") == 1
    assert "ZeroDivisionError: made up" in said
