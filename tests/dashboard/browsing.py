"""Run the dashboard's server, and a real Chromium to look at it with."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

METER = Path(sys.executable).with_name("meter")
_START_S = 240
_WAIT_MS = 120_000  # of a machine that is busy with much else
_FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run",
    "--disable-component-update", "--disable-sync", "--disable-quic", "--disable-dev-shm-usage",
)  # fmt: skip


def chromium_path() -> str:
    """Return where Chromium is; fail with what to install where it is not."""
    found = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if not found:
        pytest.fail(
            "found no chromium, which the dashboard's tests look with: apt install chromium",
            pytrace=False,
        )
    return found


class Server:
    """The dashboard on the ledger at `url`, in `folder`; `settings` are METER_* by their names.

    It begins to start at once, and has started when `address` is known. `secrets` is what
    Streamlit's file of secrets says, with {address} for the server's own.
    """

    def __init__(self, url: str, folder: Path, *, secrets: str = "", **settings: str) -> None:
        port = _free_port()
        self._address = f"http://127.0.0.1:{port}"
        if secrets:
            (folder / ".streamlit").mkdir()
            told = secrets.replace("{address}", self._address)
            (folder / ".streamlit" / "secrets.toml").write_text(told)
        self._log = folder / f"dashboard-{port}.log"
        environment = {
            **os.environ,
            "METER_DATABASE_URL": url,
            **{f"METER_{name.upper()}": text for name, text in settings.items()},
        }
        command = [str(METER), "dashboard", "--port", str(port)]
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(
                command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT
            )

    @property
    def address(self) -> str:
        """Return the server's address, once it answers there."""
        deadline = time.monotonic() + _START_S
        while True:
            if self._process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"the dashboard did not start: {self.told()}")
            try:
                urllib.request.urlopen(f"{self._address}/_stcore/health", timeout=2).close()
                return self._address
            except OSError:
                time.sleep(0.05)

    def told(self) -> str:
        """Return what the server has written."""
        return self._log.read_text(errors="replace")

    def stop(self) -> None:
        """End the server, which must not have met an exception."""
        self._process.terminate()
        self._process.wait(20)
        assert "Traceback" not in self.told(), self.told()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running_browser() -> Iterator[Browser]:
    """Run a headless Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=list(_FLAGS))
        yield browser
        browser.close()


class Visitor:
    """One browser window that notes what the pages ask for beyond their own server."""

    def __init__(self, page: Page, address: str) -> None:
        self.page = page
        self.address = address
        self.asked_elsewhere: list[str] = []
        page.on("request", lambda request: self._note(request.url))
        page.set_default_timeout(_WAIT_MS)

    def _note(self, url: str) -> None:
        if not url.startswith((self.address, self.address.replace("http", "ws", 1), "data:",
                               "blob:")):  # fmt: skip
            self.asked_elsewhere.append(url)

    def open(self, path: str) -> None:
        """Open a page and wait until it is drawn."""
        self.page.goto(self.address + path)
        self.settle()

    def settle(self) -> None:
        """Wait until the page has been drawn and nothing is being computed."""
        self.page.wait_for_selector("[data-testid=stMain] h1")
        self.page.wait_for_selector("[data-test-script-state=notRunning]")
        self.page.wait_for_function(
            "() => !document.querySelector('[data-stale=true]')"
            " && !document.querySelector('[data-testid=stSkeleton]')"
        )

    def figures(self) -> dict[str, str]:
        """Return the figures of the page by their labels."""
        found: dict[str, str] = self.page.evaluate(
            "() => Object.fromEntries([...document.querySelectorAll('[data-testid=stMetric]')]"
            ".map(e => [e.querySelector('[data-testid=stMetricLabel]').innerText.trim(),"
            " e.querySelector('[data-testid=stMetricValue]').innerText.trim()]))"
        )
        return found

    def text(self) -> str:
        """Return every text of the page."""
        return self.page.locator("[data-testid=stApp]").inner_text()

    def trouble(self) -> list[str]:
        """Return the exceptions and errors that the page shows."""
        shown = self.page.locator("[data-testid=stException], [data-testid=stAlertContentError]")
        return shown.all_inner_texts()

    def choose(self, label: str, option: str) -> None:
        """Choose an option of a selection box by keyboard, as a person without a mouse does."""
        box = self.page.get_by_role("combobox", name=label)
        box.click()
        box.fill(option)
        self.page.get_by_role("option", name=option, exact=True).first.wait_for()
        box.press("Enter")
        self.settle()
