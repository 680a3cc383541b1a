"""The way of a call, with the real readers and a store that remembers what it was given."""

import json
from concurrent.futures import Future

import pytest

from meter.config import Settings
from meter.core.budgets import Refusal
from meter.core.call import Attribution, Basis, Observation, Outcome
from meter.core.rates import Missing, Pricing, Rate, RateCard
from meter.core.usage import Usage
from meter.pipeline import HELD_BYTES, Pipeline
from meter.providers.registry import dialect_named

CARD = RateCard(
    "openai",
    "gpt-4o",
    "USD",
    {"standard": (Rate("input_tokens", 2_500_000_000), Rate("output_tokens", 10_000_000_000))},
)
ALICE = Attribution("alice", (("team", "search"),))
CHAT = {"model": "gpt-4o", "max_tokens": 50, "messages": [{"role": "user", "content": "Hello!"}]}


def done(value):
    future = Future()
    future.set_result(value)
    return future


class RememberingStore:
    def __init__(self, verdict=()):
        self.verdict = verdict
        self.reserved, self.settled, self.released = [], [], []

    def reserve(self, call, issuer, card, *, on_this_thread=False, waits=True):
        self.reserved.append(call)
        return done(self.verdict)

    def settle(self, event, card=None, others=(), *, on_this_thread=False):
        self.settled.append(event)
        self.others = others
        return done(None)

    def release(self, call):
        self.released.append(call)
        return done(None)


class OneCard:
    def __init__(self, books=None):
        self.books = books

    def card_for(self, provider, model, at_us):
        return CARD if model.startswith("gpt-4o") else None


def opened(
    store, request=CHAT, path="/v1/chat/completions", settings=None, provider="openai", books=None
):
    pipeline = Pipeline(store, OneCard(books), settings or Settings())
    body = request if isinstance(request, bytes) else json.dumps(request).encode()
    call = pipeline.open_call(
        dialect_named(provider),
        method="POST",
        path=path,
        content_type="application/json",
        body=body,
        attribution=ALICE,
    )
    call.estimate()
    return call


def answered(call, body, status=200, content_type="application/json", outcome=Outcome.COMPLETED):
    assert call.judge(call.reserve().result()) is None
    call.start(status, {"content-type": content_type})
    handed = call.feed(body)
    call.finish()
    call.close(outcome).result()
    return handed + b"".join(call.release())


def sse(*payloads):
    return b"".join(b"data: " + json.dumps(p).encode() + b"\n\n" for p in payloads)


def delta(text, **more):
    return {"model": "gpt-4o", "choices": [{"index": 0, "delta": {"content": text}}], **more}


