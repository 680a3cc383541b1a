"""Read the ledger's entries one by one. Called by the opened ledger."""

from collections.abc import Iterator

from sqlalchemy import Engine, select

from meter.core.ledger import Entry
from meter.store.engine import read_connection
from meter.store.schema import entries

_AT_ONCE = 1000


def entries_between(
    engine: Engine, *, since_us: int | None = None, until_us: int | None = None
) -> Iterator[Entry]:
    """Yield the entries made in [since_us, until_us) by their source and number, streamed.

    Raises: StoreUnavailable.
    """
    chosen = select(
        entries.c.source_id, entries.c.number, entries.c.at_us, entries.c.debit,
        entries.c.credit, entries.c.amount_nanos, entries.c.currency,
    )  # fmt: skip
    if since_us is not None:
        chosen = chosen.where(entries.c.at_us >= since_us)
    if until_us is not None:
        chosen = chosen.where(entries.c.at_us < until_us)
    chosen = chosen.order_by(entries.c.source_id, entries.c.number)
    with read_connection(engine) as connection:
        streamed = chosen.execution_options(yield_per=_AT_ONCE)
        with connection.execute(streamed) as found:
            for row in found:
                yield Entry(*row)
