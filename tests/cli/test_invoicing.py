"""`meter invoice`: from calls to a numbered document and back."""

import json
from datetime import UTC, datetime

import pytest
from pypdf import PdfReader

from meter.attribution import attribute
from meter.cli.main import run
from meter.meter import Meter

PERIOD = f"{datetime.now(UTC):%Y}"
"""The present year: the calls of a test are made now."""


@pytest.fixture
def ledger(tmp_path, monkeypatch):
    """A ledger with two calls of alice on gpt-4o: 2000 + 100 and 1000 + 0 tokens."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("METER_DATABASE_URL", "sqlite:///own.db")
    monkeypatch.setenv("METER_INVOICE_PREFIX", "2026-")
    monkeypatch.setenv("METER_INVOICE_TAX_LABEL", "VAT")
    monkeypatch.setenv("METER_INVOICE_TAX_PERCENT", "19")
    monkeypatch.setenv("COLUMNS", "140")
    with Meter() as meter, attribute("alice"):
        for given, taken in ((2000, 100), (1000, 0)):
            call = meter.reserve(
                provider="openai", model="gpt-4o", input_tokens=given, max_output_tokens=taken
            )
            call.settle(input_tokens=given, output_tokens=taken)
    return tmp_path


def issue(*words):
    return run(["invoice", "--subject", "alice", "--period", PERIOD, *words])


def test_an_invoice_is_issued_once_and_given_out_again(ledger, capsys):
    assert issue("-o", "first.json", "--bill-to", "Alice Ltd") == 0
    # 3000 x 2.50 + 100 x 10 USD / 10⁶ = 0.0085; 19 % is 0.001615; to pay 0.01.
    captured = capsys.readouterr()
    assert captured.err.splitlines()[0] == "Invoice 2026-000001: 0.01 USD for alice in first.json."
    assert captured.out == ""
    assert issue("-o", "again.json") == 0
    assert (ledger / "again.json").read_bytes() == (ledger / "first.json").read_bytes()
    document = json.loads((ledger / "first.json").read_text())
    assert (document["number"], document["bill_to"]) == ("2026-000001", "Alice Ltd")
    assert document["subtotal"] == "0.0085"
    assert document["tax"] == {"label": "VAT", "percent": "19", "amount": "0.001615"}
    assert (document["rounding"], document["total"]) == ("-0.000115", "0.01")
    assert [(line["unit"], line["quantity"], line["amount"]) for line in document["lines"]] == [
        ("input_tokens", "3000", "0.0075"), ("output_tokens", "100", "0.001"),
    ]  # fmt: skip


def test_the_pdf_is_the_same_each_time(ledger):
    assert issue("-o", "first.pdf") == 0
    assert issue("-o", "again.pdf") == 0
    assert (ledger / "again.pdf").read_bytes() == (ledger / "first.pdf").read_bytes()
    (page,) = PdfReader(ledger / "first.pdf").pages
    assert "2026-000001" in page.extract_text()


def test_a_draft_leaves_nothing_behind(ledger, capsys):
    assert issue("--draft", "-o", "-") == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["number"] is None
    assert captured.err.startswith("Draft: 0.01 USD for alice.")
    assert run(["invoice", "list", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_a_voided_invoice_is_listed_with_its_credit_note(ledger, capsys):
    assert issue() == 0
    assert run(["invoice", "void", "2026-000001", "--reason", "wrong address"]) == 0
    assert "Credit note 2026-000002: -0.01 USD for alice." in capsys.readouterr().err
    assert run(["invoice", "list", "--format", "json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [(row["number"], row["total"], row["remark"]) for row in listed] == [
        ("2026-000001", "0.01", "voided by 2026-000002"),
        ("2026-000002", "-0.01", "takes back 2026-000001: wrong address"),
    ]
    assert run(["invoice", "void", "2026-000001", "--reason", "again"]) == 2
    assert "expected one that stands" in capsys.readouterr().err


def test_an_invoice_is_shown_line_by_line(ledger, capsys):
    assert issue() == 0
    capsys.readouterr()
    assert run(["invoice", "show", "2026-000001"]) == 0
    shown = capsys.readouterr().out
    for text in ("Invoice 2026-000001: alice", "gpt-4o", "3,000", "Subtotal 0.0085 USD.",
                 "VAT 19 %: 0.001615.", "Total 0.01 USD."):  # fmt: skip
        assert text in shown
    assert run(["invoice", "show", "2026-000009"]) == 2
    assert "found no invoice '2026-000009'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["-o", "invoice.txt"], "expected a name that ends in .pdf or .json"),
        (["-o", "nowhere/invoice.pdf"], "found no folder nowhere"),
    ],
)
def test_a_file_that_cannot_be_is_refused_before_anything_is_issued(
    ledger, capsys, words, sentence
):
    assert issue(*words) == 2
    assert sentence in capsys.readouterr().err
    with Meter() as meter:
        assert meter.invoices() == []


def test_subject_and_period_are_both_needed(ledger, capsys):
    assert run(["invoice", "--subject", "alice"]) == 2
    assert "expected both" in capsys.readouterr().err
    assert run(["invoice", "--subject", "bob", "--period", PERIOD]) == 2
    assert "found nothing to bill 'bob'" in capsys.readouterr().err
