"""Work out what free allowances and volume tiers change of a subject's month.

The rules are the price book's, the sums those of what was billed. Nothing is written: an invoice
may have the lines as it is made. Called by the façade.
"""

from collections.abc import Callable, Iterable, Sequence

from meter.core.money import Quantity
from meter.core.monthly import Adjustment, MonthlyRule, MonthSum, adjustments
from meter.core.rates import RateCard
from meter.prices.names import names_of
from meter.reports.charging import lines_of
from meter.store.reads import CallRow

_Key = tuple[str, str, str, str, str, str | None, str | None, tuple[tuple[str, str], ...]]


def month_sums(
    calls: Iterable[CallRow], card_named: Callable[[str], RateCard | None]
) -> list[MonthSum]:
    """Return what was used and billed, by model, unit and whatever a rule can select by.

    `card_named` returns the stored rate card of an id. Calls without an amount are left out.
    """
    sums: dict[_Key, tuple[Quantity, int]] = {}
    for call in calls:
        currency = call.billed.currency
        if currency is None:
            continue
        for line in lines_of(call, "billed", card_named):
            key = (call.provider, call.model or "", line.unit, currency, call.issuer,
                   call.upstream, call.key_id, call.tags)  # fmt: skip
            quantity, nanos = sums.get(key, (0, 0))
            sums[key] = (quantity + line.quantity, nanos + line.amount_nanos)
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
        in sums.items()
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
    sums = month_sums(calls, card_named)
    return adjustments(rules, sums, subject=subject, month_us=month_us)
