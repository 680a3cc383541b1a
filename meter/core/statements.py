"""Set out a subject's prepaid credit line by line, so that anybody can add it up. Pure.

Usage comes summed by what the caller groups it by, everything else one by one. Called by the store,
which reads the movements.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from meter.core.credit import MoveKind


@dataclass(frozen=True, slots=True)
class Movement:
    """What moved credit: one thing that a person did or that ended, or a sum of usage.

    `at_us` is microseconds UTC, of usage the last of it. `amount_nanos` is below zero for what
    went. `groups` are the values that usage is summed by, `calls` how many there are. `name` is
    the id that a person chose.
    """

    at_us: int
    kind: MoveKind
    amount_nanos: int
    groups: tuple[str | None, ...] = ()
    calls: int | None = None
    name: str | None = None
    reason: str | None = None
    author: str | None = None


@dataclass(frozen=True, slots=True)
class StatementLine:
    """A movement and the balance after it, in nanos."""

    movement: Movement
    balance_nanos: int


@dataclass(frozen=True, slots=True)
class Statement:
    """The credit of a subject in one currency over [since_us, until_us), in nanos.

    `since_us` None is the beginning. `by` names what usage is summed by, `tz` the zone of its days.
    """

    subject: str
    currency: str
    since_us: int | None
    until_us: int
    tz: str
    by: tuple[str, ...]
    opening_nanos: int
    lines: tuple[StatementLine, ...]

    @property
    def closing_nanos(self) -> int:
        """Return the balance at the end."""
        return self.lines[-1].balance_nanos if self.lines else self.opening_nanos

    def total_nanos(self, kind: MoveKind) -> int:
        """Return what all lines of a kind come to."""
        return sum(line.movement.amount_nanos for line in self.lines if line.movement.kind is kind)


def statement(
    subject: str,
    currency: str,
    *,
    since_us: int | None,
    until_us: int,
    tz: str,
    by: tuple[str, ...],
    opening_nanos: int,
    movements: Iterable[Movement],
) -> Statement:
    """Return the statement of these movements, in the order of their time."""
    balance_nanos = opening_nanos
    lines = []
    for movement in sorted(movements, key=_order):
        balance_nanos += movement.amount_nanos
        lines.append(StatementLine(movement, balance_nanos))
    return Statement(subject, currency, since_us, until_us, tz, by, opening_nanos, tuple(lines))


def _order(movement: Movement) -> tuple[int, str, tuple[str, ...], str]:
    groups = tuple(text or "" for text in movement.groups)
    return (movement.at_us, movement.kind, groups, movement.name or "")
