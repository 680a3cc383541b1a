"""What a short command or an import need not load is not loaded."""

import subprocess
import sys

import pytest

HEAVY = {
    "aiohttp", "alembic", "altair", "anyio", "clickhouse_connect", "cryptography", "duckdb",
    "fpdf", "genai_prices", "httpx", "httpx2", "multiprocessing", "numpy", "openai", "pandas",
    "psycopg", "pyarrow", "pydantic", "pysqlite3", "regex", "rich", "sqlalchemy", "starlette",
    "streamlit", "tiktoken", "uvicorn", "uvloop", "xlsxwriter",
}  # fmt: skip


# Typer itself takes pydantic to convert what a command is given.
BY_TYPER = {"pydantic"}


@pytest.mark.parametrize(
    ("code", "allowed"),
    [
        ("import meter", set()),
        ("from meter.cli.main import run; run(['--help'])", set()),
        ("from meter.cli.main import run; run(['serve', '--help'])", BY_TYPER),
    ],
)
def test_heavy_packages_wait_until_they_are_needed(code: str, allowed: set[str]) -> None:
    code += "; import sys; print(*sorted(m for m in sys.modules if '.' not in m))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "meter" in loaded
    assert loaded & HEAVY <= allowed
