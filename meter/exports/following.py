"""Export what is new since the last time, each record once, also those that come late.

The state file remembers the last portion of the feed that was written. Before a file is written
the state says up to where; so an export that was cut short is repeated with the same records, and
not with more. A target with "{portion}" then has the same name as well, and nothing is there twice.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import msgspec

from meter.clock import new_id
from meter.errors import InputError
from meter.exports.exporting import Exported, Progress, export, replacing
from meter.exports.tables import (
    CALLS,
    ENTRIES,
    LINES,
    Row,
    Table,
    call_rows,
    changed_line_rows,
    entry_rows,
)
from meter.reports.charging import Book
from meter.store.ledger import Ledger

PORTION = "{portion}"


class State(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a state file says.

    `portion` is the last one that is wholly written, `pending` up to where the export was that
    has begun (None: none has). `of` and `filters` are what is followed. `follower` is the name
    under which the ledger keeps what was not read yet.
    """

    of: str
    portion: int = 0
    pending: int | None = None
    filters: dict[str, str] = {}
    follower: str = ""


@dataclass(frozen=True, slots=True)
class Followed:
    """What is to be written now: the portions (after, last]; and the state that it is kept in."""

    after: int
    last: int
    state_file: Path
    state: State


def follow_export(
    ledger: Ledger,
    state_file: Path,
    of: str,
    format: str,
    target: str | Path | BinaryIO,
    *,
    tz: str,
    book: Book,
    filters: Mapping[str, str],
    progress: Progress | None = None,
) -> Exported:
    """Write what was committed since the last export with this state file, and remember it.

    Raises: InputError for what cannot be followed, and for a state of something else.
    """
    if of not in _TABLES:
        raise InputError(f"found {of!r} to follow, expected one of {', '.join(_TABLES)}")
    if of == "entries" and filters:
        raise InputError(f"found {', '.join(filters)} to choose entries by, expected none")
    followed = f"lines of {book}" if of == "lines" else of
    portions = begin(ledger, state_file, followed, filters)
    if portions is None:
        return Exported(_TABLES[of], 0, (), None)
    rows = _rows(ledger, of, book, portions, filters)
    if isinstance(target, (str, Path)):
        target = str(target).replace(PORTION, str(portions.last))
    done = export(rows, _TABLES[of], format, target, tz=tz, progress=progress)
    end(ledger, portions, portions.last)
    return done


def begin(ledger: Ledger, state_file: Path, of: str, filters: Mapping[str, str]) -> Followed | None:
    """Return the portions to write now, None when there is nothing new; note them as pending.

    Raises: InputError for a state of something else, or of another ledger.
    """
    state = _read(state_file, of, filters)
    last = state.pending or ledger.seal()
    if max(state.portion, last) > ledger.last_portion():
        raise InputError(
            f"found portion {max(state.portion, last)} in {state_file}, expected at most "
            f"{ledger.last_portion()}: it is the state of another ledger"
        )
    follower = state.follower or new_id().hex
    pending = None if last == state.portion else last
    state = State(of, state.portion, pending, dict(filters), follower)
    _write(state_file, state)
    ledger.follow(follower, of, state.portion)
    return None if pending is None else Followed(state.portion, last, state_file, state)


def end(ledger: Ledger, followed: Followed, last: int) -> None:
    """Remember that everything up to this portion is written."""
    state = followed.state
    _write(followed.state_file, State(state.of, last, None, state.filters, state.follower))
    ledger.follow(state.follower, state.of, last)


_TABLES: dict[str, Table] = {
    # The sum of a call's successive statements would count it more than once.
    "calls": replace(CALLS, fields=tuple(replace(field, summed=False) for field in CALLS.fields)),
    "lines": LINES,
    "entries": ENTRIES,
}


def _rows(
    ledger: Ledger, of: str, book: Book, portions: Followed, filters: Mapping[str, str]
) -> Iterator[Row]:
    if of == "entries":
        return entry_rows(ledger.entries_of_feed(portions.after, portions.last))
    changes = ledger.changes(portions.after, portions.last, filters)
    if of == "lines":
        return changed_line_rows(changes, book, ledger.rate_card)
    return call_rows(change.call for change in changes)


def _read(state_file: Path, of: str, filters: Mapping[str, str]) -> State:
    try:
        content = state_file.read_bytes()
    except FileNotFoundError:
        return State(of, filters=dict(filters))
    except OSError as error:
        raise InputError(f"cannot read {state_file}: {error.strerror}") from None
    try:
        state = msgspec.json.decode(content, type=State)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{state_file} is not a state of meter export: {error}") from None
    if state.of != of or state.filters != dict(filters):
        chosen = " ".join([state.of, *(f"{n}={text}" for n, text in state.filters.items())])
        raise InputError(
            f"found the state of {chosen} in {state_file}, expected that of "
            f"{' '.join([of, *(f'{n}={text}' for n, text in filters.items())])}: give each export "
            "a state file of its own"
        )
    return state


def _write(state_file: Path, state: State) -> None:
    with replacing(state_file) as stream:
        stream.write(msgspec.json.encode(state) + b"\n")
