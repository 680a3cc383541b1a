"""Work out what free allowances and volume tiers change of a subject's month.

The rules are the price book's, the sums those of what was billed. Nothing is written: the invoice
of the month has the lines as it is made. Called by the façade and by what issues invoices.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from meter.core.money import Quantity
from meter.core.monthly import Adjustment, MonthlyRule, MonthSum, adjustments
from meter.core.rates import RateCard
from meter.core.rating import ChargeLine
from meter.prices.names import names_of
from meter.reports.charging import lines_of
from meter.store.reads import CallRow

_Key = tuple[str, str, str, str, str, str | None, str | None, tuple[tuple[str, str], ...]]


@dataclass(slots=True)
class Month:
    """Adds up what one subject used and was billed in a month, as far as a rule can select."""

    sums: dict[_Key, tuple[Quantity, int]] = field(default_factory=dict)

    def add(self, call: CallRow, currency: str, lines: Iterable[ChargeLine]) -> None:
        """Add the charge lines of what one call was billed."""
        for line in lines:
            key = (call.provider, call.model or "", line.unit, currency, call.issuer,
                   call.upstream, call.key_id, call.tags)  # fmt: skip
            quantity, nanos = self.sums.get(key, (0, 0))
            self.sums[key] = (quantity + line.quantity, nanos + line.amount_nanos)

    def adjustments(
        self, rules: Sequence[MonthlyRule], subject: str, month_us: int
    ) -> list[Adjustment]:
        """Return the lines that the rules add to the month, which begins at `month_us`."""
        return adjustments(rules, self._sums(), subject=subject, month_us=month_us)

    def _sums(self) -> list[MonthSum]:
        return [
            MonthSum(
                provider=provider,
                model=model,
                unit=unit,
                quantity=quantity,
                amount_nanos=nanos,
                currency=currency,
                issuer=issuer,
                upstream=upstream,
                key_id=key_id,
                tags=tags,
                names=names_of(provider, model),
            )
            for (provider, model, unit, currency, issuer, upstream, key_id, tags), (quantity, nanos)
            in self.sums.items()
        ]  # fmt: skip


def rules_in_force(rules: Sequence[MonthlyRule], months_us: Iterable[int]) -> str:
    """Return a fingerprint of what the rules say of these months, "" where none is in force."""
    said = [
        [month_us, *[_said(rule) for rule in rules if rule.holds_at(month_us)]]
        for month_us in months_us
    ]
    if all(len(each) == 1 for each in said):
        return ""
    return sha256(json.dumps(said).encode()).hexdigest()[:16]


def _said(rule: MonthlyRule) -> list[object]:
    """Return what a rule does, in a form that is the same in every process."""
    who, which = rule.parties, rule.models
    return [
        rule.name, rule.unit, rule.currency, rule.free, rule.whole,
        [[tier.above, str(tier.multiplier)] for tier in rule.tiers],
        *[sorted(each) for each in (who.issuers, who.upstreams, who.subjects, who.keys, who.tags)],
        sorted(which.providers), list(which.names),
    ]  # fmt: skip


def month_adjustments(
    calls: Iterable[CallRow],
    rules: Sequence[MonthlyRule],
    card_named: Callable[[str], RateCard | None],
    *,
    subject: str,
    month_us: int,
) -> list[Adjustment]:
    """Return the lines that the rules add to a subject's month, which begins at `month_us`.

    `calls` are those of the subject in the month; without rules they are not read.
    """
    if not rules:
        return []
    month = Month()
    for call in calls:
        # Calls without an amount are left out.
        if call.billed.currency is not None:
            month.add(call, call.billed.currency, lines_of(call, "billed", card_named))
    return month.adjustments(rules, subject, month_us)
