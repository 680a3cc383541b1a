"""A month of traffic against a provider's own books: it agrees, and each fault gets its name."""

import copy
import json
import random
import shutil
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
