"""A ledger opened to read only: it answers, and nothing on the way can write to it."""

import pytest
from sqlalchemy import insert
from sqlalchemy.exc import DBAPIError

from meter.attribution import attribute
from meter.errors import MeterError, StoreUnavailable
from meter.meter import Meter
from meter.store.engine import open_engine, write_connection
from meter.store.schema import claims
from tests.store.examples import call_id


def spend(url: str) -> None:
    with Meter(url) as meter, attribute("alice"):
        call = meter.reserve(provider="openai", model="gpt-4o", input_tokens=4, max_output_tokens=0)
        call.settle(input_tokens=4, output_tokens=0)


def test_it_answers_what_a_writable_one_answers(ledger_url: str) -> None:
    spend(ledger_url)
    with Meter(ledger_url) as writable, Meter(ledger_url, read_only=True) as reader:
        assert reader.usage() == writable.usage() != []
        assert [call.id for call in reader.calls()] == [call.id for call in writable.calls()]
        assert reader.budgets() == []


def test_every_write_is_refused_in_a_sentence(ledger_url: str) -> None:
    spend(ledger_url)
    with Meter(ledger_url, read_only=True) as reader:
        (call,) = reader.calls()
        with pytest.raises(StoreUnavailable, match="opened to read only"):
            reader.reserve(provider="openai", model="gpt-4o", input_tokens=1, max_output_tokens=1)
        with pytest.raises(StoreUnavailable, match="opened to read only"):
            reader.settle(call.id, {"input_tokens": 1}, reason="r", author="a")
        with pytest.raises((MeterError, DBAPIError)):
            reader.set_budget("all", limit="1")
        with pytest.raises((MeterError, DBAPIError)):
            reader.keys.create("mallory")
        assert reader.budgets() == []
        assert reader.keys.all() == []


def test_the_database_itself_refuses(ledger_url: str) -> None:
    spend(ledger_url)
    engine = open_engine(ledger_url, read_only=True)
    with pytest.raises((MeterError, DBAPIError)), write_connection(engine) as connection:
        connection.execute(insert(claims), {"name": "n", "call_id": call_id(1)})
    engine.dispose()


def test_a_file_that_is_not_there_is_not_made(tmp_path) -> None:
    path = tmp_path / "none.db"
    with pytest.raises(MeterError):
        Meter(f"sqlite:///{path}", read_only=True)
    assert not path.exists()
