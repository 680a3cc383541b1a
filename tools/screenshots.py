"""Make pictures of every page of the dashboard, for the documentation and to be looked at.

    .venv/bin/python tools/screenshots.py [--only spend,calls] [--into docs/screenshots]

Light and dark, on a desktop (1440 px) and a phone (390 px), with little data (one round of the
demo) and with much (three months of synthetic calls). Needs Chromium, as the dashboard's tests do.
"""

import argparse
import io
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "dashboard")]

import charts  # noqa: E402
from PIL import Image, ImageColor  # noqa: E402
from playwright.sync_api import Browser  # noqa: E402

from benchmarks.ledgers import fill  # noqa: E402
from meter.attribution import attribute  # noqa: E402
from meter.core.calibrating import Sample  # noqa: E402
from meter.core.money import nanos_to_text  # noqa: E402
from meter.meter import Meter  # noqa: E402
from meter.store.calibration import Place  # noqa: E402
from tests.dashboard.browsing import Server, Visitor, running_browser  # noqa: E402

WIDTHS = (1440, 390)
SCHEMES = ("light", "dark")
TALLEST = 3600
"""A page longer than this is cut: what follows is more of the same."""

_METER = Path(sys.executable).with_name("meter")
_TZ = "Europe/Berlin"


@dataclass(frozen=True)
class Shot:
    """One page to look at: its name, and its address on a ledger."""

    name: str
    path: str


def shots(url: str) -> list[Shot]:
    """Return every page, and the views of one user and of one call."""
    with Meter(url, read_only=True) as meter:
        call = next(call for call in meter.calls(order="cost", limit=1))
    return [
        Shot("spend", "/"),
        Shot("users", "/users"),
        Shot("user", "/users?subject=alice"),
        Shot("models", "/models"),
        Shot("calls", "/calls"),
        Shot("call", f"/calls?call={call.id}"),
        Shot("budgets", "/budgets"),
        Shot("accuracy", "/accuracy"),
        Shot("bills", "/bills"),
        Shot("bill", "/bills"),
        Shot("exports", "/exports"),
    ]


def little(url: str) -> None:
    """Fill a ledger with one round of the demo."""
    command = [str(_METER), "demo", "--once", "--database-url", url]
    subprocess.run(command, check=True, capture_output=True, cwd=Path(url[10:]).parent)


def much(url: str) -> None:
    """Fill a ledger with three months of calls, limits, credit, keys and an invoice."""
    fill(url, 20_000, days=90)
    with Meter(url) as meter:
        meter.set_budget("everything", limit="32", tz=_TZ)
        meter.set_budget("alice", limit="9", subject="alice", tz=_TZ)
        meter.set_budget("bob-a-day", limit="0.08", subject="bob", window="day", tz=_TZ)
        meter.set_budget("search", limit="12", tag=("team", "search"), tz=_TZ)
        meter.set_budget("calls-of-erik", limit=400, subject="erik", measure="calls")
        meter.credits.grant("alice", "15", reason="order 16")
        meter.credits.grant("dora", "25", reason="order 17")
        meter.credits.grant("陈静", "40", reason="order 18")
        meter.keys.create("alice", name="laptop")
        meter.keys.create("alice", name="nightly job", models=["gpt-4o-mini"])
        # So that the statement has usage too.
        for tokens in (12_000, 40_000):
            with attribute("alice"):
                call = meter.reserve(
                    provider="openai", model="gpt-4o", input_tokens=tokens, max_output_tokens=0
                )
                call.settle(input_tokens=tokens, output_tokens=0)
        last_month = datetime.now(ZoneInfo(_TZ)).replace(day=1) - timedelta(days=1)
        for subject in ("alice", "陈静"):
            meter.invoice(subject, last_month.strftime("%Y-%m"), tz=_TZ)
        for model, each in (("claude-sonnet-4-5", 1.08), ("gemini-2.5-flash", 0.93)):
            provider = "anthropic" if model.startswith("claude") else "google"
            samples = [Sample(n, round(n * each) + 12) for n in range(300, 4_000, 90)]
            place = Place(provider, model, "text")
            meter._ledger.calibrations.add([(place, sample) for sample in samples])


def bill_of(url: str, folder: Path) -> None:
    """Write a bill of OpenAI's over the last whole days, with one day dearer than it was."""
    with Meter(url, read_only=True) as meter:
        rows = [row for row in meter.usage(["day", "model"], provider="openai") if row.cost_nanos]
    days = sorted({str(row.group[0]) for row in rows})[-20:-1] or [str(rows[0].group[0])]
    rows = [row for row in rows if row.group[0] in days]
    dearest = max(rows, key=lambda row: row.cost_nanos or 0)
    lines = ["date,model,cost"]
    for row in rows:
        nanos = (row.cost_nanos or 0) * (2 if row is dearest else 1)
        lines.append(f"{row.group[0]},{row.group[1]},{nanos_to_text(nanos)}")
    (folder / "openai.csv").write_text("\n".join(lines) + "\n")


