"""Check every invariant of the ledger, on one state of it, in one pass over its records.

What ought to hold is derived again from the stored usage and rate cards. Of archived months that
is no longer possible: their entries still have to sum up to the balances, and no more is asked of
them, of budget windows that began in them, and of their rollups. Called by `meter check` and by the
tests.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    func,
    literal_column,
    select,
    union_all,
)

from meter.core.budgets import Budget, Scope
from meter.core.credit import PREFIX
from meter.core.ledger import NOBODY
from meter.core.rates import RateCard
from meter.core.rating import rate
from meter.core.windows import Span
from meter.errors import MeterError
from meter.store.archives import gone_until
from meter.store.budget_rows import CountedBudget, counted_budget_from_row, taken_by
from meter.store.corrections import difference
from meter.store.credit_sums import (
    Posted,
    add,
    moved_by_people,
    sums_that_differ,
    usage_by_source,
)
from meter.store.encoding import (
    BOOK_COLUMNS,
    ROUTE_COLUMNS,
    AnyRow,
    believable,
    book_from_row,
    card_from_row,
    charge_from_row,
    pairs_from_json,
    route_id,
    scopes_of_row,
    usage_from_row,
)
from meter.store.engine import read_connection
from meter.store.invoices import documents_that_differ, posted_by_invoices
from meter.store.latest import first_events
from meter.store.prepaid import burns
from meter.store.rollups import rollups_that_differ
from meter.store.schema import (
    balances,
    budget_windows,
    budgets,
    corrections,
    entries,
    holds,
    open_calls,
    rate_cards,
    routes,
    usage_events,
)

_AT_ONCE = 1000
_ZERO: ColumnElement[int] = literal_column("0")
_NAMED = 5
_PROGRESS_EVERY = 10_000


@dataclass(frozen=True, slots=True)
class Finding:
    """One row that breaks an invariant; at most five are named for each.

    `invariant` is what ought to hold, `row` the row's key, `message` what was found.
    """

    invariant: str
    row: str
    message: str


def check(engine: Engine, progress: Callable[[int], None] | None = None) -> Iterator[Finding]:
    """Yield what breaks an invariant of the ledger, nothing when it is sound.

    Reads everything once, streamed, in one state. `progress` gets the number of calls checked.
    Raises: StoreUnavailable.
    """
    with read_connection(engine) as connection:
        check = _Check(connection, progress or (lambda _count: None))
        named: dict[str, int] = {}
        for finding in check.findings():
            named[finding.invariant] = named.get(finding.invariant, 0) + 1
            if named[finding.invariant] <= _NAMED:
                yield finding


@dataclass(slots=True)
class _Check:
    """One run over the ledger."""

    connection: Connection
    progress: Callable[[int], None]
    cards: dict[str, RateCard] = field(default_factory=dict)
    budgets: dict[Scope, list[CountedBudget]] = field(default_factory=dict)
    spent: dict[tuple[str, int], int] = field(default_factory=dict)
    burnt: dict[UUID, int] = field(default_factory=dict)
    gone_us: int = 0

    def findings(self) -> Iterator[Finding]:
        self.gone_us = gone_until(self.connection)
        yield from self._balances()
        yield from self._holds()
        yield from self._open_calls()
        yield from self._cards()
        yield from self._routes()
        for row in self._rows(select(budgets)):
            counted = counted_budget_from_row(row)
            self.budgets.setdefault(counted.budget.scope, []).append(counted)
        yield from self._records()
        yield from self._spent()
        for found in sums_that_differ(self.connection):
            yield Finding(*found)
        for found in documents_that_differ(self.connection):
            yield Finding(*found)
        for rollup, message in rollups_that_differ(self.connection):
            yield Finding("rollups equal calls", rollup, message)

    def _rows(self, statement: Any) -> Iterator[AnyRow]:
        streamed = statement.execution_options(yield_per=_AT_ONCE)
        with self.connection.execute(streamed) as found:
            yield from found.mappings()

    # --- sums ---------------------------------------------------------------------------------

    def _balances(self) -> Iterator[Finding]:
        totals = select(
            balances.c.currency, func.sum(balances.c.debits), func.sum(balances.c.credits)
        ).group_by(balances.c.currency)
        for currency, debits, credits in self.connection.execute(totals):
            if debits != credits:
                yield Finding(
                    "debits equal credits", currency, f"debits are {debits}, credits {credits}"
                )
        sides = union_all(
            select(entries.c.debit.label("account"), entries.c.currency,
                   entries.c.amount_nanos.label("debits"), _ZERO.label("credits")),
            select(entries.c.credit, entries.c.currency, _ZERO, entries.c.amount_nanos),
            select(balances.c.account, balances.c.currency, -balances.c.debits,
                   -balances.c.credits),
        ).subquery()  # fmt: skip
        off = (
            select(sides.c.account, sides.c.currency, func.sum(sides.c.debits),
                   func.sum(sides.c.credits))
            .group_by(sides.c.account, sides.c.currency)
            .having((func.sum(sides.c.debits) != 0) | (func.sum(sides.c.credits) != 0))
            .order_by(sides.c.account, sides.c.currency)
        )  # fmt: skip
        for account, currency, debits, credits in self.connection.execute(off):
            yield Finding(
                "balances equal the sums of their entries",
                f"{account} {currency}",
                f"the entries are {debits} more in debit and {credits} more in credit",
            )

    def _holds(self) -> Iterator[Finding]:
        sides = union_all(
            select(holds.c.budget_id, holds.c.window_start_us, holds.c.amount),
            select(
                budget_windows.c.budget_id, budget_windows.c.window_start_us, -budget_windows.c.held
            ),
        ).subquery()
        off = (
            select(sides.c.budget_id, sides.c.window_start_us, func.sum(sides.c.amount))
            .group_by(sides.c.budget_id, sides.c.window_start_us)
            .having(func.sum(sides.c.amount) != 0)
            .order_by(sides.c.budget_id, sides.c.window_start_us)
        )
        for budget_id, start_us, more in self.connection.execute(off):
            yield Finding(
                "held equals the live holds",
                f"{budget_id} {start_us}",
                f"the live holds are {more} more than held",
            )
        below = select(budget_windows).where(budget_windows.c.held < 0)
        for row in self._rows(below):
            yield Finding(
                "held is never negative",
                f"{row['budget_id']} {row['window_start_us']}",
                f"held is {row['held']}",
            )

    def _open_calls(self) -> Iterator[Finding]:
        stray = select(holds.c.call_id, holds.c.budget_id).where(
            ~select(open_calls.c.call_id).where(open_calls.c.call_id == holds.c.call_id).exists()
        )
        for row in self._rows(stray):
            yield Finding(
                "holds belong to open calls",
                str(row["call_id"]),
                f"a hold in budget {row['budget_id']} is left of a call that is not open",
            )
        both = select(open_calls.c.call_id).join(
            usage_events, usage_events.c.call_id == open_calls.c.call_id
        )
        for row in self._rows(both):
            yield Finding(
                "no call is both open and ended", str(row["call_id"]), "it is in flight and ended"
            )

    def _cards(self) -> Iterator[Finding]:
        for row in self._rows(select(rate_cards)):
            try:
                self.cards[row["id"]] = card_from_row(row)
                hashed = card_from_row(row, keep_id=False).id
            except (MeterError, ValueError, KeyError, TypeError) as error:
                yield Finding("records can be read", row["id"], f"the rate card: {error}")
                continue
            if hashed != row["id"]:
                yield Finding(
                    "rate cards are what their ids say",
                    row["id"],
                    f"it hashes to {hashed}",
                )

    def _routes(self) -> Iterator[Finding]:
        for row in self._rows(select(routes)):
            books = [row[name] for name in BOOK_COLUMNS]
            hashed = route_id(
                *[row[name] for name in ROUTE_COLUMNS], *(books if any(books) else ())
            )
            if hashed != row["id"]:
                yield Finding(
                    "routes are what their ids say", str(row["id"]), f"it hashes to {hashed}"
                )
        known = select(routes.c.id).where(routes.c.id == usage_events.c.route_id)
        for row in self._rows(select(usage_events.c.call_id).where(~known.exists())):
            yield Finding("routes are stored", str(row["call_id"]), "its route is not there")

    # --- one pass over the calls --------------------------------------------------------------

    def _records(self) -> Iterator[Finding]:
        """Check every call beside its corrections and its entries, all sorted by call."""
        present = first_events().where(usage_events.c.started_us >= self.gone_us)
        events = self._rows(present.order_by(usage_events.c.call_id))
        later = _Alongside(
            self._rows(select(corrections).order_by(corrections.c.call_id, corrections.c.number)),
            "call_id",
        )
        posted = _Alongside(
            self._rows(select(entries).order_by(entries.c.source_id, entries.c.number)),
            "source_id",
        )
        burns = _Alongside(self._rows(usage_by_source()), "source_id")
        owed = moved_by_people(self.connection) | posted_by_invoices(self.connection)
        for count, event in enumerate(events, 1):
            versions = [event, *later.take(event["call_id"])]
            yield from self._versions(event, versions, owed)
            expected = _first_entries(event)
            add(expected, self._burnt(event, event, None))
            yield from _entries_as_expected(
                event["call_id"], posted.take(event["call_id"]), expected
            )
            found = sum(int(row["amount"]) for row in burns.take(event["call_id"]))
            if (wanted := self.burnt.pop(event["call_id"], 0)) != found:
                yield _moves_finding(event["call_id"], found, wanted)
            if count % _PROGRESS_EVERY == 0:
                self.progress(count)
        archived: set[UUID] = set()
        for row in later.rest():
            if _chosen_us(row["call_id"]) < self.gone_us:
                archived.add(row["id"])
                continue
            yield Finding(
                "corrections belong to ended calls",
                str(row["id"]),
                f"it corrects call {row['call_id']}, which has not ended",
            )
        moved = {
            row["source_id"]: int(row["amount"])
            for row in burns.rest()
            if row["at_us"] >= self.gone_us and row["source_id"] not in archived
        }
        for source_id in sorted(moved.keys() | self.burnt.keys()):
            found, wanted = moved.get(source_id, 0), self.burnt.get(source_id, 0)
            if found != wanted:
                yield _moves_finding(source_id, found, wanted)
        strays: dict[UUID, list[AnyRow]] = {}
        for row in posted.rest():
            source_id = row["source_id"]
            if source_id in archived or (row["at_us"] < self.gone_us and source_id not in owed):
                continue
            strays.setdefault(row["source_id"], []).append(row)
        for source_id in sorted(owed.keys() | strays.keys()):
            yield from _entries_as_expected(
                source_id, strays.get(source_id, []), owed.get(source_id, {})
            )

    def _versions(
        self,
        event: AnyRow,
        versions: list[AnyRow],
        owed: dict[UUID, Posted],
    ) -> Iterator[Finding]:
        """Check each truth on a call; note what its corrections owe and its budgets spent."""
        before = event
        for version in versions:
            try:
                yield from self._rated(event, version)
            except (MeterError, ValueError, KeyError, TypeError) as error:
                yield Finding("records can be read", str(event["call_id"]), f"the call: {error}")
            if version is not event:
                made = difference(event, before, version)
                owed[version["id"]] = {
                    (e.debit, e.credit, e.currency): e.amount_nanos for e in made
                }
                add(owed[version["id"]], self._burnt(event, version, before))
            before = version
        latest = dict(versions[-1])
        stated = [row["outcome"] for row in versions if row["outcome"] is not None]
        latest["outcome"] = stated[-1]
        self._spend(event, latest)

    def _rated(self, event: AnyRow, version: AnyRow) -> Iterator[Finding]:
        call_id = str(event["call_id"])
        charge, usage = charge_from_row(version), usage_from_row(version)
        total = sum(line.amount_nanos for line in charge.lines)
        if total != (charge.amount_nanos or 0):
            yield Finding(
                "charge lines sum to the cost",
                call_id,
                f"the lines sum to {total} nanos, the cost is {charge.amount_nanos}",
            )
        merged = {
            name: event[name] if version[name] is None else version[name]
            for name in ("service_tier", "traits")
        }
        charges = {
            "cost": charge,
            "published price": book_from_row(version, "list"),
            "billed amount": book_from_row(version, "billed"),
        }
        for name, charge in ((name, made) for name, made in charges.items() if made is not None):
            if not usage or charge.card_id is None:
                if charge.amount_nanos:
                    yield Finding(
                        "costs follow from usage and rate card",
                        call_id,
                        f"the {name} is {charge.amount_nanos} nanos without usage or rate card",
                    )
                continue
            card = self.cards.get(charge.card_id)
            if card is None:
                yield Finding(
                    "rate cards are stored", call_id, f"rate card {charge.card_id} is not there"
                )
                continue
            again = believable(
                rate(
                    usage,
                    card,
                    at_us=event["started_us"],
                    tier=merged["service_tier"],
                    traits=dict(pairs_from_json(merged["traits"])),
                )
            )
            lines = charge.lines if name == "cost" else again.lines
            found = (charge.amount_nanos, charge.currency, lines)
            if found != (again.amount_nanos, again.currency, again.lines):
                yield Finding(
                    "costs follow from usage and rate card",
                    call_id,
                    f"the {name} is {charge.amount_nanos} nanos, "
                    f"and rated again {again.amount_nanos}",
                )

    def _counting(self, event: AnyRow) -> dict[str, Budget]:
        """Return the budgets that count a call, but rates, by id."""
        if not self.budgets:
            return {}
        return {
            counted.budget.id: counted.budget
            for scope in scopes_of_row(event)
            for counted in self.budgets.get(scope, ())
            if counted.counts(event["started_us"]) and not counted.budget.is_rate
        }

    def _spend(self, event: AnyRow, latest: AnyRow) -> None:
        started_us = event["started_us"]
        counting = self._counting(event)
        for budget_id, amount in taken_by(tuple(counting.values()), latest).items():
            key = (budget_id, counting[budget_id].window.bounds(started_us)[0])
            self.spent[key] = self.spent.get(key, 0) + amount

    # --- prepaid credit -----------------------------------------------------------------------

    def _burnt(self, event: AnyRow, version: AnyRow, before: AnyRow | None) -> Posted:
        """Return the entries that a truth on a call makes from the prepaid credit of its subject.

        Its usage moves have to come to the same.
        """
        posted: Posted = {}
        for budget in self._counting(event).values():
            if not budget.is_credit:
                continue
            earlier = None if before is None else _with_outcome(event, before)
            changes = burns(budget, event, _with_outcome(event, version), earlier)
            account, currency = f"{PREFIX}{event['subject']}", budget.currency or ""
            for other, amount in changes.items():
                if amount:
                    debit, credit = (account, other) if amount > 0 else (other, account)
                    add(posted, {(debit, credit, currency): abs(amount)})
            source_id = event["call_id"] if before is None else version["id"]
            self.burnt[source_id] = self.burnt.get(source_id, 0) - sum(changes.values())
        return posted

    def _spent(self) -> Iterator[Finding]:
        left = dict(self.spent)
        order = (budget_windows.c.budget_id, budget_windows.c.window_start_us)
        rates = select(budgets.c.id).where(budgets.c.span == Span.MINUTE.value)
        kept = select(budget_windows).where(budget_windows.c.budget_id.not_in(rates))
        for row in self._rows(kept.order_by(*order)):
            key = (row["budget_id"], row["window_start_us"])
            expected = left.pop(key, 0)
            if row["spent"] != expected and key[1] >= self.gone_us:
                yield _spent_finding(key, row["spent"], expected)
        for key, expected in sorted(left.items()):
            if expected and key[1] >= self.gone_us:
                yield _spent_finding(key, 0, expected)


class _Alongside:
    """Rows sorted by a key, taken in step with other rows sorted by the same key."""

    def __init__(self, rows: Iterator[AnyRow], key: str) -> None:
        """Take the rows and the name of their key."""
        self._rows = rows
        self._key = key
        self._next = next(rows, None)
        self._passed: list[AnyRow] = []

    def take(self, wanted: UUID) -> list[AnyRow]:
        """Return the rows with this key; set aside those with a smaller one."""
        taken: list[AnyRow] = []
        while self._next is not None and self._next[self._key] <= wanted:
            (taken if self._next[self._key] == wanted else self._passed).append(self._next)
            self._next = next(self._rows, None)
        return taken

    def rest(self) -> Iterator[AnyRow]:
        """Yield the rows that nobody took."""
        yield from self._passed
        while self._next is not None:
            yield self._next
            self._next = next(self._rows, None)


def _chosen_us(identity: UUID) -> int:
    """Return when a UUIDv7 was chosen, to the millisecond; a month is archived long after that."""
    return (identity.int >> 80) * 1000


def _with_outcome(event: AnyRow, version: AnyRow) -> AnyRow:
    """Return a truth on a call with its outcome, where it states none with that of the event."""
    return version if version["outcome"] is not None else {**version, "outcome": event["outcome"]}


def _first_entries(event: AnyRow) -> Posted:
    """Return what a call's own entries ought to be: (debit, credit, currency) and amount."""
    subject, issuer = event["subject"] or NOBODY, event["issuer"]
    owed: dict[tuple[str, str, str], int] = {}
    if event["cost_nanos"] and event["currency"] is not None:
        owed[f"spend:{subject}", f"payable:{issuer}", event["currency"]] = event["cost_nanos"]
    if event["billed_nanos"] and event["billed_currency"] is not None:
        key = (f"receivable:{subject}", f"revenue:{issuer}", event["billed_currency"])
        owed[key] = event["billed_nanos"]
    return owed


def _entries_as_expected(
    source_id: UUID, posted: list[AnyRow], expected: Posted
) -> Iterator[Finding]:
    found: Posted = {}
    for row in posted:
        key = (row["debit"], row["credit"], row["currency"])
        found[key] = found.get(key, 0) + row["amount_nanos"]
    if found != expected:
        yield Finding(
            "the entries of a call are its cost",
            str(source_id),
            f"its entries are {_shown(found)}, expected {_shown(expected)}",
        )


def _shown(amounts: Posted) -> str:
    parts = [
        f"{nanos} nanos {currency} from {debit} to {credit}"
        for (debit, credit, currency), nanos in sorted(amounts.items())
    ]
    return "; ".join(parts) or "none"


def _moves_finding(source_id: UUID, found: int, expected: int) -> Finding:
    return Finding(
        "the credit that a call moved is what it used",
        str(source_id),
        f"its moves come to {found} nanos, expected {expected}",
    )


def _spent_finding(key: tuple[str, int], found: int, expected: int) -> Finding:
    return Finding(
        "spent is what the calls took",
        f"{key[0]} {key[1]}",
        f"spent is {found}, the calls took {expected}",
    )
