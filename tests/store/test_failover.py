"""After a failover the store finds the primary again, and nothing is lost or doubled."""

import pytest

from meter.errors import StoreUnavailable
from meter.store import reads
from meter.store.engine import open_engine
from meter.store.ledger_store import LedgerStore
from tests.store.examples import CARD, a_call, an_event

WAIT_S = 20


@pytest.fixture
def store(postgres_ledger_url):
    engine = open_engine(postgres_ledger_url)
    store = LedgerStore(engine)
    yield store
    assert store.close(WAIT_S)
    engine.dispose()


def test_a_connection_that_leads_to_a_standby_now_is_left_for_another(store):
    store.reserve(a_call(1), "openai", CARD).result(WAIT_S)
    # The server behind this connection has become a standby.
    kept = store._connection._kept.driver_connection
    kept.execute("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")
    kept.commit()
    store.settle(an_event(a_call(1)), CARD).result(WAIT_S)
    (call,) = reads.calls(store._engine)
    assert call.state == "settled"
    assert store._connection._kept.driver_connection is not kept


def test_a_ledger_that_is_only_a_standby_says_so(store, postgres_server, postgres_ledger_url):
    store.reserve(a_call(1), "openai", CARD).result(WAIT_S)
    name = postgres_ledger_url.partition("@/")[2].partition("?")[0]
    with postgres_server.connect(name) as connection:
        connection.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        try:
            with pytest.raises(StoreUnavailable, match="is read-only"):
                store.settle(an_event(a_call(1)), CARD).result(WAIT_S)
        finally:
            connection.execute("SET default_transaction_read_only = off")
            connection.execute(f'ALTER DATABASE "{name}" RESET default_transaction_read_only')
    store.settle(an_event(a_call(1)), CARD).result(WAIT_S)
    assert len(list(reads.calls(store._engine))) == 1
