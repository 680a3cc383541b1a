"""Bill a batch by its requests: each once, and what they used taken from the bill of the whole.

The batch is looked at and its output is fetched in any order, often, in parts and by many at once.
At every moment what is billed is what the batch as a whole reports or what its requests report,
whichever is more. Claims say how far it is, by a name of the batch:

    NAME              the call that billed the whole, or its first request where that came first
    lines of NAME     the first request, where its requests came first
    rest of NAME      the call that then billed the rest of the whole
    all of NAME       the call that showed the last of its requests
    receipt of NAME   a call without usage that began the work or saw it
    NAME/REQUEST      the call that is the record of one request

Whoever bills anything of a batch locks the claim with its name, or makes it. Called by `writing`.
"""

from collections.abc import Mapping, Sequence
from uuid import UUID, uuid5

from meter.core.call import Basis
from meter.core.event import Correction, Parts, UsageEvent
from meter.core.ledger import entries_of
from meter.core.rates import RateCard
from meter.core.rating import Charge, rate_ended
from meter.core.usage import Usage
from meter.store.batch import Batch
from meter.store.corrections import apply
from meter.store.encoding import (
    AnyRow,
    Book,
    Row,
    believable,
    book_from_row,
    card_from_row,
    correction_to_row,
    pairs_from_json,
    usage_from_row,
)
from meter.store.requests import Request, Settle, SettleParts
from meter.store.types import BASES
from meter.store.works import work_of

RECEIPT = "receipt of "
LINES = "lines of "
REST = "rest of "
ALL = "all of "

BY_REQUEST = "batch output"
"""The author of a correction that takes from a batch what its requests have used."""


def load_claims(batch: Batch, requests: Sequence[Request]) -> list[Row]:
    """Read who billed the work that these requests show; return the other calls of it, as rows."""
    events = [r.event for r in requests if isinstance(r, Settle)]
    names = [name for event in events for name in (*event.billing_ids, *event.shown_ids)]
    parts = [r.parts for r in requests if isinstance(r, SettleParts)]
    names += [name for each in parts for name in each.whole]
    if not names:
        return []
    asked = [before + name for name in names for before in ("", RECEIPT, LINES, REST, ALL)]
    asked += [name for each in parts for event in each.events for name in event.billing_ids]
    _read_claims(batch, sorted(set(names)), list(dict.fromkeys(asked)))
    batch.works = {work_of(c) for name, c in batch.claims.items() if name.startswith(RECEIPT)}
    return _rows_of(batch, names)


def _read_claims(batch: Batch, names: list[str], asked: list[str]) -> None:
    """Lock the claims with these names, and then read all: as those left them who had the lock.

    A claim that is made between the two is not locked yet; one that is made later stops this batch.
    """
    while True:
        locked = batch.runner.ask(batch.statements.lock_claims, names=names)
        found = batch.runner.ask(batch.statements.claims_in, names=asked)
        batch.claims = {row["name"]: row["call_id"] for row in found}
        if {name for name in names if name in batch.claims} <= {row["name"] for row in locked}:
            return


def _rows_of(batch: Batch, names: Sequence[str]) -> list[Row]:
    """Return the events of the receipts and of the bills of the whole."""
    asked = [before + name for name in names for before in ("", RECEIPT, REST)]
    ids = {batch.claims[name] for name in asked if name in batch.claims}
    known = [batch.event(call_id) for call_id in sorted(ids)]
    return [dict(event) for event in known if event is not None]


def whole_of(batch: Batch, name: str) -> UUID | None:
    """Return the call that billed a piece of work as a whole, None where none has."""
    rest = batch.claims.get(REST + name)
    return rest if rest or LINES + name in batch.claims else batch.claims.get(name)


