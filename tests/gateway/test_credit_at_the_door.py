"""Prepaid credit at the gateway's door: lowered to what it can pay, refused, never overspent."""

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from meter.store.checking import check
from tests.gateway.conftest import providers
from tests.gateway.serving import Served, plainly, served, upstream_that

WHY = {"reason": "order 17", "author": "boss"}
ASK = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Describe the sea."}]}
JSON = {"content-type": "application/json"}
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


def asked(gateway: Served, secret: str, **more: object) -> httpx.Response:
    return httpx.post(
        f"{gateway.url}/v1/chat/completions",
        json={**ASK, **more},
        headers={"authorization": f"Bearer {secret}"},
        timeout=30,
    )


def balance(gateway: Served, subject: str = "alice") -> int:
    (found,) = gateway.meter.credits.balances(subject)
    return found.balance_nanos


def test_the_limit_on_the_output_is_lowered_to_what_credit_can_pay(gateway):
    gateway.meter.credits.grant("alice", "0.002", **WHY)
    answer = asked(gateway, gateway.key("alice"))
    assert answer.status_code == 200
    lowered = int(answer.headers["x-meter-max-tokens"])
    # gpt-4o: 2.50 USD a million tokens in, 10 out. The prompt is bounded by 378 tokens, which are
    # 0.000945 USD: 0.002 pay for them and for 105 tokens more.
    assert lowered == 105
    assert answer.json()["usage"]["completion_tokens"] <= lowered
    (call,) = gateway.calls(1)
    assert balance(gateway) == 2_000_000 - call.cost_nanos >= 0


def test_what_is_lowered_is_what_is_billed_not_what_it_costs(simulator, tmp_path):
    file = tmp_path / "resale.toml"
    file.write_text(RESALE)
    with served(tmp_path, providers(simulator), rate_file=str(file)) as gateway:
        gateway.meter.credits.grant("alice", "0.01704", "CNY", **WHY)
        answer = asked(gateway, gateway.key("alice"))
        assert answer.status_code == 200, answer.text
        # 0.01704 CNY is 0.002 USD at 1.2 × 7.1 CNY: as many tokens as there.
        assert answer.headers["x-meter-max-tokens"] == "105"
        usage = answer.json()["usage"]
        (call,) = gateway.calls(1)
        # 2.50 and 10 USD a million are 21.30 and 85.20 CNY.
        billed = usage["prompt_tokens"] * 21_300 + usage["completion_tokens"] * 85_200
        assert (call.billed.amount_nanos, call.billed.currency) == (billed, "CNY")
        assert balance(gateway) == 17_040_000 - billed >= 0
        assert list(check(gateway.meter._ledger._engine)) == []


def test_a_call_in_a_currency_without_credit_is_refused(gateway):
    gateway.meter.credits.grant("alice", "50", "CNY", **WHY)
    answer = asked(gateway, gateway.key("alice"), max_tokens=10)
    assert answer.status_code == 429
    assert "cannot cover this call because it is billed in USD" in answer.json()["error"]["message"]
    assert gateway.meter.credits.balances("alice")[0].held_nanos == 0


@pytest.mark.parametrize(
    ("path", "body", "fields"),
    [
        ("/v1/messages", {"model": "claude-sonnet-4-5", "max_tokens": 100,
                          "messages": ASK["messages"]}, {"x-api-key": "?"}),
        ("/v1beta/models/gemini-2.5-flash:generateContent",
         {"contents": [{"parts": [{"text": "hi"}]}]}, {"x-goog-api-key": "?"}),
        ("/v1/embeddings", {"model": "text-embedding-3-small", "input": "hi"},
         {"authorization": "Bearer ?"}),
    ],
)  # fmt: skip
def test_every_api_says_in_its_own_words_that_credit_is_used_up(gateway, path, body, fields):
    gateway.meter.credits.grant("alice", "1", **WHY)
    gateway.meter.credits.adjust("alice", "-1", **WHY)
    secret = gateway.key("alice")
    fields = {name: value.replace("?", secret) for name, value in fields.items()}
    answer = httpx.post(f"{gateway.url}{path}", json=body, headers=fields, timeout=30)
    assert answer.status_code == 429
    assert answer.headers["x-meter-budget"] == "credit:alice:USD"
    assert answer.headers["x-should-retry"] == "false"
    assert "the prepaid credit of alice in USD is used up" in answer.json()["error"]["message"]


def test_pictures_and_speech_are_held_at_what_the_request_says(gateway):
    gateway.meter.credits.grant("alice", "0.25", **WHY)
    headers = {"authorization": f"Bearer {gateway.key('alice')}"}
    with httpx.Client(base_url=f"{gateway.url}/v1", headers=headers, timeout=30) as client:
        draw = {"model": "dall-e-3", "prompt": "the sea", "size": "1024x1024"}
        speak = {"model": "tts-1", "input": "the sea", "voice": "alloy"}
        assert client.post("/images/generations", json=draw).status_code == 200
        assert client.post("/audio/speech", json=speak).status_code == 200
        refused = client.post("/images/generations", json={**draw, "n": 9})
    # 0.04 USD a picture of standard quality; 7 characters at 15 USD a million.
    assert balance(gateway) == 250_000_000 - 40_000_000 - 7 * 15_000
    assert refused.status_code == 429
    # Nine of the dearest pictures, 0.12 USD each, and a nano for the rounding.
    assert "may need 1.080000001 USD" in refused.json()["error"]["message"]


