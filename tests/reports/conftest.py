"""Ledgers for the reports: empty and migrated, on both databases."""

from tests.store.conftest import (  # noqa: F401
    emptied_sqlite_url,
    ledger_url,
    migrated_postgres,
    migrated_sqlite,
    postgres_ledger_url,
    shared_sqlite_url,
)
