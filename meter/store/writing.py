"""Write one batch of requests in one transaction, with a fixed number of statements.

Everything that the batch needs is read first and locked: budgets, open calls with their holds,
budget windows. The requests are then decided one after another in memory, so that each sees what
the ones before it did and none can spoil another's answer. At the end the differences are written.

The locks are taken in the same order everywhere: budgets (shared), open calls by id, budget
windows by key, balances by account. Called by the ledger store and the sweep.
"""

from collections.abc import Container, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from sqlalchemy import Connection

from meter.core.budgets import Budget, Hold, Refusal, admit
from meter.core.ledger import Entry, balances_of, entries_of
from meter.core.rates import RateCard
from meter.core.rating import Charge
from meter.core.usage import Usage
from meter.errors import ConflictingWrite, StoreError, StoreUnavailable
from meter.store.batch import ANCHOR_US, Batch, BudgetWindow, WindowKey
from meter.store.budget_rows import counted_budget_from_row
from meter.store.corrections import correct, late_settle, settle_receipt
from meter.store.encoding import (
    AnyRow,
    Row,
    card_to_row,
    clean,
    event_to_row,
    scopes_of_row,
    split_event_row,
)
from meter.store.engine import on_cursor
from meter.store.failures import Interrupted
from meter.store.feed import arrival_rows
from meter.store.known import Known
from meter.store.parts import (
    ALL,
    LINES,
    RECEIPT,
    REST,
    load_claims,
    settle_parts,
    take_away_parts,
    whole_of,
)
from meter.store.prepaid import changed_rows
from meter.store.prepared import Runner, Work
from meter.store.requests import (
    Answer,
    Correct,
    Release,
    Request,
    Reserve,
    Settle,
    SettleParts,
)
from meter.store.statements import Statements, statements_for
from meter.store.works import hold_on, is_receipt, work_of


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a batch: an answer for each request, and the routes that it made sure of.

    An answer is an exception where that request alone failed (ConflictingWrite, StoreError).
    """

    answers: list[Answer | Exception]
    route_ids: frozenset[int]
    windows: dict[WindowKey, BudgetWindow]


def write_batch(
    connection: Connection,
    requests: Sequence[Request],
    known_routes: Container[int] = (),
    queued: Container[WindowKey] = (),
) -> Written:
    """Carry out the requests in their order, inside the connection's transaction; see `write`."""
    dialect = connection.dialect
    with on_cursor(connection) as cursor:
        runner = Runner(cursor, native=dialect.name == "postgresql")
        return write(runner, statements_for(dialect), requests, known_routes, queued)


def write(
    runner: Runner,
    statements: Statements,
    requests: Sequence[Request],
    known_routes: Container[int] = (),
    queued: Container[WindowKey] = (),
    known: Known | None = None,
) -> Written:
    """Carry out the requests in their order, inside the transaction that the runner is in.

    What is `known` need not be asked for. `known_routes` are in the database for certain and need
    not be written; in the budget windows `queued` calls wait already, and newcomers go behind them.
    Raises: StoreUnavailable; nothing of the batch is then written.
    """
    recalled = {} if known is None else known.windows
    batch = Batch(runner, statements, known_routes, queued=queued, recalled=recalled)
    _load(batch, requests, known)
    answers = [_carry_out(batch, request) for request in requests]
    if any(holds for _, holds in batch.opened.values()):
        # A database server that crashes must not forget what is held: its gateways live on.
        runner.harden()
    route_ids = _flush(batch, requests)
    return Written(answers, route_ids, batch.windows)


def _load(batch: Batch, requests: Sequence[Request], known: Known | None) -> None:
    rows = [r.row for r in requests if isinstance(r, (Reserve, Settle))]
    rows += load_claims(batch, requests)
    for request in requests:
        if isinstance(request, SettleParts):
            rows += request.rows
        if isinstance(request, Correct) and (event := batch.event(request.call_id)):
            rows.append(dict(event))
    values = {scope.value for row in rows for scope in scopes_of_row(row)} | {""}
    if known is None:
        _ask(batch, requests, values)
    else:
        _ask_unless_known(batch, requests, values, known)
    if batch.budgets or any(batch.open_holds.values()):
        _load_windows(batch, requests, rows)


