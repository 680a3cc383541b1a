"""Attempts of one operation: what ties them, and what does not."""

import threading
from contextvars import copy_context
from uuid import UUID

import pytest

from meter.clients import attempts
from meter.clients.attempts import (
    continued_operation,
    forget_failure,
    is_repeated,
    remember_failure,
)

FIRST = UUID(int=1)


@pytest.fixture(autouse=True)
def nothing_remembered() -> None:
    forget_failure()


def test_a_failed_attempt_is_continued_by_the_same_request() -> None:
    remember_failure(FIRST, "/v1/chat/completions", b"{}")
    assert continued_operation("/v1/chat/completions", b"{}", {}) == FIRST


@pytest.mark.parametrize(("path", "body"), [("/v1/x", b"{}"), ("/v1/chat/completions", b"{ }")])
def test_another_request_continues_nothing(path: str, body: bytes) -> None:
    remember_failure(FIRST, "/v1/chat/completions", b"{}")
    assert continued_operation(path, body, {}) is None
    assert continued_operation(path, body, {"x-stainless-retry-count": "1"}) is None


def test_a_success_in_between_ends_the_operation() -> None:
    remember_failure(FIRST, "/v1/x", b"{}")
    forget_failure()
    assert continued_operation("/v1/x", b"{}", {}) is None


def test_after_ten_minutes_only_the_sdks_own_word_ties(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 1000.0
    monkeypatch.setattr(attempts.time, "monotonic", lambda: now_s)
    remember_failure(FIRST, "/v1/x", b"{}")
    now_s = 1599.0
    assert continued_operation("/v1/x", b"{}", {}) == FIRST
    now_s = 1600.0
    assert continued_operation("/v1/x", b"{}", {"x-stainless-retry-count": "0"}) is None
    assert continued_operation("/v1/x", b"{}", {"x-stainless-retry-count": "2"}) == FIRST


def test_threads_and_tasks_do_not_see_each_others_failures() -> None:
    remember_failure(FIRST, "/v1/x", b"{}")
    seen: list[UUID | None] = []

    def look() -> None:
        seen.append(continued_operation("/v1/x", b"{}", {}))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    copy_context().run(look)
    assert seen == [None, FIRST]


@pytest.mark.parametrize(
    ("status", "wish", "expected"),
    [
        (200, None, False),
        (400, None, False),
        (404, None, False),
        (408, None, True),
        (409, None, True),
        (429, None, True),
        (500, None, True),
        (529, None, True),
        (429, "false", False),
        (400, "true", True),
    ],
)
def test_statuses_that_sdks_repeat(status: int, wish: str | None, expected: bool) -> None:
    headers = {} if wish is None else {"x-should-retry": wish}
    assert is_repeated(status, headers) is expected
