"""Keep invoices as they were issued, numbered without gaps. Called by the opened ledger.

Knows rows, not what is billed: see `meter.reports.invoicing`. A number is taken in the transaction
that writes its invoice, and the entries of what monthly rules change on it. Issuing fails, and
takes no number, when another invoice of the subject was issued since the lines were reckoned.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from uuid import UUID, uuid5

from sqlalchemy import Connection, Engine, Row, and_, func, insert, select
from sqlalchemy.exc import IntegrityError

from meter.core.invoices import (
    Invoice,
    Item,
    Kind,
    Line,
    Period,
    quantity_from_text,
    quantity_to_text,
)
from meter.core.ledger import monthly_entries
from meter.core.money import Quantity, nanos_from_text
from meter.errors import ConflictingWrite
from meter.store.credit_sums import Posted, add
from meter.store.encoding import clean
from meter.store.engine import on_cursor, read_connection, write_connection
from meter.store.feed import arrival_rows, take_number
from meter.store.prepared import Runner
from meter.store.schema import invoice_lines, invoices
from meter.store.statements import statements_for
from meter.store.writing import balance_rows, entry_row

_COUNTER = "invoice"
_DOCUMENTS = UUID("0d2f6c0e-9a0b-4a53-8f0e-5b8f4f0c7a11")

Write = Callable[[Invoice, int], tuple[Invoice, str]]
"""Gives an invoice its number, from the count of all so far, and its content."""


@dataclass(frozen=True, slots=True)
class IssuedRow:
    """One issued document. `voided_by` is the number of its credit note, None when it stands."""

    sequence: int
    number: str
    kind: Kind
    subject: str
    currency: str
    period: Period
    issued_us: int
    portion: int
    voids: str | None
    voided_by: str | None
    amount_nanos: int
    content: str


class Invoices:
    """The invoices of a ledger. Thread-safe."""

    def __init__(self, engine: Engine) -> None:
        """Take the engine."""
        self._engine = engine

    def issue(
        self, drafts: Iterable[Invoice], write: Write, *, expected_last: int | None
    ) -> list[IssuedRow]:
        """Write the drafts of one subject, in one transaction, each with the next number.

        `expected_last` is the sequence of the subject's last document as it was when the lines were
        reckoned (0: none); None does not look. Raises: ConflictingWrite when there is a later one,
        or when an invoice is voided twice; StoreUnavailable.
        """
        made: list[int] = []
        try:
            with write_connection(self._engine) as connection:
                for draft in drafts:
                    made.append(_issue(connection, draft, write, expected_last))
                    expected_last = None
        except IntegrityError:
            raise ConflictingWrite(
                "found an invoice that is voided already, expected one that stands"
            ) from None
        return [row for sequence in made for row in self.listed(sequence=sequence)]

    def listed(
        self,
        *,
        subject: str | None = None,
        number: str | None = None,
        sequence: int | None = None,
        kind: Kind | None = None,
    ) -> list[IssuedRow]:
        """Return the documents that fit, oldest first. Raises: StoreUnavailable."""
        credit_notes = invoices.alias("credit_notes")
        amount = (
            select(func.coalesce(func.sum(invoice_lines.c.amount_nanos), 0))
            .where(invoice_lines.c.sequence == invoices.c.sequence)
            .scalar_subquery()
        )
        chosen = (
            select(invoices, credit_notes.c.number.label("voided_by"), amount.label("amount"))
            .outerjoin(credit_notes, credit_notes.c.voids == invoices.c.number)
            .order_by(invoices.c.sequence)
        )
        wanted = {"subject": subject, "number": number, "sequence": sequence, "kind": kind}
        for name, value in wanted.items():
            if value is not None:
                chosen = chosen.where(invoices.c[name] == value)
        with read_connection(self._engine) as connection:
            return [_issued_row(row) for row in connection.execute(chosen)]

    def subjects(self) -> list[str]:
        """Return who was ever invoiced, sorted. Raises: StoreUnavailable."""
        chosen = select(invoices.c.subject).distinct().order_by(invoices.c.subject)
        with read_connection(self._engine) as connection:
            return list(connection.execute(chosen).scalars())

    def billed_periods(self, subject: str) -> list[Period]:
        """Return each period of which something was billed to the subject, oldest first."""
        columns = [
            invoice_lines.c[name] for name in ("period", "tz", "period_start_us", "period_end_us")
        ]
        chosen = (
            select(*columns)
            .join(invoices, invoices.c.sequence == invoice_lines.c.sequence)
            .where(invoices.c.subject == subject)
            .distinct()
            .order_by(invoice_lines.c.period_start_us)
        )
        with read_connection(self._engine) as connection:
            return [Period(*row) for row in connection.execute(chosen)]

    def billed_lines(
        self, subject: str, period: Period
    ) -> Iterator[tuple[str, Item, Quantity, int]]:
        """Yield what was billed of a period: currency, item, quantity and amount of each line."""
        lines = invoice_lines.c
        chosen = (
            select(invoices.c.currency, lines.model, lines.unit, lines.nanos, lines.per,
                   lines.rule, lines.effect, lines.quantity, lines.amount_nanos)
            .join(invoices, invoices.c.sequence == lines.sequence)
            .where(
                and_(
                    invoices.c.subject == subject,
                    lines.period_start_us == period.start_us,
                    lines.period_end_us == period.end_us,
                )
            )
        )  # fmt: skip
        with read_connection(self._engine) as connection:
            for currency, *item, quantity, amount in connection.execute(chosen):
                yield currency, Item(*item), quantity_from_text(quantity), amount


def _issue(connection: Connection, draft: Invoice, write: Write, expected_last: int | None) -> int:
    # The counter first: whoever else issues waits here, and then sees this one's documents.
    sequence = take_number(connection, _COUNTER, 1)
    if expected_last is not None:
        last = select(func.coalesce(func.max(invoices.c.sequence), 0)).where(
            invoices.c.subject == draft.subject
        )
        found = connection.execute(last).scalar_one()
        if found != expected_last:
            raise ConflictingWrite(
                f"found another invoice of {draft.subject} issued meanwhile, expected none: "
                "issue again"
            )
    invoice, content = write(draft, sequence)
    connection.execute(
        insert(invoices),
        {
            "sequence": sequence,
            "issued_us": invoice.issued_us,
            "period_start_us": invoice.period.start_us,
            "period_end_us": invoice.period.end_us,
            "portion": invoice.portion,
            "number": invoice.number,
            "kind": invoice.kind.value,
            "subject": invoice.subject,
            "currency": invoice.currency,
            "period": invoice.period.name,
            "tz": invoice.period.tz,
            "voids": invoice.voids,
            "content": clean(content),
        },
    )
    rows = [_line_row(sequence, place, line) for place, line in enumerate(invoice.lines)]
    if rows:
        connection.execute(insert(invoice_lines), rows)
    _post(connection, invoice)
    return sequence


def source_of(number: str) -> UUID:
    """Return the source of the entries of an invoice or credit note of that number."""
    return uuid5(_DOCUMENTS, number)


def posted_by_invoices(connection: Connection) -> dict[UUID, Posted]:
    """Return the entries that invoices ought to have made, by source."""
    lines = invoice_lines.c
    chosen = (
        select(invoices.c.number, invoices.c.subject, invoices.c.currency, lines.rule,
               lines.effect, lines.amount_nanos)
        .join(invoices, invoices.c.sequence == lines.sequence)
        .where(lines.rule.is_not(None))
    )  # fmt: skip
    owed: dict[UUID, Posted] = {}
    for number, subject, currency, *change in connection.execute(chosen):
        source_id = source_of(number)
        for entry in monthly_entries(source_id, 0, subject, currency, [tuple(change)]):
            add(
                owed.setdefault(source_id, {}),
                {(entry.debit, entry.credit, entry.currency): entry.amount_nanos},
            )
    return owed


def documents_that_differ(connection: Connection) -> Iterator[tuple[str, str, str]]:
    """Yield what is wrong of invoices: what ought to hold, the row's key, what was found."""
    summed = (
        select(func.coalesce(func.sum(invoice_lines.c.amount_nanos), 0))
        .where(invoice_lines.c.sequence == invoices.c.sequence)
        .scalar_subquery()
    )
    chosen = select(invoices.c.sequence, invoices.c.number, invoices.c.content, summed)
    expected = 0
    for sequence, number, content, nanos in connection.execute(chosen.order_by("sequence")):
        expected += 1
        if sequence != expected:
            yield "invoices are numbered without gaps", number, f"it is the {sequence}th"
            expected = sequence
        stated = nanos_from_text(str(json.loads(content)["subtotal"]))
        if stated != int(nanos):
            yield (
                "an invoice is the sum of its lines",
                number,
                f"its lines sum to {nanos} nanos, the document says {stated}",
            )