def _load_windows(batch: Batch, requests: Sequence[Request], rows: Sequence[AnyRow]) -> None:
    """Lock the windows and the prepaid credit that the requests may move."""
    wanted = {
        (budget.id, budget.window.bounds(row["started_us"])[0])
        for row in rows
        for budget in batch.budgets_of(row)
    }
    rolling = _rolling(batch, requests)
    wanted |= {(budget.id, ANCHOR_US) for budget, _ in rolling}
    held = {(h.budget_id, h.window_start_us) for hs in batch.open_holds.values() for h in hs}
    if wanted or held:
        batch.lock_windows(wanted | held)
    for budget, from_us in rolling:
        batch.read_steps(budget, from_us)
    credit = {b.id: b for row in rows for b in batch.budgets_of(row) if b.is_credit}
    batch.load_credit(credit.values())


def _ask(batch: Batch, requests: Sequence[Request], values: set[str]) -> None:
    """Read the budgets of these scope values, and which calls are open or have ended.

    In this order. Reading the budgets keeps them from being changed until the batch is committed,
    and when the events are read nobody else can end an open call any more.
    """
    ids = list({request.call_id for request in requests} | batch.works)
    budgets, opened, ended = batch.runner.ask_all(
        [
            (batch.statements.budgets_in, {"values": list(values)}),
            (batch.statements.open_in, {"ids": ids}),
            (batch.statements.ended_in, {"ids": ids}),
        ]
    )
    for found in budgets:
        batch.take_budget(counted_budget_from_row(found))
    _take_open(batch, opened)
    batch.ended = {found["call_id"] for found in ended}


def _ask_unless_known(
    batch: Batch, requests: Sequence[Request], values: set[str], known: Known
) -> None:
    """Do the same as `_ask` on SQLite, for what this process does not know itself.

    The rows that are written and removed are counted in the end: what was wrongly believed to be
    known undoes the batch, and the next attempt asks for everything.
    """
    runner, statements = batch.runner, batch.statements
    known.refresh(runner.version())
    if new := values - known.budgets.keys():
        known.budgets |= {value: [] for value in new}
        for found in runner.ask(statements.budgets_in, values=list(new)):
            known.budgets[found["scope_value"]].append(counted_budget_from_row(found))
    for value in values:
        for counted in known.budgets[value]:
            batch.take_budget(counted)
    begun: set[UUID] = set()
    unsure: set[UUID] = set(batch.works)
    for request in requests:
        call_id = request.call_id
        holds = known.in_flight.get(call_id)
        if known.is_wary or isinstance(request, Correct):
            unsure.add(call_id)
        elif isinstance(request, Reserve):
            (begun if holds is None and call_id not in begun else unsure).add(call_id)
        elif holds is None:
            unsure.add(call_id)
        else:
            batch.open_holds[call_id] = holds
    if unsure:
        _take_open(batch, runner.ask(statements.open_in, ids=list(unsure)))
    if asked := unsure | begun:
        batch.ended = {row["call_id"] for row in runner.ask(statements.ended_in, ids=list(asked))}


def _take_open(batch: Batch, rows: Sequence[AnyRow]) -> None:
    """Note which calls are open, each with the holds that stand in its rows."""
    opened: dict[UUID, tuple[Hold, ...]] = {}
    for row in rows:
        held = opened.get(row["call_id"], ())
        if row["budget_id"] is not None:
            held = (*held, Hold(row["budget_id"], row["window_start_us"], row["amount"]))
        opened[row["call_id"]] = held
    batch.open_holds |= opened


def _rolling(batch: Batch, requests: Sequence[Request]) -> list[tuple[Budget, int]]:
    """Return the rolling budgets that calls are to be admitted under, and from when they count."""
    found: dict[str, tuple[Budget, int]] = {}
    for request in requests:
        if not isinstance(request, Reserve):
            continue
        for budget in batch.budgets_of(request.row):
            if budget.window.is_rolling:
                from_us = budget.window.counted_from(request.call.started_us)
                earlier = found.get(budget.id, (budget, from_us))[1]
                found[budget.id] = budget, min(earlier, from_us)
    return list(found.values())


