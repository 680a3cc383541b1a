"""Read and write the rows of prepaid credit: accounts, grants, and what people do with them.

Each function works inside the transaction of its caller. Called by `credit`.
"""

from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid5

from sqlalchemy import Connection, func, insert, select, update

from meter.core.budgets import Budget, Measure, Scope, ScopeKind
from meter.core.credit import PREFIX, MoveKind, account_id
from meter.core.windows import Span, Window
from meter.errors import ConflictingWrite, InputError
from meter.store.budget_rows import budget_from_row, budget_to_row, lock_budgets
from meter.store.encoding import AnyRow, clean
from meter.store.engine import on_cursor
from meter.store.failures import Interrupted
from meter.store.feed import arrival_rows
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
_CLOCKS_DIFFER_US = 300 * 1_000_000
_MOST_TEXT = 256


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

    def left_at(self, at_us: int) -> int:
        """Return what a call that starts then can burn: nothing of what has ended."""
        return 0 if self.ends_us is not None and self.ends_us <= at_us else self.left_nanos

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


# --- accounts ---------------------------------------------------------------------------------


def locked_account(connection: Connection, subject: str, currency: str) -> CreditAccount:
    """Return an account, locked until the transaction ends. Raises: InputError without one."""
    name = account_id(clean(subject) or "", currency)
    row = budget_row(connection, name)
    if row is None:
        raise InputError(
            f"found no prepaid credit of {subject!r:.80} in {currency:.20}, expected a grant before"
        )
    window_of(connection, name, lock=True)
    return stored_account(connection, budget_from_row(row))


def make_account(connection: Connection, subject: str, currency: str, now_us: int) -> None:
    """Make an account that nobody else has made meanwhile."""
    name = account_id(clean(subject) or "", currency)
    # Batches that found no account go on as if there were none: let them end first.
    lock_budgets(connection)
    if budget_row(connection, name) is not None:
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


def budget_row(connection: Connection, name: str) -> AnyRow | None:
    """Return the row of a credit account's budget, None when there is none."""
    chosen = select(budgets_table).where(
        budgets_table.c.id == name, budgets_table.c.measure == Measure.CREDIT.value
    )
    return connection.execute(chosen).mappings().first()


def window_of(connection: Connection, name: str, *, lock: bool = False) -> Any:
    """Return what was spent and is held of an account, locked if need be."""
    chosen = select(budget_windows.c.spent, budget_windows.c.held).where(
        budget_windows.c.budget_id == name, budget_windows.c.window_start_us == 0
    )
    return connection.execute(chosen.with_for_update() if lock else chosen).one()


def stored_account(connection: Connection, budget: Budget) -> CreditAccount:
    """Return the account of a credit budget as it is stored."""
    chosen = select(credit_grants).where(
        credit_grants.c.subject == clean(budget.scope.value), credit_grants.c.closed_us.is_(None)
    )
    return account_from_rows(budget, connection.execute(chosen).mappings().all(), {})


def credit_at(connection: Connection, budget: Budget, now_us: int) -> Credit:
    """Return the credit of an account as it stands."""
    row = budget_row(connection, budget.id)
    assert row is not None
    account, window = stored_account(connection, budget), window_of(connection, budget.id)
    flying = in_flight(connection, budget.id) if account.needs_starts(now_us) else ()
    funded, standing = account.funded(now_us, window.held, flying)
    return Credit(
        subject=budget.scope.value,
        currency=budget.currency or "",
        balance_nanos=funded.limit,
        held_nanos=window.held,
        free_nanos=funded.limit - standing.held,
        used_nanos=window.spent,
        since_us=row["created_us"],
    )


def in_flight(connection: Connection, name: str) -> list[tuple[int, int]]:
    """Return the start of each call in flight and what it holds of an account."""
    chosen = (
        select(open_calls.c.started_us, holds.c.amount)
        .join(holds, holds.c.call_id == open_calls.c.call_id)
        .where(holds.c.budget_id == name)
    )
    return [(row.started_us, row.amount) for row in connection.execute(chosen)]


def sum_of(connection: Connection, account: CreditAccount, kind: MoveKind) -> int:
    """Return what people moved in one way, in nanos."""
    chosen = select(credit_moves.c.amount_nanos).where(
        credit_moves.c.subject == clean(account.budget.scope.value),
        credit_moves.c.currency == account.budget.currency,
        credit_moves.c.kind == kind.value,
        credit_moves.c.call_id.is_(None),
    )
    return sum(connection.execute(chosen).scalars())


