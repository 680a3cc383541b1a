"""Find how much output what is left of a budget can pay for. Pure.

The inverse of `estimating.bound`. Called by the gateway, which lowers a call's limit to it.
"""

from meter.core.budgets import Budget
from meter.core.estimating import bound, bound_billed
from meter.core.rates import RateCard

_MOST_TOKENS = 2**30


def output_within(
    budget: Budget,
    left: int,
    card: RateCard | None,
    *,
    input_tokens: int | None,
    at_us: int,
    tier: str | None = None,
    billed: RateCard | None = None,
) -> int | None:
    """Return the most output tokens that a call can be allowed so that it fits into `left`.

    `left` is in the budget's measure, `input_tokens` an upper bound; `billed` is the card that the
    subject is billed by, where it is not that of the cost. None means that no limit on
    the output makes the call fit: not even its input does, or nothing bounds what it costs.
    """

    def fits(output_tokens: int) -> bool:
        most = bound(
            card, input_tokens=input_tokens, output_tokens=output_tokens, at_us=at_us, tier=tier
        )
        if billed is not None:
            most = bound_billed(most, billed, at_us=at_us, tier=tier)
        amount = budget.amount_of(most)
        return amount is not None and amount <= left

    if not fits(0):
        return None
    least, most = 0, _MOST_TOKENS
    while least < most:
        middle = (least + most + 1) // 2
        least, most = (middle, most) if fits(middle) else (least, middle - 1)
    return least
