"""Add a later truth to a call that has its event, with the difference it makes.

Called by `writing`; a correction is rare, so it costs statements of its own.
"""

from uuid import UUID, uuid5

from meter.core.call import Basis
from meter.core.event import Correction
from meter.core.ledger import Entry, billed_accounts, cost_accounts
from meter.core.rating import Charge
from meter.core.usage import Usage
from meter.errors import ConflictingWrite, StoreError
from meter.store.batch import Batch
from meter.store.encoding import ENDING_COLUMNS, AnyRow, Row, correction_to_row
from meter.store.failures import Interrupted
from meter.store.types import BASIS_NUMBERS

LATE_SETTLE = "late settle"
"""The author of a correction that a call made whose end came after the sweep."""
POLICY_SETTLE = "policy settle"
"""Of what the id of the correction is made that a policy makes of an unsettled call."""
LATER_LOOK = "later look"
"""The author of a correction that settles a receipt: a call has shown what the work used."""


def late_settle(batch: Batch, known: AnyRow, row: Row) -> None:
    """Record the true end of a call that the sweep had already closed as unsettled.

    `known` is the swept event, `row` the event that came late. Repeating it is a no-op, because
    the correction's id follows from the call's. Raises: ConflictingWrite.
    """
    earlier = batch.runner.ask(batch.statements.corrections_of, id=known["call_id"])
    made: Row = {name: row[name] for name in ENDING_COLUMNS}
    made.update(
        id=late_settle_id(known["call_id"]),
        call_id=known["call_id"],
        number=earlier[-1]["number"] + 1 if earlier else 1,
        at_us=row["ended_us"],
        reason="the call ended after it had been closed as unsettled",
        author=LATE_SETTLE,
    )
    for other in earlier:
        if other["id"] == made["id"]:
            _require_same(other, {**made, "number": other["number"]})
            return
    apply(batch, known, earlier[-1] if earlier else known, made)


def late_settle_id(call_id: UUID) -> UUID:
    """Return the id of the correction that a late end of this call makes."""
    return uuid5(call_id, LATE_SETTLE)


def policy_settle_id(call_id: UUID) -> UUID:
    """Return the id of the correction by which a policy settles this call, once."""
    return uuid5(call_id, POLICY_SETTLE)


def settle_receipt(batch: Batch, call_id: UUID, shown_by: UUID, at_us: int) -> None:
    """Settle the receipt of some work, now that another call has shown and billed what it used.

    The receipt itself owes nothing. One that says something of its own by now stays as it is, as
    does one that is written in this very batch; what a policy guessed of it is no word of its own.
    """
    known = None if call_id in batch.events else batch.event(call_id)
    if known is None or call_id == shown_by or batch.is_closed(known["started_us"]):
        return
    earlier = batch.runner.ask(batch.statements.corrections_of, id=call_id)
    before = earlier[-1] if earlier else known
    is_guess = bool(earlier) and before["id"] == policy_settle_id(call_id)
    if before["basis"] != BASIS_NUMBERS[Basis.UNKNOWN] and not is_guess:
        return
    settled = Correction(
        id=uuid5(call_id, LATER_LOOK),
        call_id=call_id,
        number=earlier[-1]["number"] + 1 if earlier else 1,
        at_us=at_us,
        usage=Usage(),
        basis=Basis.REPORTED,
        charge=Charge((), 0, None, None),
        reason=f"the work that it began is billed with call {shown_by}",
        author=LATER_LOOK,
    )
    apply(batch, known, before, correction_to_row(settled))


def correct(batch: Batch, row: Row) -> None:
    """Record a correction.

    Raises: ConflictingWrite, StoreError when the call has no event or its month is closed.
    """
    same = batch.runner.ask(batch.statements.one_correction, id=row["id"])
    if same:
        _require_same(same[0], row)
        return
    known = batch.event(row["call_id"])
    if known is None:
        raise StoreError(f"found no ended call {row['call_id']}, expected one to correct")
    earlier = batch.runner.ask(batch.statements.corrections_of, id=row["call_id"])
    if any(other["number"] == row["number"] for other in earlier):
        raise ConflictingWrite(
            f"found correction {row['number']} of call {row['call_id']} already made, "
            "expected a number of its own: read the call again and correct what it says now"
        )
    if earlier and row["number"] < earlier[-1]["number"]:
        raise ConflictingWrite(
            f"found a later correction than {row['number']} of call {row['call_id']}, expected "
            "the highest number"
        )
    apply(batch, known, earlier[-1] if earlier else known, row)


def apply(batch: Batch, event: AnyRow, before: AnyRow, after: Row) -> None:
    """Write the correction, the entries that lead from `before` to `after`, and the spending."""
    batch.require_open(event["started_us"])
    if batch.runner.put(batch.statements.add_correction, [after]) != 1:
        raise Interrupted("found a correction written by another process at the same time")
    batch.corrected.append(after["id"])
    batch.entries += difference(event, before, after)
    outcome = event["outcome"] if before["outcome"] is None else before["outcome"]
    changed = outcome if after["outcome"] is None else after["outcome"]
    batch.spend(event, {**after, "outcome": changed}, {**before, "outcome": outcome})


def difference(event: AnyRow, before: AnyRow, after: AnyRow) -> list[Entry]:
    """Return the entries of the correction `after`: what it adds, or gives back."""
    sides = (
        (cost_accounts(event["subject"], event["issuer"]), "cost_nanos", "currency"),
        (billed_accounts(event["subject"], event["issuer"]), "billed_nanos", "billed_currency"),
    )
    made: list[Entry] = []
    for (debit, credit), amount, currency_of in sides:
        change: dict[str, int] = {}
        for ending, sign in ((before, -1), (after, 1)):
            if ending[amount] and ending[currency_of] is not None:
                currency = ending[currency_of]
                change[currency] = change.get(currency, 0) + sign * ending[amount]
        for currency, nanos in sorted(change.items()):
            if nanos:
                pair = (debit, credit) if nanos > 0 else (credit, debit)
                made.append(
                    Entry(after["id"], len(made), after["at_us"], *pair, abs(nanos), currency)
                )
    return made


def _require_same(known: AnyRow, row: Row) -> None:
    for name, value in row.items():
        if known[name] != value:
            raise ConflictingWrite(
                f"found correction {row['number']} of call {row['call_id']} with {name} "
                f"{known[name]!r}, expected {value!r} as in this write"
            )
