"""Events reach another billing system at least once, under ids that stay the same."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl

import pytest

from meter.core.usage import Usage
from meter.errors import InputError
from meter.exports.delivering import Sender, deliver_by_http, waiting
from tests.exports.conftest import correct
from tests.store.examples import CARD, a_call, a_correction, an_event, call_id


class Taker(ThreadingHTTPServer):
    """A billing system on this machine that answers as it was told, then with 204."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.requests = []
        super().__init__(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.serve_forever)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/events"

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *error):
        self.shutdown()
        self.thread.join()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.requests.append((headers, body))
        status, headers, text = self.server.answers.pop(0) if self.server.answers else (204, {}, "")
        if status is None:
            self.connection.close()
            return
        self.send_response(status)
        for name, value in {**headers, "content-length": str(len(text))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *words):
        """Say nothing."""


def rows_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def send(meter, taker, tmp_path, system="openmeter", customers=None):
    """Deliver without waiting; return what was delivered and the pauses that would have been."""
    pauses = []
    sender = Sender(taker.url, "secret", pause=pauses.append)
    try:
        done = deliver_by_http(
            meter._ledger, system, sender, state_file=tmp_path / "state", prefix="meter_",
            customers=customers, progress=None,
        )  # fmt: skip
    finally:
        sender.close()
    return done, pauses


def test_each_unit_of_each_statement_is_a_cloud_event(filled, tmp_path):
    done = filled.export_events("openmeter", target=tmp_path / "events.jsonl")
    # Two units of call 1, one of call 2 and of its correction, one of call 3; call 4 is nobody's,
    # call 5 is unsettled.
    events = rows_of(tmp_path / "events.jsonl")
    assert (done.events, done.left_out, len(events)) == (5, 1, 5)
    by_id = {event["id"]: event for event in events}
    assert by_id[f"{call_id(1)}/input_tokens"] == {
        "specversion": "1.0",
        "id": f"{call_id(1)}/input_tokens",
        "source": "meter",
        "type": "meter_input_tokens",
        "subject": "alice",
        "time": "2026-11-22T12:00:00.000001Z",
        "datacontenttype": "application/json",
        "data": {
            "quantity": "4", "unit": "input_tokens", "model": "small", "provider": "openai",
            "endpoint": "chat", "call_id": str(call_id(1)), "tags": {"team": "search"},
        },
    }  # fmt: skip
    # The correction from 1 to 3 input tokens adds 2.
    assert by_id[f"{a_correction(2, 1).id}/input_tokens"]["data"]["quantity"] == "2"


def test_a_correction_downwards_is_an_event_below_zero(filled, tmp_path):
    filled.export_events("openmeter", target=tmp_path / "a.jsonl", follow=tmp_path / "state")
    correct(filled, 1, Usage(input_tokens=4))
    done = filled.export_events("openmeter", target=tmp_path / "b.jsonl", follow=tmp_path / "state")
    (event,) = rows_of(tmp_path / "b.jsonl")
    assert (event["type"], event["data"]["quantity"]) == ("meter_output_tokens", "-6")
    assert done.events == 1
    again = filled.export_events("openmeter", target=tmp_path / "c", follow=tmp_path / "state")
    assert again.target is None and not (tmp_path / "c").exists()


def test_lago_and_stripe_have_their_own_form(filled, tmp_path):
    filled.export_events("lago", target=tmp_path / "lago.jsonl", customers={"alice": "sub_1"})
    first = rows_of(tmp_path / "lago.jsonl")[0]
    assert first == {
        "transaction_id": f"{call_id(1)}/input_tokens",
        "external_subscription_id": "sub_1",
        "code": "meter_input_tokens",
        "timestamp": "1795348800.000001",
        "properties": {"quantity": "4", "model": "small", "provider": "openai",
                       "endpoint": "chat", "call_id": str(call_id(1))},
    }  # fmt: skip
    done = filled.export_events("stripe", target=tmp_path / "s.jsonl", customers={"alice": "cus_1"})
    first = rows_of(tmp_path / "s.jsonl")[0]
    assert first == {
        "event_name": "meter_input_tokens",
        "identifier": f"{call_id(1)}/input_tokens",
        "timestamp": 1_795_348_800,
        "payload": {"stripe_customer_id": "cus_1", "value": "4"},
    }
    assert all(len(row["identifier"]) <= 100 for row in rows_of(tmp_path / "s.jsonl"))
    # The calls of 陈静, who is no customer, and of nobody.
    assert done.left_out == 2


