"""Signing in with an account of an OpenID Connect provider: a real exchange with one of our own."""

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey
from playwright.sync_api import Browser

from meter.attribution import attribute
from meter.meter import Meter
from tests.dashboard.browsing import Server, Visitor, running_browser

pytestmark = pytest.mark.timeout(600)

SECRETS = """
[auth]
redirect_uri = "{address}/oauth2callback"
cookie_secret = "a long text that only this server knows"
client_id = "meter"
client_secret = "s3cret"
server_metadata_url = "PROVIDER/.well-known/openid-configuration"
"""


@dataclass
class Provider:
    """An OpenID Connect provider that lets everybody in as the account that it was told."""

    account: dict[str, Any] = field(default_factory=dict)
    nonces: dict[str, str] = field(default_factory=dict)
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "one"}))
    address: str = ""

    def answer(self, path: str, query: dict[str, str]) -> tuple[int, dict[str, str], Any]:
        if path == "/.well-known/openid-configuration":
            return 200, {}, {
                "issuer": self.address,
                "authorization_endpoint": f"{self.address}/authorize",
                "token_endpoint": f"{self.address}/token",
                "jwks_uri": f"{self.address}/keys",
                "response_types_supported": ["code"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["RS256"],
            }  # fmt: skip
        if path == "/keys":
            return 200, {}, {"keys": [self.key.as_dict(private=False)]}
        if path == "/authorize":
            self.nonces["code"] = query.get("nonce", "")
            back = urlencode({"code": "code", "state": query["state"]})
            return 302, {"Location": f"{query['redirect_uri']}?{back}"}, {}
        if path == "/token":
            return 200, {}, {"access_token": "a", "token_type": "Bearer", "id_token": self.token()}
        return 404, {}, {}

    def token(self) -> str:
        now = int(time.time())
        claims = {
            "iss": self.address, "aud": "meter", "sub": "one", "iat": now, "exp": now + 600,
            "nonce": self.nonces["code"], **self.account,
        }  # fmt: skip
        return jwt.encode({"alg": "RS256", "kid": "one"}, claims, self.key)


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    made = Provider()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            split = urlsplit(self.path)
            query = {name: texts[0] for name, texts in parse_qs(split.query).items()}
            status, headers, body = made.answer(split.path, query)
            content = json.dumps(body).encode()
            self.send_response(status)
            for name, text in {**headers, "Content-Type": "application/json"}.items():
                self.send_header(name, text)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield made
    server.shutdown()
    server.server_close()
    thread.join(10)


@pytest.fixture(scope="module")
def dashboard(provider: Provider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder: Path = tmp_path_factory.mktemp("accounts")
    url = f"sqlite:///{folder / 'meter.db'}"
    with Meter(url) as meter:
        for subject, tokens in (("acme", 1_000), ("globex", 5_000)):
            with attribute(subject):
                call = meter.reserve(
                    provider="openai", model="gpt-4o", input_tokens=tokens, max_output_tokens=0
                )
                call.settle(input_tokens=tokens, output_tokens=0)
    server = Server(
        url,
        folder,
        secrets=SECRETS.replace("PROVIDER", provider.address),
        dashboard_sign_in="oidc",
        dashboard_users="ann@example.com=*,bob@acme.example=acme",
    )
    yield server
    server.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_browser() as found:
        yield found


@pytest.fixture
def visitor(browser: Browser, dashboard: Server) -> Iterator[Visitor]:
    context = browser.new_context(timezone_id="UTC", locale="en-GB")
    yield Visitor(context.new_page(), dashboard.address)
    context.close()


def sign_in(provider: Provider, visitor: Visitor, **account: Any) -> None:
    provider.account = account
    visitor.open("/?period=90d&subject=globex")
    assert visitor.figures() == {}
    visitor.page.get_by_role("button", name="Sign in").click()
    visitor.page.wait_for_url(f"{visitor.address}/**")


def look(visitor: Visitor, path: str, name: str) -> dict[str, str]:
    """Open a page as who is signed in and return its figures."""
    visitor.open(path)
    visitor.page.get_by_text(f"Signed in as {name}").wait_for()
    visitor.settle()
    return visitor.figures()


def test_an_account_sees_what_the_settings_say(provider: Provider, visitor: Visitor) -> None:
    sign_in(provider, visitor, email="bob@acme.example", email_verified=True)
    visitor.page.get_by_text("Signed in as bob@acme.example").wait_for()
    # 1,000 × 2.50 USD / 10⁶
    found = look(visitor, "/?period=90d&subject=globex", "bob@acme.example")
    assert found["Spend"] == "0.00250 USD"
    assert "globex" not in visitor.text()
    visitor.page.get_by_role("button", name="Sign out").click()
    visitor.page.get_by_role("button", name="Sign in").wait_for()
    assert visitor.figures() == {}


def test_an_account_that_may_see_everything_does(provider: Provider, visitor: Visitor) -> None:
    sign_in(provider, visitor, email="ann@example.com", email_verified=True)
    visitor.page.get_by_text("Signed in as ann@example.com").wait_for()
    assert look(visitor, "/?period=90d", "ann@example.com")["Calls"] == "2"


@pytest.mark.parametrize(
    "account",
    [
        {"email": "eve@example.com", "email_verified": True},
        {"email": "ann@example.com", "email_verified": False},
    ],
    ids=["unknown", "not verified"],
)
def test_an_account_that_may_not_look_is_told_so(
    provider: Provider, visitor: Visitor, account: dict[str, Any]
) -> None:
    sign_in(provider, visitor, **account)
    visitor.page.get_by_text("is signed in but may not see anything here").wait_for()
    assert visitor.figures() == {}
