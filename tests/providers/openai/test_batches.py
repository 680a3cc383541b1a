"""Batches: a receipt, a look at one that runs, and what it used in the end."""

import json
from typing import Any

import pytest

from meter.core.call import Observation
from meter.core.usage import Usage
from meter.providers.measuring import MeasuringObserver
from meter.providers.registry import dialect_for, dialect_named
from tests.providers.answers import JSON

OPENAI = dialect_named("openai")
ZERO = {"input_tokens": 0, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 0,
        "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 0}  # fmt: skip
USED = {"input_tokens": 90, "input_tokens_details": {"cached_tokens": 10}, "output_tokens": 40,
        "output_tokens_details": {"reasoning_tokens": 30}, "total_tokens": 130}  # fmt: skip
GOES_ON = "the work goes on in the background: its usage is not known yet"


def shown(method: str, path: str, **members: Any) -> tuple[Observation, tuple[str, ...]]:
    """Answer a call with a batch; return what was seen and the names it is billed under."""
    batch = {"id": "batch_1", "object": "batch", "status": "validating", **members}
    reading = OPENAI.read(method, path, None, b'{"input_file_id": "file-1"}')
    observer = OPENAI.observe(reading)
    assert isinstance(observer, MeasuringObserver)
    observer.start(200, JSON)
    observer.feed(json.dumps(batch).encode())
    observer.finish()
    return observer.result(), observer.billing_ids


def test_a_receipt_leaves_the_usage_open() -> None:
    seen, names = shown("POST", "/v1/batches")
    assert (seen.usage, seen.counted, seen.finished) == (None, None, True)
    assert (seen.response_id, names) == ("batch_1", ("batch_1",))
    assert seen.defects == (GOES_ON,)


def test_a_receipt_that_reports_zeros_reports_zeros() -> None:
    seen, _ = shown("POST", "/v1/batches", usage=ZERO)
    assert seen.usage == Usage(
        input_tokens=0, cache_read_tokens=0, output_tokens=0, reasoning_tokens=0
    )
    assert seen.defects == (GOES_ON,)


@pytest.mark.parametrize("status", ["validating", "in_progress", "finalizing", "cancelling"])
def test_a_look_at_a_running_batch_owes_nothing(status: str) -> None:
    seen, _ = shown("GET", "/v1/batches/batch_1", status=status, usage=USED)
    assert (seen.usage, seen.defects) == (Usage(), ())
    seen, _ = shown("POST", "/v1/batches/batch_1/cancel", status=status)
    assert seen.usage == Usage()


@pytest.mark.parametrize("status", ["completed", "expired", "cancelled", "failed"])
def test_an_ended_batch_reports_what_it_used(status: str) -> None:
    seen, names = shown(
        "GET", "/v1/batches/batch_1", status=status, usage=USED, model="gpt-4o-mini",
        output_file_id="file-2", error_file_id="file-3",
    )  # fmt: skip
    assert seen.usage == Usage(
        input_tokens=90, cache_read_tokens=10, output_tokens=40, reasoning_tokens=30
    )
    assert (seen.model_served, seen.service_tier) == ("gpt-4o-mini", "batch")
    assert names == ("batch_1", "file-2", "file-3")


def test_an_old_batch_leaves_its_usage_to_its_output() -> None:
    counts = {"total": 3, "completed": 2, "failed": 1}
    seen, _ = shown("GET", "/v1/batches/b", status="completed", request_counts=counts)
    assert seen.usage is None
    assert seen.defects == ("the batch reports no usage: it stands in its output file",)


def test_a_batch_that_did_nothing_used_nothing() -> None:
    counts = {"total": 3, "completed": 0, "failed": 3}
    seen, _ = shown("GET", "/v1/batches/b", status="failed", request_counts=counts, usage=ZERO)
    assert (seen.usage, seen.defects) == (Usage(), ())


def test_a_look_is_free_to_make_and_a_batch_is_not() -> None:
    assert OPENAI.read("GET", "/v1/batches/batch_1", None, b"").free
    assert OPENAI.read("GET", "/v1/batches/batch_1", None, b"").defects == ()
    assert OPENAI.read("POST", "/v1/batches/batch_1/cancel", None, b"").free
    assert not OPENAI.read("POST", "/v1/batches", None, b"{}").free
    azure = dialect_for("r.openai.azure.com")
    path = "/openai/batches/batch_1?api-version=2024-10-21"
    assert azure.read("GET", path, None, b"").endpoint == "batches.retrieve"


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/v1/messages/batches"), ("GET", "/v1/messages/batches/b"),
     ("GET", "/v1beta/batches/b"), ("GET", "/v1/batches")],
)  # fmt: skip
def test_other_batches_are_not_claimed(method: str, path: str) -> None:
    assert not OPENAI.read(method, path, None, b"{}").endpoint.startswith("batches")


def test_what_is_no_batch_stays_unknown() -> None:
    seen, names = shown("POST", "/v1/batches", object="other")
    assert (seen.usage, names) == (None, ())
