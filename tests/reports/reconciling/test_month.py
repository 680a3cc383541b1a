"""A month of traffic against a provider's own books: it agrees, and each fault gets its name."""

import copy
import json
import random
import shutil
from dataclasses import replace
from decimal import Decimal

import pytest

from meter.cli.main import run
from meter.core.call import Attribution, Outcome
from meter.meter import Meter
from meter.providers.registry import dialect_named
from tests.reports.reconciling.provider import DAY, HOUR, PRICES, Books, Served

NOVEMBER = 1_793_491_200  # 2026-11-01T00:00:00Z
CALLS = 900
BODY = {"messages": [{"role": "user", "content": "Hello!"}]}


def answered(served: Served) -> bytes:
    return json.dumps(
        {
            "id": served.id,
            "object": "chat.completion",
            "model": served.model,
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": "Hi."},
                    "finish_reason": "stop",
                }
            ],
            "usage": {
                "prompt_tokens": served.input,
                "completion_tokens": served.output,
                "total_tokens": served.input + served.output,
                "prompt_tokens_details": {"cached_tokens": served.cached},
            },
        }
    ).encode()


class Clock:
    """What `now_us` tells while the month is made."""

    def __init__(self) -> None:
        self.at = float(NOVEMBER)

    def __call__(self) -> int:
        return int(self.at * 1_000_000)


def call(meter: Meter, clock: Clock, served: Served, *, outcome: str = "answered") -> None:
    """Send one call through the real pipeline at the provider's own time."""
    clock.at = served.at
    opened = meter.pipeline.open_call(
        dialect_named("openai"),
        method="POST",
        path="/v1/chat/completions",
        content_type="application/json",
        body=json.dumps({"model": served.model.rpartition("-20")[0], **BODY}).encode(),
        attribution=Attribution("alice"),
    )
    opened.estimate()
    assert opened.judge(opened.reserve().result()) is None
    clock.at += served.seconds
    if outcome == "lost":
        opened.close(Outcome.TIMED_OUT).result()
        return
    opened.start(200, {"content-type": "application/json"})
    opened.feed(answered(served))
    opened.finish()
    opened.close(Outcome.COMPLETED).result()


