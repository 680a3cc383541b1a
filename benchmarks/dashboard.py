"""Measure how long the Spend page takes in a real browser, on any ledger.

    .venv/bin/python benchmarks/dashboard.py sqlite:///large.db --subject alice

Each round starts `meter dashboard` anew and looks with a browser window of its own: a cold visit
(the first of a new server, with an SQLite file out of the system's cache), a warm one of the same
server after `--pause` seconds, so that every answer is asked of the ledger again, and then, in
that window, another period, model and subject. A visit ends when the last chart is drawn and the
server computes nothing any more; a change ends when the figures are others and the same holds.

Prints medians and extremes in milliseconds, with the CPU of the server and of everything else here
(the browser and its driver). The ledger is opened to read only. Linux, with Chromium.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright
from processes import Running, cpu_seconds_of, family, free_port, running, wait_for_port

from meter.meter import Meter

METER = Path(sys.executable).with_name("meter")
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run",
         "--disable-dev-shm-usage")  # fmt: skip
PAUSE_SECONDS = 61.0
"""Longer than the dashboard keeps any answer."""
_WAIT_MS = 180_000
_POLL_MS = 20
"""How often the page is looked at: each look takes time from it."""
_FIGURES = """() => [...document.querySelectorAll('[data-testid=stMetricValue]')]
    .map(e => e.innerText.trim()).join(' | ')"""
_FIGURES_OTHER_THAN = f"before => {{ const now = ({_FIGURES})(); return now && now !== before }}"
_DRAWN = """() => {
    const charts = [...document.querySelectorAll('[data-testid=stVegaLiteChart]')];
    return charts.length > 1
        && charts.every(chart => chart.querySelector('canvas, svg'))
        && document.querySelector('[data-testid=stDataFrame] canvas')
        && document.querySelector('[data-test-script-state=notRunning]')
        && !document.querySelector('[data-stale=true], [data-testid=stSkeleton]');
}"""


@dataclass(slots=True)
class Times:
    """What each round took, in milliseconds: the first figures, everything, and CPU."""

    figures: list[float] = field(default_factory=list)
    all: list[float] = field(default_factory=list)
    server: list[float] = field(default_factory=list)
    browser: list[float] = field(default_factory=list)


def watch(page: Page, server: Running, times: Times, act: Callable[[], object]) -> None:
    """Do something to the page, and note how long it takes until it shows other figures."""
    before = page.evaluate(_FIGURES) if page.url != "about:blank" else ""
    begun, cpu = time.perf_counter(), cpu_of(server)
    act()
    page.wait_for_function(_FIGURES_OTHER_THAN, arg=before, polling=_POLL_MS)
    times.figures.append((time.perf_counter() - begun) * 1000)
    page.wait_for_function(_DRAWN, polling=_POLL_MS)
    times.all.append((time.perf_counter() - begun) * 1000)
    shown = page.locator("[data-testid=stException], [data-testid=stAlertContentError]")
    if shown.count():
        raise SystemExit(f"the page shows an error: {shown.first.inner_text()}")
    for kept, now, then in zip((times.server, times.browser), cpu_of(server), cpu, strict=True):
        kept.append((now - then) * 1000)


def cpu_of(server: Running) -> tuple[float, float]:
    """Return the CPU seconds of the server, and of all other processes of this script."""
    of_server = server.ids()
    others = [one for one in family(os.getpid()) if one not in of_server]
    return cpu_seconds_of(of_server), cpu_seconds_of(others)


def choose(page: Page, label: str, option: str) -> Callable[[], None]:
    """Return what chooses an option of a selection box; the box lies open with it already."""
    box = page.get_by_role("combobox", name=label)
    box.click()
    box.fill(option)
    page.get_by_role("option", name=option, exact=True).first.wait_for()
    return lambda: box.press("Enter")


def evict(url: str) -> None:
    """Take an SQLite file out of the system's cache; any other database keeps its own."""
    path = Path(url.removeprefix("sqlite:///"))
    if url.startswith("sqlite:///") and path.exists():
        with path.open("rb") as ledger:
            os.posix_fadvise(ledger.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def look(browser: Browser, given: argparse.Namespace, found: dict[str, Times]) -> None:
    """Measure one round."""
    port = free_port()
    address = f"http://127.0.0.1:{port}/"
    evict(given.url)
    command = [str(METER), "dashboard", "--port", str(port), "--database-url", given.url]
    with (
        tempfile.TemporaryDirectory() as folder,
        (Path(folder) / "log").open("w") as log,
        running(command, core=None, folder=Path(folder), log=log) as server,
    ):
        wait_for_port(port, server)
        urllib.request.urlopen(f"{address}_stcore/health", timeout=90).close()
        page = visit(browser, server, address, found["first page, cold"])
        page.context.close()
        time.sleep(given.pause)
        page = visit(browser, server, address, found["first page, warm"])
        for name, label, option in (
            ("another period", "Period", "Last 30 days"),
            ("one model", "Model", given.model),
            ("one user", "User", given.subject),
        ):
            act = choose(page, label, option)
            watch(page, server, found[name], act)
        page.context.close()


def visit(browser: Browser, server: Running, address: str, times: Times) -> Page:
    """Open the Spend page in a new window with nothing in its cache, and return it."""
    page = browser.new_context(timezone_id="UTC", locale="en-GB").new_page()
    page.set_default_timeout(_WAIT_MS)
    watch(page, server, times, lambda: page.goto(address, wait_until="commit"))
    return page


def cell(values: list[float]) -> str:
    """Return a median and the extremes."""
    return f"{statistics.median(values):,.0f} ({min(values):,.0f}–{max(values):,.0f})"


def main() -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("url", help="where the ledger lies: sqlite:///large.db")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pause", type=float, default=PAUSE_SECONDS, help="before the warm visit")
    parser.add_argument("--model", default="gpt-4o", help="which model is chosen")
    parser.add_argument("--subject", default="alice", help="which user is chosen")
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    given = parser.parse_args()
    with Meter(given.url, read_only=True) as meter:
        calls = sum(row.calls for row in meter.usage(()))
    names = ("first page, cold", "first page, warm", "another period", "one model", "one user")
    found = {name: Times() for name in names}
    load = [os.getloadavg()[0]]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=given.chromium, args=list(FLAGS))
        for _ in range(given.rounds):
            look(browser, given, found)
            load.append(os.getloadavg()[0])
        browser.close()
    print(f"{calls:,} calls; {given.rounds} rounds on {os.cpu_count()} cores, "
          f"load {min(load):.1f}–{max(load):.1f}")  # fmt: skip
    print(f"{'ms':18}{'figures':>24}{'everything':>24}{'CPU server':>24}{'CPU browser':>24}")
    for name, times in found.items():
        kept = (times.figures, times.all, times.server, times.browser)
        print(f"{name:18}" + "".join(f"{cell(values):>24}" for values in kept))
    return 0


if __name__ == "__main__":
    sys.exit(main())