def _carry_out(batch: Batch, request: Request) -> Answer | Exception:
    try:
        match request:
            case Reserve():
                return _reserve(batch, request)
            case Settle():
                _settle(batch, request)
            case SettleParts():
                settle_parts(batch, request)
                if (parts := request.parts).is_all:
                    _settle_receipts(batch, parts.whole, parts.fetch_id, parts.at_us)
            case Release():
                _close(batch, request.call_id)
            case Correct():
                correct(batch, request.row)
    except StoreUnavailable:
        raise
    except StoreError as error:
        return error
    return None


def _reserve(batch: Batch, request: Reserve) -> Answer:
    call_id, row = request.call_id, request.row
    if call_id in batch.ended or call_id in batch.events:
        return ()
    if call_id in batch.opened:
        known_row, known_holds = batch.opened[call_id]
        _require_same(known_row, row)
        return known_holds
    if call_id in batch.open_holds and call_id not in batch.closed:
        _require_same(batch.runner.ask(batch.statements.one_open_call, id=call_id)[0], row)
        return batch.open_holds[call_id]
    batch.require_open(row["started_us"])
    verdict = () if request.is_fact else _admitted(batch, request)
    if isinstance(verdict, Refusal):
        return verdict
    for hold in verdict:
        batch.windows[hold.budget_id, hold.window_start_us].add_held += hold.amount
    batch.opened[call_id] = (row, verdict)
    return verdict


def _admitted(batch: Batch, request: Reserve) -> tuple[Hold, ...] | Refusal:
    budgets = batch.budgets_of(request.row)
    at_us = request.call.started_us
    standing = [batch.as_it_stands(budget, at_us) for budget in budgets]
    standings = {budget.id: where for budget, where in standing}
    verdict = admit([budget for budget, _ in standing], request.call.bound, standings, at_us)
    return _in_turn(batch, request, verdict) if request.waits else verdict


def _in_turn(
    batch: Batch, request: Reserve, verdict: tuple[Hold, ...] | Refusal
) -> tuple[Hold, ...] | Refusal:
    """Let nobody overtake: who would fit goes behind those that wait for the same window."""
    if isinstance(verdict, Refusal):
        if verdict.may_fit_later:
            batch.blocked.add((verdict.budget_id, verdict.window_start_us))
        return verdict
    for hold in verdict:
        key = (hold.budget_id, hold.window_start_us)
        if key in batch.blocked or (not request.has_waited and key in batch.queued):
            return Refusal(
                hold.budget_id,
                f"budget {hold.budget_id} is waited for by calls that came before this one",
                may_fit_later=True,
                window_start_us=hold.window_start_us,
            )
    return verdict


_MAY_DIFFER = ("owner", "expires_us")


def _require_same(known: AnyRow, row: Row) -> None:
    for name, value in row.items():
        if name not in _MAY_DIFFER and known[name] != value:
            raise ConflictingWrite(
                f"found call {row['call_id']} in flight with {name} {known[name]!r}, "
                f"expected {value!r} as in this write: give each call an id of its own"
            )


def _once(batch: Batch, request: Settle) -> tuple[Settle, UUID | None]:
    """Return the request, with nothing owed where another call has billed the same work.

    And the call that bills it, None where nobody does yet.
    """
    event, call_id = request.event, request.call_id
    if event.shown_ids:
        return request, _shown_by_parts(batch, event.shown_ids)
    if not event.billing_ids:
        return request, None
    if event.usage is None:
        # A receipt: a later look at the work will show what it used.
        batch.claim(call_id, *(RECEIPT + name for name in event.billing_ids))
        return request, None
    if not event.usage:
        return request, call_id
    billed = [found for name in event.billing_ids if (found := whole_of(batch, name))]
    others = [other for other in billed if other != call_id]
    if others:
        return _owing_nothing(request, others[0]), others[0]
    batch.claim(call_id, *event.billing_ids)
    batch.claim(call_id, *(REST + n for n in event.billing_ids if LINES + n in batch.claims))
    return request, call_id


