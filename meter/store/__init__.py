"""Keep the ledger in SQLite or PostgreSQL: the only room that knows SQL.

`engine.open_engine` → `migrating.require_current` → `ledger_store.LedgerStore` for writes,
`reads` for questions, `budget_rows` for budgets, `checking.check` for the invariants.
"""
