"""The log of `meter serve`: JSON lines that wait for each other, but never where one warns."""

import io
import json
import logging
import sys

import pytest

from meter.gateway.logs import Json, Lines


@pytest.fixture
def written():
    """A logger of its own with the handler of the gateway, and what it has written."""
    stream = io.StringIO()
    handler = Lines(stream)
    handler.setFormatter(Json())
    logger = logging.Logger("meter.test")
    logger.addHandler(handler)
    return logger, stream, handler


def told(stream):
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_lines_wait_for_a_flush_and_keep_their_order(written):
    logger, stream, handler = written
    for number in range(3):
        logger.info("answered", extra={"told": {"number": number}})
    assert stream.getvalue() == ""
    handler.flush()
    assert [(line["event"], line["number"]) for line in told(stream)] == [
        ("answered", 0), ("answered", 1), ("answered", 2),
    ]  # fmt: skip
    handler.flush()
    assert len(told(stream)) == 3


def test_a_warning_is_written_at_once_behind_what_came_before_it(written):
    logger, stream, _ = written
    logger.info("first")
    logger.warning("found %d of %d", 1, 2)
    assert [(line["level"], line["event"]) for line in told(stream)] == [
        ("info", "first"), ("warning", "found 1 of 2"),
    ]  # fmt: skip


def test_many_lines_do_not_wait(written):
    logger, stream, _ = written
    for _ in range(600):
        logger.info("answered")
    assert len(told(stream)) == 512


def test_a_moment_is_told_to_the_millisecond_in_utc():
    record = logging.LogRecord("meter", logging.INFO, "", 0, "x", None, None)
    formatter = Json()
    # 2026-11-25 12:00:00 UTC and 7 milliseconds, then one second more.
    for created, moment in (
        (1795608000.0075, "2026-11-25T12:00:00.007+00:00"),
        (1795608000.9999, "2026-11-25T12:00:00.999+00:00"),
        (1795608001.0, "2026-11-25T12:00:01.000+00:00"),
    ):
        record.created = created
        assert json.loads(formatter.format(record))["time"] == moment


def test_a_fault_is_told_with_its_traceback_in_the_same_line(written):
    logger, stream, _ = written
    try:
        raise ValueError("no\nsuch")
    except ValueError:
        logger.error("failed", exc_info=sys.exc_info())
    (line,) = told(stream)
    assert "ValueError: no" in line["exception"]
