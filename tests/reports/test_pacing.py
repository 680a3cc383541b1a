"""When a budget runs out at its pace."""

from meter.core.budgets import Budget, Measure, Scope, ScopeKind, Standing
from meter.core.windows import Span, Window
from meter.reports.pacing import Pace, pace
from meter.store.reads import BudgetRow

HOUR = 3_600_000_000


def standing(spent, limit, *, held=0, end=100 * HOUR, start=0, created=0):
    window = Window(Span.TOTAL if end is None else Span.MONTH)
    budget = Budget("b", Scope(ScopeKind.EVERYTHING), Measure.MONEY, limit, "USD", window)
    return BudgetRow(budget, Standing(spent, held), start, end, created)


def test_it_runs_out_when_what_is_left_is_used_at_the_pace_so_far():
    # 60 in 10 hours: 6 an hour; 30 left last 5 hours more
    found = pace(standing(60, 90), 10 * HOUR)
    assert found == Pace(used_permille=666, runs_out_us=15 * HOUR, expected=600)


def test_it_lasts_when_the_window_ends_before():
    # 5 in 10 hours: 50 in all 100 hours
    assert pace(standing(5, 90), 10 * HOUR) == Pace(55, None, 50)


def test_nothing_left_is_out_now():
    assert pace(standing(60, 90, held=30), 10 * HOUR).runs_out_us == 10 * HOUR
    assert pace(standing(91, 90), 10 * HOUR).used_permille == 1011


def test_nothing_spent_never_runs_out():
    assert pace(standing(0, 90), 10 * HOUR) == Pace(0, None, 0)
    assert pace(standing(0, 0), 10 * HOUR) == Pace(None, 10 * HOUR, 0)


def test_a_window_without_an_end_is_paced_from_when_the_budget_was_made():
    found = pace(standing(10, 30, end=None, created=90 * HOUR), 100 * HOUR)
    # 10 in the 10 hours since it was made: 20 left last 20 hours
    assert found == Pace(333, 120 * HOUR, None)


def test_a_rolling_window_has_no_end_to_run_out_by():
    budget = Budget("b", Scope(ScopeKind.EVERYTHING), Measure.MONEY, 90, "USD",
                    Window.named("rolling:24h"))  # fmt: skip
    assert pace(BudgetRow(budget, Standing(80), 0, HOUR, 0), HOUR) == Pace(888, None, None)
    assert pace(BudgetRow(budget, Standing(90), 0, HOUR, 0), HOUR) == Pace(1000, HOUR, None)
