"""The names a person can choose from: models ever asked for, subjects by what they spent."""

from sqlalchemy import Engine

from meter.core.call import Attribution
from meter.core.usage import Usage
from meter.store import reads
from meter.store.ledger_store import LedgerStore
from tests.store.examples import CARD, a_call, an_event

WAIT_S = 20


def test_models_and_subjects_are_named_once_the_greatest_spender_first(
    engine: Engine, store: LedgerStore
) -> None:
    spent = [("bob", 5), ("alice", 3), ("bob", 5), ("spend;", 1), (None, 9)]
    for number, (subject, tokens) in enumerate(spent, start=1):
        call = a_call(number, attribution=Attribution(subject))
        store.settle(an_event(call, Usage(input_tokens=tokens)), CARD).result(WAIT_S)
    assert reads.subjects(engine, limit=10) == ["bob", "alice", "spend;"]
    assert reads.subjects(engine, limit=1) == ["bob"]
    assert reads.models(engine) == [("openai", "small")]


def test_an_empty_ledger_has_no_names(engine: Engine) -> None:
    assert (reads.models(engine), reads.subjects(engine, limit=10)) == ([], [])