def compare(visitor: Visitor) -> None:
    """Hold that bill against the ledger."""
    visitor.page.get_by_role("radio", name="CSV").click()
    visitor.settle()
    visitor.choose("Bills in the folder", "openai.csv")
    visitor.page.keyboard.press("Escape")
    visitor.choose("Who billed", "openai")
    visitor.page.get_by_role("textbox", name="Currency").fill("USD")
    visitor.page.get_by_role("button", name="Compare").click()
    visitor.page.get_by_text("Why they differ").first.wait_for()
    visitor.settle()


def pictures(
    browser: Browser, server: Server, kind: str, wanted: list[Shot]
) -> Iterator[tuple[str, bytes]]:
    """Yield (name, PNG) of each page in both schemes and widths."""
    for scheme in SCHEMES:
        for width in WIDTHS:
            context = browser.new_context(
                viewport={"width": width, "height": 900}, color_scheme=scheme,  # type: ignore[arg-type]
                timezone_id=_TZ, locale="en-GB",
            )  # fmt: skip
            visitor = Visitor(context.new_page(), server.address)
            for shot in wanted:
                joined = "&" if "?" in shot.path else "?"
                visitor.open(f"{shot.path}{joined}tz={'UTC' if shot.name == 'bill' else _TZ}")
                if shot.name == "bill":
                    compare(visitor)
                yield f"{shot.name}-{kind}-{scheme}-{width}.png", whole(visitor, width)
                if visitor.trouble():
                    raise SystemExit(f"found {visitor.trouble()} at {shot.path}, expected none")
            if visitor.asked_elsewhere:
                raise SystemExit(f"found {visitor.asked_elsewhere[:3]}, expected no such request")
            context.close()


def whole(visitor: Visitor, width: int) -> bytes:
    """Return a picture of the whole page, however long it is."""
    page = visitor.page
    page.evaluate("document.querySelector('[data-testid=stMain]').scrollTo(0, 0)")
    height = 900
    for _ in range(3):  # what comes into sight may make the page longer
        page.set_viewport_size({"width": width, "height": height})
        page.wait_for_timeout(700)
        content = "document.querySelector('[data-testid=stMain] [data-testid=stVerticalBlock]')"
        bottom = page.evaluate(f"Math.ceil({content}.getBoundingClientRect().bottom) + 40")
        height = min(max(bottom, 700 if width > 600 else 500), TALLEST)
    page.set_viewport_size({"width": width, "height": height})
    page.wait_for_timeout(700)
    return compressed(page.screenshot())


def compressed(png: bytes) -> bytes:
    """Return the picture in its commonest colours and those of the charts, exactly these."""
    image = Image.open(io.BytesIO(png)).convert("RGB")
    counted = image.getcolors(image.width * image.height) or []
    common = [colour for _, colour in sorted(counted, reverse=True)]
    marked = [ImageColor.getrgb(colour) for colour in (*charts.PALETTE, charts.OTHERS)]
    kept = list(dict.fromkeys([*marked, *common]))[:256]
    palette = Image.new("P", (1, 1))
    palette.putpalette([part for colour in kept for part in colour])
    target = io.BytesIO()
    image.quantize(palette=palette, dither=Image.Dither.NONE).save(target, "PNG", optimize=True)
    return target.getvalue()


def main() -> int:
    """Make the pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--into", type=Path, default=ROOT / "docs" / "screenshots")
    parser.add_argument("--only", default="", help="names of pages, separated by commas")
    given = parser.parse_args()
    only = set(filter(None, given.only.split(",")))
    given.into.mkdir(parents=True, exist_ok=True)
    bytes_made = 0
    with tempfile.TemporaryDirectory(prefix="meter-shots-") as name, running_browser() as browser:
        for kind, made in (("much", much), ("little", little)):
            url = f"sqlite:///{name}/{kind}.db"
            made(url)
            kept = Path(name, f"bills-{kind}")
            kept.mkdir()
            bill_of(url, kept)
            server = Server(url, Path(name), dashboard_bills=str(kept))
            try:
                wanted = [shot for shot in shots(url) if not only or shot.name in only]
                for file, png in pictures(browser, server, kind, wanted):
                    (given.into / file).write_bytes(png)
                    bytes_made += len(png)
                    print(f"{file}  {len(png):,} bytes", flush=True)
            finally:
                server.stop()
    print(f"{bytes_made:,} bytes in all")
    return 0


if __name__ == "__main__":
    sys.exit(main())
