"""Say the ledger in FOCUS, the FinOps Open Cost and Usage Specification: 1.2, 1.3 or 1.4.

One row for each day, subject, model, unit and price: FOCUS wants a row for each meter. A file shows
one side of the business: what issuers charge us (the book "cost"), or what we charge subjects
("billed", with nothing of our own cost in it). Calls without a price have no row.

Source: focus.finops.org, the specifications 1.2 (2025-05-29), 1.3 (2025-12-04) and 1.4
(2026-06-04), read 2026-11-22.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal, localcontext
from typing import Any, Literal, get_args

from meter.core.money import Quantity, divide_half_even, nanos_to_decimal, nanos_to_text
from meter.core.rates import RateCard
from meter.core.rating import ChargeLine
from meter.core.units import UNITS
from meter.core.windows import Span, Window
from meter.errors import InputError
from meter.exports.tables import Field, Kind, Row, Table
from meter.reports.charging import charge_in, lines_of
from meter.store.reads import CallRow

Version = Literal["1.2", "1.3", "1.4"]
Side = Literal["cost", "billed"]

_PLACES = 18

_COLUMNS = (
    Field("BilledCost", Kind.AMOUNT, summed=True, currency="BillingCurrency"),
    Field("BillingAccountId"),
    Field("BillingAccountName"),
    Field("BillingCurrency"),
    Field("BillingPeriodEnd", Kind.UTC),
    Field("BillingPeriodStart", Kind.UTC),
    Field("ChargeCategory"),
    Field("ChargeClass"),
    Field("ChargeDescription"),
    Field("ChargeFrequency"),
    Field("ChargePeriodEnd", Kind.UTC),
    Field("ChargePeriodStart", Kind.UTC),
    Field("CommitmentDiscountCategory"),
    Field("CommitmentDiscountId"),
    Field("CommitmentDiscountName"),
    Field("CommitmentDiscountQuantity", Kind.DECIMAL),
    Field("CommitmentDiscountStatus"),
    Field("CommitmentDiscountType"),
    Field("CommitmentDiscountUnit"),
    Field("ConsumedQuantity", Kind.DECIMAL),
    Field("ConsumedUnit"),
    Field("ContractedCost", Kind.AMOUNT, summed=True, currency="BillingCurrency"),
    Field("ContractedUnitPrice", Kind.DECIMAL),
    Field("EffectiveCost", Kind.AMOUNT, summed=True, currency="BillingCurrency"),
    Field("HostProviderName"),
    Field("InvoiceId"),
    Field("InvoiceIssuerName"),
    Field("ListCost", Kind.AMOUNT, summed=True, currency="BillingCurrency"),
    Field("ListUnitPrice", Kind.DECIMAL),
    Field("PricingCategory"),
    Field("PricingQuantity", Kind.DECIMAL),
    Field("PricingUnit"),
    Field("ProviderName"),
    Field("PublisherName"),
    Field("ServiceCategory"),
    Field("ServiceName"),
    Field("ServiceProviderName"),
    Field("ServiceSubcategory"),
    Field("SkuId"),
    Field("SkuMeter"),
    Field("SkuPriceDetails", Kind.JSON),
    Field("SkuPriceId"),
    Field("SubAccountId"),
    Field("SubAccountName"),
    Field("Tags", Kind.JSON),
    Field("x_Basis"),
    Field("x_Calls", Kind.INTEGER, summed=True),
    Field("x_Endpoint"),
    Field("x_ModelServed"),
)

_ONLY_IN = {
    "ProviderName": ("1.2", "1.3"),
    "PublisherName": ("1.2", "1.3"),
    "ServiceProviderName": ("1.3", "1.4"),
    "HostProviderName": ("1.3", "1.4"),
}

_UNITS = {
    "audio_seconds": "Seconds", "video_seconds": "Seconds", "characters": "Characters",
    "pages": "Pages", "images": "Images", "searches": "Searches", "sessions": "Sessions",
    "tool_calls": "Calls", "requests": "Requests",
}  # fmt: skip
"""Units that are not tokens, as FOCUS's unit format has them."""

_PUBLISHERS = (
    ("gpt", "OpenAI"), ("chatgpt", "OpenAI"), ("o1", "OpenAI"), ("o3", "OpenAI"),
    ("o4", "OpenAI"), ("text-embedding", "OpenAI"), ("whisper", "OpenAI"), ("tts", "OpenAI"),
    ("dall-e", "OpenAI"), ("sora", "OpenAI"), ("davinci", "OpenAI"), ("babbage", "OpenAI"),
    ("claude", "Anthropic"), ("gemini", "Google"), ("gemma", "Google"), ("mistral", "Mistral AI"),
    ("mixtral", "Mistral AI"), ("codestral", "Mistral AI"), ("command", "Cohere"),
    ("llama", "Meta"), ("qwen", "Alibaba Cloud"), ("deepseek", "DeepSeek"), ("glm", "Zhipu AI"),
    ("grok", "xAI"), ("kimi", "Moonshot AI"), ("doubao", "ByteDance"), ("voyage", "Voyage AI"),
)  # fmt: skip
"""Who made a model, by how its name begins; else its provider stands for its maker."""


