"""How bills are read, and what is said of those that cannot be."""

import gzip
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from meter.cli.main import run
from meter.errors import InputError
from meter.reports.reconciling.bill import nanos_of, smallest_step
from meter.reports.reconciling.reading import read_bill

DAY = {"starting_at": "2026-11-01T00:00:00Z", "ending_at": "2026-11-02T00:00:00Z"}
NOVEMBER_US = 1_793_491_200_000_000


def written(folder, name, content, encoding="utf-8"):
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding=encoding)
    return path


def test_anthropic_excludes_caches_from_its_input_and_charges_cents(tmp_path):
    usage = {"data": [{**DAY, "results": [{
        "uncached_input_tokens": 100, "cache_read_input_tokens": 30, "output_tokens": 7,
        "cache_creation": {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 10},
        "server_tool_use": {"web_search_requests": 2}, "model": "claude-sonnet-4-5",
        "service_tier": "flex_discount"}]}], "has_more": False}  # fmt: skip
    costs = {"data": [{**DAY, "results": [{
        "amount": "123.45", "currency": "USD", "cost_type": "tokens", "model": "claude-sonnet-4-5",
        "token_type": "cache_read_input_tokens"}]}]}  # fmt: skip
    bill = read_bill("anthropic", [written(tmp_path, "both.json", [usage, costs])])
    first, second = bill.rows
    assert (first.start_us, first.end_us) == (NOVEMBER_US, NOVEMBER_US + 86_400_000_000)
    # 100 + 30 + 20 + 10
    assert dict(first.quantities) == {
        "input_tokens": 160, "cache_read_tokens": 30, "cache_write_tokens": 30,
        "cache_write_5m_tokens": 20, "cache_write_1h_tokens": 10, "output_tokens": 7,
        "searches": 2,
    }  # fmt: skip
    assert (first.tier, first.calls) == ("flex", None)
    # 123.45 cents are 1.2345 USD.
    assert (second.amount_nanos, second.unit) == (1_234_500_000, "cache_read_tokens")


def test_what_anthropic_writes_otherwise_counts_nothing(tmp_path):
    odd = {"cache_creation": [1], "server_tool_use": 3, "output_tokens": "x", "model": []}
    usage = {"data": [{**DAY, "results": [odd]}]}
    (row,) = read_bill("anthropic", [written(tmp_path, "usage.json", usage)]).rows
    assert not any(row.quantities.values()) and row.model is None


def test_a_csv_of_a_chinese_reseller_is_understood(tmp_path):
    text = '时间,模型名称,输入,输出,费用（元）\n2026-11-01 08:00:00,gpt-4o,"1,000",20,¥0.0193\n'
    path = written(tmp_path, "bill.csv", text, "gb18030")
    (row,) = read_bill("csv", [path], tz="Asia/Shanghai", currency="CNY").rows
    assert (row.start_us, row.calls, row.model) == (NOVEMBER_US, 1, "gpt-4o")
    assert dict(row.quantities) == {"input_tokens": 1000, "output_tokens": 20}
    assert (row.amount_nanos, row.currency) == (19_300_000, "CNY")


def test_a_bare_date_is_that_whole_day_where_it_was_written(tmp_path):
    path = written(tmp_path, "days.csv", "Date;Model;Requests;Cost\n2026-11-01;gpt-4o;12;3.07\n")
    (row,) = read_bill("csv", [path], tz="Asia/Shanghai", currency="USD").rows
    assert row.start_us == NOVEMBER_US - 8 * 3_600_000_000
    assert (row.end_us - row.start_us, row.calls) == (86_400_000_000, 12)


def test_columns_can_be_named(tmp_path):
    path = written(tmp_path, "odd.csv", "when,how much\n1793491200,2.5\n")
    words = {"time": "when", "amount": "how much"}
    (row,) = read_bill("csv", [path], columns=words, currency="USD").rows
    assert (row.start_us, row.amount_nanos) == (NOVEMBER_US, 2_500_000_000)


def test_balances_are_taken_from_the_answers_of_balance_endpoints(tmp_path):
    readings = [
        {"time": 1793491200, "answer": {"grants": {"available_amount": "111.8658"}}},
        {"time": "2026-11-02T00:00:00Z", "answer": {"balance_infos": [{"total_balance": "110"}]}},
    ]
    path = tmp_path / "balance.jsonl.gz"
    path.write_bytes(gzip.compress("\n".join(json.dumps(each) for each in readings).encode()))
    bill = read_bill("balance", [path], currency="CNY")
    assert bill.is_of_balances
    # 111.8658 − 110
    assert [row.amount_nanos for row in bill.rows] == [1_865_800_000]


def test_amounts_are_rounded_half_to_even_once():
    assert nanos_of("0.0000000005", "a test") == 0
    assert nanos_of("0.0000000015", "a test") == 2
    assert nanos_of("123.45", "a test", places=-2) == 1_234_500_000
    with pytest.raises(InputError, match="1e30"):
        nanos_of("1e30", "a test")


def test_amounts_are_taken_to_be_written_to_the_cent_at_least():
    from decimal import Decimal

    assert smallest_step([Decimal("3"), Decimal("3.5")]) == 10_000_000
    assert smallest_step([Decimal("3.0725")]) == 100_000
    assert smallest_step([Decimal("1e-17")]) == 1


def test_an_interval_that_ends_with_its_last_second_ends_with_the_day(tmp_path):
    text = "start,end,cost\n2026-11-01 00:00:00,2026-11-01 23:59:59,1\n"
    path = written(tmp_path, "bill.csv", text)
    (row,) = read_bill("csv", [path], currency="USD").rows
    assert (row.start_us, row.end_us) == (NOVEMBER_US, NOVEMBER_US + 86_400_000_000)


