"""Give the reason of a difference in one place: an interval and a model.

The figures decide, in the order of the functions below; what they leave open is said to be open.
Pure but for the price list. Called by `comparing` with the calls of that place.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from meter.core import rating
from meter.core.money import NANOS, Quantity, nanos_to_text
from meter.core.ports import PriceSource
from meter.core.usage import Usage
from meter.errors import UnitError
from meter.reports.reconciling.differences import SENTENCES, Difference, Reason
from meter.reports.reconciling.recorded import Place, Seen, Sum, excess
from meter.reports.rerating import owed_by

_INPUT_INSIDE = ("cache_read_tokens", "cache_write_tokens", "cache_write_5m_tokens",
                 "cache_write_1h_tokens")  # fmt: skip


class Explaining:
    """Explains places of one bill. `provider` and `prices` put a price on what we did not see."""

    def __init__(self, provider: str, prices: PriceSource, smallest_nanos: int) -> None:
        """`smallest_nanos` is the last step of the bill's amounts."""
        self._provider = provider
        self._prices = prices
        self._smallest = smallest_nanos

    def usage(
        self, place: Place, theirs: Sum, ours: Sum, calls: Sequence[Seen]
    ) -> Difference | None:
        """Return why the usage of a place differs, None when it does not.

        `calls` are ours of the place, all of them.
        """
        apart = excess(theirs, ours)
        more = None if theirs.calls is None else theirs.calls - (ours.calls or 0)
        if not apart and not more:
            return self._other_tier(place, theirs, ours)
        case = _Case(place, more, apart, ours, calls)
        for reason in (
            self._unsettled, self._twice, self._dropped, self._cached, self._estimated,
            self._unseen, self._unbilled,
        ):  # fmt: skip
            found = reason(case)
            if found is not None:
                return found
        return self._said(case, Reason.TOKENS, self._moved(case))

    def money(
        self,
        place: Place,
        theirs: Sum,
        ours: Sum,
        currency: str,
        explained_nanos: int,
        calls: Callable[[], Sequence[Seen]],
        *,
        usage_agrees: bool,
    ) -> Difference | None:
        """Return why the money of a place differs by more than its usage explains.

        `usage_agrees`: both sides are known to have the same usage there, or to differ only as
        explained. `calls` gives our calls of the place.
        """
        charged, owed = theirs.nanos.get(currency, 0), ours.nanos.get(currency, 0)
        rest = charged - owed - explained_nanos
        if abs(rest) <= self._smallest * max(theirs.rows, ours.calls or 0, 1) // 2 + 1:
            if not rest or explained_nanos:
                return None
            return self._money(Reason.ROUNDING, place, rest, currency)
        if charged < 0:
            return self._money(Reason.TOP_UP, place, rest, currency)
        if ours.unpriced:
            return self._money(Reason.UNPRICED, place, rest, currency)
        priced = self._other_price(place, theirs, ours, rest, currency)
        if priced is not None:
            return priced
        if usage_agrees and owed:
            told = (
                f"{SENTENCES[Reason.WRONG_PRICE]}: {_ratio(charged - explained_nanos, owed)} × ours"
            )
            return replace(self._money(Reason.WRONG_PRICE, place, rest, currency), sentence=told)
        return self._by_amount(place, rest, currency, ours, calls())

    # Usage

    def _unsettled(self, case: "_Case") -> Difference | None:
        lost = [seen for seen in case.calls if seen.usage is None]
        if not lost or case.more == 0 or not case.is_more or len(lost) < (case.more or 1):
            return None
        difference = self._said(case, Reason.UNSETTLED, self._value(case, case.excess))
        ids = tuple(seen.id for seen in lost)
        used = _as_usage(case.excess)
        only = len(lost) == 1 and used is not None
        return replace(
            difference, call_ids=ids, settles=(lost[0].id, used) if only and used else None
        )

    def _twice(self, case: "_Case") -> Difference | None:
        if case.more not in (1, None) or not case.is_more:
            return None
        same = _with_usage(case.calls, case.excess)
        if same is None:
            return None
        difference = self._said(case, Reason.BILLED_TWICE, same.cost_nanos)
        return replace(difference, call_ids=(same.id,), currency=same.currency)

    def _dropped(self, case: "_Case") -> Difference | None:
        if case.more not in (-1, None) or not case.is_less:
            return None
        same = _with_usage(case.calls, {unit: -q for unit, q in case.excess.items()})
        if same is None:
            return None
        cost = None if same.cost_nanos is None else -same.cost_nanos
        difference = self._said(case, Reason.NOT_BILLED, cost)
        return replace(difference, call_ids=(same.id,), currency=same.currency)

    def _cached(self, case: "_Case") -> Difference | None:
        if case.more or not set(case.excess) <= set(_INPUT_INSIDE):
            return None
        return self._said(case, Reason.CACHED_TOKENS, self._moved(case))

    def _estimated(self, case: "_Case") -> Difference | None:
        guessed = [seen for seen in case.calls if seen.is_estimated]
        if case.more or not guessed:
            return None
        difference = self._said(case, Reason.ESTIMATED, self._moved(case))
        settles = None
        if len(guessed) == 1 and guessed[0].usage is not None:
            used = _as_usage(_plus(guessed[0].usage, case.excess))
            settles = (guessed[0].id, used) if used is not None else None
        return replace(difference, call_ids=tuple(s.id for s in guessed), settles=settles)

    def _unseen(self, case: "_Case") -> Difference | None:
        if not (case.more or 0) > 0 and not (case.more is None and case.is_more):
            return None
        return self._said(case, Reason.NOT_SEEN, self._value(case, case.excess))

    def _unbilled(self, case: "_Case") -> Difference | None:
        if not (case.more or 0) < 0 and not (case.more is None and case.is_less):
            return None
        if case.is_of_all and case.ours.cost is not None:
            value: int | None = case.ours.cost[0]
        else:
            value = self._value(case, {unit: -q for unit, q in case.excess.items()})
        return self._said(case, Reason.NOT_BILLED, None if value is None else -value)

    def _other_tier(self, place: Place, theirs: Sum, ours: Sum) -> Difference | None:
        known = theirs.tiers and sum(theirs.tiers.values()) == theirs.calls
        if not known or theirs.tiers == ours.tiers:
            return None
        told = f"they say {_tiers(theirs.tiers)}, we {_tiers(ours.tiers)}"
        (start_us, end_us), model = place
        return Difference(
            Reason.TIER, start_us, end_us, model, f"{SENTENCES[Reason.TIER]}: {told}", calls=0
        )

    def _said(self, case: "_Case", reason: Reason, amount_nanos: int | None) -> Difference:
        (start_us, end_us), model = case.place
        priced = next((seen.currency for seen in case.calls if seen.currency), "USD")
        return Difference(
            reason, start_us, end_us, model, SENTENCES[reason], case.more, case.excess,
            amount_nanos, priced if amount_nanos is not None else None,
        )  # fmt: skip

    def _value(self, case: "_Case", quantities: Mapping[str, Quantity]) -> int | None:
        """Return what usage of the calls that one side has more costs by our prices.

        It is taken to be spread evenly over them, one where their number is not told: a price
        that rises with the input is of a call, not of a sum. None when it cannot be told.
        """
        return self._priced(case.place, quantities, abs(case.more or 1))

    def _moved(self, case: "_Case") -> int | None:
        """Return what a change of counts costs: the sum of our calls with it, less without."""
        known, calls = case.ours.quantities, case.ours.calls or 1
        before = self._priced(case.place, known, calls)
        after = self._priced(case.place, _plus(known, case.excess), calls)
        return None if before is None or after is None else after - before

    def _priced(self, place: Place, quantities: Mapping[str, Quantity], calls: int) -> int | None:
        (start_us, _), model = place
        if model is None:
            return None
        card = owed_by(self._prices, self._provider, model, start_us)
        each = {unit: quantity // calls for unit, quantity in quantities.items()}
        rest = {unit: q - (calls - 1) * each[unit] for unit, q in quantities.items()}
        total = 0
        for number, share in ((1, rest), (calls - 1, each)):
            if not number:
                continue
            used = _as_usage(share)
            nanos = None if used is None else rating.rate(used, card, at_us=start_us).amount_nanos
            if nanos is None:
                return None
            total += number * nanos
        return total

    # Money

    def _other_price(
        self, place: Place, theirs: Sum, ours: Sum, rest: int, currency: str
    ) -> Difference | None:
        """Compare unit by unit, where the bill has amounts and quantities of units."""
        told = []
        for unit, (quantity, nanos) in theirs.units.items():
            billed = ours.units.get(unit)
            if not quantity or billed is None or billed[0] != quantity:
                continue
            if abs(nanos - billed[1]) > self._smallest * max(theirs.rows, 1):
                told.append(
                    f"{unit} at {_per_million(nanos, quantity)}, "
                    f"ours {_per_million(billed[1], quantity)} {currency} a million"
                )
        if not told:
            return None
        sentence = f"{SENTENCES[Reason.WRONG_PRICE]}: {'; '.join(told)}"
        return replace(self._money(Reason.WRONG_PRICE, place, rest, currency), sentence=sentence)

    def _by_amount(
        self, place: Place, rest: int, currency: str, ours: Sum, calls: Sequence[Seen]
    ) -> Difference:
        """Explain money where nothing is known of the usage behind it."""
        if rest > 0 and ours.unsettled:
            ids = tuple(seen.id for seen in calls if seen.usage is None)
            return replace(self._money(Reason.UNSETTLED, place, rest, currency), call_ids=ids)
        for reason, amount in ((Reason.BILLED_TWICE, rest), (Reason.NOT_BILLED, -rest)):
            same = [
                s for s in calls if s.cost_nanos and abs(s.cost_nanos - amount) <= self._smallest
            ]
            if same:
                return replace(self._money(reason, place, rest, currency), call_ids=(same[0].id,))
        if ours.estimated:
            ids = tuple(seen.id for seen in calls if seen.is_estimated)
            return replace(self._money(Reason.ESTIMATED, place, rest, currency), call_ids=ids)
        reason = Reason.NOT_SEEN if rest > 0 else Reason.NOT_BILLED
        return self._money(reason, place, rest, currency)

    def _money(self, reason: Reason, place: Place, rest: int, currency: str) -> Difference:
        (start_us, end_us), model = place
        return Difference(
            reason, start_us, end_us, model, SENTENCES[reason], amount_nanos=rest,
            currency=currency,
        )  # fmt: skip


class _Case:
    """One place whose usage differs: `more` calls and `excess` quantities on their side.

    `ours` are the sums of our `calls`.
    """

    def __init__(
        self,
        place: Place,
        more: int | None,
        excess: Mapping[str, Quantity],
        ours: Sum,
        calls: Sequence[Seen],
    ) -> None:
        self.place = place
        self.more = more
        self.excess = excess
        self.ours = ours
        self.calls = calls
        self.is_more = all(quantity >= 0 for quantity in excess.values())
        self.is_less = all(quantity <= 0 for quantity in excess.values())

    @property
    def is_of_all(self) -> bool:
        """Whether all our tokens of the place are missing on their side."""
        known = {unit: q for unit, q in self.ours.quantities.items() if q}
        tokens = ("input_tokens", "output_tokens")
        return all(known.get(unit, 0) == -q for unit, q in self.excess.items()) and all(
            unit in self.excess for unit in tokens if unit in known
        )


def _plus(some: Mapping[str, Quantity], more: Mapping[str, Quantity]) -> dict[str, Quantity]:
    return {unit: some.get(unit, 0) + more.get(unit, 0) for unit in [*some, *more]}


def _with_usage(calls: Sequence[Seen], quantities: Mapping[str, Quantity]) -> Seen | None:
    """Return a call that used just that, as far as the bill counts units."""
    for seen in calls:
        if seen.usage is None or not seen.is_consumption:
            continue
        units = {u: q for u, q in seen.usage.items() if q and u in quantities}
        if units == dict(quantities) and _has_all(seen.usage, quantities):
            return seen
    return None


def _has_all(usage: Usage, quantities: Mapping[str, Quantity]) -> bool:
    """Whether no token of the call is missing from the quantities."""
    return all(unit in quantities for unit in ("input_tokens", "output_tokens") if usage.get(unit))


def _as_usage(quantities: Mapping[str, Quantity]) -> Usage | None:
    try:
        return Usage({unit: quantity for unit, quantity in quantities.items() if quantity})
    except UnitError:
        return None


def _tiers(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {tier}" for tier, count in sorted(counts.items())) or "none"


def _per_million(nanos: int, quantity: Quantity) -> str:
    numerator, denominator = quantity.as_integer_ratio()
    return nanos_to_text(round(nanos * 1_000_000 * denominator // numerator, -3))


def _ratio(charged: int, owed: int) -> str:
    """Return how often theirs is ours, to four places, as text."""
    return nanos_to_text(round(charged * NANOS // owed, -5))
