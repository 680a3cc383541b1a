"""Close the calls that nobody will end any more: their lease expired, or their process is gone.

Each becomes an event of basis `unknown` with its estimate kept and its holds ended: unsettled,
listed, not free. An expired lease is `timed_out`; a process that is gone has, as the provider saw
it, closed the connection: `client_closed`. Safe to run from several processes at once.
"""

from sqlalchemy import Connection, Engine, delete, or_, select

from meter.core.call import Basis, Outcome
from meter.core.event import UsageEvent
from meter.core.rating import Charge
from meter.core.windows import Span
from meter.store import works
from meter.store.encoding import AnyRow, call_from_open_row, event_to_row
from meter.store.engine import write_connection
from meter.store.owners import is_dead
from meter.store.requests import Release, Settle
from meter.store.schema import budget_windows, budgets, open_calls
from meter.store.writing import write_batch

_AT_ONCE = 500
_MINUTES_KEPT_US = 10 * 60_000_000


def sweep(engine: Engine, now_us: int, *, dead_owners: bool) -> int:
    """Close expired calls, and with `dead_owners` those of ended processes; return how many.

    `now_us` is microseconds UTC. Raises: StoreUnavailable.
    """
    swept = 0
    _forget_minutes(engine, now_us)
    while True:
        with write_connection(engine) as connection:
            count = _sweep_some(connection, now_us, dead_owners)
        swept += count
        if count < _AT_ONCE:
            return swept


def _forget_minutes(engine: Engine, now_us: int) -> None:
    """Remove the past windows of rate limits, which nobody asks for any more."""
    rates = select(budgets.c.id).where(budgets.c.span == Span.MINUTE.value)
    past = delete(budget_windows).where(
        budget_windows.c.budget_id.in_(rates),
        budget_windows.c.window_start_us < now_us - _MINUTES_KEPT_US,
        budget_windows.c.held == 0,
    )
    with engine.connect() as connection:
        if connection.execute(rates.limit(1)).first() is None:
            return
    with write_connection(engine) as connection:
        connection.execute(past)


def any_expired(engine: Engine, now_us: int) -> bool:
    """Whether a call in flight has outlived its lease."""
    chosen = select(open_calls.c.call_id).where(open_calls.c.expires_us <= now_us).limit(1)
    with engine.connect() as connection:
        return connection.execute(chosen).first() is not None


def _sweep_some(connection: Connection, now_us: int, dead_owners: bool) -> int:
    # The budgets are locked before the calls, as in every batch, or two could wait for each other.
    connection.execute(select(budgets.c.id).limit(1))
    gone = open_calls.c.expires_us <= now_us
    if dead_owners:
        owners = connection.execute(select(open_calls.c.owner).distinct()).scalars()
        gone = or_(gone, open_calls.c.owner.in_([owner for owner in owners if is_dead(owner)]))
    chosen = (
        select(open_calls)
        .where(gone)
        .order_by(open_calls.c.call_id)
        .limit(_AT_ONCE)
        .with_for_update(skip_locked=True)
    )
    rows = connection.execute(chosen).mappings().all()
    requests = [
        # The receipt of work is listed as unsettled already.
        Release(row["call_id"]) if row["owner"] == works.OWNER else _unsettled(row, now_us)
        for row in rows
    ]
    if requests:
        write_batch(connection, requests)
    return len(requests)


def _unsettled(row: AnyRow, now_us: int) -> Settle:
    expired = row["expires_us"] <= now_us
    event = UsageEvent(
        call=call_from_open_row(row),
        ended_us=now_us,
        outcome=Outcome.TIMED_OUT if expired else Outcome.CLIENT_CLOSED,
        basis=Basis.UNKNOWN,
        usage=None,
        charge=Charge((), None, None, row["rate_card_id"], "nobody saw how this call ended"),
        issuer=row["issuer"],
    )
    return Settle(event, event_to_row(event, swept=True))