def test_what_fails_in_passing_is_sent_again_with_the_same_ids(filled, tmp_path):
    failing = [(503, {}, "busy"), (429, {"retry-after": "7"}, ""), (None, {}, "")]
    with Taker(*failing) as taker:
        done, pauses = send(filled, taker, tmp_path)
    assert done.events == 5
    bodies = [body for _, body in taker.requests]
    assert len(bodies) == 4 and len(set(bodies)) == 1
    headers = taker.requests[0][0]
    assert headers["content-type"] == "application/cloudevents-batch+json"
    assert headers["authorization"] == "Bearer secret"
    assert pauses[1] == 7.0, "as long as the other side said"
    assert json.loads((tmp_path / "state").read_text())["portion"] == 1


def test_a_refusal_is_told_in_the_other_side_s_words_and_nothing_is_skipped(filled, tmp_path):
    with Taker((400, {}, "no such meter")) as taker:
        with pytest.raises(InputError, match="refused events with status 400: no such meter"):
            send(filled, taker, tmp_path)
        done, _ = send(filled, taker, tmp_path)
    assert done.events == 5
    assert taker.requests[0][1] == taker.requests[1][1]


def test_it_gives_up_after_a_bounded_number_of_attempts(filled, tmp_path):
    with Taker(*[(500, {}, "down")] * 6) as taker:
        with pytest.raises(InputError, match="took no events in 6 attempts, at last: status 500"):
            send(filled, taker, tmp_path)
        assert len(taker.requests) == 6


def test_portions_that_were_taken_are_not_sent_again(filled, tmp_path):
    filled._ledger.seal()
    filled._ledger.store.settle(an_event(a_call(9)), CARD).result(10)
    filled._ledger.seal()
    with Taker((204, {}, ""), (400, {}, "no")) as taker:
        with pytest.raises(InputError):
            send(filled, taker, tmp_path)
        assert json.loads((tmp_path / "state").read_text())["portion"] == 1
        done, _ = send(filled, taker, tmp_path)
    assert done.events == 2
    sent = [event["id"] for event in json.loads(taker.requests[-1][1])]
    assert sent == [f"{call_id(9)}/input_tokens", f"{call_id(9)}/output_tokens"]


def test_what_lago_knows_already_is_not_sent_again(filled, tmp_path):
    known = {"status": 422, "error_details": {
        "0": {"transaction_id": ["value_already_exist"]},
        "2": {"transaction_id": ["value_already_exist"]},
    }}  # fmt: skip
    with Taker((422, {}, json.dumps(known))) as taker:
        done, _ = send(filled, taker, tmp_path, "lago")
    assert done.events == 5
    first, second = (json.loads(body)["events"] for _, body in taker.requests)
    assert second == [first[1], first[3], first[4]]


def test_another_refusal_of_lago_is_told(filled, tmp_path):
    other = {"error_details": {"0": {"code": ["value_is_mandatory"]}}}
    with (
        Taker((422, {}, json.dumps(other))) as taker,
        pytest.raises(InputError, match="value_is_mandatory"),
    ):
        send(filled, taker, tmp_path, "lago")


def test_stripe_gets_one_form_for_each_event(filled, tmp_path):
    told = '{"error": {"message": "An event already exists with identifier x."}}'
    with Taker((400, {}, told)) as taker:
        done, _ = send(filled, taker, tmp_path, "stripe", {"alice": "cus_1"})
    assert done.events == 4 == len(taker.requests)
    form = dict(parse_qsl(taker.requests[0][1].decode()))
    assert form == {
        "event_name": "meter_input_tokens", "identifier": f"{call_id(1)}/input_tokens",
        "timestamp": "1795348800", "payload[stripe_customer_id]": "cus_1", "payload[value]": "4",
    }  # fmt: skip


def test_pauses_grow_and_are_bounded():
    for attempt, most in ((1, 0.5), (2, 1.0), (3, 2.0), (30, 60.0)):
        assert most / 2 <= waiting(attempt, "") <= most
    assert waiting(1, "999") == 60.0
    assert waiting(1, "soon") <= 0.5


def test_what_cannot_be_is_refused(filled, tmp_path):
    with pytest.raises(InputError, match="expected one of openmeter, lago, stripe"):
        filled.export_events("orb", target=tmp_path / "x")
    with pytest.raises(InputError, match="expected one of them"):
        filled.export_events("lago")
    with pytest.raises(InputError, match="found no state file"):
        filled.export_events("lago", to="http://127.0.0.1:9")
