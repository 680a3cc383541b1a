"""Turn usage into money: usage × rate card → charge lines. Pure.

Each unit is billed for the part of it that no priced unit inside it already covers, so no token
is billed twice. A call whose usage is not wholly covered has no amount (`None`), never a guess.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from meter.core.money import Quantity, multiply
from meter.core.rates import STANDARD, Missing, Pricing, Rate, RateCard
from meter.core.units import CONTAINERS, CONTENTS, UNITS
from meter.core.usage import Usage

MANY_REQUESTS = ("requests", "many")
"""The trait of a usage that is a sum over many requests: its size says nothing of each of them."""

MINIMUM = "minimum_charges"
"""The unit of the line that brings a call to the least that its card charges."""


@dataclass(frozen=True, slots=True)
class ChargeLine:
    """unit × quantity × rate = amount; `nanos` is the price of `per` units.

    `quantity` is what is billed on this line: the unit's own quantity less what other lines bill,
    at least the rate's minimum.
    """

    unit: str
    quantity: Quantity
    nanos: int
    per: int
    amount_nanos: int


@dataclass(frozen=True, slots=True)
class Charge:
    """The money of one call.

    `amount_nanos` is the sum of the lines, or None when the call is unpriced; `unpriced` then
    says why, in one sentence. An unpriced charge has no lines.
    """

    lines: tuple[ChargeLine, ...]
    amount_nanos: int | None
    currency: str | None
    card_id: str | None
    unpriced: str | None = None


def rate(
    usage: Usage,
    card: RateCard | Missing | None,
    *,
    at_us: int,
    tier: str | None = None,
    traits: Mapping[str, str] | None = None,
) -> Charge:
    """Rate one call's usage with the card that was in force when it started.

    `tier` is the service tier the provider says it used (None: standard). `at_us` picks the
    time-of-day window. A rate for `requests` bills the call itself once. Rates above an input
    size do not hold for a sum over many requests, which says so by a trait (`MANY_REQUESTS`).
    """
    if not isinstance(card, RateCard):
        return _unpriced(card.reason if card else "no rate card covers this model at this time")
    wanted = tier or STANDARD
    traits = traits or {}
    is_sum = traits.get(MANY_REQUESTS[0]) == MANY_REQUESTS[1]
    input_tokens = 0 if is_sum else int(usage.get("input_tokens", 0))
    rates = card.rates_for(wanted, at_us, input_tokens, traits)
    if rates is None:
        return _unpriced(f"rate card {card.id} has no rates for service tier {wanted!r}", card)
    if ("requests" in rates or "requests" in card.unpriced_units) and "requests" not in usage:
        usage = Usage(usage, requests=1)
    missing = _unknown(usage, card, rates) or _uncovered(usage, rates)
    if missing:
        return _unpriced(f"rate card {card.id} has no rate for {', '.join(missing)}", card)
    lines = tuple(_lines(usage, rates))
    if card.minimum_nanos and lines:
        lines += _up_to(card.minimum_nanos, lines)
    return Charge(lines, sum(line.amount_nanos for line in lines), card.currency, card.id)


@dataclass(frozen=True, slots=True)
class Charges:
    """The money of one call in each price book; None: the same as the cost."""

    cost: Charge
    listed: Charge | None = None
    billed: Charge | None = None


def rate_in_books(
    usage: Usage | None,
    pricing: Pricing,
    *,
    at_us: int,
    tier: str | None = None,
    traits: Mapping[str, str] | None = None,
) -> Charges:
    """Rate one call's usage in every price book, as `rate_ended` does it in one."""

    def charged(card: RateCard | Missing | None) -> Charge:
        return rate_ended(usage, card, at_us=at_us, tier=tier, traits=traits)

    # What owes nothing needs no price to say so.
    others = [
        None if c is None or (isinstance(c, Missing) and usage is not None and not usage)
        else charged(c)
        for c in (pricing.listed, pricing.billed)
    ]  # fmt: skip
    return Charges(charged(pricing.cost), *others)


