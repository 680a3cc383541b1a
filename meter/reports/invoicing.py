"""Issue invoices: reckon what a subject is billed, less what it was billed before.

A period that was never invoiced is billed in full. Of every period that was, the difference
between what is known now and what was billed is added as adjustments; so a late record, a
correction or a price fix reaches the next invoice, once, and an invoice itself never changes. What
free allowances and volume tiers change of a month is part of what is known of it. Called by the
façade.
"""

from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from meter.core.invoices import (
    FromCredit,
    Invoice,
    Kind,
    Line,
    Parties,
    Period,
    Sums,
    Tax,
    by_currency,
    credit_note,
)
from meter.core.monthly import MonthlyRule
from meter.core.rates import datetime_of
from meter.errors import ConflictingWrite, InputError
from meter.reports.adjusting import Month, rules_in_force
from meter.reports.charging import charge_in, lines_of
from meter.reports.invoice_documents import from_json, to_json
from meter.store.invoices import IssuedRow
from meter.store.ledger import Ledger
from meter.store.reads import CallRow

_ATTEMPTS = 5
_DIGITS = 6

Progress = Callable[[int], None]
"""Is told how many calls were read so far."""


@dataclass(frozen=True, slots=True)
class Document:
    """An invoice, a credit note or a draft, with its JSON.

    `voided_by` is the number of the credit note that took it back, None when it stands.
    """

    invoice: Invoice
    content: str
    voided_by: str | None = None

    @classmethod
    def of(cls, row: IssuedRow) -> "Document":
        """Return the document that was issued."""
        return cls(from_json(row.content), row.content, row.voided_by)


