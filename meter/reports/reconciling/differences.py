"""Name the reasons why a bill and our ledger can differ, and hold one such difference.

Made by `explaining` and `comparing`; shown by the command line and the dashboard.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from uuid import UUID

from meter.core.money import Quantity
from meter.core.usage import Usage


class Reason(StrEnum):
    """Why a bill and our ledger differ, as far as the figures say."""

    NOT_SEEN = "not_seen"
    NOT_BILLED = "not_billed"
    BILLED_TWICE = "billed_twice"
    UNSETTLED = "unsettled"
    ESTIMATED = "estimated"
    OUTSIDE = "outside"
    WRONG_PRICE = "wrong_price"
    UNPRICED = "unpriced"
    CACHED_TOKENS = "cached_tokens"
    TIER = "tier"
    TOKENS = "tokens"
    BOUNDARY = "boundary"
    CLOCK = "clock"
    ROUNDING = "rounding"
    TOP_UP = "top_up"
    UNEXPLAINED = "unexplained"


SENTENCES: Mapping[Reason, str] = {
    Reason.NOT_SEEN: "they count calls that we have no record of: made outside the meter, or lost",
    Reason.NOT_BILLED: "we recorded calls that they do not bill",
    Reason.BILLED_TWICE: "they bill a call twice",
    Reason.UNSETTLED: "calls that we left unsettled account for it",
    Reason.ESTIMATED: "calls whose usage we estimated account for it",
    Reason.OUTSIDE: "the key is none of ours: traffic outside the meter",
    Reason.WRONG_PRICE: "the same usage at another price",
    Reason.UNPRICED: "we have no price for calls that they charge",
    Reason.CACHED_TOKENS: "the same input, of which they count another part as cached",
    Reason.TIER: "the same calls in another service tier",
    Reason.TOKENS: "the same calls with other token counts",
    Reason.BOUNDARY: "calls near the edge of the interval: they count them on its other side",
    Reason.CLOCK: "their clock and ours differ",
    Reason.ROUNDING: "they round amounts otherwise",
    Reason.TOP_UP: "the balance rose: money was added that we have no record of",
    Reason.UNEXPLAINED: "no reason was found",
}

HARMLESS = frozenset({Reason.BOUNDARY, Reason.CLOCK, Reason.ROUNDING})
"""Reasons that move nothing from one party to the other."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference: theirs less ours, for a model (None: all) in the half-open [start, end).

    `quantities` and `calls` are None or absent where the bill does not say them; `amount_nanos`
    is None where its money cannot be told. `call_ids` are the calls it is about. `settles` is
    the usage that the bill gives to the one unsettled or estimated call in question.
    """

    reason: Reason
    start_us: int
    end_us: int
    model: str | None
    sentence: str
    calls: int | None = None
    quantities: Mapping[str, Quantity] = field(default_factory=dict)
    amount_nanos: int | None = None
    currency: str | None = None
    call_ids: tuple[UUID, ...] = ()
    settles: tuple[UUID, Usage] | None = None


@dataclass(frozen=True, slots=True)
class Total:
    """Both sides' sum of one unit or currency over the whole bill; None: not said."""

    name: str
    theirs: Quantity | None
    ours: Quantity
    is_money: bool = False

    @property
    def difference(self) -> Quantity | None:
        """Return theirs less ours, None where they do not say."""
        return None if self.theirs is None else self.theirs - self.ours


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """A bill held against our ledger.

    `agrees`: the money of both sides, and of every difference that is not harmless, lies within
    the tolerance, and no difference is left whose money cannot be told.
    """

    name: str
    start_us: int
    end_us: int
    totals: tuple[Total, ...]
    differences: tuple[Difference, ...]
    agrees: bool
