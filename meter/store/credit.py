"""Keep prepaid credit: grant, refund, adjust, revoke, take off what has ended, and show it.

What calls use is burnt by the batch that settles them (`prepaid`). Everything here is an entry
with its moves, under an id that its caller chose: repeating it is a no-op. Knows no HTTP. Called
through the ledger by the façade, the gateway and the command line.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

from sqlalchemy import Connection, Engine, func, insert, select, true, update

from meter.core.budgets import Measure, ScopeKind
from meter.core.credit import (
    PREFIX,
    MoveKind,
    account_id,
    checked_amount,
    checked_currency,
)
from meter.core.statements import Statement
from meter.errors import InputError
from meter.store.budget_rows import BudgetRow, budget_from_row
from meter.store.credit_moves import statement_of
from meter.store.credit_rows import (
    Credit,
    Grant,
    budget_row,
    check_operation,
    check_texts,
    close_grant,
    credit_at,
    grant_from_row,
    grant_or_none,
    in_flight,
    is_done,
    locked_account,
    make_account,
    required_grant,
    same_grant,
    source_of,
    stored_account,
    sum_of,
    window_of,
    write_operation,
)
from meter.store.encoding import clean
from meter.store.engine import read_connection, write_connection
from meter.store.failures import Interrupted
from meter.store.prepaid import Cause
from meter.store.schema import budgets as budgets_table
from meter.store.schema import credit_grants, credit_moves, usage_events

_ATTEMPTS = 8
_AT_ONCE = 500

Result = TypeVar("Result")


class Credits:
    """The prepaid credit of one ledger. Thread-safe; every method raises StoreUnavailable."""

    def __init__(self, engine: Engine) -> None:
        """Take an engine whose schema is current."""
        self._engine = engine

    def grant(
        self,
        grant_id: str,
        subject: str,
        amount_nanos: int,
        currency: str,
        *,
        expires_us: int | None,
        reason: str,
        author: str,
        now_us: int,
    ) -> Grant:
        """Grant credit; the subject is prepaid in the currency from then on.

        An overrun is paid from it first. Raises: InputError, ConflictingWrite when the id was used
        for something else.
        """
        check_operation(grant_id, subject, reason, author)
        checked_amount(amount_nanos, "a grant")
        checked_currency(currency)
        if expires_us is not None and expires_us <= now_us:
            known = self.one(grant_id)
            if known is None:
                raise InputError("found an expiry in the past, expected a moment to come")
        cause = Cause(source_of(grant_id), now_us, MoveKind.GRANT, None, grant_id, reason, author)
        row = {
            "id": grant_id,
            "granted_us": now_us,
            "expires_us": expires_us,
            "ends_us": expires_us,
            "amount_nanos": amount_nanos,
            "subject": clean(subject),
            "currency": currency,
            "reason": reason,
            "author": author,
        }

        is_new = not self._has_account(subject, currency)

        def work(connection: Connection) -> Grant:
            if is_new:
                make_account(connection, subject, currency, now_us)
            account = locked_account(connection, subject, currency)
            if is_done(connection, cause, account, amount_nanos):
                return same_grant(connection, row)
            connection.execute(insert(credit_grants), {**row, "left_nanos": 0})
            account.add(grant_id, expires_us, now_us)
            account.move(grant_id, amount_nanos, cause)
            account.cover(grant_id, cause)
            write_operation(connection, account, cause, {"prepaid:received": -amount_nanos})
            return required_grant(connection, grant_id)

        return self._persistently(work)

    def refund(
        self,
        refund_id: str,
        subject: str,
        amount_nanos: int,
        currency: str,
        *,
        reason: str,
        author: str,
        now_us: int,
    ) -> Credit:
        """Give back what was used, at most as much as was used and not given back before.

        Raises: InputError, ConflictingWrite.
        """
        check_operation(refund_id, subject, reason, author)
        checked_amount(amount_nanos, "a refund")
        cause = Cause(
            source_of(refund_id), now_us, MoveKind.REFUND, None, refund_id, reason, author
        )

        def work(connection: Connection) -> Credit:
            account = locked_account(connection, subject, currency)
            if not is_done(connection, cause, account, amount_nanos):
                used = window_of(connection, account.budget.id).spent
                used -= sum_of(connection, account, MoveKind.REFUND)
                if amount_nanos > used:
                    raise InputError(
                        f"found a refund of {account.budget.show(amount_nanos)}, expected at most "
                        f"{account.budget.show(max(used, 0))}: what {subject} has used and not got "
                        "back"
                    )
                account.move(account.budget.id, amount_nanos, cause)
                write_operation(connection, account, cause, {f"refunded:{subject}": -amount_nanos})
            return credit_at(connection, account.budget, now_us)

        return self._persistently(work)

    def adjust(
        self,
        adjustment_id: str,
        subject: str,
        amount_nanos: int,
        currency: str,
        *,
        reason: str,
        author: str,
        now_us: int,
    ) -> Credit:
        """Add to the credit, or take from it (below zero), even more than there is.

        Raises: InputError, ConflictingWrite.
        """
        check_operation(adjustment_id, subject, reason, author)
        checked_amount(abs(amount_nanos), "an adjustment")
        cause = Cause(
            source_of(adjustment_id),
            now_us,
            MoveKind.ADJUSTMENT,
            None,
            adjustment_id,
            reason,
            author,
        )

        def work(connection: Connection) -> Credit:
            account = locked_account(connection, subject, currency)
            if not is_done(connection, cause, account, amount_nanos):
                account.take(-amount_nanos, cause)
                write_operation(connection, account, cause, {f"adjusted:{subject}": -amount_nanos})
            return credit_at(connection, account.budget, now_us)

        return self._persistently(work)

    def revoke(self, grant_id: str, *, reason: str, author: str, now_us: int) -> Grant:
        """End a grant now. What calls in flight have set aside is taken off when they have ended.

        One that has ended before stays as it is. Raises: InputError when there is none of that id.
        """
        check_texts(reason, author)

        def work(connection: Connection) -> Grant:
            known = required_grant(connection, grant_id)
            account = locked_account(connection, known.subject, known.currency)
            known = required_grant(connection, grant_id)
            if known.ends_us is None or known.ends_us > now_us:
                # A call in flight came before this, also where its clock is ahead of ours.
                began = [started_us for started_us, _ in in_flight(connection, account.budget.id)]
                ends_us = max([now_us, *(started_us + 1 for started_us in began)])
                if known.ends_us is not None:
                    ends_us = min(ends_us, known.ends_us)
                connection.execute(
                    update(credit_grants)
                    .where(credit_grants.c.id == grant_id)
                    .values(
                        revoked_us=now_us,
                        ends_us=ends_us,
                        revoked_reason=reason,
                        revoked_author=author,
                    )
                )
                account.end(grant_id, ends_us)
                close_grant(connection, account, grant_id, now_us)
            return required_grant(connection, grant_id)

        return self._persistently(work)

    def lapse(self, now_us: int, subject: str | None = None) -> int:
        """Take off what is left of grants that have ended; return how many were closed.

        Each exactly once, however many processes look. A grant from which calls in flight may
        still be paid waits for them. Raises: StoreUnavailable.
        """
        ended = select(credit_grants.c.id, credit_grants.c.subject, credit_grants.c.currency).where(
            credit_grants.c.ends_us <= now_us, credit_grants.c.closed_us.is_(None)
        )
        if subject is not None:
            ended = ended.where(credit_grants.c.subject == clean(subject))
        with read_connection(self._engine) as connection:
            found = connection.execute(ended.order_by(credit_grants.c.ends_us).limit(_AT_ONCE))
            waiting = [(row.id, row.subject, row.currency) for row in found]
        closed = 0
        for grant_id, whose, currency in waiting:

            def work(
                connection: Connection,
                grant_id: str = grant_id,
                whose: str = whose,
                currency: str = currency,
            ) -> bool:
                account = locked_account(connection, whose, currency)
                return close_grant(connection, account, grant_id, now_us)

            closed += self._persistently(work)
        return closed

    def one(self, grant_id: str) -> Grant | None:
        """Return the grant of an id, None when there is none."""
        with read_connection(self._engine) as connection:
            return grant_or_none(connection, grant_id)

    def grants(self, subject: str | None = None, currency: str | None = None) -> list[Grant]:
        """Return grants, the oldest first."""
        chosen = select(credit_grants).where(~credit_grants.c.id.startswith(PREFIX))
        if subject is not None:
            chosen = chosen.where(credit_grants.c.subject == clean(subject))
        if currency is not None:
            chosen = chosen.where(credit_grants.c.currency == currency)
        chosen = chosen.order_by(credit_grants.c.granted_us, credit_grants.c.id)
        with read_connection(self._engine) as connection:
            return [grant_from_row(row) for row in connection.execute(chosen).mappings()]

    def accounts(self, *, now_us: int, subject: str | None = None) -> list[Credit]:
        """Return the credit of every prepaid subject, or of one, as it stands; sorted."""
        chosen = select(budgets_table).where(budgets_table.c.measure == Measure.CREDIT.value)
        if subject is not None:
            chosen = chosen.where(
                budgets_table.c.scope_kind == ScopeKind.SUBJECT.value,
                budgets_table.c.scope_value == clean(subject),
            )
        chosen = chosen.order_by(budgets_table.c.scope_value, budgets_table.c.currency)
        with read_connection(self._engine) as connection:
            found = [budget_from_row(row) for row in connection.execute(chosen).mappings().all()]
            return [credit_at(connection, budget, now_us) for budget in found]

    def statement(
        self,
        subject: str,
        currency: str | None = None,
        *,
        since_us: int | None,
        until_us: int,
        tz: str,
        by: Sequence[str],
    ) -> Statement:
        """Return the statement of a subject over [since_us, until_us), usage summed by `by`.

        `currency` None: the only one that the subject has credit in. Raises: InputError,
        ConfigError.
        """
        with read_connection(self._engine) as connection:
            known = _currencies(connection, subject)
            if currency is None and len(known) > 1:
                raise InputError(
                    f"found credit of {subject!r:.80} in {', '.join(known)}, expected to be told "
                    "the currency"
                )
            if not known or currency not in (None, *known):
                raise InputError(
                    f"found no prepaid credit of {subject!r:.80} in {currency or 'any currency'}, "
                    "expected a grant before"
                )
            return statement_of(
                connection, subject, currency or known[0], since_us=since_us, until_us=until_us,
                tz=tz, by=by,
            )  # fmt: skip

    def currencies(self, subject: str) -> list[str]:
        """Return the currencies that the subject is prepaid in, sorted."""
        with read_connection(self._engine) as connection:
            return _currencies(connection, subject)

    def used(self, subject: str, currency: str, *, since_us: int, until_us: int | None) -> int:
        """Return what the calls that started in [since_us, until_us) took from the credit, nanos.

        As it is known now: what corrections gave back is taken off.
        """
        started = usage_events.c.started_us
        chosen = (
            select(func.coalesce(func.sum(-credit_moves.c.amount_nanos), 0))
            .join(usage_events, usage_events.c.call_id == credit_moves.c.call_id)
            .where(
                credit_moves.c.subject == clean(subject),
                credit_moves.c.currency == currency,
                credit_moves.c.kind == MoveKind.USAGE.value,
                started >= since_us,
                true() if until_us is None else started < until_us,
            )
        )
        with read_connection(self._engine) as connection:
            return int(connection.execute(chosen).scalar_one())

    def overrun(self, subject: str, currency: str) -> int:
        """Return by how much usage has overrun the credit, in nanos >= 0."""
        chosen = select(credit_grants.c.left_nanos).where(
            credit_grants.c.id == account_id(clean(subject) or "", currency)
        )
        with read_connection(self._engine) as connection:
            return max(-(connection.execute(chosen).scalar() or 0), 0)

    def standing(self, account: str, *, now_us: int) -> BudgetRow | None:
        """Return a credit account as a budget, None when there is none of that id."""
        with read_connection(self._engine) as connection:
            row = budget_row(connection, account)
            if row is None:
                return None
            budget = budget_from_row(row)
            funded, standing = stored_account(connection, budget).funded(
                now_us, window_of(connection, account).held, in_flight(connection, account)
            )
        return BudgetRow(funded, standing, 0, None, row["created_us"])

    def _has_account(self, subject: str, currency: str) -> bool:
        with read_connection(self._engine) as connection:
            name = account_id(clean(subject) or "", currency)
            return budget_row(connection, name) is not None

    def _persistently(self, work: Callable[[Connection], Result]) -> Result:
        """Run one operation in one transaction, again when others got in its way."""
        attempts = 0
        while True:
            try:
                with write_connection(self._engine) as connection:
                    return work(connection)
            except Interrupted:
                attempts += 1
                if attempts >= _ATTEMPTS:
                    raise


def _currencies(connection: Connection, subject: str) -> list[str]:
    chosen = select(budgets_table.c.currency).where(
        budgets_table.c.measure == Measure.CREDIT.value,
        budgets_table.c.scope_kind == ScopeKind.SUBJECT.value,
        budgets_table.c.scope_value == clean(subject),
    )
    return sorted(connection.execute(chosen).scalars())