def test_buckets_of_two_widths_in_one_bill_are_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    start = NOVEMBER_US // 1_000_000
    result = {"model": "gpt-4o", "input_tokens": 5, "num_model_requests": 1}
    data = [{"start_time": start, "end_time": start + width, "results": [result]}
            for width in (3600, 86_400)]  # fmt: skip
    written(tmp_path, "usage.json", {"object": "page", "data": data})
    assert run(["reconcile", "openai", "usage.json"]) == 2
    told = capsys.readouterr().err
    assert "2026-11-01 00:00:00 to 2026-11-01 01:00:00" in told and told.count("\n") == 1


@pytest.mark.parametrize(
    ("kind", "content", "told"),
    [
        ("openai", "{}", "organization/usage"),
        ("openai", "not json", "'not json'"),
        ("openai", '{"data": [{"results": []}]}', "start_time"),
        ("openai", '{"data": []}', "no row"),
        ("openai", '{"data": [{"start_time": 1, "results": [3]}]}', "found 3"),
        ("openai", '{"data": [{"start_time": 1, "end_time": "x", "results": []}]}', "end_time 'x'"),
        ("openai", '{"data": [{"start_time": 9, "end_time": 9, "results": []}]}', "end_time 9"),
        ("openai", '{"data": [{"start_time": 1e30, "results": []}]}', "start_time"),
        ("openai", '{"data": [{"start_time": 253402300799, "results": [{}]}]}', "8999"),
        ("anthropic", '{"data": [{"starting_at": "2026-11-02T00:00:00Z", "ending_at": '
         '"2026-11-01T00:00:00Z", "results": []}]}', "after its start"),
        ("csv", "time,cost\n9999-12-31,1\n", "8999"),
        ("openai", '{"data": [{"start_time": 1, "results": [{"amount": {"value": "x"}}]}]}', "'x'"),
        ("anthropic", '{"data": [{"starting_at": "soon"}]}', "'soon'"),
        ("anthropic", '{"data": [{"starting_at": "2026-11-01T00:00:00"}]}', "without a zone"),
        ("csv", "", "empty"),
        ("csv", "a,b\n1,2\n", "a, b"),
        ("csv", "time,cost\nsoon,1\n", "'soon'"),
        ("csv", "time,cost\n2026-11-01,many\n", "'many'"),
        ("csv", "time,tokens,calls\n2026-11-01,1,1.5\n", "'1.5'"),
        ("balance", "time,balance\n2026-11-01,3\n", "at least two"),
        ("balance", '[{"time": 1}]', "without time or balance"),
        ("balance", "[1, 2]", "found 1"),
        ("invoice", "{}", "'invoice'"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_told_in_one_sentence(tmp_path, kind, content, told):
    path = written(tmp_path, "bill", content)
    with pytest.raises(InputError) as caught:
        read_bill(kind, [path], currency="USD")
    assert told in str(caught.value) and "\n" not in str(caught.value)


def test_an_amount_without_a_currency_is_not_guessed(tmp_path):
    path = written(tmp_path, "bill.csv", "time,cost\n2026-11-01,1\n")
    with pytest.raises(InputError, match="--currency"):
        read_bill("csv", [path])


def test_a_file_that_is_not_there(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(["reconcile", "openai", "nothing.json"]) == 2
    assert "nothing.json" in capsys.readouterr().err
    assert run(["reconcile", "balance"]) == 2
    assert run(["reconcile", "openai", "--live"]) == 2
    assert capsys.readouterr().err.count("\n") == 2


class Issuer(BaseHTTPRequestHandler):
    """OpenAI's organization API with two pages of usage and one of everything else."""

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        asked = parse_qs(parts.query)
        if self.headers["authorization"] != "Bearer sk-admin-test":
            self.answer(401, {"error": {"message": "no such key"}})
            return
        page: dict = {"object": "page", "data": [], "has_more": False, "next_page": None}
        if parts.path.endswith("/usage/completions"):
            second = asked.get("page") == ["page_2"]
            start = int(asked["start_time"][0]) + second * 86_400
            result = {"model": "gpt-4o", "input_tokens": 5 + second, "num_model_requests": 1}
            bucket = {"start_time": start, "end_time": start + 86_400, "results": [result]}
            page |= {"data": [bucket], "has_more": not second, "next_page": "page_2"}
        self.answer(200, page)

    def answer(self, status: int, value: dict) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def issuer():
    server = HTTPServer(("127.0.0.1", 0), Issuer)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()
    thread.join()


def live(issuer, *words):
    return run([
        "reconcile", "openai", "--live", "--base-url", issuer, "--since", "2026-11-01",
        "--until", "2026-11-03", *words,
    ])  # fmt: skip


def test_a_bill_is_asked_for_with_an_admin_key(issuer, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_ADMIN_KEY", "sk-admin-test")
    assert live(issuer, "--format", "json", "--tolerance", "0") == 1
    answer = json.loads(capsys.readouterr().out)
    totals = {each["name"]: each["theirs"] for each in answer["totals"]}
    assert totals == {"calls": 2, "input_tokens": 11}
    assert [each["reason"] for each in answer["differences"]] == ["not_seen", "not_seen"]


def test_a_key_that_is_missing_or_wrong_is_told_and_not_shown(
    issuer, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPENAI_ADMIN_KEY", raising=False)
    assert live(issuer) == 2
    assert "OPENAI_ADMIN_KEY" in capsys.readouterr().err
    monkeypatch.setenv("OPENAI_ADMIN_KEY", "sk-admin-wrong")
    assert live(issuer) == 2
    error = capsys.readouterr().err
    assert "status 401" in error and "sk-admin-wrong" not in error
