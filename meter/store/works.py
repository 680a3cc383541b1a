"""Keep holding the money of work that goes on after the call that began it has ended.

The receipt of a batch, a job, a film or a background answer ends its call, but the work may yet
cost as much as was held. So its holds pass to a row of their own among the open calls, the work's,
until a later call shows what it used. Work that nobody looks at any more is let go of by the sweep
after two days: a batch takes one at most. Called by `writing` and `sweeping`.
"""

from typing import Final
from uuid import UUID, uuid5

from meter.core.budgets import Measure
from meter.store.batch import Batch
from meter.store.encoding import Row
from meter.store.requests import Settle

OWNER: Final = "work that goes on"
"""Stands where the process stands that sent a call: no process ends with it."""

_HELD_US: Final = 48 * 3600 * 1_000_000


def work_of(receipt_id: UUID) -> UUID:
    """Return the id under which the work is held that this receipt began."""
    return uuid5(receipt_id, OWNER)


def is_receipt(request: Settle) -> bool:
    """Whether the call began work whose usage is not known yet."""
    event = request.event
    return bool(event.billing_ids) and event.usage is None and not request.row["swept"]


def hold_on(batch: Batch, request: Settle) -> None:
    """Give the holds of a receipt that is about to be closed to its work.

    Budgets in calls are not held any longer: the receipt itself is the call.
    """
    call_id = request.call_id
    if call_id in batch.opened:
        row, holds = batch.opened[call_id]
    else:
        holds = () if call_id in batch.closed else batch.open_holds.get(call_id, ())
        if not holds:
            return
        row = dict(batch.runner.ask(batch.statements.one_open_call, id=call_id)[0])
    measures = {b.budget.id: b.budget.measure for each in batch.budgets.values() for b in each}
    holds = tuple(h for h in holds if measures.get(h.budget_id) is not Measure.CALLS)
    if not holds:
        return
    held: Row = {
        **row,
        "call_id": work_of(call_id),
        "owner": OWNER,
        "expires_us": request.event.ended_us + _HELD_US,
    }
    for hold in holds:
        batch.windows[hold.budget_id, hold.window_start_us].add_held += hold.amount
    batch.opened[held["call_id"]] = (held, holds)
