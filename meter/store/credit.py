"""Keep prepaid credit: grant, refund, adjust, revoke, take off what has ended, and show it.

What calls use is burnt by the batch that settles them (`prepaid`). Everything here is an entry
with its moves, under an id that its caller chose: repeating it is a no-op. Knows no HTTP. Called
through the ledger by the façade, the gateway and the command line.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID, uuid5

from sqlalchemy import Connection, Engine, func, insert, select, update

from meter.core.budgets import Budget, Measure, Scope, ScopeKind
from meter.core.credit import (
    PREFIX,
    MoveKind,
    account_id,
    checked_amount,
    checked_currency,
)
from meter.core.windows import Span, Window
from meter.errors import ConflictingWrite, InputError
from meter.store.budget_rows import BudgetRow, budget_from_row, budget_to_row, lock_budgets
from meter.store.encoding import AnyRow, clean
from meter.store.engine import on_cursor, read_connection, write_connection
from meter.store.failures import Interrupted
from meter.store.prepaid import (
    Cause,
    CreditAccount,
    account_from_rows,
    changed_rows,
    entries_between,
)
from meter.store.prepared import Runner
from meter.store.schema import (
    budget_windows,
    credit_grants,
    credit_moves,
    holds,
    open_calls,
    usage_events,
)
from meter.store.schema import budgets as budgets_table
from meter.store.statements import statements_for
from meter.store.writing import balance_rows, entry_row

_OPERATIONS = UUID("6f7d9a1e-52d5-4c39-9a53-0b7f8f2f6d10")
_ATTEMPTS = 8
_AT_ONCE = 500
_CLOCKS_DIFFER_US = 300 * 1_000_000
_MOST_TEXT = 256

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Grant:
    """One credit grant. Amounts are nanos, times microseconds UTC; `expires_us` None: never.

    `left_nanos` is what can still be burnt; `ends_us` the earlier of expiry and revocation.
    """

    id: str
    subject: str
    currency: str
    amount_nanos: int
    left_nanos: int
    granted_us: int
    expires_us: int | None
    revoked_us: int | None
    ends_us: int | None
    reason: str
    author: str

    def state_at(self, at_us: int) -> str:
        """Return "live", "used up", "expired" or "revoked"."""
        if self.ends_us is not None and self.ends_us <= at_us:
            return "expired" if self.revoked_us is None else "revoked"
        return "live" if self.left_nanos else "used up"


@dataclass(frozen=True, slots=True)
class Credit:
    """The prepaid credit of a subject in one currency, as it stands. Amounts are nanos.

    `balance_nanos` is below zero where usage overran it. `held_nanos` is set aside for calls in
    flight, `free_nanos` what a new call can take; `used_nanos` all that calls used of it.
    """

    subject: str
    currency: str
    balance_nanos: int
    held_nanos: int
    free_nanos: int
    used_nanos: int
    since_us: int

    @property
    def id(self) -> str:
        """Return the account's id, which refusals name."""
        return account_id(self.subject, self.currency)


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
        _check_operation(grant_id, subject, reason, author)
        checked_amount(amount_nanos, "a grant")
        checked_currency(currency)
        if expires_us is not None and expires_us <= now_us:
            known = self.one(grant_id)
            if known is None:
                raise InputError("found an expiry in the past, expected a moment to come")
        cause = Cause(_source(grant_id), now_us, MoveKind.GRANT, None, grant_id, reason, author)
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
                _make_account(connection, subject, currency, now_us)
            account = _required(connection, subject, currency)
            if _is_done(connection, cause, account, amount_nanos):
                return _same_grant(connection, row)
            connection.execute(insert(credit_grants), {**row, "left_nanos": 0})
            account.add(grant_id, expires_us, now_us)
            account.move(grant_id, amount_nanos, cause)
            account.cover(grant_id, cause)
            _write(connection, account, cause, {"prepaid:received": -amount_nanos})
            return _required_grant(connection, grant_id)

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
        _check_operation(refund_id, subject, reason, author)
        checked_amount(amount_nanos, "a refund")
        cause = Cause(_source(refund_id), now_us, MoveKind.REFUND, None, refund_id, reason, author)

        def work(connection: Connection) -> Credit:
            account = _required(connection, subject, currency)
            if not _is_done(connection, cause, account, amount_nanos):
                used = _window(connection, account.budget.id).spent
                used -= _sum_of(connection, account, MoveKind.REFUND)
                if amount_nanos > used:
                    raise InputError(
                        f"found a refund of {account.budget.show(amount_nanos)}, expected at most "
                        f"{account.budget.show(max(used, 0))}: what {subject} has used and not got "
                        "back"
                    )
                account.move(account.budget.id, amount_nanos, cause)
                _write(connection, account, cause, {f"refunded:{subject}": -amount_nanos})
            return _credit_at(connection, account.budget, now_us)

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
        _check_operation(adjustment_id, subject, reason, author)
        checked_amount(abs(amount_nanos), "an adjustment")
        cause = Cause(
            _source(adjustment_id), now_us, MoveKind.ADJUSTMENT, None, adjustment_id, reason, author
        )

        def work(connection: Connection) -> Credit:
            account = _required(connection, subject, currency)
            if not _is_done(connection, cause, account, amount_nanos):
                account.take(-amount_nanos, cause)
                _write(connection, account, cause, {f"adjusted:{subject}": -amount_nanos})
            return _credit_at(connection, account.budget, now_us)

        return self._persistently(work)

    def revoke(self, grant_id: str, *, reason: str, author: str, now_us: int) -> Grant:
        """End a grant now. What calls in flight have set aside is taken off when they have ended.

        One that has ended before stays as it is. Raises: InputError when there is none of that id.
        """
        _check_texts(reason, author)

        def work(connection: Connection) -> Grant:
            known = _required_grant(connection, grant_id)
            account = _required(connection, known.subject, known.currency)
            known = _required_grant(connection, grant_id)
            if known.ends_us is None or known.ends_us > now_us:
                connection.execute(
                    update(credit_grants)
                    .where(credit_grants.c.id == grant_id)
                    .values(
                        revoked_us=now_us,
                        ends_us=now_us,
                        revoked_reason=reason,
                        revoked_author=author,
                    )
                )
                account.end(grant_id, now_us)
                _close(connection, account, grant_id, now_us)
            return _required_grant(connection, grant_id)

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
                account = _required(connection, whose, currency)
                return _close(connection, account, grant_id, now_us)

            closed += self._persistently(work)
        return closed

    def one(self, grant_id: str) -> Grant | None:
        """Return the grant of an id, None when there is none."""
        with read_connection(self._engine) as connection:
            return _grant_or_none(connection, grant_id)

    def grants(self, subject: str | None = None, currency: str | None = None) -> list[Grant]:
        """Return grants, the oldest first."""
        chosen = select(credit_grants).where(~credit_grants.c.id.startswith(PREFIX))
        if subject is not None:
            chosen = chosen.where(credit_grants.c.subject == clean(subject))
        if currency is not None:
            chosen = chosen.where(credit_grants.c.currency == currency)
        chosen = chosen.order_by(credit_grants.c.granted_us, credit_grants.c.id)
        with read_connection(self._engine) as connection:
            return [_grant(row) for row in connection.execute(chosen).mappings()]

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
            return [_credit_at(connection, budget, now_us) for budget in found]

    def standing(self, account: str, *, now_us: int) -> BudgetRow | None:
        """Return a credit account as a budget, None when there is none of that id."""
        with read_connection(self._engine) as connection:
            row = _budget_row(connection, account)
            if row is None:
                return None
            budget = budget_from_row(row)
            funded, standing = _stored_account(connection, budget).funded(
                now_us, _window(connection, account).held, _in_flight(connection, account)
            )
        return BudgetRow(funded, standing, 0, None, row["created_us"])

    def _has_account(self, subject: str, currency: str) -> bool:
        with read_connection(self._engine) as connection:
            name = account_id(clean(subject) or "", currency)
            return _budget_row(connection, name) is not None

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