def focus_table(version: str) -> Table:
    """Return the columns of a version. Raises: InputError for one that is not known."""
    if version not in get_args(Version):
        raise InputError(
            f"found FOCUS version {version!r}, expected one of {', '.join(get_args(Version))}"
        )
    fields = (f for f in _COLUMNS if version in _ONLY_IN.get(f.name, (version,)))
    return Table("focus", tuple(fields), currency="BillingCurrency")


@dataclass(frozen=True, slots=True)
class Said:
    """What the ledger does not know and FOCUS asks for.

    `account` is the billing account; `seller` who bills the subjects, for the side "billed".
    """

    side: Side = "cost"
    account: str = "default"
    seller: str = "meter"


@dataclass(frozen=True, slots=True)
class _Group:
    """What the rows of a day have in common: all but quantities and amounts."""

    subject: str | None
    tags: tuple[tuple[str, str], ...]
    provider: str
    issuer: str
    endpoint: str
    model: str | None
    model_served: str | None
    tier: str | None
    basis: str
    unit: str
    nanos: int
    per: int
    list_nanos: int | None
    currency: str
    card_id: str


@dataclass(slots=True)
class _Sums:
    quantity: Quantity = 0
    nanos: int = 0
    list_nanos: int = 0
    calls: int = 0


@dataclass(slots=True)
class FocusRows:
    """Makes FOCUS rows of calls that come in the order of their start.

    Only the groups of one day are in memory. `unpriced` counts the calls that have no row.
    """

    version: str
    said: Said
    tz: str
    card_named: Callable[[str], RateCard | None]
    unpriced: int = 0
    _groups: dict[_Group, _Sums] = field(default_factory=dict)

    def rows(self, calls: Iterable[CallRow]) -> Iterator[Row]:
        """Yield a row for each group of each day."""
        names = focus_table(self.version).names
        day = Window(Span.DAY, self.tz)
        start_us, end_us = 0, 0
        for call in calls:
            if call.started_us >= end_us:
                yield from self._flushed(names, start_us, end_us)
                bounds = day.bounds(call.started_us)
                assert bounds[1] is not None
                start_us, end_us = bounds[0], bounds[1]
            self._add(call)
        yield from self._flushed(names, start_us, end_us)

    def _add(self, call: CallRow) -> None:
        side = self.said.side
        charge = charge_in(call, side)
        if charge.amount_nanos is None:
            self.unpriced += 1
            return
        if charge.currency is None:
            return
        lines = lines_of(call, side, self.card_named)
        listed = self._listed(call, lines, charge.currency)
        for line, (list_nanos, list_amount) in zip(lines, listed, strict=True):
            group = _Group(
                subject=call.subject,
                tags=call.tags,
                provider=call.provider,
                issuer=call.issuer,
                endpoint=call.endpoint,
                model=call.model,
                model_served=call.model_served,
                tier=call.service_tier,
                basis=str(call.basis),
                unit=line.unit,
                nanos=line.nanos,
                per=line.per,
                list_nanos=list_nanos,
                currency=charge.currency,
                card_id=charge.card_id or "",
            )
            sums = self._groups.setdefault(group, _Sums())
            sums.quantity += line.quantity
            sums.nanos += line.amount_nanos
            sums.list_nanos += list_amount
            sums.calls += 1

    def _listed(
        self, call: CallRow, lines: tuple[ChargeLine, ...], currency: str
    ) -> list[tuple[int | None, int]]:
        """Return for each line its published price and amount.

        A published price in another currency cannot be said beside these, so the line's own stands
        there. Where the list has other units than the line, its whole amount is shared out in
        proportion, and the price (None) follows from that.
        """
        if call.listed.currency != currency or call.listed.amount_nanos is None:
            return [(line.nanos, line.amount_nanos) for line in lines]
        published = {line.unit: line for line in lines_of(call, "list", self.card_named)}
        alike = len(published) == len(lines) and all(
            line.unit in published
            and published[line.unit].quantity == line.quantity
            and published[line.unit].per == line.per
            for line in lines
        )
        if alike:
            found = [published[line.unit] for line in lines]
            return [(line.nanos, line.amount_nanos) for line in found]
        whole = sum(line.amount_nanos for line in lines)
        shares = [
            divide_half_even(call.listed.amount_nanos * line.amount_nanos, whole) if whole else 0
            for line in lines
        ]
        if shares:
            shares[0] += call.listed.amount_nanos - sum(shares)
        return [(None, share) for share in shares]

    def _flushed(self, names: list[str], start_us: int, end_us: int) -> Iterator[Row]:
        """Yield the rows of a day, and forget them."""
        for group in sorted(self._groups, key=_order):
            record = self._record(group, self._groups[group], start_us, end_us)
            yield tuple(record.get(name) for name in names)
        self._groups.clear()

    def _record(self, group: _Group, sums: _Sums, start_us: int, end_us: int) -> dict[str, Any]:
        month_start, month_end = Window(Span.MONTH, self.tz).bounds(start_us)
        is_cost = self.said.side == "cost"
        issuer = group.issuer if is_cost else self.said.seller
        unit = _UNITS.get(group.unit, "Tokens")
        label = UNITS[group.unit].label if group.unit in UNITS else group.unit
        model = group.model or "unknown"
        quantity = _divided(Decimal(sums.quantity), group.per)
        list_price = (
            _unit_price(sums.list_nanos, quantity)
            if group.list_nanos is None
            else Decimal(nanos_to_text(group.list_nanos))
        )
        tier = group.tier or "standard"
        return {
            "BilledCost": sums.nanos,
            "BillingAccountId": self.said.account,
            "BillingAccountName": self.said.account,
            "BillingCurrency": group.currency,
            "BillingPeriodStart": month_start,
            "BillingPeriodEnd": month_end,
            "ChargeCategory": "Usage",
            "ChargeDescription": f"{model} {label} ({group.provider}, {tier})",
            "ChargeFrequency": "Usage-Based",
            "ChargePeriodStart": start_us,
            "ChargePeriodEnd": end_us,
            "ConsumedQuantity": sums.quantity,
            "ConsumedUnit": unit,
            "ContractedCost": sums.nanos,
            "ContractedUnitPrice": Decimal(nanos_to_text(group.nanos)),
            "EffectiveCost": sums.nanos,
            "HostProviderName": group.provider,
            "InvoiceIssuerName": issuer,
            "ListCost": sums.list_nanos,
            "ListUnitPrice": list_price,
            "PricingCategory": "Standard",
            "PricingQuantity": quantity,
            "PricingUnit": unit if group.per == 1 else f"{group.per} {unit}",
            "ProviderName": issuer,
            "PublisherName": _publisher(group.model, group.provider),
            "ServiceCategory": "AI and Machine Learning",
            "ServiceName": f"{group.provider} {group.endpoint}",
            "ServiceProviderName": issuer,
            "ServiceSubcategory": "Generative AI",
            "SkuId": f"{group.provider}/{model}/{group.unit}",
            "SkuMeter": label,
            "SkuPriceDetails": {
                "x_Model": model, "x_Per": group.per, "x_ServiceTier": tier, "x_Unit": group.unit,
            },
            "SkuPriceId": f"{group.card_id}/{tier}/{group.unit}/{nanos_to_text(group.nanos)}",
            "SubAccountId": group.subject,
            "SubAccountName": group.subject,
            "Tags": dict(group.tags),
            "x_Basis": group.basis,
            "x_Calls": sums.calls,
            "x_Endpoint": group.endpoint,
            "x_ModelServed": group.model_served,
        }  # fmt: skip


