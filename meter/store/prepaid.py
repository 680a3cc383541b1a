"""Hold the prepaid credit that a batch of writes moves: what is left of whose grants.

The window of an account's budget is its lock: whoever has it may read and move the credit. Knows
rows and grants, not what a request means. Called by `batch`, and by `credit` for what people do.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID

from meter.core.budgets import Budget, Standing
from meter.core.credit import MoveKind, Remainder, balance, burnt, free, straddled
from meter.core.ledger import Entry, billed_accounts
from meter.store.budget_rows import taken_by
from meter.store.encoding import AnyRow, Row, clean, is_resold

InFlight = Iterable[tuple[int, int]]
"""The start of each call in flight, microseconds UTC, and what it holds."""


@dataclass(frozen=True, slots=True)
class Cause:
    """What moves credit: the source of the entry, when, and who says why."""

    source_id: UUID
    at_us: int
    kind: MoveKind
    call_id: UUID | None = None
    name: str | None = None
    reason: str | None = None
    author: str | None = None


@dataclass(slots=True)
class CreditAccount:
    """The prepaid credit of one subject in one currency, with what the batch does to it.

    `changes` are to be added to what is left of each grant, `moves` are rows to be written.
    `numbers` counts the moves of each source, in all accounts of the batch.
    """

    budget: Budget
    remainders: dict[str, Remainder]
    numbers: dict[UUID, int] = field(default_factory=dict)
    changes: dict[str, int] = field(default_factory=dict)
    moves: list[Row] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Return the account of the ledger that has this credit."""
        return f"credit:{self.budget.scope.value}"

    def balance(self, at_us: int) -> int:
        """Return what is left at that moment, in nanos."""
        return balance(self.remainders.values(), at_us)

    def needs_starts(self, at_us: int) -> bool:
        """Whether `funded` has to know when the calls in flight started."""
        return bool(straddled(self.remainders.values(), at_us))

    def funded(self, at_us: int, held: int, in_flight: InFlight) -> tuple[Budget, Standing]:
        """Return the account as a budget for a call that starts then: what is left is its limit."""
        remainders = tuple(self.remainders.values())
        left = balance(remainders, at_us)
        standing = Standing(0, left - free(remainders, at_us, held, in_flight))
        return replace(self.budget, limit=left), standing

    def take(self, amount: int, cause: Cause) -> None:
        """Move an amount out of the account (below zero: give it back), noting the moves."""
        if amount < 0:
            self.move(self.budget.id, -amount, cause)
        for grant_id, part in burnt(self.remainders.values(), max(amount, 0), cause.at_us):
            self.move(grant_id, -part, cause)

    def add(self, grant_id: str, ends_us: int | None, granted_us: int) -> None:
        """Take in a new grant, with nothing in it yet."""
        self.remainders[grant_id] = Remainder(grant_id, 0, ends_us, granted_us)

    def end(self, grant_id: str, ends_us: int) -> None:
        """Let a grant end at that moment."""
        self.remainders[grant_id] = replace(self.remainders[grant_id], ends_us=ends_us)

    def cover(self, grant_id: str, cause: Cause) -> None:
        """Pay an overrun from a new grant, as far as it goes."""
        overrun = -self.remainders[self.budget.id].left_nanos
        paid = min(overrun, self.remainders[grant_id].left_nanos)
        if paid > 0:
            covering = replace(cause, kind=MoveKind.COVER)
            self.move(grant_id, -paid, covering)
            self.move(self.budget.id, paid, covering)

    def move(self, grant_id: str, amount: int, cause: Cause) -> None:
        """Move an amount (not zero) to one grant, or from it where the amount is below zero."""
        known = self.remainders[grant_id]
        self.remainders[grant_id] = replace(known, left_nanos=known.left_nanos + amount)
        self.changes[grant_id] = self.changes.get(grant_id, 0) + amount
        number = self.numbers.get(cause.source_id, 0)
        self.numbers[cause.source_id] = number + 1
        self.moves.append(
            {
                "source_id": cause.source_id,
                "number": number,
                "at_us": cause.at_us,
                "amount_nanos": amount,
                "call_id": cause.call_id,
                "kind": cause.kind.value,
                "grant_id": grant_id,
                "subject": clean(self.budget.scope.value),
                "currency": self.budget.currency,
                "name": cause.name,
                "reason": cause.reason,
                "author": cause.author,
            }
        )


def account_from_rows(
    budget: Budget, rows: Iterable[AnyRow], numbers: dict[UUID, int]
) -> CreditAccount:
    """Return the account of a credit budget, from rows of `credit_grants` of its subject.

    `numbers` is shared by the accounts of one batch.
    """
    remainders = {
        row["id"]: Remainder(row["id"], row["left_nanos"], row["ends_us"], row["granted_us"])
        for row in rows
        if row["currency"] == budget.currency and row["closed_us"] is None
    }
    remainders.setdefault(budget.id, Remainder(budget.id, 0))
    return CreditAccount(budget, remainders, numbers)


def burns(
    budget: Budget, event: AnyRow, ending: AnyRow, before: AnyRow | None = None
) -> dict[str, int]:
    """Return what a call burns of a credit account, by the account of the ledger that gets it.

    `ending` is the event, or a correction of it that comes after `before`: then the difference.
    What is resold at a price of its own pays that debt; what is not is earned with the issuer.
    """
    receivable, revenue = billed_accounts(event["subject"], event["issuer"])
    found: dict[str, int] = {}
    for version, sign in ((before, -1), (ending, 1)):
        amount = taken_by((budget,), version).get(budget.id) if version else None
        if amount:
            other = receivable if version and is_resold(version) else revenue
            found[other] = found.get(other, 0) + sign * amount
    return found


def entries_between(
    account: str, currency: str, cause: Cause, changes: Mapping[str, int], first: int
) -> list[Entry]:
    """Return the entries that take amounts from a credit account to others (below zero: back).

    `first` is the number of the first entry.
    """
    made: list[Entry] = []
    for other, amount in sorted(changes.items()):
        if amount:
            debit, credit = (account, other) if amount > 0 else (other, account)
            number = first + len(made)
            made.append(
                Entry(cause.source_id, number, cause.at_us, debit, credit, abs(amount), currency)
            )
    return made


def changed_rows(accounts: Sequence[CreditAccount]) -> list[Row]:
    """Return the parameters that add what changed to each grant, in the order of their ids."""
    changes = {name: change for each in accounts for name, change in each.changes.items()}
    return [
        {"of_grant": name, "add_left": change} for name, change in sorted(changes.items()) if change
    ]
