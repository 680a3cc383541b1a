"""Decide on prepaid credit: what is left for a call, and which grants pay for it. Pure.

A subject that was ever granted credit in a currency is prepaid in it. What is left of each grant,
and one loose remainder, make up its account. Grants are burnt soonest-ending first, the loose
remainder last: it takes what corrections give back, and below zero it is the overrun, because a
fact is never refused.

A call is paid by what had not ended when it started. So a grant that has ended while calls from
before are in flight still pays for them, and for nothing else; see `free`. Called by the store,
which makes it atomic.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from meter.errors import InputError

PREFIX = "credit:"
"""What the ids of credit accounts begin with."""

MOST_NANOS = 2**53
"""The largest amount of one operation, in nanos: nine million of a currency, so that sums fit."""


class MoveKind(StrEnum):
    """Why the credit of a subject moved.

    `cover` moves credit of a new grant to an overrun from before it; it changes no balance.
    """

    GRANT = "grant"
    USAGE = "usage"
    REFUND = "refund"
    ADJUSTMENT = "adjustment"
    EXPIRY = "expiry"
    REVOCATION = "revocation"
    COVER = "cover"


@dataclass(frozen=True, slots=True)
class Remainder:
    """What is left of one grant, in nanos; `ends_us` None: it never ends.

    The loose remainder has its account's id for a grant's, and may be below zero.
    """

    grant_id: str
    left_nanos: int
    ends_us: int | None = None
    granted_us: int = 0

    @property
    def is_loose(self) -> bool:
        """Whether this belongs to no grant."""
        return self.grant_id.startswith(PREFIX)

    def lives_at(self, at_us: int) -> bool:
        """Whether this can pay for what happens at that moment."""
        return self.ends_us is None or at_us < self.ends_us


def account_id(subject: str, currency: str) -> str:
    """Return the id of a subject's credit account in a currency; refusals name it."""
    return f"{PREFIX}{subject}:{currency}"


def balance(remainders: Iterable[Remainder], at_us: int) -> int:
    """Return what is left at that moment, in nanos; below zero is overrun."""
    return sum(each.left_nanos for each in remainders if each.lives_at(at_us))


def free(
    remainders: Sequence[Remainder],
    at_us: int,
    held_nanos: int,
    in_flight: Iterable[tuple[int, int]] = (),
) -> int:
    """Return the most that a call that starts at `at_us` may set aside, in nanos.

    `held_nanos` is what all calls in flight have set aside, `in_flight` the start and the amount
    of each of them; it is only needed where `straddled` says so. Below zero nothing is free.

    Calls can burn what ends after their start, so later calls a part of what earlier ones can:
    nobody is short as long as, from each end on, the calls that started since fit into what was
    left then.
    """
    most = balance(remainders, at_us) - held_nanos
    ends = straddled(remainders, at_us)
    if not ends:
        return most
    holds = list(in_flight)
    bounds = []
    for since_us in (*ends, None):
        usable = sum(
            each.left_nanos for each in remainders if since_us is None or each.lives_at(since_us)
        )
        held = sum(amount for start, amount in holds if since_us is None or start >= since_us)
        bounds.append(usable - held)
    return min(bounds)


def straddled(remainders: Iterable[Remainder], at_us: int) -> tuple[int, ...]:
    """Return when those grants ended that have ended by `at_us` and still have something left."""
    ends = {e.ends_us for e in remainders if e.ends_us is not None and e.left_nanos}
    return tuple(sorted(end_us for end_us in ends if end_us <= at_us))


def burnt(remainders: Iterable[Remainder], amount: int, at_us: int) -> tuple[tuple[str, int], ...]:
    """Return what an amount (>= 0) of that moment takes from each: (grant id, nanos > 0).

    What the grants cannot pay comes from the loose remainder, below zero if need be.
    """
    living = [each for each in remainders if each.lives_at(at_us)]
    taken = []
    for each in sorted(living, key=_burning_order):
        part = amount if each.is_loose else min(amount, each.left_nanos)
        if part > 0:
            taken.append((each.grant_id, part))
            amount -= part
    return tuple(taken)


def _burning_order(each: Remainder) -> tuple[bool, bool, int, int, str]:
    ends_us = each.ends_us
    return (each.is_loose, ends_us is None, ends_us or 0, each.granted_us, each.grant_id)


def checked_amount(amount_nanos: int, what: str) -> int:
    """Return the amount (> 0). Raises: InputError."""
    if not 0 < amount_nanos <= MOST_NANOS:
        raise InputError(
            f"found {what} of {amount_nanos} nanos, expected more than zero and at most "
            f"{MOST_NANOS}"
        )
    return amount_nanos


def checked_currency(currency: str) -> str:
    """Return a currency's code. Raises: InputError."""
    if not (len(currency) == 3 and currency.isascii() and currency.isalpha()
            and currency.isupper()):  # fmt: skip
        raise InputError(f"found currency {currency!r:.20}, expected a code such as CNY")
    return currency
