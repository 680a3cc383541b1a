"""Set the sums of one interval beside those of another: totals, and who moved most. Pure.

Called by the dashboard.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from meter.core.money import divide_half_even
from meter.store.reads import UsageRow


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over rows of one currency; None where nothing of it is known.

    `unpriced`, `estimated`, `unsettled`, `failed` and `refused` count calls.
    """

    cost_nanos: int | None
    calls: int
    input_tokens: int | None
    cache_read_tokens: int | None
    output_tokens: int | None
    unpriced: int
    estimated: int
    unsettled: int
    failed: int
    refused: int

    @property
    def tokens(self) -> int:
        """Return input and output tokens together."""
        return (self.input_tokens or 0) + (self.output_tokens or 0)

    @property
    def priced(self) -> int:
        """Return how many calls the cost is spread over: those that were answered for a price."""
        return max(self.calls - self.refused - self.unpriced - self.unsettled, 0)

    @property
    def nanos_per_call(self) -> int | None:
        """Return the cost of one priced call, rounded; None without any."""
        if self.cost_nanos is None or not self.priced:
            return None
        return divide_half_even(self.cost_nanos, self.priced)

    @property
    def nanos_per_thousand_tokens(self) -> int | None:
        """Return the cost of a thousand tokens in and out, rounded; None without any."""
        if self.cost_nanos is None or not self.tokens:
            return None
        return divide_half_even(self.cost_nanos * 1000, self.tokens)


@dataclass(frozen=True, slots=True)
class Move:
    """What one group cost in the interval before and in this one, in nanos."""

    name: str | None
    before_nanos: int
    after_nanos: int

    @property
    def difference_nanos(self) -> int:
        """Return by how much the sum grew; negative: it shrank."""
        return self.after_nanos - self.before_nanos


def in_book(rows: Iterable[UsageRow], book: str) -> list[UsageRow]:
    """Return the rows with the sums of a price book ("cost", "list", "billed") as their cost."""
    if book == "list":
        return [replace(r, cost_nanos=r.list_nanos, currency=r.list_currency) for r in rows]
    if book == "billed":
        return [replace(r, cost_nanos=r.billed_nanos, currency=r.billed_currency) for r in rows]
    return list(rows)


def books_differ(rows: Iterable[UsageRow]) -> bool:
    """Whether the price books say anything different of these sums."""
    return any(
        (row.list_nanos, row.list_currency) != (row.cost_nanos, row.currency)
        or (row.billed_nanos, row.billed_currency) != (row.cost_nanos, row.currency)
        for row in rows
    )


def regrouped(rows: Iterable[UsageRow], *places: int) -> list[UsageRow]:
    """Return sums by fewer names: those at these places of the rows' groups.

    One row for each group and triple of currencies; calls without a currency keep rows of theirs.
    """
    found: dict[tuple[object, ...], UsageRow] = {}
    for row in rows:
        group = tuple(row.group[place] for place in places)
        key = (group, row.currency, row.list_currency, row.billed_currency)
        known = found.get(key)
        found[key] = replace(row, group=group) if known is None else _added(known, row)
    return list(found.values())


_SUMMED = tuple(
    field.name for field in fields(UsageRow)
    if field.name not in ("group", "currency", "list_currency", "billed_currency")
)  # fmt: skip


def _added(one: UsageRow, other: UsageRow) -> UsageRow:
    sums: dict[str, Any] = {
        name: _sum((getattr(one, name), getattr(other, name))) for name in _SUMMED
    }
    return replace(one, **sums)


def totals(rows: Iterable[UsageRow], currency: str | None) -> Totals:
    """Return the sums over the rows in the currency, and over those without any."""
    chosen = [row for row in rows if row.currency in (currency, None)]
    return Totals(
        cost_nanos=_sum(row.cost_nanos for row in chosen),
        calls=sum(row.calls for row in chosen),
        input_tokens=_sum(row.input_tokens for row in chosen),
        cache_read_tokens=_sum(row.cache_read_tokens for row in chosen),
        output_tokens=_sum(row.output_tokens for row in chosen),
        unpriced=sum(row.unpriced for row in chosen),
        estimated=sum(row.estimated for row in chosen),
        unsettled=sum(max(row.unknown - row.unmetered, 0) for row in chosen),
        failed=sum(row.failed for row in chosen),
        refused=sum(row.refused for row in chosen),
    )