# --- accounts ---------------------------------------------------------------------------------


def _required(connection: Connection, subject: str, currency: str) -> CreditAccount:
    """Return an account, locked until the transaction ends. Raises: InputError without one."""
    name = account_id(clean(subject) or "", currency)
    row = _budget_row(connection, name)
    if row is None:
        raise InputError(
            f"found no prepaid credit of {subject!r:.80} in {currency:.20}, expected a grant before"
        )
    _window(connection, name, lock=True)
    return _stored_account(connection, budget_from_row(row))


def _make_account(connection: Connection, subject: str, currency: str, now_us: int) -> None:
    """Make an account that nobody else has made meanwhile."""
    name = account_id(clean(subject) or "", currency)
    # Batches that found no account go on as if there were none: let them end first.
    lock_budgets(connection)
    if _budget_row(connection, name) is not None:
        return
    budget = Budget(
        name, Scope(ScopeKind.SUBJECT, subject), Measure.CREDIT, 0, currency, Window(Span.TOTAL)
    )
    since_us = _after_all_calls(connection, subject, now_us)
    connection.execute(insert(budgets_table), budget_to_row(budget, since_us))
    connection.execute(
        insert(budget_windows),
        {"budget_id": name, "window_start_us": 0, "spent": 0, "held": 0},
    )
    loose = {
        "id": name,
        "granted_us": now_us,
        "amount_nanos": 0,
        "left_nanos": 0,
        "subject": clean(subject),
        "currency": currency,
        "reason": "what belongs to no grant",
        "author": "meter",
    }
    connection.execute(insert(credit_grants), loose)


