"""The tests' own PostgreSQL server: it comes up, keeps databases apart, and never outlives us."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import sqlalchemy

from tests import postgres
from tests.conftest import ROOT
from tests.postgres import PostgresServer

pytestmark = pytest.mark.postgresql


def test_each_test_gets_an_empty_database_of_its_own(postgres_server: PostgresServer) -> None:
    with postgres_server.fresh_database() as first, postgres_server.fresh_database() as second:
        assert first != second
        with postgres_server.connect(first) as connection:
            connection.execute("CREATE TABLE seen (n bigint)")
        with postgres_server.connect(second) as connection:
            assert connection.execute("SELECT to_regclass('seen')").fetchone() == (None,)


def test_a_database_goes_away_although_somebody_is_still_connected(
    postgres_server: PostgresServer,
) -> None:
    with postgres_server.fresh_database() as name:
        left_open = postgres_server.connect(name)
    with postgres_server.connect() as connection:
        query = "SELECT count(*) FROM pg_database WHERE datname = %s"
        assert connection.execute(query, [name]).fetchone() == (0,)
    left_open.close()


def test_sqlalchemy_reaches_the_database_by_its_address(database_url: str) -> None:
    engine = sqlalchemy.create_engine(database_url)
    with engine.connect() as connection:
        assert connection.execute(sqlalchemy.text("SELECT 1 + 1")).scalar_one() == 2
    engine.dispose()


def test_the_server_ends_when_its_test_process_is_killed() -> None:
    script = (
        "from tests.postgres import running_server\n"
        "import sys\n"
        "with running_server() as server:\n"
        "    with server.connect() as connection:\n"
        "        folder = connection.execute('SHOW data_directory').fetchone()[0]\n"
        "    print(folder, flush=True)\n"
        "    sys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert process.stdin is not None and process.stdout is not None
    cluster = Path(process.stdout.readline().strip())
    server_pid = int((cluster / "postmaster.pid").read_text().splitlines()[0])
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdin.close()
    process.stdout.close()
    deadline = time.monotonic() + 20
    while (_runs(server_pid) or cluster.exists()) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not _runs(server_pid)
    assert not cluster.exists()
    shutil.rmtree(cluster.parent)


def test_a_server_that_is_killed_comes_up_again_with_its_databases() -> None:
    with postgres.running_server() as server, server.fresh_database() as name:
        with server.connect(name) as connection:
            connection.execute("CREATE TABLE seen (n bigint)")
        server.kill()
        server.wait_until_ready()
        with server.connect(name) as connection:
            assert connection.execute("SELECT count(*) FROM seen").fetchone() == (0,)


def test_a_server_that_cannot_start_is_reported_in_its_own_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(postgres._SETTINGS, "shared_buffers", "many")
    with pytest.raises(RuntimeError, match=r'did not come up: .*"shared_buffers"'):
        postgres.running_server().__enter__()


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