def moves(
    before: Iterable[UsageRow], after: Iterable[UsageRow], currency: str, *, most: int = 8
) -> Sequence[Move]:
    """Return the groups whose sums differ most, the greatest difference first.

    Both sides are grouped by the same one name. Groups that cost the same are left out.
    """
    old, new = _by_name(before, currency), _by_name(after, currency)
    found = [Move(name, old.get(name, 0), new.get(name, 0)) for name in old.keys() | new.keys()]
    moved = [move for move in found if move.difference_nanos]
    moved.sort(key=lambda move: (-abs(move.difference_nanos), move.name or ""))
    return moved[:most]


@dataclass(frozen=True, slots=True)
class Step:
    """What one group cost in one step of time. `start` is as `UsageRow` writes it.

    `name` None stands for calls without one; `folded` for all the groups put together.
    """

    start: str
    name: str | None
    folded: bool
    cost_nanos: int | None
    calls: int
    tokens: int


def dearest(rows: Iterable[UsageRow], currency: str | None, most: int) -> list[str]:
    """Return the names of the groups that cost most, dearest first; the rows have one name."""
    costs = _by_name((row for row in rows if row.group[0] is not None), currency or "")
    return sorted((name for name in costs if name), key=lambda n: (-costs[n], n))[:most]


def less(rows: Iterable[UsageRow], others: Iterable[UsageRow]) -> list[UsageRow]:
    """Return by step what the rows have more than others: cost, calls and tokens of the rest.

    Both are grouped by a span of time first; the result has no other name.
    """
    left: dict[tuple[str | None, str | None], UsageRow] = {}
    for sign, side in ((1, rows), (-1, others)):
        for row in side:
            key = (row.group[0], row.currency)
            signed = replace(
                row,
                group=(row.group[0], None),
                calls=sign * row.calls,
                cost_nanos=_times(sign, row.cost_nanos),
                input_tokens=_times(sign, row.input_tokens),
                output_tokens=_times(sign, row.output_tokens),
            )
            left[key] = _added(left[key], signed) if key in left else signed
    return [row for row in left.values() if row.calls]


def _times(sign: int, value: int | None) -> int | None:
    return None if value is None else sign * value


def steps(
    rows: Iterable[UsageRow],
    currency: str | None,
    *,
    most: int = 7,
    rest: Iterable[UsageRow] = (),
) -> tuple[list[Step], list[str | None]]:
    """Return sums by step and group, and the groups that have one of their own, dearest first.

    The rows are grouped by a span of time and one name. All but the `most` dearest groups are
    folded into one, with the `rest`, which are never told apart.
    """
    chosen = [row for row in rows if row.currency in (currency, None)]
    others = [row for row in rest if row.currency in (currency, None)]
    weight: dict[str | None, tuple[int, int]] = {}
    for row in chosen:
        cost, calls = weight.get(row.group[1], (0, 0))
        weight[row.group[1]] = (cost + (row.cost_nanos or 0), calls + row.calls)
    ranked = sorted(weight, key=lambda name: (*(-part for part in weight[name]), name or ""))
    kept = ranked if len(ranked) <= most + 1 and not others else ranked[:most]
    found: dict[tuple[str, str | None, bool], Step] = {}
    for place, row in enumerate((*chosen, *others)):
        start, name = row.group
        folded = place >= len(chosen) or name not in kept
        key = (start or "", None if folded else name, folded)
        known = found.get(key, Step(*key, None, 0, 0))
        costs = [nanos for nanos in (known.cost_nanos, row.cost_nanos) if nanos is not None]
        found[key] = Step(
            *key,
            sum(costs) if costs else None,
            known.calls + row.calls,
            known.tokens + (row.input_tokens or 0) + (row.output_tokens or 0),
        )
    return [found[key] for key in sorted(found, key=lambda k: (k[0], k[2], k[1] or ""))], kept


def running(rows: Iterable[UsageRow], currency: str, starts: Sequence[str]) -> list[int]:
    """Return the sum from the first step to the end of each step, in nanos.

    The rows are grouped by a span of time; `starts` are all its steps, those without calls too.
    """
    by_start = _by_name(rows, currency)
    sums, total = [], 0
    for start in starts:
        total += by_start.get(start, 0)
        sums.append(total)
    return sums


def _by_name(rows: Iterable[UsageRow], currency: str) -> dict[str | None, int]:
    sums: dict[str | None, int] = {}
    for row in rows:
        if row.currency == currency:
            sums[row.group[0]] = sums.get(row.group[0], 0) + (row.cost_nanos or 0)
    return sums


def _sum(values: Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None
