"""Attack the promises, and print what was found: one file for each attack.

    python -m benchmarks.torture.kill9 --rounds 200 --database postgresql

Each attack runs on SQLite and on a real PostgreSQL, ends with status 1 when a promise was broken,
and is run in its short form by `tests/torture/`.
"""
