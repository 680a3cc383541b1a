"""Say when a budget runs out if spending goes on at its pace. Pure, integers throughout.

The pace is what the present window has spent in the time it has lasted; held money counts as
taken. Called by the dashboard.
"""

from dataclasses import dataclass

from meter.store.reads import BudgetRow

_LEAST_ELAPSED_US = 60_000_000


@dataclass(frozen=True, slots=True)
class Pace:
    """How a budget fares: `used_permille` of its limit (None: the limit is 0).

    `runs_out_us` is the moment, microseconds UTC, at which nothing is left at this pace; the
    present moment when nothing is left now; None when the window ends before, when nothing was
    spent, and for a rolling window, which gets back what is older than its length. `expected` is
    what the window will have taken at its end, in the budget's measure, None for one without.
    """

    used_permille: int | None
    runs_out_us: int | None
    expected: int | None


def pace(row: BudgetRow, now_us: int) -> Pace:
    """Return how the budget fares at the moment."""
    spent, limit = row.standing.spent, row.budget.limit
    used = None if not limit else spent * 1000 // limit
    if row.budget.window.is_rolling:
        return Pace(used, now_us if row.left <= 0 else None, None)
    start_us = max(row.window_start_us, row.created_us if row.window_end_us is None else 0)
    elapsed_us = max(now_us - start_us, _LEAST_ELAPSED_US)
    expected = None
    if row.window_end_us is not None:
        expected = spent * max(row.window_end_us - start_us, 1) // elapsed_us
    if row.left <= 0:
        return Pace(used, now_us, expected)
    if spent <= 0:
        return Pace(used, None, expected)
    runs_out_us = now_us + row.left * elapsed_us // spent
    if row.window_end_us is not None and runs_out_us >= row.window_end_us:
        return Pace(used, None, expected)
    return Pace(used, runs_out_us, expected)