ANSWER = {
    "id": "chatcmpl-1",
    "model": "gpt-4o-2024-08-06",
    "choices": [{"index": 0, "message": {"content": "Hi there"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11},
}


def test_a_whole_answer_is_recorded_as_reported_and_priced():
    store = RememberingStore()
    body = json.dumps(ANSWER).encode()
    assert answered(opened(store), body) == body
    (event,) = store.settled
    assert event.usage == Usage(input_tokens=9, output_tokens=2)
    assert (event.basis, event.outcome) == (Basis.REPORTED, Outcome.COMPLETED)
    # 9 × 2.50 USD / 10⁶ + 2 × 10 USD / 10⁶ = 0.0000225 + 0.00002 = 0.0000425 USD
    assert event.charge.amount_nanos == 42_500
    assert event.model_served == "gpt-4o-2024-08-06"
    assert event.call.attribution == ALICE


class Resold:
    """Bills alice twice the list price in CNY; what it costs is half of that list price."""

    def __init__(self):
        self.asked = []

    def pricing(self, listed, *, provider, issuer, upstream, model, attribution, at_us):
        self.asked.append((provider, issuer, upstream, model, attribution))
        if listed is None:
            return Pricing(None, billed=Missing("found no price to resell"))
        return Pricing(priced(1_250, 5_000), listed, priced(5_000, 20_000, "CNY"))


def priced(given, taken, currency="USD"):
    rates = (Rate("input_tokens", given, 1), Rate("output_tokens", taken, 1))
    return RateCard("openai", "gpt-4o", currency, {"standard": rates}, book=currency)


def test_a_call_is_rated_in_every_price_book_and_its_cards_go_to_the_store():
    store, books = RememberingStore(), Resold()
    call = opened(store, books=books)
    answered(call, json.dumps(ANSWER).encode())
    (event,) = store.settled
    assert event.charge.amount_nanos == 9 * 1_250 + 2 * 5_000
    assert event.listed_charge.amount_nanos == 9 * 2_500 + 2 * 10_000
    assert (event.billed_charge.amount_nanos, event.billed_charge.currency) == (
        9 * 5_000 + 2 * 20_000, "CNY",
    )  # fmt: skip
    assert books.asked[0] == ("openai", "openai", None, "gpt-4o", ALICE)
    bound = call.call.bound
    # Fifty output tokens at 20 000 nanos, and a nano for the rounding of each line.
    assert bound.billed_currency == "CNY"
    assert bound.billed_nanos > 50 * 20_000 > bound.cost_nanos > 50 * 5_000
    assert [card.book for card in store.others] == ["list", "CNY"]


def test_a_price_that_a_book_lacks_leaves_the_call_unpriced_there_and_says_why():
    store = RememberingStore()
    call = opened(store, {**CHAT, "model": "unheard-of"}, books=Resold())
    answered(call, json.dumps({**ANSWER, "model": "unheard-of"}).encode())
    (event,) = store.settled
    assert event.charge.unpriced == "no rate card covers this model at this time"
    assert event.billed_charge.unpriced == "found no price to resell"
    # Not None: prepaid credit must not take the cost for what is billed.
    assert call.call.bound.billed_currency == ""


def test_a_call_that_owes_nothing_owes_nothing_in_any_book():
    store = RememberingStore()
    answered(opened(store, books=Resold()), b'{"error": {}}', status=500)
    (event,) = store.settled
    assert (event.charge.amount_nanos, event.billed_charge.amount_nanos) == (0, 0)
    assert event.billed_charge.currency == "CNY"


def test_the_intent_carries_estimate_and_bound_before_anything_is_sent():
    store = RememberingStore()
    call = opened(store)
    call.reserve()
    (intent,) = store.reserved
    # 3 for the message, 1 for its role, 2 for "Hello!", 3 for the answer's beginning.
    assert intent.estimated_input_tokens == 9
    assert intent.bound.output_tokens == 50
    # Fifty output tokens alone cost 50 × 10 USD / 10⁶ = 0.0005 USD.
    assert intent.bound.cost_nanos > 500_000
    assert store.settled == []


def test_a_stream_without_usage_is_counted_and_said_to_be_an_estimate():
    store = RememberingStore()
    call = opened(store, {**CHAT, "stream": True}, settings=Settings(inject_usage=False))
    assert call.body == call.request_body
    answered(call, sse(delta("Hello"), delta(" world")) + b"data: [DONE]\n\n",
             content_type="text/event-stream")  # fmt: skip
    (event,) = store.settled
    assert event.basis is Basis.ESTIMATED
    assert event.usage == Usage(input_tokens=9, output_tokens=2)


def test_usage_that_the_meter_asked_for_is_read_and_taken_out_again():
    store = RememberingStore()
    call = opened(store, {**CHAT, "stream": True})
    assert json.loads(call.body)["stream_options"] == {"include_usage": True}
    shown = sse(delta("Hello", usage=None))
    asked = sse({"model": "gpt-4o", "choices": [], "usage": ANSWER["usage"]})
    handed = answered(call, shown + asked + b"data: [DONE]\n\n", content_type="text/event-stream")
    assert handed == shown + b"data: [DONE]\n\n"
    (event,) = store.settled
    assert event.basis is Basis.REPORTED
    assert event.usage == Usage(input_tokens=9, output_tokens=2)


def test_a_broken_anthropic_stream_keeps_reported_input_and_counts_the_output():
    store = RememberingStore()
    request = {"model": "claude", "max_tokens": 9, "stream": True, "messages": []}
    call = opened(store, request, "/v1/messages", provider="anthropic")
    text = {"type": "content_block_delta", "index": 0,
            "delta": {"type": "text_delta", "text": "one two three four"}}  # fmt: skip
    usage = {"input_tokens": 30, "output_tokens": 1}
    start = {"type": "message_start", "message": {"model": "claude", "usage": usage}}
    answered(call, sse(start, text), content_type="text/event-stream",
             outcome=Outcome.UPSTREAM_FAILED)  # fmt: skip
    (event,) = store.settled
    assert event.basis is Basis.ESTIMATED
    assert event.usage["input_tokens"] == 30
    assert event.usage["output_tokens"] >= 4


@pytest.mark.parametrize("status", [400, 401, 429, 500, 503])
def test_an_error_status_owes_nothing(status):
    store = RememberingStore()
    answered(opened(store), b'{"error": {"message": "no"}}', status)
    (event,) = store.settled
    assert (event.usage, event.charge.amount_nanos) == (Usage(), 0)
    assert event.outcome is Outcome.UPSTREAM_FAILED
    assert event.status == status


def test_a_connection_lost_before_any_answer_is_unsettled_not_free():
    store = RememberingStore()
    call = opened(store)
    call.judge(call.reserve().result())
    call.close(Outcome.TIMED_OUT)
    (event,) = store.settled
    assert (event.basis, event.usage, event.charge.amount_nanos) == (Basis.UNKNOWN, None, None)
    assert event.call.estimated_input_tokens == 9


def test_a_second_close_changes_nothing():
    store = RememberingStore()
    call = opened(store)
    answered(call, json.dumps(ANSWER).encode())
    call.close(Outcome.CLIENT_CLOSED).result()
    assert len(store.settled) == 1


def test_a_call_that_was_never_sent_is_released():
    store = RememberingStore()
    call = opened(store)
    call.judge(call.reserve().result())
    call.abandon().result()
    assert call.close(Outcome.COMPLETED).result() is None
    assert (len(store.released), store.settled) == (1, [])


def test_a_refusal_is_an_answer_in_the_provider_s_shape_and_is_recorded():
    store = RememberingStore(Refusal("search-team", "budget search-team has nothing left"))
    call = opened(store)
    answer = call.judge(call.reserve().result())
    assert answer.status == 429
    assert answer.headers["x-should-retry"] == "false"
    assert answer.headers["x-meter-budget"] == "search-team"
    error = json.loads(answer.body)["error"]
    assert error["code"] == "insufficient_quota"
    assert "nothing left" in error["message"]
    (event,) = store.settled
    assert (event.outcome, event.charge.amount_nanos) == (Outcome.REFUSED, 0)


def test_an_unknown_path_passes_through_and_is_counted():
    store = RememberingStore()
    call = opened(store, {"input": "x"}, "/v1/never/heard/of")
    assert answered(call, b"any bytes") == b"any bytes"
    (event,) = store.settled
    assert (event.call.endpoint, event.call.path) == ("unmetered", "/v1/never/heard/of")
    assert event.basis is Basis.UNKNOWN


def test_an_unpriced_model_costs_none_not_zero():
    store = RememberingStore()
    call = opened(store, {**CHAT, "model": "made-up"})
    answered(call, json.dumps({**ANSWER, "model": "made-up"}).encode())
    (event,) = store.settled
    assert event.charge.amount_nanos is None
    assert "no rate card" in event.charge.unpriced


def test_a_model_that_serves_under_another_name_is_not_priced_as_the_asked_one():
    store = RememberingStore()
    answered(opened(store), json.dumps({**ANSWER, "model": "something-else"}).encode())
    assert store.settled[0].charge.amount_nanos is None


@pytest.mark.parametrize(
    "body",
    [
        b"not json",
        b"[1, 2]",
        b"",
        b'{"model": "gpt-4o", "messages": "\xed\xa0\x80"}',
        b"[" * 10_000 + b"]" * 10_000,
        b"\xff\xfe" * 100,
        b'{"model": 5, "messages": {"a": [null, 1.5, true]}, "max_tokens": "many", "n": -3}',
    ],
    ids=["text", "list", "empty", "surrogate", "nest", "bytes", "wrong types"],
)
def test_a_request_that_cannot_be_read_is_sent_as_it_is_and_its_answer_metered(body):
    store = RememberingStore()
    call = opened(store, body)
    assert call.body == body
    answered(call, json.dumps(ANSWER).encode())
    (event,) = store.settled
    assert event.usage == Usage(input_tokens=9, output_tokens=2)


@pytest.mark.parametrize("amount", [-5, "9", 10**30, 1.5, True])
def test_an_answer_whose_usage_cannot_be_believed_is_not_billed_by_it(amount):
    store = RememberingStore()
    usage = {"prompt_tokens": amount, "completion_tokens": 2, "total_tokens": 11}
    answered(opened(store), json.dumps({**ANSWER, "usage": usage}).encode())
    (event,) = store.settled
    assert event.basis is Basis.ESTIMATED
    assert event.usage["input_tokens"] == 9


# Calibration

CLAUDE_CHAT = {
    "model": "claude-haiku-4-5",
    "max_tokens": 10,
    "messages": [{"role": "user", "content": "tiktoken is great!"}],
}
CLAUDE_ANSWER = {
    "type": "message",
    "id": "msg_1",
    "model": "claude-haiku-4-5",
    "content": [{"type": "text", "text": "Hi"}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 30, "output_tokens": 2},
}


class Adding:
    """A calibrator that corrects by a number of tokens."""

    def __init__(self, more):
        self.more, self.learnt = more, []

    def corrected(self, provider, model, kind, tokens):
        return tokens + self.more

    def learn(self, *sample):
        self.learnt.append(sample)


def calibrated(store, calibrator, request=CLAUDE_CHAT, provider="anthropic", path="/v1/messages"):
    pipeline = Pipeline(store, OneCard(), Settings(), calibrator=calibrator)
    call = pipeline.open_call(
        dialect_named(provider),
        method="POST",
        path=path,
        content_type="application/json",
        body=json.dumps(request).encode(),
        attribution=ALICE,
    )
    call.estimate()
    return call


def test_an_estimate_is_corrected_and_its_bound_never_lowered():
    plain = calibrated(RememberingStore(), None).call
    fewer = calibrated(RememberingStore(), Adding(-5)).call
    more = calibrated(RememberingStore(), Adding(50_000)).call
    # 4.3 + 2.46 + 1.058 * 6 + 0.178 = 13.286
    assert plain.estimated_input_tokens == 13
    assert fewer.estimated_input_tokens == 8
    assert fewer.bound == plain.bound
    assert more.estimated_input_tokens == 50_013
    assert more.bound.input_tokens == 50_013


def test_what_was_reported_teaches_with_the_estimate_as_it_was():
    adding = Adding(100)
    answered(calibrated(RememberingStore(), adding), json.dumps(CLAUDE_ANSWER).encode())
    assert adding.learnt == [("anthropic", "claude-haiku-4-5", "text", 13, 30)]


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        (json.dumps(CLAUDE_ANSWER).encode(), Outcome.CLIENT_CLOSED),
        (json.dumps({**CLAUDE_ANSWER, "usage": None}).encode(), Outcome.COMPLETED),
        (b"", Outcome.COMPLETED),
    ],
)
def test_other_ends_teach_nothing(body, outcome):
    adding = Adding(0)
    answered(calibrated(RememberingStore(), adding), body, outcome=outcome)
    assert adding.learnt == []


