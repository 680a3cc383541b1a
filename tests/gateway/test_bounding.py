"""Batches and fine-tuning under money: held at the most that their files can cost."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from meter.core.call import Bound
from meter.gateway.bounding import added
from meter.store.checking import check
from tests.gateway.serving import Received, Served, served, upstream_that
from tests.gateway.test_watching import look

WHY = {"reason": "order 17", "author": "boss"}
CHAT = "/v1/chat/completions"
ASK = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 100}
RESALE = """
[[rule]]
book = "resale"
multiplier = "1.2"
currency = "CNY"

[[exchange]]
from = "USD"
to = "CNY"
rate = "7.1"
source = "made up"
"""


class Account:
    """An upstream that keeps one file and begins work."""

    def __init__(self) -> None:
        self.file = b""
        self.made: dict[str, dict[str, Any]] = {}
        self.lines: list[str] = []

    def hold(self, *bodies: Any, url: str = CHAT) -> None:
        lines = [
            json.dumps({"custom_id": str(n), "method": "POST", "url": url, "body": body})
            for n, body in enumerate(bodies)
        ]
        self.file = "\n".join(lines).encode() + b"\n"

    def answer(self, request: Received, connection: socket.socket) -> None:
        method, path, _ = request.line.split(" ")
        self.lines.append(f"{method} {path}")
        body = b""
        if path == "/v1/files":
            body = b'{"id":"file-1","object":"file"}'
        elif path.endswith("/content"):
            body = self.file
        elif method == "POST":
            kind = "batch" if "batches" in path else "fine_tuning.job"
            made: dict[str, Any] = {"id": f"work-{len(self.made)}", "object": kind}
            if "messages" in path:
                made = {"id": f"work-{len(self.made)}", "type": "message_batch"}
            self.made[made["id"]] = made
            body = json.dumps({**made, "status": "validating"}).encode()
        else:
            body = json.dumps(self.made[path.rpartition("/")[2]]).encode()
        head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: "
        connection.sendall(f"{head}{len(body)}\r\n\r\n".encode() + body)


@pytest.fixture
def account() -> Account:
    return Account()


@pytest.fixture
def gateway(account: Account, tmp_path: Path) -> Iterator[Served]:
    with (
        upstream_that(account.answer) as up,
        served(tmp_path, {"openai": f"{up.url}/v1", "anthropic": up.url}) as running,
    ):
        yield running


@pytest.fixture
def client(gateway: Served) -> Iterator[httpx.Client]:
    headers = {"authorization": f"Bearer {gateway.key('alice')}"}
    with httpx.Client(base_url=f"{gateway.url}/v1", headers=headers, timeout=30) as made:
        assert made.post("/files", files={"file": b"x"}).status_code == 200
        yield made


def batch(client: httpx.Client) -> httpx.Response:
    named = {"input_file_id": "file-1", "endpoint": CHAT, "completion_window": "24h"}
    return client.post("/batches", json=named)


def standing(gateway: Served) -> tuple[int, int]:
    (found,) = gateway.meter.credits.balances("alice")
    return found.balance_nanos, found.held_nanos


def test_a_batch_is_held_at_what_its_lines_can_cost_until_it_is_billed(gateway, account, client):
    gateway.meter.credits.grant("alice", "0.0003", **WHY)
    account.hold(ASK, {**ASK, "max_tokens": 200}, {**ASK, "n": 2})
    made = batch(client)
    assert made.status_code == 200, made.text
    gateway.calls(2)  # the upload and the receipt
    balance, held = standing(gateway)
    # gpt-4o-mini in a batch: 0.075 and 0.30 USD a million. 100 + 200 + 2 × 100 tokens out are
    # 150,000 nanos; three prompts of at most 400 tokens in are 90,000 at the most.
    assert balance == 300_000
    assert 150_000 < held < 150_000 + 90_000 + 12
    assert batch(client).status_code == 429, "the first one may yet cost most of what is left"
    account.made["work-0"] |= {
        "status": "completed", "model": "gpt-4o-mini",
        "usage": {"input_tokens": 1000, "output_tokens": 200, "total_tokens": 1200},
    }  # fmt: skip
    assert look(gateway, "openai", "work-0") == 1
    # 1000 × 0.075 / 10⁶ + 200 × 0.30 / 10⁶ = 0.000135 USD
    assert standing(gateway) == (300_000 - 135_000, 0)
    assert list(check(gateway.meter._ledger._engine)) == []


def test_without_a_budget_in_money_nothing_is_bounded(gateway, account, client):
    account.hold({"model": "no such model"})
    assert batch(client).status_code == 200
    # The file is read once: its requests must not name what others own.
    assert [line.split("/")[-1] for line in account.lines] == ["files", "content", "batches"]


def test_a_budget_in_tokens_holds_the_tokens_of_all_lines(gateway, account, client):
    gateway.meter.set_budget("t", subject="alice", limit=20_000, measure="tokens")
    account.hold(*[ASK] * 10)
    assert batch(client).status_code == 200
    gateway.calls(2)
    (row,) = gateway.meter.budgets()
    assert 1000 < row.standing.held <= 20_000


@pytest.mark.parametrize(
    ("bodies", "url", "why"),
    [
        ([ASK, {**ASK, "model": "no-such-model"}], CHAT, "request 2 of the batch has nothing"),
        ([ASK], "/v1/unknown", "request 1 of the batch is for '/v1/unknown'"),
        ([ASK], "/v1/batches", "request 1 of the batch is for '/v1/batches'"),
        ([], CHAT, "the batch has no request"),
    ],
)
def test_what_nothing_bounds_is_refused_and_said(gateway, account, client, bodies, url, why):
    gateway.meter.credits.grant("alice", "100", **WHY)
    account.hold(*bodies, url=url)
    refused = batch(client)
    assert refused.status_code == 429
    message = refused.json()["error"]["message"]
    assert why in message
    assert message.endswith(
        "Give each request of the batch a limit on its answer and a model whose price is known."
    )
    assert "POST /v1/batches" not in account.lines
    assert standing(gateway) == (100_000_000_000, 0)


@pytest.mark.parametrize("file", [b"no json\n", b"[]\n", b'{"url":7}\n', b"\xff\n", b"[" * 9999])
def test_a_file_that_is_no_batch_is_refused(gateway, account, client, file):
    gateway.meter.credits.grant("alice", "100", **WHY)
    account.file = file
    refused = batch(client)
    assert refused.status_code == 429
    assert "request 1 of the batch is no request" in refused.json()["error"]["message"]


def test_a_file_of_many_lines_is_read_piece_by_piece(gateway, account, client):
    """5,000 lines, and one between them that is longer than what is read at a time."""
    gateway.meter.credits.grant("alice", "50", **WHY)
    long = {**ASK, "messages": [{"role": "user", "content": "sea " * 100_000}]}
    account.hold(*[ASK] * 2500, long, *[ASK] * 2500)
    made = batch(client)
    assert made.status_code == 200, made.text
    gateway.calls(2)
    # 5001 × 100 tokens out at 0.30 USD a million, and the prompts.
    assert standing(gateway)[1] > 150_030_000


def test_a_batch_of_messages_is_held_at_what_it_holds(gateway, account, client):
    gateway.meter.credits.grant("alice", "0.02", **WHY)
    asked = {"model": "claude-sonnet-4-5", "max_tokens": 200, "messages": ASK["messages"]}
    body = {"requests": [{"custom_id": "a", "params": asked}, {"custom_id": "b", "params": asked}]}
    headers = {"anthropic-version": "2023-06-01"}
    made = client.post("/messages/batches", json=body, headers=headers)
    assert made.status_code == 200, made.text
    gateway.calls(2)
    # Half of 15 USD a million for 400 tokens out: 0.003 USD, and the prompts.
    assert 3_000_000 < standing(gateway)[1] < 20_000_000
    body["requests"] *= 3
    refused = client.post("/messages/batches", json=body, headers=headers)
    assert refused.status_code == 429
    assert refused.json()["type"] == "error"


def test_training_is_held_at_its_file_times_its_epochs(gateway, account, client):
    gateway.meter.credits.grant("alice", "1", **WHY)
    example = {
        "messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]
    }
    account.file = (json.dumps(example) + "\n").encode() * 100
    bytes_ = len(account.file) - 100  # without the line ends
    job = {"model": "gpt-4.1-nano-2025-04-14", "training_file": "file-1"}
    url = "/fine_tuning/jobs"
    assert client.post(url, json={**job, "hyperparameters": {"n_epochs": 2}}).status_code == 200
    gateway.calls(2)
    # 1.50 USD a million tokens.
    assert standing(gateway)[1] == bytes_ * 2 * 1500 + 1
    by_hour = client.post(url, json={**job, "method": {"type": "reinforcement"}})
    assert by_hour.status_code == 429
    assert "reinforcement is billed by the hour" in by_hour.json()["error"]["message"]


@pytest.mark.parametrize(("examples", "epochs"), [(10, 10), (3, 25), (100, 3), (5000, 3)])
def test_epochs_that_are_left_open_are_those_that_few_examples_need(
    gateway, account, client, examples, epochs
):
    gateway.meter.credits.grant("alice", "100", **WHY)
    account.file = b'{"a":1}\n' * examples
    job = {"model": "gpt-4.1-nano-2025-04-14", "training_file": "file-1"}
    assert client.post("/fine_tuning/jobs", json=job).status_code == 200
    gateway.calls(2)
    assert standing(gateway)[1] == 7 * examples * epochs * 1500 + 1


def test_a_batch_is_held_in_the_currency_that_it_is_billed_in(account, tmp_path):
    file = tmp_path / "resale.toml"
    file.write_text(RESALE)
    with (
        upstream_that(account.answer) as up,
        served(tmp_path, {"openai": f"{up.url}/v1"}, rate_file=str(file)) as gateway,
    ):
        gateway.meter.credits.grant("alice", "50", "CNY", **WHY)
        headers = {"authorization": f"Bearer {gateway.key('alice')}"}
        with httpx.Client(base_url=f"{gateway.url}/v1", headers=headers, timeout=30) as client:
            assert client.post("/files", files={"file": b"x"}).status_code == 200
            account.hold(ASK, ASK)
            assert batch(client).status_code == 200
        gateway.calls(2)
        (found,) = gateway.meter.credits.balances("alice")
        # 200 tokens out at 0.30 × 1.2 × 7.1 CNY a million: 511,200 nanos, and the prompts.
        assert found.currency == "CNY"
        assert 511_200 < found.held_nanos < 3 * 511_200


def test_bounds_in_two_currencies_are_not_added():
    one, free = Bound(1, 2, 30, "USD"), Bound(0, 0, 0, None)
    assert added(one, one) == Bound(2, 4, 60, "USD")
    assert added(one, free) == added(free, one) == one
    with pytest.raises(ValueError, match="currencies"):
        added(one, Bound(1, 2, 30, "CNY"))
    sold = Bound(1, 2, 30, "USD", 300, "CNY")
    assert added(sold, sold) == Bound(2, 4, 60, "USD", 600, "CNY")
    assert added(sold, free) == sold
    with pytest.raises(ValueError, match="currencies"):
        added(sold, one)
    unsold = Bound(1, 2, 30, "USD", None, "")
    assert added(sold, unsold).billed_currency == ""
