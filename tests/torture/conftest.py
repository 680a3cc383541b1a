"""The stage of the attacks, on both databases."""

from functools import partial

import pytest

from benchmarks.torture.stage import NewLedger, postgres_ledger, sqlite_ledger


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def new_ledger(request: pytest.FixtureRequest) -> NewLedger:
    """What makes an empty ledger: the test runs once for each engine."""
    if request.param == "sqlite":
        return sqlite_ledger
    return partial(postgres_ledger, request.getfixturevalue("postgres_server"))