def _post(connection: Connection, invoice: Invoice) -> None:
    """Write the entries of what monthly rules change on an invoice."""
    entries = monthly_entries(
        source_of(invoice.number or ""), invoice.issued_us, invoice.subject, invoice.currency,
        [
            (line.item.rule, line.item.effect or "", line.amount_nanos)
            for line in invoice.lines if line.item.rule is not None
        ],
    )  # fmt: skip
    if not entries:
        return
    statements = statements_for(connection.dialect)
    with on_cursor(connection) as cursor:
        runner = Runner(cursor, native=connection.dialect.name == "postgresql")
        runner.put(statements.add_arrivals, arrival_rows([entries[0].source_id]))
        if runner.put(statements.add_entries, [entry_row(each) for each in entries]) != len(
            entries
        ):
            raise ConflictingWrite(
                f"found entries of {invoice.number} already, expected a number of its own"
            )
        runner.put(statements.move_balances, balance_rows(entries))


def _line_row(sequence: int, place: int, line: Line) -> dict[str, object]:
    return {
        "sequence": sequence,
        "place": place,
        "period_start_us": line.period.start_us,
        "period_end_us": line.period.end_us,
        "nanos": line.item.nanos,
        "per": line.item.per,
        "amount_nanos": line.amount_nanos,
        "kind": line.kind.value,
        "period": line.period.name,
        "tz": line.period.tz,
        "unit": line.item.unit,
        "quantity": quantity_to_text(line.quantity),
        "model": clean(line.item.model),
        "rule": clean(line.item.rule),
        "effect": line.item.effect,
    }


def _issued_row(row: Row[tuple[object, ...]]) -> IssuedRow:
    found = row._mapping
    period = Period(found["period"], found["tz"], found["period_start_us"], found["period_end_us"])
    return IssuedRow(
        found["sequence"], found["number"], Kind(found["kind"]), found["subject"],
        found["currency"], period, found["issued_us"], found["portion"], found["voids"],
        found["voided_by"], int(found["amount"]), found["content"],
    )  # fmt: skip