def _after_all_calls(connection: Connection, subject: str, now_us: int) -> int:
    """Return the moment from which a subject is prepaid: now, or after all calls it has made.

    Clocks differ a little: a call from before may bear a later time. Raises: InputError where
    they differ so much that calls would go out unpaid until then.
    """
    last_us = now_us - 1
    for table in (usage_events, open_calls):
        chosen = select(func.max(table.c.started_us)).where(table.c.subject == clean(subject))
        last_us = max(last_us, connection.execute(chosen).scalar() or 0)
    if last_us >= now_us + _CLOCKS_DIFFER_US:
        ahead_s = (last_us - now_us) // 1_000_000
        raise InputError(
            f"found a call of {subject!r:.80} that starts {ahead_s} s from now, expected clocks "
            "that agree: set them right before granting credit"
        )
    return last_us + 1


def _budget_row(connection: Connection, name: str) -> AnyRow | None:
    chosen = select(budgets_table).where(
        budgets_table.c.id == name, budgets_table.c.measure == Measure.CREDIT.value
    )
    return connection.execute(chosen).mappings().first()


def _window(connection: Connection, name: str, *, lock: bool = False) -> Any:
    chosen = select(budget_windows.c.spent, budget_windows.c.held).where(
        budget_windows.c.budget_id == name, budget_windows.c.window_start_us == 0
    )
    return connection.execute(chosen.with_for_update() if lock else chosen).one()


def _stored_account(connection: Connection, budget: Budget) -> CreditAccount:
    chosen = select(credit_grants).where(
        credit_grants.c.subject == clean(budget.scope.value), credit_grants.c.closed_us.is_(None)
    )
    return account_from_rows(budget, connection.execute(chosen).mappings().all(), {})


def _credit_at(connection: Connection, budget: Budget, now_us: int) -> Credit:
    row = _budget_row(connection, budget.id)
    assert row is not None
    account, window = _stored_account(connection, budget), _window(connection, budget.id)
    in_flight = _in_flight(connection, budget.id) if account.needs_starts(now_us) else ()
    funded, standing = account.funded(now_us, window.held, in_flight)
    return Credit(
        subject=budget.scope.value,
        currency=budget.currency or "",
        balance_nanos=funded.limit,
        held_nanos=window.held,
        free_nanos=funded.limit - standing.held,
        used_nanos=window.spent,
        since_us=row["created_us"],
    )


def _in_flight(connection: Connection, name: str) -> list[tuple[int, int]]:
    chosen = (
        select(open_calls.c.started_us, holds.c.amount)
        .join(holds, holds.c.call_id == open_calls.c.call_id)
        .where(holds.c.budget_id == name)
    )
    return [(row.started_us, row.amount) for row in connection.execute(chosen)]


def _sum_of(connection: Connection, account: CreditAccount, kind: MoveKind) -> int:
    chosen = select(credit_moves.c.amount_nanos).where(
        credit_moves.c.subject == clean(account.budget.scope.value),
        credit_moves.c.currency == account.budget.currency,
        credit_moves.c.kind == kind.value,
        credit_moves.c.call_id.is_(None),
    )
    return sum(connection.execute(chosen).scalars())


def _close(connection: Connection, account: CreditAccount, grant_id: str, now_us: int) -> bool:
    """Take off what is left of a grant that has ended, unless calls may still be paid from it."""
    known = account.remainders.get(grant_id)
    if known is None or known.lives_at(now_us) or known.ends_us is None:
        return False
    if known.left_nanos and any(
        started_us < known.ends_us for started_us, _ in _in_flight(connection, account.budget.id)
    ):
        return False
    grant = _required_grant(connection, grant_id)
    kind = MoveKind.EXPIRY if grant.revoked_us is None else MoveKind.REVOCATION
    cause = Cause(_source(f"{grant_id}\0end"), known.ends_us, kind, None, grant_id)
    if known.left_nanos:
        left = known.left_nanos
        account.move(grant_id, -left, cause)
        where = "expired" if kind is MoveKind.EXPIRY else "revoked"
        _write(connection, account, cause, {f"{where}:{account.budget.scope.value}": left})
    connection.execute(
        update(credit_grants).where(credit_grants.c.id == grant_id).values(closed_us=now_us)
    )
    return True


