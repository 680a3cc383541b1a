"""Deliver events to another billing system, to a file or by HTTP: each at least once.

By HTTP, what fails in passing (no connection, 408, 425, 429, 5xx) is tried again with growing
pauses, a bounded number of times; a refusal ends the delivery with the other system's own words.
The state file advances by portions of the feed that were taken whole, so the next run goes on
there, and events that are sent again have the ids that they had. Called by the façade.
"""

import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import httpx
import msgspec

from meter.errors import InputError
from meter.exports.events import Deltas, System, UsageDelta, event_table, system_named
from meter.exports.events_file import open_writer
from meter.exports.exporting import Exported, Progress, export
from meter.exports.following import PORTION, begin, end
from meter.store.ledger import Ledger

_ATTEMPTS = 6
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 60.0
_TIMEOUT_S = 30.0
_PASSING = frozenset((408, 425, 429, 500, 502, 503, 504))


@dataclass(frozen=True, slots=True)
class Delivered:
    """What was delivered: how many events, and the statements that have none for this system."""

    events: int
    left_out: int
    target: str | None


@dataclass(slots=True)
class Sender:
    """Posts requests to one address, with a secret that is never shown."""

    url: str
    token: str | None = None
    pause: Callable[[float], None] = time.sleep
    _client: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=_TIMEOUT_S))

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()

    def send(self, system: System, records: list[dict[str, Any]]) -> None:
        """Send records that one request may have, until they are taken.

        Raises: InputError when they are refused, or not taken within a bounded number of attempts.
        """
        told = waited = ""
        for attempt in range(_ATTEMPTS):
            if attempt:
                self.pause(waiting(attempt, waited))
            try:
                answer = self._post(system, records)
            except httpx.TransportError as error:
                told, waited = str(error) or type(error).__name__, ""
                continue
            if answer.is_success:
                return
            known = system.known_already(answer.status_code, answer.content)
            if known is not None:
                records = [record for place, record in enumerate(records) if place not in known]
                if not records:
                    return
                continue
            told = f"status {answer.status_code}: {' '.join(answer.text.split()):.300}"
            if answer.status_code not in _PASSING:
                raise InputError(f"{self.url} refused events with {told}")
            waited = answer.headers.get("retry-after", "")
        raise InputError(f"{self.url} took no events in {_ATTEMPTS} attempts, at last: {told}")

    def _post(self, system: System, records: list[dict[str, Any]]) -> httpx.Response:
        request = system.request(records)
        headers = {"content-type": request.content_type}
        if self.token:
            headers["authorization"] = f"Bearer {self.token}"
        return self._client.post(self.url, content=request.body, headers=headers)


def waiting(attempt: int, told: str) -> float:
    """Return how many seconds to wait before an attempt: what was told, else twice as long as
    before, with some chance in it.
    """
    if told.isdecimal():
        return min(float(told), _LONGEST_PAUSE_S)
    growing: float = _FIRST_PAUSE_S * 2 ** (attempt - 1)
    return min(growing, _LONGEST_PAUSE_S) * random.uniform(0.5, 1.0)


def deliver_to_file(
    ledger: Ledger,
    name: str,
    target: str,
    *,
    state_file: Path | None,
    prefix: str,
    customers: Mapping[str, str] | None,
    progress: Progress | None,
) -> Delivered:
    """Write the events of a system as JSON Lines: all, or those since the last time."""
    system, deltas = system_named(name), Deltas(customers)
    portions = None
    after, last = 0, ledger.seal()
    if state_file is not None:
        portions = begin(ledger, state_file, f"{name} events", {})
        if portions is None:
            return Delivered(0, 0, None)
        after, last = portions.after, portions.last
    events = deltas.of(ledger.changes(after, last, {}))
    rows = ((system.record(event, prefix),) for event in events)
    done: Exported = export(
        rows,
        event_table(name),
        "events",
        target.replace(PORTION, str(last)),
        progress=progress,
        open_writer=open_writer,
    )
    if portions is not None:
        end(ledger, portions, last)
    return Delivered(done.rows, deltas.left_out, done.target)


def deliver_by_http(
    ledger: Ledger,
    name: str,
    sender: Sender,
    *,
    state_file: Path,
    prefix: str,
    customers: Mapping[str, str] | None,
    progress: Progress | None,
) -> Delivered:
    """Send the events since the last time; the state advances as they are taken.

    Raises: InputError when they are refused, or not taken; the next run goes on from there.
    """
    system, deltas = system_named(name), Deltas(customers)
    portions = begin(ledger, state_file, f"{name} events", {})
    if portions is None:
        return Delivered(0, 0, None)
    sent = 0
    changes = ledger.changes(portions.after, portions.last, {})
    for portion, events in groupby(deltas.of(changes), key=_portion):
        for batch in _batches(events, system.at_once):
            sender.send(system, [system.record(event, prefix) for event in batch])
            sent += len(batch)
            if progress is not None:
                progress(sent)
        end(ledger, portions, portion)
    end(ledger, portions, portions.last)
    return Delivered(sent, deltas.left_out, sender.url)


def customers_in(path: Path) -> dict[str, str]:
    """Return the JSON object of a file that leads from subjects to customers.

    Raises: InputError for a file that is none.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, str])
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path} is no JSON object of subjects and their customers: {error}"
        ) from None


def _portion(event: UsageDelta) -> int:
    return event.portion


def _batches(events: Iterable[UsageDelta], size: int) -> Iterator[list[UsageDelta]]:
    source = iter(events)
    while batch := list(islice(source, size)):
        yield batch
