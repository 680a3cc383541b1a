"""Decide what is owed for a call when it ends: one truth table, tested row by row.

In: how the call ended and what was seen of its answer. Out: usage, basis, and whether the call
is settled or left *unsettled*. Knows no prices and no store.
"""

from dataclasses import dataclass

from meter.core.call import Basis, Observation, Outcome
from meter.core.usage import Usage

NOTHING = Usage()


@dataclass(frozen=True, slots=True)
class Owed:
    """What a call owes: `usage` (None: nobody knows) on a `basis`.

    Nothing owed is an empty usage with basis `reported`: the provider's own refusal says so.
    """

    usage: Usage | None
    basis: Basis


def owed(outcome: Outcome, seen: Observation) -> Owed:
    """Return what is owed. The rows, in the order in which they are tried:

    | outcome | seen | owed | basis |
    |---|---|---|---|
    | refused | – | nothing | reported |
    | any | status >= 400 | nothing | reported |
    | any | usage reported | that usage | reported |
    | any | an error in a body with status < 400 and no output | nothing | reported |
    | any | a redirect, which leads to another call | nothing | reported |
    | any | an answer began and its prompt and output were counted | that count | estimated |
    | any | nothing received, or nothing could be counted | unsettled | unknown |

    A call that was never sent is not settled here: its hold is released and nothing recorded.
    """
    if outcome is Outcome.REFUSED:
        return Owed(NOTHING, Basis.REPORTED)
    if seen.status is not None and seen.status >= 400:
        return Owed(NOTHING, Basis.REPORTED)
    if seen.usage is not None:
        return Owed(seen.usage, Basis.REPORTED)
    if seen.error_in_body or (seen.status is not None and seen.status >= 300):
        return Owed(NOTHING, Basis.REPORTED)
    if seen.status is not None and seen.counted is not None:
        return Owed(seen.counted, Basis.ESTIMATED)
    return Owed(None, Basis.UNKNOWN)
