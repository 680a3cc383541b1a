"""Imported rate files: every version kept, the highest of a name in force."""

from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import Engine

from meter.errors import ConflictingWrite
from meter.store.price_files import PriceFiles


def test_the_newest_version_of_a_name_is_in_force(engine: Engine) -> None:
    files = PriceFiles(engine)
    assert files.versions() == []
    first = files.put("a", "toml", "one", "alice", now_us=1)
    assert files.put("a", "toml", "one", "bob", now_us=2) == first
    second = files.put("a", "toml", "two", "bob", now_us=3)
    other = files.put("b", "csv", "three", "alice", now_us=4)
    assert files.in_force() == [other, second]
    assert files.versions() == [("a", 2), ("b", 1)]
    assert (second.number, second.author, second.hash) == (
        2, "bob", "3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3",
    )  # fmt: skip


def test_a_removed_file_does_not_bring_its_earlier_version_back(engine: Engine) -> None:
    files = PriceFiles(engine)
    files.put("a", "toml", "one", "alice", now_us=1)
    files.put("a", "toml", "two", "alice", now_us=2)
    assert files.remove("a", now_us=3)
    assert not files.remove("a", now_us=4)
    assert files.in_force() == []
    assert files.put("a", "toml", "two", "alice", now_us=5).number == 3


def test_imports_at_the_same_time_are_one_after_the_other_or_refused(engine: Engine) -> None:
    files = PriceFiles(engine)

    def put(number: int) -> bool:
        try:
            files.put("a", "toml", f"content {number}", "alice", now_us=number)
        except ConflictingWrite:
            return False
        return True

    with ThreadPoolExecutor(4) as threads:
        kept = sum(threads.map(put, range(12)))
    assert files.versions() == [("a", kept)]