def _shown_by_parts(batch: Batch, names: Sequence[str]) -> UUID | None:
    """Take note of all names of ended work that does not tell its usage; return who billed it all.

    Who begins a batch knows its id, and who fetches its output only that of the file.
    """
    receipts = [batch.claims[RECEIPT + n] for n in names if RECEIPT + n in batch.claims]
    if receipts:
        batch.claim(receipts[0], *(RECEIPT + name for name in names))
    return next((batch.claims[ALL + n] for n in names if ALL + n in batch.claims), None)


def _owing_nothing(request: Settle, billed_with: UUID) -> Settle:
    event = request.event
    event = replace(
        event,
        usage=Usage(),
        charge=_nothing(event.charge),
        listed=None if event.listed is None else _nothing(event.listed),
        billed=None if event.billed is None else _nothing(event.billed),
        defects=(*event.defects, f"this work is billed with call {billed_with}"),
    )
    return replace(request, event=event, row=event_to_row(event))


def _nothing(charge: Charge) -> Charge:
    return Charge((), 0, charge.currency, charge.card_id)


def _settle(batch: Batch, request: Settle) -> None:
    batch.require_open(request.row["started_us"])
    request, billed_with = _once(batch, request)
    call_id, row = request.call_id, request.row
    if call_id in batch.events:
        require_same_event(batch.events[call_id], row)
        return
    if call_id in batch.ended:
        known = batch.runner.ask(batch.statements.one_event, id=call_id)[0]
        if known["swept"] and not row["swept"]:
            late_settle(batch, known, row)
        elif not row["swept"]:
            require_same_event(known, row)
        return
    if is_receipt(request):
        hold_on(batch, request)
    _close(batch, call_id)
    batch.events[call_id] = row
    event = request.event
    batch.entries += entries_of(event.call, event.issuer, event.charge, event.billed)
    batch.spend(row, row)
    if billed_with is not None:
        names = (*event.billing_ids, *event.shown_ids)
        _settle_receipts(batch, names, billed_with, event.ended_us)
    if billed_with == call_id:
        take_away_parts(batch, event)


def _settle_receipts(batch: Batch, names: Sequence[str], shown_by: UUID, at_us: int) -> None:
    """Settle the receipts of work, and end its holds, now that a call has shown what it used."""
    claimed = {batch.claims[RECEIPT + n] for n in names if RECEIPT + n in batch.claims}
    for receipt in sorted(claimed):
        settle_receipt(batch, receipt, shown_by, at_us)
        _close(batch, work_of(receipt))


def require_same_event(known: AnyRow, row: Row) -> None:
    """Raise ConflictingWrite unless both rows say the same."""
    for name, value in row.items():
        if known[name] != value:
            raise ConflictingWrite(
                f"found call {row['call_id']} ended with {name} {known[name]!r}, expected "
                f"{value!r} as in this write: an event never changes, add a correction"
            )


def _close(batch: Batch, call_id: UUID) -> None:
    """End the holds of a call and forget that it is open."""
    held: tuple[Hold, ...] = ()
    if call_id in batch.opened:
        held = batch.opened.pop(call_id)[1]
    elif call_id in batch.open_holds and call_id not in batch.closed:
        held = batch.open_holds[call_id]
        batch.closed.add(call_id)
    for hold in held:
        batch.windows[hold.budget_id, hold.window_start_us].add_held -= hold.amount


