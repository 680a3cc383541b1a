"""Who owns which stored object."""

import pytest

from meter.store.engine import open_engine
from meter.store.owned import Owned, OwnedObjects


def made(name: str, at_us: int, **more: object) -> Owned:
    plain = {"upstream": "openai", "family": "files", "subject": "alice", "key_id": "key-a"}
    return Owned(**{**plain, "id": name, "created_us": at_us, **more})  # type: ignore[arg-type]


@pytest.fixture
def owned(ledger_url: str):
    engine = open_engine(ledger_url)
    yield OwnedObjects(engine)
    engine.dispose()


def test_the_first_owner_stays(owned: OwnedObjects) -> None:
    owned.add([made("file-1", 1)])
    owned.add([made("file-1", 2, subject="bob"), made("file-2", 2, subject="bob")])
    assert owned.owners("openai", ["file-1", "file-2", "file-3", "a\0b"]) == {
        "file-1": "alice",
        "file-2": "bob",
    }
    assert owned.owners("other", ["file-1"]) == {}
    assert owned.one("openai", "file-1") == made("file-1", 1)


def test_an_absurd_id_is_nobody_s(owned: OwnedObjects) -> None:
    owned.add([made("x" * 600, 1), made("a\0b", 1), made("", 1)])
    assert owned.page("openai", "alice", "files", limit=10) == []


def test_pages_meet_without_gap_or_repeat(owned: OwnedObjects) -> None:
    # Three of them were made in the same microsecond: the id decides then.
    names = [f"file-{number}" for number in range(7)]
    times = [10, 20, 20, 20, 30, 40, 50]
    owned.add([made(name, at) for name, at in zip(names, times, strict=True)])
    owned.add([made("file-b", 25, subject="bob"), made("batch-1", 25, family="batches")])

    def ids(**more: object) -> list[str]:
        found = owned.page("openai", "alice", "files", **more)  # type: ignore[arg-type]
        return [each.id for each in found]

    assert ids(limit=10) == names[::-1]
    assert ids(limit=3) == ["file-6", "file-5", "file-4"]
    assert ids(limit=3, after="file-4") == ["file-3", "file-2", "file-1"]
    assert ids(limit=3, after="file-1") == ["file-0"]
    assert ids(limit=2, before="file-1") == ["file-3", "file-2"]
    assert ids(limit=10, before="file-6") == []
    assert ids(limit=2, newest_first=False) == ["file-0", "file-1"]
    assert ids(limit=2, newest_first=False, after="file-1") == ["file-2", "file-3"]
    assert ids(limit=2, newest_first=False, before="file-3") == ["file-1", "file-2"]
    assert ids(limit=2, after="file-b") == []
    assert ids(limit=2, after="nothing") == []


def test_what_is_removed_is_nobody_s(owned: OwnedObjects) -> None:
    owned.add([made("file-1", 1), made("file-2", 2)])
    owned.remove("openai", ["file-1"])
    assert owned.owners("openai", ["file-1", "file-2"]) == {"file-2": "alice"}


def test_notes_stay_with_their_object(owned: OwnedObjects) -> None:
    owned.add([made("ftjob-1", 1, family="fine_tuning/jobs")])
    owned.note("openai", "ftjob-1", '{"name": "first"}')
    found = owned.one("openai", "ftjob-1")
    assert found is not None and found.notes == '{"name": "first"}'
    owned.note("openai", "ftjob-1", None)
    assert owned.one("openai", "ftjob-1") == made("ftjob-1", 1, family="fine_tuning/jobs")


def test_a_watched_object_is_looked_at_by_one_process_at_a_time(owned: OwnedObjects) -> None:
    owned.add(
        [
            made("batch-1", 1, watched_us=100),
            made("batch-2", 1, watched_us=90),
            made("batch-3", 1, watched_us=500),
            made("file-1", 1),
        ]
    )
    due = owned.due(100, until_us=160, limit=10)
    assert [each.id for each in due] == ["batch-2", "batch-1"]
    assert owned.due(159, until_us=300, limit=10) == []
    owned.watch("openai", "batch-2", None)
    assert [each.id for each in owned.due(160, until_us=300, limit=10)] == ["batch-1"]