def traffic() -> list[Served]:
    chosen = random.Random(20261101)
    moments = sorted(chosen.uniform(NOVEMBER, NOVEMBER + 30 * DAY - 60) for _ in range(CALLS))
    served = []
    for number, at in enumerate(moments):
        given = chosen.randrange(200, 4000)
        served.append(
            Served(
                f"chatcmpl-{number:05}",
                at,
                chosen.choice(sorted(PRICES)),
                given,
                chosen.choice((0, 0, given // 128 * 64)),
                chosen.randrange(1, 900),
                chosen.uniform(0.2, 20),
            )
        )
    return served


@pytest.fixture(scope="module")
def month(tmp_path_factory):
    """The ledger of a month and the books of the provider, made once."""
    folder = tmp_path_factory.mktemp("month")
    clock, books = Clock(), Books()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("meter.pipeline.now_us", clock)
        with Meter(f"sqlite:///{folder / 'meter.db'}", durability="process") as meter:
            for served in traffic():
                call(meter, clock, served)
                books.add(served)
    return folder, books


@pytest.fixture
def bill(month, tmp_path, monkeypatch):
    """A copy of both, to be spoiled; `ask` reconciles and returns status and answer."""
    folder, books = month
    shutil.copy(folder / "meter.db", tmp_path / "meter.db")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("METER_DATABASE_URL", "sqlite:///meter.db")
    return Case(tmp_path, copy.deepcopy(books))


class Case:
    def __init__(self, folder, books: Books) -> None:
        self.folder, self.books = folder, books

    def write(self, name: str, content) -> str:
        text = content if isinstance(content, str) else json.dumps(content)
        (self.folder / name).write_text(text)
        return name

    def pages(self, width: int = HOUR) -> list[str]:
        return [
            self.write("usage.json", self.books.usage(width)),
            self.write("costs.json", self.books.costs()),
        ]


def ask(capsys, *words: str):
    status = run(["reconcile", *words, "--format", "json"])
    told = capsys.readouterr()
    assert told.err == "", told.err
    return status, json.loads(told.out)


def only(answer, *, but=("rounding",)):
    """The one difference that is not named in `but`."""
    (found,) = [each for each in answer["differences"] if each["reason"] not in but]
    return found


def test_a_whole_month_agrees_to_the_cent(bill, capsys):
    status, answer = ask(capsys, "openai", *bill.pages())
    assert status == 0 and answer["agrees"]
    assert {each["reason"] for each in answer["differences"]} <= {"rounding"}
    totals = {each["name"]: each for each in answer["totals"]}
    assert totals["calls"]["theirs"] == totals["calls"]["ours"] == CALLS
    assert totals["input_tokens"]["difference"] == 0
    assert abs(Decimal(totals["USD"]["difference"])) < Decimal("0.01")
    assert Decimal(totals["USD"]["ours"]) > 1


def test_a_call_that_they_forgot_is_named(bill, capsys):
    lost = bill.books.forget(100)
    status, answer = ask(capsys, "openai", *bill.pages(), "--tolerance", "0.0001")
    found = only(answer)
    assert (status, found["reason"], found["calls"]) == (1, "not_billed", -1)
    with Meter() as meter:
        (known,) = meter.calls(id=found["call_ids"][0])
    assert known.response_id == lost.id
    assert Decimal(found["amount"]) * 10**9 == -known.cost_nanos


def test_a_call_billed_twice_is_named(bill, capsys):
    again = bill.books.repeat(200)
    status, answer = ask(capsys, "openai", *bill.pages(), "--tolerance", "0.0001")
    found = only(answer)
    assert (status, found["reason"], found["calls"]) == (1, "billed_twice", 1)
    with Meter() as meter:
        (known,) = meter.calls(id=found["call_ids"][0])
    assert known.response_id == again.id


def test_a_call_made_outside_the_meter_is_told_with_its_price(bill, capsys):
    bill.books.add(Served("chatcmpl-x", NOVEMBER + 5 * DAY, "gpt-4o-2024-08-06", 1_000_000, 0, 100))
    status, answer = ask(capsys, "openai", *bill.pages())
    found = only(answer)
    assert (status, found["reason"], found["calls"]) == (1, "not_seen", 1)
    assert found["quantities"] == {"input_tokens": 1_000_000, "output_tokens": 100}
    # 1,000,000 × 2.50 USD / 10⁶ + 100 × 10 USD / 10⁶ = 2.501 USD
    assert found["amount"] == "2.501"


def test_another_price_is_told_with_both(bill, capsys):
    bill.books.prices["gpt-4o-2024-08-06"] = ("2.50", "1.25", "11")
    status, answer = ask(capsys, "openai", *bill.pages())
    found = only(answer)
    assert (status, found["reason"], found["model"]) == (1, "wrong_price", "gpt-4o-2024-08-06")
    assert "output_tokens at 11, ours 10 USD a million" in found["sentence"]
    taken = sum(c.output for c in bill.books.calls if c.model == "gpt-4o-2024-08-06")
    # One USD a million more.
    assert abs(Decimal(found["amount"]) - Decimal(taken) / 1_000_000) < Decimal("0.0000001")


@pytest.mark.parametrize("seconds", [180, -180, 437])
def test_a_clock_that_is_off_is_told_and_does_no_harm(bill, capsys, seconds):
    bill.books.ahead_s = seconds
    usage = bill.write("usage.json", bill.books.usage(HOUR))
    status, answer = ask(capsys, "openai", usage)
    assert status == 0 and answer["agrees"]
    found = only(answer)
    assert found["reason"] == "clock"
    said = int(found["sentence"].split(" s ")[0].rpartition(" ")[2])
    assert abs(said - abs(seconds)) <= 60
    assert ("ahead" in found["sentence"]) == (seconds > 0)


def test_calls_counted_when_they_end_are_not_taken_for_a_fault(bill, capsys):
    bill.books.calls = [
        Served(c.id, c.at + c.seconds, c.model, c.input, c.cached, c.output)
        for c in bill.books.calls
    ]
    usage = bill.write("usage.json", bill.books.usage(HOUR))
    status, answer = ask(capsys, "openai", usage)
    assert status == 0
    assert {each["reason"] for each in answer["differences"]} <= {"clock", "boundary"}


def test_another_count_of_cached_tokens_is_told(bill, capsys):
    number = next(n for n, c in enumerate(bill.books.calls) if c.cached and c.input > 3000)
    before = bill.books.change(number, cached=0)
    status, answer = ask(capsys, "openai", *bill.pages(), "--tolerance", "0.000001")
    found = only(answer)
    assert (status, found["reason"]) == (1, "cached_tokens")
    assert found["quantities"] == {"cache_read_tokens": -before.cached}


def test_an_unsettled_call_is_settled_from_the_bill(bill, capsys, monkeypatch):
    clock = Clock()
    monkeypatch.setattr("meter.pipeline.now_us", clock)
    lost = Served("chatcmpl-lost", NOVEMBER + 7 * DAY + 100, "gpt-4o-2024-08-06", 1000, 0, 50)
    with Meter() as meter:
        call(meter, clock, lost, outcome="lost")
    bill.books.add(lost)
    status, answer = ask(capsys, "openai", *bill.pages(), "--tolerance", "0.0001")
    found = only(answer)
    assert (status, found["reason"]) == (1, "unsettled")
    assert found["settles"] == {"input_tokens": 1000, "output_tokens": 50}
    _, answer = ask(capsys, "openai", *bill.pages(), "--settle", "--author", "carol")
    assert answer["settled"] == found["call_ids"]
    with Meter() as meter:
        (known,) = meter.calls(id=found["call_ids"][0])
    # 1,000 × 2.50 USD / 10⁶ + 50 × 10 USD / 10⁶ = 0.003 USD
    assert (known.state, known.cost_nanos, known.basis.value) == ("settled", 3_000_000, "reported")
    status, answer = ask(capsys, "openai", *bill.pages(), "--settle")
    assert status == 0 and answer["settled"] == []
    assert run(["check"]) == 0


def test_a_csv_of_single_calls_names_each_of_them(bill, capsys):
    twice = bill.books.repeat(5)
    gone = bill.books.forget(6)
    bill.books.add(Served("chatcmpl-y", NOVEMBER + DAY, "gpt-4o-2024-08-06", 10, 0, 20))
    file = bill.write("export.csv", bill.books.export())
    words = ("--provider", "openai", "--currency", "USD", "--tolerance", "0")
    status, answer = ask(capsys, "csv", file, *words)
    found = {each["reason"]: each for each in answer["differences"] if each["reason"] != "rounding"}
    assert status == 1 and set(found) == {"billed_twice", "not_billed", "not_seen"}
    with Meter() as meter:
        named = {
            reason: next(meter.calls(id=found[reason]["call_ids"][0])).response_id
            for reason in ("billed_twice", "not_billed")
        }
    assert named == {"billed_twice": twice.id, "not_billed": gone.id}
    # 10 × 2.50 USD / 10⁶ + 20 × 10 USD / 10⁶ = 0.000225 USD
    assert found["not_seen"]["amount"] == "0.000225"


def test_balances_agree_and_tell_what_does_not(bill, capsys):
    moments = [NOVEMBER + days * DAY for days in (0, 10, 20, 30)]

    def readings() -> str:
        lines = [f"{at},{bill.books.balance_at(at, '100')}" for at in moments]
        return bill.write("balance.csv", "time,balance\n" + "\n".join(lines) + "\n")

    words = ("--provider", "openai", "--currency", "USD")
    status, answer = ask(capsys, "balance", readings(), *words)
    assert status == 0, answer
    # Nothing is known of the days before the first reading and after the last.
    moments = moments[1:3]
    status, answer = ask(
        capsys, "balance", readings(), *words, "--since", "2026-11-01", "--until", "2026-12-01"
    )
    assert status == 0, answer
    moments = [NOVEMBER + days * DAY for days in (0, 10, 20, 30)]
    bill.books.add(Served("chatcmpl-z", NOVEMBER + 15 * DAY, "gpt-4o-2024-08-06", 400_000, 0, 0))
    status, answer = ask(capsys, "balance", readings(), *words)
    found = only(answer)
    # 400,000 × 2.50 USD / 10⁶ = 1 USD, between the second and the third reading.
    assert (status, found["reason"]) == (1, "not_seen")
    assert abs(Decimal(found["amount"]) - 1) <= Decimal("0.001")
    assert found["since"].startswith("2026-11-11") and found["until"].startswith("2026-11-21")


def test_traffic_of_another_key_is_outside(bill, capsys):
    usage = bill.books.usage(DAY)
    for bucket in usage["data"]:
        for result in bucket["results"]:
            result["api_key_id"] = "key_ours"
    foreign = {"model": "gpt-4o-2024-08-06", "input_tokens": 5, "output_tokens": 5,
               "num_model_requests": 1, "api_key_id": "key_theirs"}  # fmt: skip
    usage["data"][3]["results"].append(foreign)
    file = bill.write("usage.json", usage)
    _, answer = ask(capsys, "openai", file, "--key", "key_ours")
    found = only(answer)
    assert (found["reason"], found["calls"]) == ("outside", 1)
    assert "key_theirs" in found["sentence"]


def without_day(books: Books, number: int) -> list[Served]:
    """Let the provider serve nothing on one day of the month; return what it forgot."""
    gone = [each for each in books.calls if int(each.at - NOVEMBER) // DAY == number]
    books.calls = [each for each in books.calls if each not in gone]
    return gone


def owed(calls: list[Served]) -> Decimal:
    return sum((each.price(PRICES) for each in calls), Decimal(0))


@pytest.mark.parametrize("most_named", [100, 3])
@pytest.mark.parametrize("are_listed", [True, False])
def test_a_day_of_which_they_bill_nothing_is_told(
    bill, capsys, monkeypatch, most_named, are_listed
):
    monkeypatch.setattr("meter.reports.reconciling.comparing._MOST_NAMED", most_named)
    gone = without_day(bill.books, 9)
    assert len({each.model for each in gone}) == 3
    usage, costs = bill.books.usage(DAY), bill.books.costs()
    if are_listed:
        start = NOVEMBER + 9 * DAY
        empty = {"object": "bucket", "start_time": start, "end_time": start + DAY, "results": []}
        for page in (usage, costs):
            page["data"].append(empty)
    files = bill.write("usage.json", usage), bill.write("costs.json", costs)
    for chosen in (files, files[:1], files[1:]):
        status, answer = ask(capsys, "openai", *chosen)
        found = [each for each in answer["differences"] if each["reason"] != "rounding"]
        assert (status, {each["reason"] for each in found}) == (1, {"not_billed"})
        assert {(each["since"], each["until"]) for each in found} == {
            ("2026-11-10 00:00:00+00:00", "2026-11-11 00:00:00+00:00")
        }
        assert len(found) == 3
        if files[0] in chosen:
            assert sum(each["calls"] for each in found) == -len(gone)
        assert abs(sum(Decimal(each["amount"]) for each in found) + owed(gone)) < Decimal("1e-6")


def test_the_first_and_last_day_are_told_if_the_bill_is_said_to_be_of_them(bill, capsys):
    gone = [*without_day(bill.books, 0), *without_day(bill.books, 29)]
    status, _ = ask(capsys, "openai", *bill.pages(DAY))
    assert status == 0
    whole = ("--since", "2026-11-01", "--until", "2026-12-01")
    status, answer = ask(capsys, "openai", *bill.pages(DAY), *whole)
    found = [each for each in answer["differences"] if each["reason"] != "rounding"]
    assert (status, {each["reason"] for each in found}) == (1, {"not_billed"})
    assert sum(each["calls"] for each in found) == -len(gone)


def test_a_call_that_they_date_a_day_late_is_told_on_both_days(bill, capsys):
    number = next(n for n, each in enumerate(bill.books.calls) if each.at > NOVEMBER + 20 * DAY)
    late = bill.books.calls[number]
    bill.books.calls[number] = replace(late, at=late.at + 2.2 * DAY)
    _, answer = ask(capsys, "openai", *bill.pages(), "--tolerance", "0.0001")
    found = {each["reason"]: each for each in answer["differences"] if each["reason"] != "rounding"}
    assert set(found) == {"not_billed", "not_seen"}
    assert {each["calls"] for each in found.values()} == {-1, 1}
    assert sum(Decimal(each["amount"]) for each in found.values()) == 0


def test_other_counts_are_told_with_their_money_and_not_as_another_price(bill, capsys):
    gone = bill.books.forget(100)
    bill.books.add(replace(gone, id="chatcmpl-x", input=gone.input - 50, output=gone.output + 7))
    status, answer = ask(capsys, "openai", *bill.pages(), "--tolerance", "0.000001")
    found = only(answer)
    assert (status, found["reason"]) == (1, "tokens")
    assert found["quantities"] == {"input_tokens": -50, "output_tokens": 7}
    given, _, taken = (Decimal(text) for text in PRICES[gone.model])
    assert Decimal(found["amount"]) == (7 * taken - 50 * given) / 1_000_000


def test_a_clock_that_is_off_hides_neither_a_lost_call_nor_a_strange_one(bill, capsys):
    bill.books.ahead_s = -180
    bill.books.forget(100)
    bill.books.add(Served("chatcmpl-x", NOVEMBER + 5 * DAY, "gpt-4o-2024-08-06", 100_000, 0, 100))
    _, answer = ask(capsys, "openai", *bill.pages(), "--tolerance", "0.0001")
    reasons = sorted(each["reason"] for each in answer["differences"])
    assert [each for each in reasons if each != "rounding"] == ["clock", "not_billed", "not_seen"]


def test_a_price_that_rises_with_the_input_is_that_of_each_call_that_was_not_seen(bill, capsys):
    bill.books.prices["gpt-5.4-2026-03-05"] = ("2.50", "0.25", "15")
    for number in range(4):
        at = NOVEMBER + 5 * DAY + number
        bill.books.add(Served(f"chatcmpl-{at}", at, "gpt-5.4-2026-03-05", 100_001, 0, 10))
    _, answer = ask(capsys, "openai", *bill.pages(), "--tolerance", "0.0001")
    # 400,004 × 2.50 USD / 10⁶ + 40 × 15 USD / 10⁶; above 272,000 tokens a call costs twice that.
    assert (only(answer)["amount"], only(answer)["calls"]) == ("1.00061", 4)


def test_what_a_page_of_usage_does_not_count_is_not_missed_there(bill, capsys, monkeypatch):
    clock = Clock()
    monkeypatch.setattr("meter.pipeline.now_us", clock)
    clock.at = NOVEMBER + 3 * DAY
    form = (
        b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n'
        b'--x\r\nContent-Disposition: form-data; name="response_format"\r\n\r\nverbose_json\r\n'
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.mp3"\r\n\r\n'
        b"abc\r\n--x--\r\n"
    )
    with Meter() as meter:
        opened = meter.pipeline.open_call(
            dialect_named("openai"), method="POST", path="/v1/audio/transcriptions",
            content_type="multipart/form-data; boundary=x", body=form,
            attribution=Attribution("alice"),
        )  # fmt: skip
        opened.estimate()
        assert opened.judge(opened.reserve().result()) is None
        opened.start(200, {"content-type": "application/json"})
        opened.feed(b'{"task":"transcribe","duration":27.45,"text":"Hi.","segments":[]}')
        opened.finish()
        opened.close(Outcome.COMPLETED).result()
    usage = bill.write("usage.json", bill.books.usage(HOUR))
    status, answer = ask(capsys, "openai", usage)
    assert status == 0 and answer["totals"][0]["ours"] == CALLS

    heard = {"object": "organization.usage.audio_transcriptions.result", "model": "whisper-1",
             "seconds": 28, "num_model_requests": 1}  # fmt: skip
    start = NOVEMBER + 3 * DAY
    bucket = {"start_time": start, "end_time": start + DAY, "results": [heard]}
    sound = bill.write("sound.json", {"object": "page", "data": [bucket]})
    status, answer = ask(capsys, "openai", sound)
    assert (status, answer["differences"]) == (0, [])
    heard["num_model_requests"], heard["seconds"] = 2, 90
    sound = bill.write("sound.json", {"object": "page", "data": [bucket]})
    status, answer = ask(capsys, "openai", sound, "--tolerance", "0.0001")
    assert (status, only(answer)["reason"]) == (1, "not_seen")


def test_a_fee_among_rows_of_single_calls_is_told(bill, capsys):
    text = bill.books.export() + ",2026-11-12T00:00:00+00:00,,,,,2.5\n"
    words = ("--provider", "openai", "--currency", "USD")
    status, answer = ask(capsys, "csv", bill.write("export.csv", text), *words)
    assert (status, only(answer)["reason"], only(answer)["amount"]) == (1, "not_seen", "2.5")
