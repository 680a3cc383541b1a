"""Sum up prepaid credit in every way that it can be summed, to see whether they agree.

Called by `checking`.
"""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Text, func, literal_column, select, union_all

from meter.core.credit import PREFIX, MoveKind
from meter.store.schema import balances, credit_grants, credit_moves

Posted = dict[tuple[str, str, str], int]
"""Amounts in nanos by debit account, credit account and currency."""

_OTHERS = {
    MoveKind.GRANT: "prepaid:received",
    MoveKind.REFUND: "refunded:{subject}",
    MoveKind.ADJUSTMENT: "adjusted:{subject}",
    MoveKind.EXPIRY: "expired:{subject}",
    MoveKind.REVOCATION: "revoked:{subject}",
}


def add(posted: Posted, more: Posted) -> None:
    """Add amounts to others in place."""
    for key, amount in more.items():
        posted[key] = posted.get(key, 0) + amount


def moved_by_people(connection: Connection) -> dict[UUID, Posted]:
    """Return the entries that everything but usage ought to have made, by source."""
    owed: dict[UUID, Posted] = {}
    chosen = select(credit_moves).where(
        credit_moves.c.call_id.is_(None), credit_moves.c.kind != MoveKind.COVER.value
    )
    for row in connection.execute(chosen).mappings():
        other = _OTHERS[MoveKind(row["kind"])].format(subject=row["subject"])
        account, amount = f"{PREFIX}{row['subject']}", row["amount_nanos"]
        debit, credit = (other, account) if amount > 0 else (account, other)
        of_source = owed.setdefault(row["source_id"], {})
        add(of_source, {(debit, credit, row["currency"]): abs(amount)})
    return owed


def usage_by_source() -> Any:
    """Return the SELECT of what calls and corrections moved, by source, in order."""
    return (
        select(
            credit_moves.c.source_id,
            func.sum(credit_moves.c.amount_nanos).label("amount"),
            func.min(credit_moves.c.at_us).label("at_us"),
        )
        .where(credit_moves.c.kind == MoveKind.USAGE.value)
        .group_by(credit_moves.c.source_id)
        .order_by(credit_moves.c.source_id)
    )


def sums_that_differ(connection: Connection) -> Iterator[tuple[str, str, str]]:
    """Yield what breaks an invariant: what ought to hold, the row's key, what was found."""
    for grant_id, more in connection.execute(_grants_and_moves()):
        yield (
            "what is left of a grant is the sum of its moves",
            grant_id,
            f"the moves come to {more} nanos more than is left",
        )
    for account, currency, more in connection.execute(_grants_and_balances()):
        yield (
            "what is left of the grants sums to the balance",
            f"{account} {currency}",
            f"the grants have {more} nanos more left than the balance",
        )
    below = select(credit_grants.c.id, credit_grants.c.left_nanos).where(
        credit_grants.c.left_nanos < 0, ~credit_grants.c.id.startswith(PREFIX)
    )
    for grant_id, left in connection.execute(below):
        yield ("no grant is below zero", grant_id, f"{left} nanos are left")


def _grants_and_moves() -> Any:
    sides = union_all(
        select(credit_moves.c.grant_id, credit_moves.c.amount_nanos),
        select(credit_grants.c.id, -credit_grants.c.left_nanos),
    ).subquery()
    difference = func.sum(sides.c.amount_nanos)
    return (
        select(sides.c.grant_id, difference)
        .group_by(sides.c.grant_id)
        .having(difference != 0)
        .order_by(sides.c.grant_id)
    )


def _grants_and_balances() -> Any:
    account = literal_column(f"'{PREFIX}'", Text) + credit_grants.c.subject
    sides = union_all(
        select(account.label("account"), credit_grants.c.currency,
               credit_grants.c.left_nanos.label("left_nanos")),
        select(balances.c.account, balances.c.currency, balances.c.debits - balances.c.credits)
        .where(balances.c.account.startswith(PREFIX)),
    ).subquery()  # fmt: skip
    difference = func.sum(sides.c.left_nanos)
    return (
        select(sides.c.account, sides.c.currency, difference)
        .group_by(sides.c.account, sides.c.currency)
        .having(difference != 0)
        .order_by(sides.c.account, sides.c.currency)
    )