@dataclass(slots=True)
class Invoicing:
    """Issues the invoices of one ledger.

    `prefix` begins each number; `tax` and `parties` go onto each invoice that is issued; `monthly`
    are the rules over whole months.
    """

    ledger: Ledger
    monthly: Sequence[MonthlyRule] = ()
    prefix: str = "INV-"
    tax: Tax | None = None
    parties: Parties = field(default_factory=Parties)
    progress: Progress | None = None

    def issue(self, subject: str, period: Period, now_us: int) -> list[IssuedRow]:
        """Return the invoices of a subject for a period: one for each currency.

        Those that were issued before are returned as they are; a currency whose invoice was voided
        gets a new one. Raises: InputError when there is nothing to bill, or when the period
        overlaps another that was invoiced.
        """
        for _ in range(_ATTEMPTS):
            known = self.ledger.invoices.listed(subject=subject)
            standing, voided = _of_period(known, period)
            wanted = {row.currency for row in voided} - {row.currency for row in standing}
            if standing and not wanted:
                return standing
            drafts = self._drafts(subject, period, now_us, self.ledger.seal(), known)
            if standing:
                drafts = [draft for draft in drafts if draft.currency in wanted]
            if not drafts and not standing:
                if self.ledger.invoices.listed(subject=subject) != known:
                    continue  # Somebody else has billed it meanwhile.
                raise InputError(
                    f"found nothing to bill {subject!r} for {period.name}, expected calls with a "
                    "price: meter usage --by subject shows who has some"
                )
            try:
                issued = self.ledger.invoices.issue(
                    drafts, self._numbered, expected_last=known[-1].sequence if known else 0
                )
            except ConflictingWrite:
                continue
            return [*standing, *issued]
        raise ConflictingWrite(
            f"found invoices of {subject!r} being issued again and again, expected a moment without"
        )

    def draft(self, subject: str, period: Period, now_us: int) -> list[Invoice]:
        """Return what `issue` would issue, without numbers; writes nothing."""
        known = self.ledger.invoices.listed(subject=subject)
        return self._drafts(subject, period, now_us, 0, known)

    def void(self, number: str, reason: str, now_us: int) -> IssuedRow:
        """Take an invoice back by a credit note, and return that.

        Raises: InputError when there is no such invoice or it is voided already.
        """
        row = self.the_one(number)
        if row.kind is not Kind.INVOICE:
            raise InputError(f"found {number} to be a credit note, expected an invoice")
        if row.voided_by is not None:
            raise InputError(f"found {number} voided by {row.voided_by}, expected one that stands")
        note = credit_note(from_json(row.content), issued_us=now_us, reason=reason)
        try:
            (issued,) = self.ledger.invoices.issue([note], self._numbered, expected_last=None)
        except ConflictingWrite as error:
            raise InputError(str(error)) from None
        return issued

    def the_one(self, number: str) -> IssuedRow:
        """Return the document of that number. Raises: InputError when there is none."""
        found = self.ledger.invoices.listed(number=number)
        if not found:
            raise InputError(f"found no invoice {number!r}, expected one of meter invoice list")
        return found[0]

    def unbilled(self, since_us: int, until_us: int) -> Iterator[str]:
        """Yield a sentence for what is to be billed yet of the calls in [since_us, until_us).

        Only subjects that were ever invoiced count: where nobody issues invoices, nothing waits.
        """
        for subject in self.ledger.invoices.subjects():
            known = self.ledger.invoices.listed(subject=subject, kind=Kind.INVOICE)
            periods = [row.period for row in known if row.voided_by is None]
            rules = _rules_of(known)
            at_us = since_us
            for period in [*sorted(periods, key=_bounds), None]:
                next_us = until_us if period is None else min(max(period.start_us, at_us), until_us)
                filters = {"subject": subject}
                if at_us < next_us and self.ledger.count_calls(
                    since_us=at_us, until_us=next_us, filters=filters
                ):
                    yield (
                        f"found calls of {subject!r} from {_day(at_us)} to {_day(next_us)} that no "
                        "invoice covers, expected all invoiced: issue it first"
                    )
                    break
                if period is None:
                    break
                at_us = max(at_us, period.end_us)
                touches = period.start_us < until_us and period.end_us > since_us
                if touches and self._has_news(subject, period, rules.get(_bounds(period), "")):
                    yield (
                        f"found more of {period.name} to bill to {subject!r} than was invoiced, "
                        "expected nothing left: issue the invoice of a later period first"
                    )
                    break

    def _numbered(self, draft: Invoice, sequence: int) -> tuple[Invoice, str]:
        invoice = replace(draft, number=f"{self.prefix}{sequence:0{_DIGITS}d}")
        return invoice, to_json(invoice)

    def _drafts(
        self,
        subject: str,
        period: Period,
        now_us: int,
        portion: int,
        known: Sequence[IssuedRow],
    ) -> list[Invoice]:
        counter = _Counter(self.progress)
        own, unpriced = self._unbilled(subject, period, counter, is_own=True)
        parts = [own]
        periods = [period]
        rules = _rules_of(known)
        archived_us = self.ledger.months.standing()[1]
        for other in self._periods(subject, known):
            standing, voided = _of_period(known, other)
            if _bounds(other) == _bounds(period):
                continue
            if other.overlaps(period) and (standing or self._is_billed(subject, other)):
                raise InputError(
                    f"found {other.name} ({other.tz}) invoiced to {subject!r}, expected a "
                    f"period that does not overlap it, which {period.name} ({period.tz}) does"
                )
            if other.start_us < archived_us:
                continue  # Nothing of it can have changed since.
            is_earlier = other.end_us <= period.start_us
            if (
                is_earlier
                and standing
                and self._has_news(subject, other, rules.get(_bounds(other), ""))
            ):
                news, _ = self._unbilled(subject, other, counter, is_own=False)
                # What was voided waits until its own period is invoiced again.
                waiting = {row.currency for row in voided} - {row.currency for row in standing}
                parts.append({c: lines for c, lines in news.items() if c not in waiting})
                periods.append(other)
        credit = self._from_credit(subject, periods, known)
        made_with = tuple((each, rules_in_force(self.monthly, each.months())) for each in periods)
        return [
            Invoice(
                kind=Kind.INVOICE,
                subject=subject,
                currency=currency,
                period=period,
                issued_us=now_us,
                lines=lines,
                tax=self.tax,
                parties=self.parties,
                portion=portion,
                unpriced_calls=unpriced,
                rules=made_with,
                credit=credit.get(currency),
            )
            for currency, lines in by_currency(parts).items()
        ]

    def _periods(self, subject: str, known: Sequence[IssuedRow]) -> list[Period]:
        """Return the periods that were invoiced, and those of which something was billed."""
        found = [*(row.period for row in known), *self.ledger.invoices.billed_periods(subject)]
        by_bounds = {_bounds(period): period for period in found}
        return [by_bounds[bounds] for bounds in sorted(by_bounds)]

    def _unbilled(
        self, subject: str, period: Period, counter: "_Counter", *, is_own: bool
    ) -> tuple[dict[str, list[Line]], int]:
        """Return what was not billed yet of a period, and how many of its calls lack a price."""
        sums = Sums()
        starts = period.months() if self.monthly else ()
        months = [Month() for _ in starts]
        unpriced = 0
        for call in counter.counted(
            self.ledger.calls(
                since_us=period.start_us,
                until_us=period.end_us,
                limit=None,
                newest_first=False,
                filters={"subject": subject},
            )
        ):
            charge = charge_in(call, "billed")
            if charge.amount_nanos is None or charge.currency is None:
                unpriced += charge.amount_nanos is None
                continue
            lines = lines_of(call, "billed", self.ledger.rate_card)
            sums.add_call(charge.currency, call.model, lines)
            if months:
                month = months[bisect_right(starts, call.started_us) - 1]
                month.add(call, charge.currency, lines)
        for month_us, month in zip(starts, months, strict=True):
            for adjustment in month.adjustments(self.monthly, subject, month_us):
                sums.add_monthly(adjustment)
        for currency, item, quantity, nanos in self.ledger.invoices.billed_lines(subject, period):
            sums.add(currency, item, -quantity, -nanos)
        return sums.lines(period, is_own=is_own), unpriced

    def _from_credit(
        self, subject: str, periods: Sequence[Period], known: Sequence[IssuedRow]
    ) -> Mapping[str, FromCredit]:
        """Return what the subject's credit paid of these periods, by currency.

        `periods` begins with the invoice's own. Of what earlier documents said, the difference.
        """
        accounts = self.ledger.credits.currencies(subject)
        if not accounts:
            return {}
        issued = [from_json(row.content) for row in known]
        found = {}
        for currency in accounts:
            used = []
            for period in periods:
                nanos = self.ledger.credits.used(
                    subject, currency, since_us=period.start_us, until_us=period.end_us
                )
                said = sum(
                    told for document in issued
                    if document.currency == currency and document.credit is not None
                    for other, told in document.credit.used if _bounds(other) == _bounds(period)
                )  # fmt: skip
                used.append((period, nanos - said))
            later = self.ledger.credits.used(
                subject, currency, since_us=periods[0].end_us, until_us=None
            )
            # Credit pays for the oldest calls first: what it lacks, it lacks for the latest.
            lacking = self.ledger.credits.overrun(subject, currency) - later
            most = max(sum(nanos for _, nanos in used), 0)
            found[currency] = FromCredit(tuple(used), min(max(lacking, 0), most))
        return found

    def _has_news(self, subject: str, period: Period, rules: str) -> bool:
        """Whether other sums are known of a period than were billed; quicker than its lines.

        `rules` is the fingerprint of those that it was billed with.
        """
        if rules_in_force(self.monthly, period.months()) != rules:
            return True
        left: dict[str | None, int] = {}
        for row in self.ledger.usage(
            (),
            since_us=period.start_us,
            until_us=period.end_us,
            tz="UTC",
            filters={"subject": subject},
        ):
            currency = row.billed_currency
            left[currency] = left.get(currency, 0) + (row.billed_nanos or 0)
        for currency, nanos in self._billed(subject, period, of_calls=True).items():
            left[currency] = left.get(currency, 0) - nanos
        return any(left.values())

    def _is_billed(self, subject: str, period: Period) -> bool:
        return any(self._billed(subject, period).values())

    def _billed(self, subject: str, period: Period, *, of_calls: bool = False) -> dict[str, int]:
        """Return what was billed of a period by currency, or only of that what calls made."""
        billed: dict[str, int] = {}
        for currency, item, _, nanos in self.ledger.invoices.billed_lines(subject, period):
            if of_calls and item.rule is not None:
                continue
            billed[currency] = billed.get(currency, 0) + nanos
        return billed