def test_exact_estimates_are_neither_corrected_nor_learnt_from():
    adding = Adding(100)
    call = calibrated(RememberingStore(), adding, CHAT, "openai", "/v1/chat/completions")
    before = call.call.estimated_input_tokens
    answered(call, json.dumps(ANSWER).encode())
    assert (before, adding.learnt) == (opened(RememberingStore()).call.estimated_input_tokens, [])


# Faults of our own


class Breaking:
    """An observer that breaks at one of its steps, with a part of an event kept back."""

    ended = finished = hands_out_identity = False

    def __init__(self, step):
        self.step = step

    def _break(self, step):
        if self.step == step:
            raise TypeError("unhashable type: 'list'")

    def start(self, status, headers):
        self._break("start")

    def feed(self, data):
        self._break("feed")
        return data

    def finish(self):
        self._break("finish")
        return b"|held"

    def result(self):
        self._break("result")
        return Observation(status=200, usage=Usage(input_tokens=1))


def test_an_answer_that_goes_on_after_it_seemed_whole_is_not_kept_for_ever():
    call = opened(RememberingStore())
    call.start(200, {"content-type": "text/event-stream"})
    whole = sse({**delta("Hi"), "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    assert call.feed(whole) == b""
    kept, passed, more = len(whole), b"", b": a comment\n\n" * 10_000
    for _ in range(50):
        passed += call.feed(more)
        kept += len(more)
        assert kept - len(passed) <= HELD_BYTES + 2 * len(more)
    call.finish()
    call.close(Outcome.COMPLETED).result()
    assert passed + b"".join(call.release()) == whole + more * 50
    assert call.release() == []


@pytest.mark.parametrize(
    ("step", "handed"),
    [
        ("start", b"abcdef"),
        ("feed", b"|heldabcdef"),
        ("finish", b"abcdef"),
        ("result", b"abcdef|held"),
    ],
)
def test_a_fault_of_our_own_reaches_the_record_and_not_the_client(step, handed):
    store = RememberingStore()
    call = opened(store)
    call._observer = Breaking(step)
    call.start(200, {})
    # What was kept back of the bytes before this call's goes out before them, and nothing is lost.
    passed = call.feed(b"abc") + call.feed(b"def")
    call.finish()
    call.close(Outcome.COMPLETED).result()
    assert passed + b"".join(call.release()) == handed
    (event,) = store.settled
    assert event.defects == ("a fault of the meter's own: TypeError: unhashable type: 'list'",)
    assert (event.status, event.basis) == (200, Basis.ESTIMATED)
    assert event.usage["input_tokens"] == call.call.estimated_input_tokens