# --- operations -------------------------------------------------------------------------------


def _source(name: str) -> UUID:
    return uuid5(_OPERATIONS, name)


def _is_done(
    connection: Connection, cause: Cause, account: CreditAccount, amount_nanos: int
) -> bool:
    """Whether this very operation was carried out before. Raises: ConflictingWrite."""
    chosen = select(credit_moves).where(credit_moves.c.source_id == cause.source_id)
    known = connection.execute(chosen).mappings().all()
    if not known:
        return False
    first = known[0]
    total = sum(row["amount_nanos"] for row in known)
    found = (first["kind"], first["subject"], first["currency"], total, first["reason"],
             first["author"])  # fmt: skip
    wanted = (cause.kind.value, clean(account.budget.scope.value), account.budget.currency,
              amount_nanos, cause.reason, cause.author)  # fmt: skip
    if found != wanted:
        raise ConflictingWrite(
            f"found id {cause.name} used for a {first['kind']} of {first['subject']} of "
            f"{account.budget.show(total)}, expected an id of its own for each"
        )
    return True


def _write(
    connection: Connection, account: CreditAccount, cause: Cause, changes: dict[str, int]
) -> None:
    """Write what an operation changes: moves, what is left, entries, balances."""
    entries = entries_between(account.name, account.budget.currency or "", cause, changes, 0)
    statements = statements_for(connection.dialect)
    with on_cursor(connection) as cursor:
        runner = Runner(cursor, native=connection.dialect.name == "postgresql")
        for statement, rows in (
            (statements.add_credit_moves, account.moves),
            (statements.add_entries, [entry_row(entry) for entry in entries]),
        ):
            if runner.put(statement, rows) != len(rows):
                raise Interrupted("found the same operation at the same time: try again")
        runner.put(statements.move_credit, changed_rows([account]))
        runner.put(statements.move_balances, balance_rows(entries))


def _check_operation(name: str, subject: str, reason: str, author: str) -> None:
    if not _is_plain(name) or name.startswith(PREFIX):
        raise InputError(
            f"found id {name!r:.80}, expected 1 to {_MOST_TEXT} plain characters that do not begin "
            f"with {PREFIX!r}"
        )
    if not _is_plain(subject):
        raise InputError(f"found subject {subject!r:.80}, expected who the credit is for")
    _check_texts(reason, author)


def _check_texts(reason: str, author: str) -> None:
    for what, text in (("reason", reason), ("author", author)):
        if not _is_plain(text):
            raise InputError(
                f"found {what} {text!r:.80}, expected 1 to {_MOST_TEXT} plain characters"
            )


def _is_plain(text: str) -> bool:
    return 1 <= len(text) <= _MOST_TEXT and text.isprintable()


# --- grants -----------------------------------------------------------------------------------


def _same_grant(connection: Connection, row: dict[str, Any]) -> Grant:
    known = _required_grant(connection, row["id"])
    if known.expires_us != row["expires_us"]:
        raise ConflictingWrite(
            f"found grant {known.id} with another expiry, expected an id of its own for each"
        )
    return known


def _required_grant(connection: Connection, grant_id: str) -> Grant:
    known = _grant_or_none(connection, grant_id)
    if known is None:
        raise InputError(f"found no credit grant {grant_id!r:.80}: meter credits list shows them")
    return known


def _grant_or_none(connection: Connection, grant_id: str) -> Grant | None:
    if grant_id.startswith(PREFIX):
        return None
    chosen = select(credit_grants).where(credit_grants.c.id == grant_id)
    row = connection.execute(chosen).mappings().first()
    return None if row is None else _grant(row)


def _grant(row: AnyRow) -> Grant:
    return Grant(
        id=row["id"],
        subject=row["subject"],
        currency=row["currency"],
        amount_nanos=row["amount_nanos"],
        left_nanos=row["left_nanos"],
        granted_us=row["granted_us"],
        expires_us=row["expires_us"],
        revoked_us=row["revoked_us"],
        ends_us=row["ends_us"],
        reason=row["reason"],
        author=row["author"],
    )
