"""Pages in a browser: off unless it is set, and then for the APIs only."""

import httpx
import pytest

from meter.errors import ConfigError
from meter.gateway.cors import Cors
from tests.gateway.serving import plainly, served, upstream_that

PAGE = "https://chat.example.com"
CHAT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]}
ASKS = {
    "origin": PAGE,
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization,content-type",
}
ALLOWED = "access-control-allow-origin"


@pytest.fixture(params=[False, True], ids=["direct", "asgi"])
def open_gateway(request, tmp_path):
    with upstream_that(plainly(b"{}")) as up:

        def opened(**settings):
            return served(tmp_path, {"openai": up.url}, over_asgi=request.param, **settings)

        yield opened


def test_without_the_setting_no_page_may_call(open_gateway):
    with open_gateway() as gateway:
        headers = {"authorization": f"Bearer {gateway.key()}", "origin": PAGE}
        asked = httpx.options(f"{gateway.url}/v1/chat/completions", headers=ASKS, timeout=30)
        answer = httpx.post(
            f"{gateway.url}/v1/chat/completions", json=CHAT, headers=headers, timeout=30
        )
        assert (asked.status_code, answer.status_code) == (405, 200)
        for each in (asked, answer):
            assert not [name for name in each.headers if name.startswith("access-control")]


@pytest.mark.parametrize("origins", [f"https://other.example, {PAGE}", "*"])
def test_a_named_origin_may_call_the_apis(open_gateway, origins):
    with open_gateway(cors_origins=origins) as gateway:
        allowed = "*" if origins == "*" else PAGE
        url = f"{gateway.url}/v1/chat/completions"
        asked = httpx.options(url, headers=ASKS, timeout=30)
        assert (asked.status_code, asked.content) == (204, b"")
        assert asked.headers[ALLOWED] == allowed
        assert "POST" in asked.headers["access-control-allow-methods"]
        assert asked.headers["access-control-allow-headers"] == "authorization,content-type"
        assert "access-control-allow-credentials" not in asked.headers
        headers = {"authorization": f"Bearer {gateway.key()}", "origin": PAGE}
        good = httpx.post(url, json=CHAT, headers=headers, timeout=30)
        bad = httpx.post(url, json=CHAT, headers={"origin": PAGE}, timeout=30)
        balance = httpx.get(
            f"{gateway.url}/dashboard/billing/subscription", headers=headers, timeout=30
        )
        assert [each.status_code for each in (good, bad, balance)] == [200, 401, 200]
        for each in (good, bad, balance):
            assert each.headers[ALLOWED] == allowed
            assert "x-meter-call-id" in each.headers["access-control-expose-headers"]
        gateway.calls(1)


def test_other_origins_and_the_admin_api_stay_closed(open_gateway):
    with open_gateway(cors_origins=PAGE) as gateway:
        elsewhere = {**ASKS, "origin": "https://evil.example"}
        asked = httpx.options(f"{gateway.url}/v1/chat/completions", headers=elsewhere, timeout=30)
        assert asked.status_code == 405
        assert ALLOWED not in asked.headers and asked.headers["vary"] == "origin"
        for path in ("/meter/v1/keys", "/metrics", "/healthz"):
            answer = httpx.options(gateway.url + path, headers=ASKS, timeout=30)
            assert answer.status_code != 204
            assert ALLOWED not in answer.headers


@pytest.mark.parametrize("origins", ["chat.example.com", "https://a.b/path", "https://a\r\nx: y"])
def test_what_is_no_origin_is_told_at_the_start(origins):
    with pytest.raises(ConfigError, match="expected an origin"):
        Cors(origins)


def test_names_that_could_end_a_header_are_not_echoed():
    scope = {
        "method": "OPTIONS", "path": "/v1/x",
        "headers": [
            (b"Origin", PAGE.encode()), (b"access-control-request-method", b"GET"),
            (b"access-control-request-headers", b"a\r\nset-cookie: b"),
        ],
    }  # fmt: skip
    answer = Cors(PAGE).preflight(scope)
    assert answer is not None and "access-control-allow-headers" not in answer.headers