def settle_parts(batch: Batch, request: SettleParts) -> None:
    """Record the requests of a batch that have no record yet, and correct that of the batch."""
    parts = request.parts
    wholes = {found for name in parts.whole if (found := whole_of(batch, name))}
    used: dict[str, int] = {}
    for event, row in zip(parts.events, request.rows, strict=True):
        if any(name in batch.claims for name in event.billing_ids):
            continue
        batch.claim(event.call.id, *event.billing_ids)
        batch.claim(
            event.call.id,
            *(before + n for n in parts.whole if n not in batch.claims for before in ("", LINES)),
        )
        batch.events[event.call.id] = row
        batch.entries += entries_of(event.call, event.issuer, event.charge, event.billed)
        batch.spend(row, row)
        _add(used, event.usage)
    for call_id in sorted(wholes):
        _take_away(batch, call_id, used, parts)
    if parts.is_all:
        batch.claim(parts.fetch_id, *(ALL + name for name in parts.whole))


def take_away_parts(batch: Batch, event: UsageEvent) -> None:
    """Take from the bill of a whole what requests of it have been billed before."""
    call_id = event.call.id
    names = [n for n in event.billing_ids if batch.claims.get(REST + n) == call_id]
    used: dict[str, int] = {}
    for name in names:
        for row in batch.runner.ask(batch.statements.parts_under, prefix=f"{name}/"):
            _add(used, usage_from_row(row))
        for claim, part_id in batch.claimed.items():
            if claim.startswith(f"{name}/"):
                _add(used, usage_from_row(batch.events[part_id]))
    if used:
        _take_away(batch, call_id, used, Parts((), call_id, event.ended_us, (), is_all=False))


def _add(sums: dict[str, int], usage: Usage | None) -> None:
    for unit, quantity in (usage or {}).items():
        sums[unit] = sums.get(unit, 0) + int(quantity)


def _take_away(batch: Batch, call_id: UUID, used: Mapping[str, int], parts: Parts) -> None:
    """Correct the bill of a whole to what its requests leave of it."""
    event = batch.event(call_id)
    if event is None or batch.is_closed(event["started_us"]):
        return
    earlier = batch.runner.ask(batch.statements.corrections_of, id=call_id)
    before = earlier[-1] if earlier else event
    usage = usage_from_row(before)
    rest = {unit: max(int(n) - used.get(unit, 0), 0) for unit, n in (usage or {}).items()}
    if not usage or rest == dict(usage):
        return
    left = Usage(rest).clamped() if any(rest.values()) else Usage()
    number = earlier[-1]["number"] + 1 if earlier else 1
    correction = Correction(
        id=uuid5(call_id, f"{BY_REQUEST} {number}"),
        call_id=call_id,
        number=number,
        at_us=parts.at_us,
        usage=left,
        basis=BASES[before["basis"]] if left else Basis.REPORTED,
        charge=_rated(batch, left, event, before["rate_card_id"], before["currency"]),
        reason="requests of the batch have records of their own: what they used is billed there",
        author=BY_REQUEST,
        listed=_rated_in(batch, left, event, before, "list"),
        billed=_rated_in(batch, left, event, before, "billed"),
    )
    apply(batch, event, before, correction_to_row(correction))


def _rated_in(
    batch: Batch, usage: Usage, event: AnyRow, before: AnyRow, book: Book
) -> Charge | None:
    """Return the charge in another price book, None where it is the cost's."""
    known = book_from_row(before, book)
    if known is None:
        return None
    return _rated(batch, usage, event, known.card_id, known.currency)


def _rated(
    batch: Batch, usage: Usage, event: AnyRow, card_id: str | None, currency: str | None
) -> Charge:
    if not usage:
        return Charge((), 0, currency, card_id)
    return believable(
        rate_ended(
            usage,
            None if card_id is None else _card(batch, card_id),
            at_us=event["started_us"],
            tier=event["service_tier"],
            traits=dict(pairs_from_json(event["traits"])),
        )
    )


def _card(batch: Batch, card_id: str) -> RateCard | None:
    found = batch.runner.ask(batch.statements.cards_in, ids=[card_id])
    return card_from_row(found[0]) if found else None