def transcribed(client: httpx.Client, sound: bytes, model: str) -> httpx.Response:
    """Send the file before the model, as OpenAI's own example for curl does."""
    form = (
        b'--b\r\ncontent-disposition: form-data; name="file"; filename="a.mp3"\r\n'
        b"content-type: audio/mpeg\r\n\r\n" + sound + b"\r\n--b\r\n"
        b'content-disposition: form-data; name="model"\r\n\r\n' + model.encode() + b"\r\n--b--\r\n"
    )
    headers = {"content-type": "multipart/form-data; boundary=b"}
    return client.post("/audio/transcriptions", content=form, headers=headers)


def test_sound_is_held_at_its_length_wherever_the_model_is_named(tmp_path):
    """A sound of 3 MB does not fit into the beginning of a form that is read elsewhere."""
    frames = 7200  # of MPEG-1 layer III at 128 kbit/s: 1152 samples in 417 bytes, 188.08 seconds
    sound = (b"\xff\xfb\x90\xc4" + bytes(413)) * frames
    answer = plainly(b'{"text":"hi","usage":{"type":"duration","seconds":189}}')
    with upstream_that(answer) as up, served(tmp_path, {"openai": up.url}) as gateway:
        gateway.meter.credits.grant("alice", "0.05", **WHY)
        headers = {"authorization": f"Bearer {gateway.key('alice')}"}
        with httpx.Client(base_url=f"{gateway.url}/v1", headers=headers, timeout=30) as client:
            assert transcribed(client, sound, "whisper-1").status_code == 200
            assert sound in up.received[0].body
            # 0.0001 USD a second.
            assert balance(gateway) == 50_000_000 - 18_900_000
            refused = transcribed(client, sound, "whisper-1")
            unknown = transcribed(client, sound, "my-whisper")
        assert refused.status_code == unknown.status_code == 429
        # Held are twice 188.08 seconds and one more: 378, and a nano for the rounding.
        assert "may need 0.037800001 USD" in refused.json()["error"]["message"]
        assert "No price is known of the model 'my-whisper'" in unknown.json()["error"]["message"]
        assert len(up.received) == 1


def test_pictures_and_speech_by_the_token_are_held_at_what_they_can_take(gateway):
    gateway.meter.credits.grant("alice", "0.17", **WHY)
    headers = {"authorization": f"Bearer {gateway.key('alice')}"}
    with httpx.Client(base_url=f"{gateway.url}/v1", headers=headers, timeout=30) as client:
        draw = {"model": "gpt-image-1", "prompt": "the sea", "size": "1024x1024", "quality": "high"}
        speak = {"model": "gpt-4o-mini-tts", "input": "the sea", "voice": "alloy"}
        assert client.post("/audio/speech", json=speak).status_code == 200
        assert client.post("/images/generations", json=draw).status_code == 200
        assert 0 <= balance(gateway) < 170_000_000
        refused = client.post("/images/generations", json=draw)
        unbounded = client.post("/chat/completions", json={"model": "gpt-image-1", "messages": []})
    assert refused.status_code == unbounded.status_code == 429
    # 4160 tokens at 40 USD a million, 39 in at the dearest 10; a nano for each rounded line.
    assert "may need 0.166790005 USD" in refused.json()["error"]["message"]


def test_a_refusal_says_what_would_let_the_call_through(tmp_path):
    with upstream_that(plainly(b"{}")) as up, served(tmp_path, {"openai": up.url}) as gateway:
        gateway.meter.credits.grant("alice", "5", **WHY)
        headers = {"authorization": f"Bearer {gateway.key('alice')}"}
        with httpx.Client(base_url=f"{gateway.url}/v1", headers=headers, timeout=30) as client:
            film = {"model": "sora-2", "prompt": "the sea", "seconds": "a while"}
            answers = [
                client.post("/videos", json=film),
                client.post("/images/generations", json={"prompt": "the sea"}),
                client.post("/videos/edits", json={"prompt": "the sea"}),
                client.post("/chat/completions", content=b"{", headers=JSON),
            ]
        messages = [answer.json()["error"]["message"] for answer in answers]
        assert [answer.status_code for answer in answers] == [429] * 4
        assert messages[0].endswith("Say how many seconds the film is to have.")
        assert messages[1].endswith("Name a model.")
        assert messages[2].endswith("what it costs to change one is not known.")
        assert "The request could not be read: found 1 bytes that are not JSON" in messages[3]
        assert up.received == []


def test_many_calls_at_once_never_spend_more_than_there_is(gateway):
    gateway.meter.credits.grant("alice", "0.004", **WHY)
    secret = gateway.key("alice")
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: asked(gateway, secret, max_tokens=60), range(16)))
    sent = [answer for answer in answers if answer.status_code == 200]
    assert len(sent) > 0
    assert {answer.status_code for answer in answers} <= {200, 429}
    cost = sum(call.cost_nanos or 0 for call in gateway.calls(16))
    assert balance(gateway) == 4_000_000 - cost >= 0
    assert list(check(gateway.meter._ledger._engine)) == []
