"""Work that goes on upstream is billed when it ends, also when nobody asks."""

import asyncio
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from meter.core.call import Basis
from meter.core.usage import Usage
from meter.gateway.services import Services
from meter.gateway.watching import look_after
from tests.gateway.serving import Received, Served, served, upstream_that

USAGE = {"input_tokens": 1000, "output_tokens": 200, "total_tokens": 1200}


def a_line(custom_id: str, taken: int, given: int) -> dict[str, Any]:
    return {
        "id": f"batch_req_{custom_id}",
        "custom_id": custom_id,
        "response": {
            "status_code": 200,
            "request_id": "r1",
            "body": {
                "id": "chatcmpl-1", "object": "chat.completion", "model": "gpt-4o-mini-2024-07-18",
                "choices": [],
                "usage": {"prompt_tokens": taken, "completion_tokens": given,
                          "total_tokens": taken + given},
            },
        },
        "error": None,
    }  # fmt: skip


class Works:
    """An upstream with one batch and one job, whose states a test sets."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.lines: list[str] = []
        self.output: list[dict[str, Any]] = []
        self.is_away = False

    def answer(self, request: Received, connection: socket.socket) -> None:
        method, path, _ = request.line.split(" ")
        self.lines.append(f"{method} {path}")
        if self.is_away:
            connection.shutdown(socket.SHUT_RDWR)
            return
        status, body = 200, b""
        if method == "POST":
            kind = "batch" if "batches" in path else "fine_tuning.job"
            name = "batch_1" if kind == "batch" else "ftjob-1"
            if path == "/v1/videos":
                kind, name = "video", "video_1"
            if path == "/v1/messages/batches":
                name = "msgbatch_1"
                made = {"id": name, "type": "message_batch", "processing_status": "in_progress"}
            else:
                made = {"id": name, "object": kind, "status": "validating"}
            body = json.dumps(self.objects.setdefault(name, made)).encode()
        elif method == "DELETE":
            body = json.dumps(self.objects.pop(path.rpartition("/")[2])).encode()
        elif path.endswith(("/content", "/results")):
            if not self.output:
                status = 404
            body = b"".join(json.dumps(line).encode() + b"\n" for line in self.output)
        else:
            found = self.objects.get(path.rpartition("/")[2])
            status = 404 if found is None else 200
            body = json.dumps(found or {"error": {"message": "none"}}).encode()
        head = f"HTTP/1.1 {status} x\r\ncontent-type: application/json\r\n"
        connection.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)


@pytest.fixture
def works() -> Works:
    return Works()


@pytest.fixture
def gateway(works: Works, tmp_path: Path) -> Iterator[Served]:
    with (
        upstream_that(works.answer) as up,
        served(tmp_path, {"openai": f"{up.url}/v1", "anthropic": up.url}) as running,
    ):
        yield running


def begin(gateway: Served, family: str) -> str:
    headers = {"authorization": f"Bearer {gateway.key('alice', tags=(('team', 'search'),))}"}
    answer = httpx.post(
        f"{gateway.url}/v1/{family}", json={"model": "gpt-4o-mini"}, headers=headers
    )
    assert answer.status_code == 200
    name: str = answer.json()["id"]
    return name


def look(gateway: Served, upstream: str, name: str) -> int:
    """Let a gateway of its own look, as if a long time had gone by."""
    shared = gateway.gateway.services
    shared.tenants.owned.watch(upstream, name, 1)

    async def once() -> int:
        services = Services(shared.pipeline, shared.ledger, shared.router.upstreams)
        try:
            return await look_after(services)
        finally:
            await services.close()

    return asyncio.run(once())


def test_a_batch_is_billed_when_it_ends(gateway, works):
    name = begin(gateway, "batches")
    assert look(gateway, "openai", name) == 0
    (receipt,) = gateway.calls(1)  # looking at running work leaves no record
    assert (receipt.usage, receipt.basis) == (None, Basis.UNKNOWN)
    works.objects[name] |= {"status": "completed", "model": "gpt-4o-mini", "usage": USAGE}
    works.objects[name]["output_file_id"] = "file-out"
    assert look(gateway, "openai", name) == 1
    receipt, ended, _ = gateway.calls(3)
    # Settled by the look that bills its work, and owing nothing itself.
    assert (receipt.usage, receipt.basis, receipt.cost_nanos) == (Usage(), Basis.REPORTED, 0)
    assert (ended.subject, dict(ended.tags), ended.basis) == (
        "alice", {"team": "search"}, Basis.REPORTED,
    )  # fmt: skip
    # Half the price of gpt-4o-mini (0.15 and 0.60 USD a million):
    # 1000 × 0.075 / 10⁶ + 200 × 0.30 / 10⁶ = 0.000075 + 0.00006 = 0.000135 USD
    assert ended.cost_nanos == 135_000
    owners = gateway.gateway.services.ledger.owned.owners("openai", ["file-out"])
    assert owners == {"file-out": "alice"}
    # It is not looked at again, and a customer's own look later owes nothing.
    # The output could not be read; it is billed as a whole until it can.
    sent = len(works.lines)
    assert gateway.gateway.services.tenants.owned.due(2**62, until_us=2**62, limit=9) == []
    headers = {"authorization": f"Bearer {gateway.key('alice')}"}
    httpx.get(f"{gateway.url}/v1/batches/{name}", headers=headers)
    assert len(works.lines) == sent + 1
    assert sum(call.cost_nanos or 0 for call in gateway.calls(4)) == 135_000


def fetch(gateway: Served, key: str, path: str, **headers: str) -> httpx.Response:
    answer = httpx.get(
        f"{gateway.url}/v1/{path}", headers={"authorization": f"Bearer {key}", **headers}
    )
    assert answer.status_code == 200
    return answer


def ended(works: Works, name: str, **told: Any) -> None:
    works.objects[name] |= {"status": "completed", "output_file_id": "file-out", **told}
    works.output = [a_line("amy/1", 400, 50), a_line("bob/2", 600, 150)]


def test_an_ended_batch_is_billed_by_its_requests(gateway, works):
    name = begin(gateway, "batches")
    ended(works, name, model="gpt-4o-mini", usage=USAGE)
    assert look(gateway, "openai", name) == 1
    _, whole, _, amy, bob = gateway.calls(5)
    assert (whole.usage, whole.cost_nanos, whole.corrections) == (Usage(), 0, 1)
    # 400 × 0.075 / 10⁶ + 50 × 0.30 / 10⁶ and 600 × 0.075 / 10⁶ + 150 × 0.30 / 10⁶ USD.
    assert (amy.cost_nanos, bob.cost_nanos) == (45_000, 90_000)
    # The key may not name users: its subject pays, and the custom_id is a tag.
    assert [(call.subject, dict(call.tags)) for call in (amy, bob)] == [
        ("alice", {"custom_id": "amy/1", "team": "search"}),
        ("alice", {"custom_id": "bob/2", "team": "search"}),
    ]
    assert (amy.endpoint, amy.model_served, amy.service_tier, amy.upstream) == (
        "chat", "gpt-4o-mini-2024-07-18", "batch", "openai",
    )  # fmt: skip
    key = gateway.key("alice")
    for path in ("batches/batch_1", "files/file-out/content") * 3:
        fetch(gateway, key, path)
    assert sum(call.cost_nanos or 0 for call in gateway.calls(11)) == 135_000


def test_who_fetches_the_output_first_bills_its_requests(gateway, works):
    name = begin(gateway, "batches")
    ended(works, name, model="gpt-4o-mini", usage=USAGE)
    key = gateway.key("alice")
    for path in ("batches/batch_1", "files/file-out/content", "files/file-out/content"):
        fetch(gateway, key, path)
    # A receipt, a look, a fetch with two requests, a fetch.
    found = gateway.calls(6)
    assert [call.cost_nanos for call in found] == [0, 0, 0, 45_000, 90_000, 0]
    assert look(gateway, "openai", name) == 1
    assert sum(call.cost_nanos or 0 for call in gateway.calls(8)) == 135_000


def test_a_part_of_the_output_is_taken_from_the_whole(gateway, works):
    name = begin(gateway, "batches")
    ended(works, name, model="gpt-4o-mini", usage=USAGE)
    works.output = works.output[:1]
    key = gateway.key("alice")
    fetch(gateway, key, "batches/batch_1")
    fetch(gateway, key, "files/file-out/content")
    _, whole, _, amy = gateway.calls(4)
    assert whole.usage == Usage(input_tokens=600, output_tokens=150)
    assert (whole.cost_nanos, amy.cost_nanos) == (90_000, 45_000)


def test_a_key_that_may_name_users_bills_requests_to_whom_their_ids_name(works, tmp_path):
    pattern = "(?P<subject>[^/]+)/(?P<order>.+)"
    with (
        upstream_that(works.answer) as up,
        served(tmp_path, {"openai": f"{up.url}/v1"}, custom_id_pattern=pattern) as gateway,
    ):
        trusted = gateway.key("shop", may_name_users=True)
        headers = {"authorization": f"Bearer {trusted}"}
        name = httpx.post(
            f"{gateway.url}/v1/batches", json={"input_file_id": "x"}, headers=headers
        ).json()
        assert "error" in name  # the file is nobody's
        begun = httpx.post(f"{gateway.url}/v1/batches", json={}, headers=headers).json()["id"]
        ended(works, begun, model="gpt-4o-mini", usage=USAGE)
        works.output.append(a_line("nobody", 0, 10))
        assert look(gateway, "openai", begun) == 1
        _, _, _, amy, bob, other = gateway.calls(6)
        assert [(call.subject, dict(call.tags)) for call in (amy, bob, other)] == [
            ("amy", {"custom_id": "amy/1", "order": "1"}),
            ("bob", {"custom_id": "bob/2", "order": "2"}),
            ("shop", {"custom_id": "nobody"}),
        ]


def test_a_batch_that_tells_no_usage_is_billed_from_its_lines(gateway, works):
    name = begin(gateway, "batches")
    ended(works, name, request_counts={"completed": 2, "failed": 0, "total": 2})
    assert look(gateway, "openai", name) == 1
    assert "GET /v1/files/file-out/content" in works.lines
    found = gateway.calls(5)
    assert [call.cost_nanos for call in found] == [0, 0, 0, 45_000, 90_000]
    assert {call.basis for call in found} == {Basis.REPORTED}


def test_a_message_batch_is_billed_from_its_results(gateway, works):
    name = begin(gateway, "messages/batches")
    works.objects[name]["processing_status"] = "ended"
    message = {
        "custom_id": "one",
        "result": {
            "type": "succeeded",
            "message": {
                "id": "msg_1", "type": "message", "model": "claude-sonnet-4-5-20250929",
                "usage": {"input_tokens": 1000, "output_tokens": 100},
            },
        },
    }  # fmt: skip
    failed = {"custom_id": "two", "result": {"type": "errored", "error": {}}}
    works.output = [message, failed]
    assert look(gateway, "anthropic", name) == 1
    # Half of 3 and 15 USD a million: 1000 × 1.5 / 10⁶ + 100 × 7.5 / 10⁶ = 0.0015 + 0.00075
    receipt, *_ = found = gateway.calls(4)
    assert sum(call.cost_nanos or 0 for call in found) == 2_250_000
    assert (receipt.basis, receipt.usage) == (Basis.REPORTED, Usage())
    (request,) = (call for call in found if call.cost_nanos)
    assert (request.subject, dict(request.tags)) == (
        "alice", {"custom_id": "one", "team": "search"},
    )  # fmt: skip


def test_a_job_is_looked_at_less_and_less_often(gateway, works):
    name = begin(gateway, "fine_tuning/jobs")
    owned = gateway.gateway.services.tenants.owned
    made = owned.one("openai", name)
    assert made is not None and made.watched_us == made.created_us + 60_000_000
    assert look(gateway, "openai", name) == 0
    later = owned.one("openai", name)
    assert later is not None and later.watched_us is not None
    # Just made: again after a minute.
    assert 0 < later.watched_us - made.created_us - 60_000_000 < 30_000_000
    del works.objects[name]
    assert look(gateway, "openai", name) == 1  # it is gone
    assert len(gateway.calls(1)) == 1


def test_an_upstream_that_is_away_is_asked_again_later(gateway, works):
    name = begin(gateway, "batches")
    works.objects[name]["status"] = "completed"
    works.is_away = True
    assert look(gateway, "openai", name) == 0
    row = gateway.gateway.services.tenants.owned.one("openai", name)
    assert row is not None and row.watched_us is not None
    assert len(gateway.calls(1)) == 1


def test_a_film_is_held_until_it_is_made_and_billed_before_it_is_deleted(gateway, works):
    """Two films of four seconds, 0.10 USD each, do not fit into 0.70 USD at the same time."""
    gateway.meter.credits.grant("alice", "0.70", reason="order 1", author="boss")
    headers = {"authorization": f"Bearer {gateway.key('alice')}"}
    with httpx.Client(base_url=f"{gateway.url}/v1", headers=headers) as client:
        film = {"model": "sora-2", "prompt": "the sea"}
        assert client.post("/videos", json=film).status_code == 200
        gateway.calls(1)
        (balance,) = gateway.meter.credits.balances("alice")
        # A nano for the rounding.
        assert (balance.balance_nanos, balance.held_nanos) == (700_000_000, 400_000_001)
        assert client.post("/videos", json=film).status_code == 429
        works.objects["video_1"] |= {"status": "completed", "model": "sora-2", "seconds": "4"}
        assert client.delete("/videos/video_1").status_code == 200
        assert works.lines[-2:] == ["GET /v1/videos/video_1", "DELETE /v1/videos/video_1"]
        (balance,) = gateway.meter.credits.balances("alice")
        assert (balance.balance_nanos, balance.held_nanos) == (300_000_000, 0)
        assert client.post("/videos", json=film).status_code == 429


def test_work_whose_use_cannot_be_seen_is_not_deleted(gateway, works):
    name = begin(gateway, "messages/batches")
    key = gateway.key("alice")
    works.is_away = True
    answer = httpx.delete(f"{gateway.url}/v1/messages/batches/{name}", headers={"x-api-key": key})
    assert answer.status_code == 502
    assert name in works.objects
