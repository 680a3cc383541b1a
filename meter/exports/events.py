"""Say the ledger as events of consumption for other billing systems.

One event for each unit of each statement on a call: its end, or a correction, which adds what it
changes (below zero where it takes back). So the sum of the events is what is known, and an event's
id, the source and the unit, is the same however often it is sent. Quantities are the ledger's own,
as inclusive buckets: cached tokens are also among the input tokens.

A system is one file of this room with a `System`: `openmeter`, `lago`, `stripe`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from importlib import import_module
from typing import Any, Protocol, cast

from meter.core.money import Quantity
from meter.errors import InputError
from meter.exports.tables import Field, Kind, Table
from meter.store.changes import Change

SYSTEMS = ("openmeter", "lago", "stripe")


@dataclass(frozen=True, slots=True)
class UsageDelta:
    """So much more, or less, of one unit that a subject has used.

    `id` is "<source>/<unit>". `customer` is the subject's name in the other system. `portion` is
    where the statement is in the feed.
    """

    id: str
    portion: int
    at_us: int
    customer: str
    unit: str
    quantity: Quantity
    call_id: str
    provider: str
    endpoint: str
    model: str | None
    tags: tuple[tuple[str, str], ...]

    @property
    def number(self) -> str:
        """Return the quantity as plain digits."""
        quantity = self.quantity
        return f"{quantity:f}" if isinstance(quantity, Decimal) else str(quantity)


@dataclass(frozen=True, slots=True)
class Request:
    """What one POST has: a content type and a body."""

    content_type: str
    body: bytes


class System(Protocol):
    """How one billing system takes events."""

    at_once: int
    """How many events one request may have."""

    def record(self, event: UsageDelta, prefix: str) -> dict[str, Any]:
        """Return an event as this system's JSON; `prefix` begins the name of its meter."""

    def request(self, records: Sequence[dict[str, Any]]) -> Request:
        """Return the request that sends these records."""

    def known_already(self, status: int, body: bytes) -> set[int] | None:
        """Return the places of records that were sent before, None when the refusal is another."""


def system_named(name: str) -> System:
    """Return the billing system of that name. Raises: InputError when there is none."""
    if name not in SYSTEMS:
        raise InputError(f"found billing system {name!r}, expected one of {', '.join(SYSTEMS)}")
    return cast(System, import_module(f"meter.exports.{name}").SYSTEM)


@dataclass(slots=True)
class Deltas:
    """Makes events of changes. `customers` leads from subjects to names in the other system.

    Where it is given, only those subjects have events. `left_out` counts statements without any.
    """

    customers: Mapping[str, str] | None = None
    left_out: int = 0

    def of(self, changes: Iterable[Change]) -> Iterator[UsageDelta]:
        """Yield the events of each change in its order."""
        for change in changes:
            call = change.call
            customer = self._customer(call.subject)
            if customer is None:
                self.left_out += 1
                continue
            before: Mapping[str, Quantity] = (change.before and change.before.usage) or {}
            now: Mapping[str, Quantity] = call.usage or {}
            for unit in {**now, **before}:
                quantity = now.get(unit, 0) - before.get(unit, 0)
                if quantity:
                    yield UsageDelta(
                        id=f"{change.source_id}/{unit}",
                        portion=change.portion,
                        at_us=call.started_us,
                        customer=customer,
                        unit=unit,
                        quantity=quantity,
                        call_id=str(call.id),
                        provider=call.provider,
                        endpoint=call.endpoint,
                        model=call.model,
                        tags=call.tags,
                    )

    def _customer(self, subject: str | None) -> str | None:
        if subject is None or self.customers is None:
            return subject
        return self.customers.get(subject)


def event_table(name: str) -> Table:
    """Return the table under whose name the events of a system are told of."""
    return Table(f"{name} events", (Field("event", Kind.JSON),))
