"""`meter db maintain` looks after a ledger that other processes have open."""

import re

import pytest
from typer.testing import CliRunner

from meter.cli.app import app
from meter.meter import Meter
from tests.exports.test_archiving import JUNE, old_call, settle
from tests.store.conftest import (  # noqa: F401
    emptied_sqlite_url,
    ledger_url,
    migrated_postgres,
    migrated_sqlite,
    postgres_ledger_url,
    shared_sqlite_url,
)


def run(*words, url):
    done = CliRunner().invoke(app, [*words, "--database-url", url])
    return done.exit_code, done.stdout


def test_months_are_archived_and_the_feed_is_trimmed(ledger_url, tmp_path):  # noqa: F811
    with Meter(ledger_url, durability="process") as meter:
        settle(meter, old_call(JUNE, 1))
        settle(meter, old_call(JUNE + 5_000, 2))
        status, told = run("db", "maintain", "--archive", str(tmp_path), "--keep-months", "2",
                           "--trim-feed", url=ledger_url)  # fmt: skip
        assert status == 0
        assert "Folded 2 records." in told
        said = " ".join(told.split())
        assert re.search(r"Archived 2026-06: 2 calls in \S*usage_events-2026-06\.parquet", said)
        assert "Trimmed the feed up to portion" in said
        assert sorted(path.name for path in tmp_path.iterdir()) == ["usage_events-2026-06.parquet"]
        (row,) = meter.usage(by=["month"])
        assert (row.group, row.calls) == (("2026-06",), 2)
    status, told = run("db", "maintain", "--forget", "nobody", url=ledger_url)
    assert (status, "There is no follower nobody." in told) == (0, True)
    assert run("check", url=ledger_url)[0] == 0


def test_what_is_in_the_way_is_said_in_a_sentence(ledger_url, tmp_path):  # noqa: F811
    from meter.errors import InputError

    with (
        Meter(ledger_url, durability="process") as meter,
        pytest.raises(InputError, match="found no folder"),
    ):
        meter.archive(tmp_path / "nothing")