def _order(group: _Group) -> tuple[str, ...]:
    return tuple(
        str(value or "")
        for value in (
            group.subject, group.provider, group.model, group.unit, group.tags, group.nanos,
            group.per, group.endpoint, group.model_served, group.tier, group.basis, group.issuer,
            group.currency, group.card_id, group.list_nanos,
        )
    )  # fmt: skip


def _divided(quantity: Decimal, per: int) -> Decimal:
    """Return quantity / per: exact where the decimal ends, else to 18 places."""
    with localcontext(prec=60):
        exact = quantity / per
        if exact * per == quantity:
            return exact
        return exact.quantize(Decimal(1).scaleb(-_PLACES))


def _unit_price(nanos: int, quantity: Decimal) -> Decimal:
    """Return the price of one pricing unit that makes this amount, to 18 places."""
    with localcontext(prec=60):
        if not quantity:
            return Decimal(0)
        return (nanos_to_decimal(nanos) / quantity).quantize(Decimal(1).scaleb(-_PLACES))


def _publisher(model: str | None, provider: str) -> str:
    name = (model or "").rpartition("/")[2].rpartition(".")[2] if model else ""
    for text in (model or "", name):
        for beginning, publisher in _PUBLISHERS:
            if text.lower().startswith(beginning):
                return publisher
    return provider