def close_grant(connection: Connection, account: CreditAccount, grant_id: str, now_us: int) -> bool:
    """Take off what is left of a grant that has ended, unless calls may still be paid from it."""
    known = account.remainders.get(grant_id)
    if known is None or known.lives_at(now_us) or known.ends_us is None:
        return False
    if known.left_nanos and any(
        started_us < known.ends_us for started_us, _ in in_flight(connection, account.budget.id)
    ):
        return False
    grant = required_grant(connection, grant_id)
    kind = MoveKind.EXPIRY if grant.revoked_us is None else MoveKind.REVOCATION
    cause = Cause(source_of(f"{grant_id}\0end"), known.ends_us, kind, None, grant_id)
    if known.left_nanos:
        left = known.left_nanos
        account.move(grant_id, -left, cause)
        where = "expired" if kind is MoveKind.EXPIRY else "revoked"
        write_operation(connection, account, cause, {f"{where}:{account.budget.scope.value}": left})
    connection.execute(
        update(credit_grants).where(credit_grants.c.id == grant_id).values(closed_us=now_us)
    )
    return True


# --- operations -------------------------------------------------------------------------------


def source_of(name: str) -> UUID:
    """Return the source of the entries of what a person did under this id."""
    return uuid5(_OPERATIONS, name)


def is_done(
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


def write_operation(
    connection: Connection, account: CreditAccount, cause: Cause, changes: dict[str, int]
) -> None:
    """Write what an operation changes: moves, what is left, entries, balances."""
    entries = entries_between(account.name, account.budget.currency or "", cause, changes, 0)
    statements = statements_for(connection.dialect)
    sources = sorted({entry.source_id for entry in entries})
    with on_cursor(connection) as cursor:
        runner = Runner(cursor, native=connection.dialect.name == "postgresql")
        if sources:
            runner.put(statements.add_arrivals, arrival_rows(sources))
        for statement, rows in (
            (statements.add_credit_moves, account.moves),
            (statements.add_entries, [entry_row(entry) for entry in entries]),
        ):
            if runner.put(statement, rows) != len(rows):
                raise Interrupted("found the same operation at the same time: try again")
        runner.put(statements.move_credit, changed_rows([account]))
        runner.put(statements.move_balances, balance_rows(entries))


def check_operation(name: str, subject: str, reason: str, author: str) -> None:
    """Raise InputError for what cannot be an id, a subject, a reason or an author."""
    # In any case: SQLite's LIKE does not tell them apart.
    if not _is_plain(name) or name.lower().startswith(PREFIX):
        raise InputError(
            f"found id {name!r:.80}, expected 1 to {_MOST_TEXT} plain characters that do not begin "
            f"with {PREFIX!r}"
        )
    if not _is_plain(subject):
        raise InputError(f"found subject {subject!r:.80}, expected who the credit is for")
    check_texts(reason, author)


def check_texts(reason: str, author: str) -> None:
    """Raise InputError for what cannot be a reason or an author."""
    for what, text in (("reason", reason), ("author", author)):
        if not _is_plain(text):
            raise InputError(
                f"found {what} {text!r:.80}, expected 1 to {_MOST_TEXT} plain characters"
            )


def _is_plain(text: str) -> bool:
    return 1 <= len(text) <= _MOST_TEXT and text.isprintable()


# --- grants -----------------------------------------------------------------------------------


def same_grant(connection: Connection, row: dict[str, Any]) -> Grant:
    """Return a grant that is there. Raises: ConflictingWrite when its expiry is another."""
    known = required_grant(connection, row["id"])
    if known.expires_us != row["expires_us"]:
        raise ConflictingWrite(
            f"found grant {known.id} with another expiry, expected an id of its own for each"
        )
    return known


def required_grant(connection: Connection, grant_id: str) -> Grant:
    """Return a grant. Raises: InputError when there is none of that id."""
    known = grant_or_none(connection, grant_id)
    if known is None:
        raise InputError(f"found no credit grant {grant_id!r:.80}: meter credits list shows them")
    return known


def grant_or_none(connection: Connection, grant_id: str) -> Grant | None:
    """Return a grant, None when there is none of that id."""
    if grant_id.startswith(PREFIX):
        return None
    chosen = select(credit_grants).where(credit_grants.c.id == grant_id)
    row = connection.execute(chosen).mappings().first()
    return None if row is None else grant_from_row(row)


def grant_from_row(row: AnyRow) -> Grant:
    """Return the grant of a row."""
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
