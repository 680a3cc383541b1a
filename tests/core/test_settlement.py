"""What is owed when a call ends: the table of the design, row by row."""

import itertools

import pytest

from meter.core.call import Basis, Observation, Outcome
from meter.core.settlement import NOTHING, Owed, owed
from meter.core.usage import Usage

USAGE = Usage(input_tokens=100, output_tokens=20)
COUNTED = Usage(input_tokens=98, output_tokens=19)


def seen(**fields):
    return Observation(**fields)


ROWS = [
    # completed, with usage: that usage, reported
    (Outcome.COMPLETED, seen(status=200, usage=USAGE), USAGE, Basis.REPORTED),
    # reported wins over our own count
    (Outcome.COMPLETED, seen(status=200, usage=USAGE, counted=COUNTED), USAGE, Basis.REPORTED),
    # completed, without usage: counted prompt and output, estimated
    (Outcome.COMPLETED, seen(status=200, counted=COUNTED), COUNTED, Basis.ESTIMATED),
    # completed, without usage, and nothing could be counted
    (Outcome.COMPLETED, seen(status=200), None, Basis.UNKNOWN),
    # the client left and the rest was read: its usage, reported
    (Outcome.CLIENT_CLOSED, seen(status=200, usage=USAGE), USAGE, Basis.REPORTED),
    # the client left and the upstream was cancelled: counted prompt and output seen
    (Outcome.CLIENT_CLOSED, seen(status=200, counted=COUNTED), COUNTED, Basis.ESTIMATED),
    # the client left before an answer began: the provider may bill it
    (Outcome.CLIENT_CLOSED, seen(), None, Basis.UNKNOWN),
    # a status of 400 or more: nothing
    (Outcome.COMPLETED, seen(status=400), NOTHING, Basis.REPORTED),
    (Outcome.UPSTREAM_FAILED, seen(status=500), NOTHING, Basis.REPORTED),
    (Outcome.UPSTREAM_FAILED, seen(status=429, counted=COUNTED), NOTHING, Basis.REPORTED),
    (Outcome.COMPLETED, seen(status=400, usage=USAGE), NOTHING, Basis.REPORTED),
    (Outcome.CLIENT_CLOSED, seen(status=503), NOTHING, Basis.REPORTED),
    # a redirect: nothing, the call that follows it is billed
    (Outcome.COMPLETED, seen(status=307, counted=COUNTED), NOTHING, Basis.REPORTED),
    (Outcome.COMPLETED, seen(status=307, usage=USAGE), USAGE, Basis.REPORTED),
    (Outcome.COMPLETED, seen(status=299, counted=COUNTED), COUNTED, Basis.ESTIMATED),
    # an error with status 200 and no output: nothing
    (Outcome.COMPLETED, seen(status=200, error_in_body=True), NOTHING, Basis.REPORTED),
    (
        Outcome.COMPLETED,
        seen(status=200, error_in_body=True, counted=COUNTED),
        NOTHING,
        Basis.REPORTED,
    ),
    # an error with status 200 that reports usage: that usage
    (Outcome.COMPLETED, seen(status=200, error_in_body=True, usage=USAGE), USAGE, Basis.REPORTED),
    # timed out or lost after sending, nothing received: the provider may bill it
    (Outcome.TIMED_OUT, seen(), None, Basis.UNKNOWN),
    (Outcome.UPSTREAM_FAILED, seen(), None, Basis.UNKNOWN),
    # even when the prompt was counted: nobody knows whether it was ever read
    (Outcome.TIMED_OUT, seen(counted=COUNTED), None, Basis.UNKNOWN),
    # failed in mid-stream, with usage and without
    (Outcome.UPSTREAM_FAILED, seen(status=200, usage=USAGE), USAGE, Basis.REPORTED),
    (Outcome.UPSTREAM_FAILED, seen(status=200, counted=COUNTED), COUNTED, Basis.ESTIMATED),
    (Outcome.TIMED_OUT, seen(status=200, counted=COUNTED), COUNTED, Basis.ESTIMATED),
    # refused: nothing, whatever stands beside it
    (Outcome.REFUSED, seen(), NOTHING, Basis.REPORTED),
    (Outcome.REFUSED, seen(status=429), NOTHING, Basis.REPORTED),
    (Outcome.REFUSED, seen(status=200, usage=USAGE), NOTHING, Basis.REPORTED),
]


@pytest.mark.parametrize(("outcome", "observation", "usage", "basis"), ROWS)
def test_row(outcome, observation, usage, basis):
    assert owed(outcome, observation) == Owed(usage, basis)


def test_reported_zero_is_a_report():
    zero = Usage(input_tokens=0, output_tokens=0)
    observation = Observation(status=200, usage=zero, counted=COUNTED)
    assert owed(Outcome.COMPLETED, observation) == Owed(zero, Basis.REPORTED)


def everything():
    """Every outcome with every kind of observation."""
    return itertools.product(
        Outcome, [None, 200, 302, 400, 404, 500], [None, USAGE], [None, COUNTED], [False, True]
    )


def test_no_combination_is_without_an_answer():
    for outcome, status, usage, counted, error in everything():
        observation = Observation(status=status, usage=usage, counted=counted, error_in_body=error)
        found = owed(outcome, observation)
        assert (found.usage is None) == (found.basis is Basis.UNKNOWN)


def test_an_answer_that_was_delivered_is_never_free_by_accident():
    for outcome, status, usage, counted, error in everything():
        delivered = status is not None and status < 300 and not error
        if outcome is Outcome.REFUSED or not delivered:
            continue
        observation = Observation(status=status, usage=usage, counted=counted)
        assert owed(outcome, observation).usage != NOTHING