def rate_ended(
    usage: Usage | None,
    card: RateCard | Missing | None,
    *,
    at_us: int,
    tier: str | None = None,
    traits: Mapping[str, str] | None = None,
) -> Charge:
    """Rate what an ended call owes: an unknown usage is unpriced, and an empty one is free."""
    known = card if isinstance(card, RateCard) else None
    if usage is None:
        return Charge((), None, None, known.id if known else None, "the usage is not known")
    if not usage:
        return Charge((), 0, known.currency if known else None, known.id if known else None)
    return rate(usage, card, at_us=at_us, tier=tier, traits=traits)


def exclusive_quantities(usage: Usage, priced: Mapping[str, Rate]) -> dict[str, Quantity]:
    """Return, for each priced unit, the quantity that no priced unit inside it covers.

    Parts are taken from the smallest bucket up. Where two buckets overlap without saying by how
    much (cached tokens that are also audio), they are taken as disjoint as far as the bucket
    around them has room, the modality before the cache. Nothing goes below zero, and the parts
    of a bucket never sum to more than it holds.
    """
    parts: dict[str, Quantity] = {}
    for name, quantity in reversed(list(usage.items())):
        if name not in priced:
            continue
        room = quantity - _billed_inside(name, parts)
        for holder in CONTAINERS[name]:
            if holder in usage:
                room = min(room, usage[holder] - _billed_inside(holder, parts))
        parts[name] = max(room, 0)
    return parts


def _billed_inside(name: str, parts: Mapping[str, Quantity]) -> Quantity:
    billed: Quantity = 0
    for inner, quantity in parts.items():
        if name in CONTAINERS[inner]:
            billed += quantity
    return billed


def _lines(usage: Usage, rates: Mapping[str, Rate]) -> list[ChargeLine]:
    parts = exclusive_quantities(usage, rates)
    lines = []
    for name, quantity in reversed(parts.items()):
        if quantity:
            chosen = rates[name]
            quantity = max(quantity, chosen.minimum)
            amount_nanos = multiply(quantity, chosen.nanos, chosen.per)
            lines.append(ChargeLine(name, quantity, chosen.nanos, chosen.per, amount_nanos))
    return lines


def _up_to(minimum_nanos: int, lines: tuple[ChargeLine, ...]) -> tuple[ChargeLine, ...]:
    """Return the line that brings a call to the least it costs, () where it costs that."""
    missing = minimum_nanos - sum(line.amount_nanos for line in lines)
    return (ChargeLine(MINIMUM, 1, missing, 1, missing),) if missing > 0 else ()


def _unknown(usage: Usage, card: RateCard, rates: Mapping[str, Rate]) -> list[str]:
    """Return the units whose own price matters, is not known, and of which some was used."""
    if not card.unpriced_units:
        return []
    unknown = card.unpriced_units - rates.keys()
    return [name for name in usage if name in unknown and usage[name]]


def _uncovered(usage: Usage, rates: Mapping[str, Rate]) -> list[str]:
    """Return the units with a quantity that no rate bills, itself or through a reported container.

    A contained unit is left to its container where that was reported. Incidental units need no
    rate, but a usage of which nothing at all is billed is not free.
    """
    used = [name for name, quantity in usage.items() if quantity]
    if rates.keys() >= set(used):
        return []
    billed = {
        name
        for name in used
        if name in rates or any(c in rates and c in usage for c in CONTAINERS[name])
    }
    missing = [
        name
        for name in used
        if name not in billed and not UNITS[name].incidental
        and not any(container in usage for container in CONTAINERS[name])
        and not _inside_is_complete(name, usage, rates)
    ]  # fmt: skip
    consumed = [name for name in used if name != "requests"] or used
    return missing or ([] if billed.intersection(consumed) else consumed)


def _inside_is_complete(name: str, usage: Usage, rates: Mapping[str, Rate]) -> bool:
    """Whether priced units inside an unpriced root cover all of it (an audio-only answer)."""
    parts = exclusive_quantities(usage, {u: rates[u] for u in CONTENTS[name] if u in rates})
    return sum(parts.values(), start=0) >= usage[name]


def _unpriced(reason: str, card: RateCard | None = None) -> Charge:
    return Charge((), None, None, card.id if card else None, reason)
