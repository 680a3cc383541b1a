"""A ledger of a few calls, and the dashboard opened on it by Streamlit's own test runner."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from streamlit import config
from streamlit.testing.v1 import AppTest

from meter.attribution import attribute
from meter.meter import Meter

DASHBOARD = Path(__file__).resolve().parents[2] / "dashboard"
MODULES = ("access", "app", "charts", "data", "figures", "filters", "parts", "texts")

Opened = Callable[..., AppTest]


@pytest.fixture
def ledger_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of an empty ledger that the dashboard is set to."""
    url = f"sqlite:///{tmp_path / 'meter.db'}"
    monkeypatch.setenv("METER_DATABASE_URL", url)
    Meter(url).close()
    return url


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[Opened]:
    """Open the dashboard, at a page and an address if they are given."""
    monkeypatch.syspath_prepend(str(DASHBOARD))
    address = config.get_option("server.address")
    config.set_option("server.address", "127.0.0.1")
    forget()

    def open_app(page: str | None = None, **address: str) -> AppTest:
        app = AppTest.from_file(str(DASHBOARD / "app.py"), default_timeout=60)
        for name, text in address.items():
            app.query_params[name] = text
        if page is not None:
            app.run()
            app.switch_page(f"pages/{page}.py")
        return app.run()

    yield open_app
    data = sys.modules.get("data")
    if data is not None:
        data.close()
        data.forget()
    forget()
    config.set_option("server.address", address)


def forget() -> None:
    for name in list(sys.modules):
        if name.partition(".")[0] in MODULES:
            del sys.modules[name]


def spend(url: str, subject: str, input_tokens: int, model: str = "gpt-4o", **tags: str) -> None:
    """Record one call that used that many input tokens."""
    with Meter(url) as meter, attribute(subject, **tags):
        call = meter.reserve(
            provider="openai", model=model, input_tokens=input_tokens, max_output_tokens=0
        )
        call.settle(input_tokens=input_tokens, output_tokens=0)


def metrics(app: AppTest) -> dict[str, str]:
    """Return the figures of a page by their labels."""
    return {metric.label: metric.value for metric in app.metric}
