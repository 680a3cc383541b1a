"""Write money down twice: one debit account, one credit account, one amount, never changed.

Accounts are plain texts: `spend:<subject>` (what a subject has used), `payable:<issuer>` (what is
owed to who bills us), `receivable:<subject>` (what a subject owes us), `revenue:<issuer>` (what
is earned with what that issuer serves), `allowance:<rule>` and `volume:<rule>` (what monthly rules
changed on invoices). Corrections are further entries.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from meter.core.call import Call
from meter.core.rating import Charge

SPEND = "spend:"
"""What the account of a subject's spend begins with."""

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


def entries_of(
    call: Call, issuer: str, charge: Charge, billed: Charge | None = None
) -> tuple[Entry, ...]:
    """Return the entries of a settled call: what its subject used is owed to its issuer.

    Where the subject is billed by a resale card, that charge is its debt and our revenue. A free
    or unpriced charge makes no entry.
    """
    subject = call.attribution.subject
    made: list[Entry] = []
    if charge.amount_nanos and charge.currency is not None:
        debit, credit = cost_accounts(subject, issuer)
        made.append(
            Entry(call.id, 0, call.started_us, debit, credit, charge.amount_nanos, charge.currency)
        )
    if billed is not None and billed.amount_nanos and billed.currency is not None:
        debit, credit = billed_accounts(subject, issuer)
        made.append(
            Entry(call.id, len(made), call.started_us, debit, credit, billed.amount_nanos,
                  billed.currency)
        )  # fmt: skip
    return tuple(made)


def cost_accounts(subject: str | None, issuer: str) -> tuple[str, str]:
    """Return the accounts of a cost, debit and credit."""
    return f"{SPEND}{subject or NOBODY}", f"payable:{issuer}"


def billed_accounts(subject: str | None, issuer: str) -> tuple[str, str]:
    """Return the accounts of what a subject is billed, debit and credit."""
    return f"receivable:{subject or NOBODY}", f"revenue:{issuer}"


def monthly_accounts(subject: str, rule: str, effect: str) -> tuple[str, str]:
    """Return the accounts of what a monthly rule adds to an invoice, debit and credit."""
    return f"receivable:{subject}", f"{effect}:{rule}"


def monthly_entries(
    source_id: UUID,
    at_us: int,
    subject: str,
    currency: str,
    changes: Iterable[tuple[str, str, int]],
) -> tuple[Entry, ...]:
    """Return the entries of an invoice: (rule, effect, nanos) of each of its lines with a rule.

    What the rule takes off goes the other way. The lines that calls made have their entries since
    the calls ended.
    """
    made: list[Entry] = []
    for rule, effect, nanos in changes:
        if nanos:
            debit, credit = monthly_accounts(subject, rule, effect)
            if nanos < 0:
                debit, credit = credit, debit
            made.append(Entry(source_id, len(made), at_us, debit, credit, abs(nanos), currency))
    return tuple(made)


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
