"""Grant prepaid credit and show it, in the words of Python: decimal texts and aware datetimes.

    meter.credits.grant("alice", "50", "CNY", reason="order 17", author="boss")
    for line in meter.credits.statement("alice", since=november).lines: ...

A subject that was ever granted credit in a currency is prepaid in it: its calls need credit from
then on. Offered by the façade as `Meter.credits`.
"""

import secrets
from collections.abc import Sequence
from datetime import datetime

from meter.clock import now_us
from meter.core.money import nanos_from_text
from meter.core.rates import microseconds_of
from meter.core.statements import Statement
from meter.errors import InputError
from meter.store.credit import Credits
from meter.store.credit_rows import Credit, Grant

_ID_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
_ID_CHARACTERS = 10


class PrepaidCredit:
    """The prepaid credit of a ledger. Thread-safe; every method may raise StoreUnavailable.

    Each thing done has an `id`: doing it again under the same id does nothing, and something else
    under it raises ConflictingWrite. Without one it gets an id of its own. `amount` is a decimal
    text in `currency`; `reason` and `author` are kept with it.
    """

    def __init__(self, stored: Credits, *, read_only: bool = False) -> None:
        """Take the credit of a ledger; `read_only`: what has ended is not taken off in it."""
        self._stored = stored
        self._read_only = read_only

    def grant(
        self,
        subject: str,
        amount: str,
        currency: str = "USD",
        *,
        expires: datetime | None = None,
        reason: str = "prepaid",
        author: str = "operator",
        id: str | None = None,
    ) -> Grant:
        """Grant credit. Raises: InputError, MoneyError, ConflictingWrite."""
        return self._stored.grant(
            id or new_id(),
            subject,
            nanos_from_text(amount),
            currency,
            expires_us=_us(expires),
            reason=reason,
            author=author,
            now_us=now_us(),
        )

    def refund(
        self,
        subject: str,
        amount: str,
        currency: str = "USD",
        *,
        reason: str,
        author: str,
        id: str | None = None,
    ) -> Credit:
        """Give back what was used, at most as much as was. Raises: InputError, ConflictingWrite."""
        return self._stored.refund(
            id or new_id(),
            subject,
            nanos_from_text(amount),
            currency,
            reason=reason,
            author=author,
            now_us=now_us(),
        )

    def adjust(
        self,
        subject: str,
        amount: str,
        currency: str = "USD",
        *,
        reason: str,
        author: str,
        id: str | None = None,
    ) -> Credit:
        """Add to the credit or, with an amount below zero, take from it.

        Raises: InputError, MoneyError, ConflictingWrite.
        """
        return self._stored.adjust(
            id or new_id(),
            subject,
            nanos_from_text(amount),
            currency,
            reason=reason,
            author=author,
            now_us=now_us(),
        )

    def revoke(self, grant_id: str, *, reason: str, author: str) -> Grant:
        """End a grant now; what is left of it leaves the balance. Raises: InputError."""
        return self._stored.revoke(grant_id, reason=reason, author=author, now_us=now_us())

    def balances(self, subject: str | None = None) -> list[Credit]:
        """Return the credit of every prepaid subject, or of one, in each currency."""
        self._lapse(subject)
        return self._stored.accounts(now_us=now_us(), subject=subject)

    def grants(self, subject: str | None = None) -> list[Grant]:
        """Return the grants of every subject, or of one, the oldest first."""
        self._lapse(subject)
        return self._stored.grants(subject)

    def statement(
        self,
        subject: str,
        currency: str | None = None,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        tz: str = "UTC",
        by: Sequence[str] = ("day",),
    ) -> Statement:
        """Return the credit of a subject line by line over [since, until), so that it adds up.

        Usage is summed by `by`: hour, day, week, month, model, provider, endpoint, key. `currency`
        may be left out where the subject has credit in one only. Raises: InputError, ConfigError.
        """
        at_us = now_us()
        self._lapse(subject)
        end_us = _us(until)
        return self._stored.statement(
            subject,
            currency,
            since_us=_us(since),
            until_us=at_us + 1 if end_us is None else end_us,
            tz=tz,
            by=by,
        )

    def _lapse(self, subject: str | None) -> None:
        """Take off what has ended, so that what is shown has it."""
        if not self._read_only:
            self._stored.lapse(now_us(), subject)


def new_id() -> str:
    """Return an id for something that a person did without choosing one."""
    return "c-" + "".join(secrets.choice(_ID_ALPHABET) for _ in range(_ID_CHARACTERS))


def _us(moment: datetime | None) -> int | None:
    if moment is None:
        return None
    if moment.tzinfo is None:
        raise InputError(f"found {moment} without a time zone, expected an aware datetime")
    return microseconds_of(moment)