def _flush(batch: Batch, requests: Sequence[Request]) -> frozenset[int]:
    """Write what the batch changes; return the ids of the routes that it wrote.

    The most wanted locks, those of the balances, come last. Nothing is made of what is not there:
    most batches of a quiet process have one request.
    """
    made = batch.statements
    cards = _cards_of(requests)
    stored, routes = _stored(batch) if batch.events else ([], [])
    may_be_there: list[Work] = []
    if cards:
        rows = [card_to_row(cards[name]) for name in sorted(cards)]
        may_be_there.append((made.add_cards, rows))
    if routes:
        may_be_there.append((made.add_routes, routes))
    must_be_new: list[Work] = []
    if batch.claimed:
        claims = [{"name": n, "call_id": c} for n, c in sorted(batch.claimed.items())]
        must_be_new.append((made.add_claims, claims))
    if batch.opened:
        must_be_new.append((made.add_open_calls, [row for row, _ in batch.opened.values()]))
        must_be_new.append((made.add_holds, _held(batch)))
    if stored:
        must_be_new.append((made.add_events, stored))
    if batch.entries:
        must_be_new.append((made.add_entries, [entry_row(entry) for entry in batch.entries]))
    if stored or batch.corrected:
        must_be_new.append((made.add_arrivals, arrival_rows([*batch.events, *batch.corrected])))
    sums: list[Work] = []
    if batch.windows:
        sums.append((made.move_windows, _moved(batch)))
    if batch.credit:
        credit = list(batch.credit.values())
        moves = [move for account in credit for move in account.moves]
        must_be_new.append((made.add_credit_moves, moves))
        sums.append((made.move_credit, changed_rows(credit)))
    if batch.entries:
        sums.append((made.move_balances, balance_rows(batch.entries)))
    works: list[tuple[Work, int | None]] = [(work, None) for work in may_be_there]
    if batch.closed:
        works += _removals(batch)
    works += [(work, len(work[1])) for work in must_be_new if work[1]]
    works += [(work, None) for work in sums if work[1]]
    if not batch.runner.put_all(works):
        raise Interrupted("found a call that another process was writing: try again")
    return frozenset([route["id"] for route in routes])


def _cards_of(requests: Sequence[Request]) -> dict[str, RateCard]:
    """Return the rate cards that come with requests, by id."""
    cards: dict[str, RateCard] = {}
    for request in requests:
        if isinstance(request, Release):
            continue
        if request.card is not None:
            cards[request.card.id] = request.card
        if not isinstance(request, Reserve):
            for card in request.others:
                cards[card.id] = card
    return cards


def _stored(batch: Batch) -> tuple[list[Row], list[Row]]:
    """Return the rows of the new events, and those of their routes that are new, in order."""
    split = [split_event_row(row) for row in batch.events.values()]
    routes = {route["id"]: route for _, route in split if route["id"] not in batch.known_routes}
    return [stored for stored, _ in split], [routes[identity] for identity in sorted(routes)]


def _removals(batch: Batch) -> list[tuple[Work, int | None]]:
    """Return what removes the calls that ended, and their holds where they had any.

    Each with the number of rows that must go with it.
    """
    closed = sorted(batch.closed)
    rows: list[Row] = [{"ids": closed}]
    if not batch.runner.native:
        rows = [{"id": call_id} for call_id in closed]
    works: list[tuple[Work, int | None]] = [((batch.statements.drop_open_calls, rows), len(closed))]
    holds = sum(len(batch.open_holds[call_id]) for call_id in closed)
    if holds:
        works.append(((batch.statements.drop_holds, rows), holds))
    return works


def _moved(batch: Batch) -> list[Row]:
    return [
        {"of_budget": key[0], "of_start": key[1], "add_spent": w.add_spent, "add_held": w.add_held}
        for key, w in sorted(batch.windows.items())
        if w.add_spent or w.add_held
    ]


def _held(batch: Batch) -> list[Row]:
    return [
        {
            "call_id": call_id,
            "budget_id": hold.budget_id,
            "window_start_us": hold.window_start_us,
            "amount": hold.amount,
        }
        for call_id, (_, holds) in batch.opened.items()
        for hold in holds
    ]


def entry_row(entry: Entry) -> Row:
    """Return the row of an entry."""
    return {
        "source_id": entry.source_id,
        "number": entry.number,
        "at_us": entry.at_us,
        "amount_nanos": entry.amount_nanos,
        "debit": clean(entry.debit),
        "credit": clean(entry.credit),
        "currency": clean(entry.currency),
    }


def balance_rows(entries: Sequence[Entry]) -> list[Row]:
    """Return what these entries add to the balances."""
    return [
        {
            "account": clean(account),
            "currency": clean(currency),
            "debits": balance.debits,
            "credits": balance.credits,
        }
        for (account, currency), balance in balances_of(entries).items()
    ]
