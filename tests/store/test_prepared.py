"""Statements on the driver's cursor: what is bound is what is stored, and rows are counted."""

from uuid import UUID

from sqlalchemy import Engine, select

from meter.store.engine import on_cursor, write_connection
from meter.store.schema import entries, open_calls
from meter.store.statements import statements_for

FIRST, SECOND = UUID(int=1), UUID(int=2)

_OPEN = [column.name for column in open_calls.columns]
_CALL: dict[str, object] = {
    "started_us": 1_700_000_000_000_000,
    "expires_us": 1_700_000_900_000_000,
    "streaming": 0,
    "operation_id": FIRST,
    "provider": "openai",
    "issuer": "openai",
    "endpoint": "chat",
    "owner": "here:1:2",
}


def _entry(source_id: UUID, amount_nanos: int) -> dict[str, object]:
    return {
        "source_id": source_id,
        "number": 0,
        "at_us": 1_700_000_000_000_000,
        "amount_nanos": amount_nanos,
        "debit": 'spend:"Zoë"\n',
        "credit": "payable:openai",
        "currency": "USD",
    }


def _put(engine: Engine, rows: list[dict[str, object]]) -> int:
    statement = statements_for(engine.dialect).add_entries
    with write_connection(engine) as connection, on_cursor(connection) as cursor:
        return statement.send(cursor, rows)


def test_rows_are_stored_as_they_are(engine: Engine) -> None:
    # More than a float can hold, and text that JSON escapes.
    assert _put(engine, [_entry(FIRST, 2**62 + 1), _entry(SECOND, 7)]) == 2
    with engine.connect() as connection:
        found = connection.execute(select(entries).order_by(entries.c.source_id)).mappings().all()
    assert [dict(row) for row in found] == [_entry(FIRST, 2**62 + 1), _entry(SECOND, 7)]


def test_only_new_rows_are_counted(engine: Engine) -> None:
    assert _put(engine, [_entry(FIRST, 1)]) == 1
    assert _put(engine, [_entry(FIRST, 1), _entry(SECOND, 2)]) == 1


def test_rows_with_different_nulls_are_written_together(engine: Engine) -> None:
    statement = statements_for(engine.dialect).add_open_calls
    plain: dict[str, object] = dict.fromkeys(_OPEN)
    rows = [
        plain | _CALL | {"call_id": FIRST, "subject": "alice"},
        plain | _CALL | {"call_id": SECOND, "key_id": "key-1"},
        plain | _CALL | {"call_id": UUID(int=3), "subject": "bob"},
    ]
    with write_connection(engine) as connection, on_cursor(connection) as cursor:
        assert statement.send(cursor, rows) == 3
    chosen = select(open_calls.c.subject, open_calls.c.key_id).order_by(open_calls.c.call_id)
    with engine.connect() as connection:
        found = [tuple(row) for row in connection.execute(chosen)]
    assert found == [("alice", None), (None, "key-1"), ("bob", None)]
