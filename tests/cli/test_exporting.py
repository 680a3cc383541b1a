"""`meter export`: a small ledger comes out as files."""

import csv
import io
import json

import pytest

from meter.attribution import attribute
from meter.cli.main import run
from meter.meter import Meter


@pytest.fixture
def ledger(tmp_path, monkeypatch):
    """A ledger with two calls of alice on gpt-4o: 2000 + 100 and 1000 + 0 tokens."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("METER_DATABASE_URL", "sqlite:///own.db")
    with Meter() as meter, attribute("alice"):
        for given, taken in ((2000, 100), (1000, 0)):
            call = meter.reserve(
                provider="openai", model="gpt-4o", input_tokens=given, max_output_tokens=taken
            )
            call.settle(input_tokens=given, output_tokens=taken)
    return tmp_path


def test_a_file_is_written_and_its_totals_are_said(ledger, capsys):
    assert run(["export", "csv", "--of", "lines", "-o", "lines.csv"]) == 0
    rows = list(csv.DictReader(io.StringIO((ledger / "lines.csv").read_text())))
    assert [(row["unit"], row["amount"]) for row in rows] == [
        ("input_tokens", "0.005"), ("output_tokens", "0.001"), ("input_tokens", "0.0025"),
    ]  # fmt: skip
    captured = capsys.readouterr()
    assert captured.out == ""
    # 2000 x 2.50 + 100 x 10 + 1000 x 2.50 USD / 10⁶ = 0.005 + 0.001 + 0.0025 USD
    assert captured.err == "3 rows of lines to lines.csv: amount 0.0085 USD.\n"


def test_standard_output_has_the_rows_alone(ledger, capfdbinary):
    assert run(["export", "jsonl", "--of", "usage", "--by", "subject", "-o", "-"]) == 0
    captured = capfdbinary.readouterr()
    (row,) = [json.loads(line) for line in captured.out.splitlines()]
    assert (row["subject"], row["calls"], row["cost"]) == ("alice", 2, "0.0085")
    assert captured.err == b"1 row of usage to standard output: cost 0.0085 USD.\n"


def test_a_workbook_for_a_pipe_is_refused_in_a_sentence(ledger, capsys):
    assert run(["export", "xlsx", "-o", "-"]) == 2
    assert capsys.readouterr().err == (
        "meter: found -o - for xlsx, expected a file: xlsx is not for pipes\n"
    )


def test_a_group_that_does_not_exist_is_refused_before_anything_is_written(ledger, capsys):
    assert run(["export", "csv", "--of", "usage", "--by", "colour", "-o", "u.csv"]) == 2
    assert "found group 'colour'" in capsys.readouterr().err
    assert not (ledger / "u.csv").exists()