@dataclass(slots=True)
class _Counter:
    """Tells how many calls went by."""

    progress: Progress | None
    calls: int = 0

    def counted(self, calls: Iterator[CallRow]) -> Iterator[CallRow]:
        for call in calls:
            self.calls += 1
            if self.progress is not None and self.calls % 1000 == 0:
                self.progress(self.calls)
            yield call


def _of_period(
    known: Collection[IssuedRow], period: Period
) -> tuple[list[IssuedRow], list[IssuedRow]]:
    """Return the standing and the voided invoices of a period."""
    own = [
        row for row in known
        if row.kind is Kind.INVOICE and _bounds(row.period) == _bounds(period)
    ]  # fmt: skip
    return (
        [row for row in own if row.voided_by is None],
        [row for row in own if row.voided_by is not None],
    )


def _rules_of(known: Collection[IssuedRow]) -> dict[tuple[int, int], str]:
    """Return the fingerprint of the rules that each period was last billed with, by its bounds."""
    return {
        _bounds(period): fingerprint
        for row in known if row.kind is Kind.INVOICE and row.voided_by is None
        for period, fingerprint in from_json(row.content).rules
    }  # fmt: skip


def _bounds(period: Period) -> tuple[int, int]:
    return period.start_us, period.end_us


def _day(at_us: int) -> str:
    return datetime_of(at_us).date().isoformat()
