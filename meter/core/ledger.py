"""Write money down twice: one debit account, one credit account, one amount, never changed.

Accounts are plain texts: `spend:<subject>` (what a subject has used), `payable:<issuer>` (what is
owed to who bills us). Corrections are further entries.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from meter.core.call import Call
from meter.core.rating import Charge

NOBODY = "(nobody)"
"""The subject of calls that were attributed to no one."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the ledger.

    `source_id` is what caused it (a call's id, a correction's id) and `number` its place among
    the entries of that source; together they are its id. `amount_nanos` > 0.
    """

    source_id: UUID
    number: int
    at_us: int
    debit: str
    credit: str
    amount_nanos: int
    currency: str


@dataclass(frozen=True, slots=True)
class Balance:
    """Sums of one account in one currency, in nanos."""

    debits: int = 0
    credits: int = 0


def entries_of(call: Call, issuer: str, charge: Charge) -> tuple[Entry, ...]:
    """Return the entries of a settled call: what its subject used is owed to its issuer.

    A free or unpriced call makes none.
    """
    if not charge.amount_nanos or charge.currency is None:
        return ()
    subject = call.attribution.subject or NOBODY
    return (
        Entry(call.id, 0, call.started_us, f"spend:{subject}", f"payable:{issuer}",
              charge.amount_nanos, charge.currency),
    )  # fmt: skip


def balances_of(entries: Iterable[Entry]) -> dict[tuple[str, str], Balance]:
    """Return the balance of each (account, currency) that the entries touch."""
    debits: defaultdict[tuple[str, str], int] = defaultdict(int)
    credits: defaultdict[tuple[str, str], int] = defaultdict(int)
    for entry in entries:
        debits[entry.debit, entry.currency] += entry.amount_nanos
        credits[entry.credit, entry.currency] += entry.amount_nanos
    return {
        account: Balance(debits.get(account, 0), credits.get(account, 0))
        for account in sorted(debits.keys() | credits.keys())
    }
