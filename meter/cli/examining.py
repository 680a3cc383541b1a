"""Examine the set-up for `meter doctor`: one finding for each part, with what to do."""

import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from meter.clock import now_us
from meter.config import Settings
from meter.errors import MeterError


@dataclass(frozen=True, slots=True)
class Finding:
    """The state of one part: "good", "note" (works, with a limit) or "fault"."""

    what: str
    state: str
    found: str


def examine(settings: Settings) -> list[Finding]:
    """Return a finding for every part of the set-up; never raises."""
    parts: list[tuple[str, Callable[[Settings], Iterator[Finding]]]] = [
        ("python", _python),
        ("ledger", _ledger),
        ("clock", _clock),
        ("sqlite", _sqlite),
        ("tokenizer", _tokenizer),
        ("prices", _prices),
    ]
    findings: list[Finding] = []
    for what, part in parts:
        try:
            findings.extend(part(settings))
        except MeterError as error:
            findings.append(Finding(what, "fault", str(error)))
        except Exception as error:
            findings.append(Finding(what, "fault", f"{type(error).__name__}: {error}"))
    return findings


def _python(settings: Settings) -> Iterator[Finding]:
    from meter import __version__

    yield Finding("python", "good", f"Python {platform.python_version()}, meter {__version__}")


def _ledger(settings: Settings) -> Iterator[Finding]:
    from meter.store.engine import open_engine, parse_url
    from meter.store.migrating import current_revision, head_revision

    shown = parse_url(settings.database_url).render_as_string(hide_password=True)
    engine = open_engine(settings.database_url)
    try:
        found, head = current_revision(engine), head_revision()
    finally:
        engine.dispose()
    if found == head:
        yield Finding("ledger", "good", f"{shown}, schema revision {found}")
    elif found is None and engine.dialect.name == "sqlite":
        yield Finding("ledger", "good", f"{shown} is new: its first use migrates it")
    else:
        stated = f"is at revision {found}" if found else "has no schema of meter"
        yield Finding("ledger", "fault", f"{shown} {stated}, expected {head}: run meter db upgrade")


def _clock(settings: Settings) -> Iterator[Finding]:
    from meter.store.clock_skew import WORTH_SAYING_US, in_words, skew_us
    from meter.store.engine import open_engine

    engine = open_engine(settings.database_url)
    if engine.dialect.name == "sqlite":
        return
    try:
        found_us = skew_us(engine)
    finally:
        engine.dispose()
    limit_s = settings.clock_skew_seconds
    if abs(found_us) > limit_s * 1_000_000:
        told = f"{in_words(found_us)}, expected at most {limit_s} s: set it right"
        yield Finding("clock", "fault", told)
    elif abs(found_us) > WORTH_SAYING_US:
        yield Finding("clock", "note", f"{in_words(found_us)}: windows begin that much apart")
    else:
        yield Finding("clock", "good", "this machine's clock and the ledger's agree to a second")


def _sqlite(settings: Settings) -> Iterator[Finding]:
    from meter.store.engine import sqlite_module

    module = sqlite_module()
    version: str = module.sqlite_version
    numbers = tuple(int(part) for part in version.split("."))
    if numbers >= (3, 51, 3):
        yield Finding("sqlite", "good", f"SQLite {version} from {module.__name__.split('.')[0]}")
    else:
        yield Finding(
            "sqlite",
            "note",
            f"SQLite {version} can corrupt a WAL file when two processes write (fixed in 3.51.3): "
            "write from one process only, or pip install pysqlite3",
        )


def _tokenizer(settings: Settings) -> Iterator[Finding]:
    from meter.tokens.counting import count_text

    found = count_text("tiktoken is great!", "o200k_base")
    if found == 6:
        yield Finding("tokenizer", "good", "rank files are bundled and count as published")
    else:
        yield Finding("tokenizer", "fault", f"found {found} tokens in the probe, expected 6")


def _prices(settings: Settings) -> Iterator[Finding]:
    from meter.prices.book import PriceBook

    card = PriceBook.bundled().card_for("openai", "gpt-4o", now_us())
    if card is None:
        yield Finding("prices", "fault", "no price is known for openai gpt-4o: reinstall metergate")
    else:
        yield Finding("prices", "good", f"{card.source or 'bundled'}, checked {card.checked}")
