"""Sums beside sums: totals, the costs of one call and of a thousand tokens, movers, steps."""

from meter.reports.comparing import (
    Move,
    books_differ,
    dearest,
    in_book,
    less,
    moves,
    regrouped,
    running,
    steps,
    totals,
)
from meter.store.reads import UsageRow


def row(group=(), cost=None, currency="USD", calls=1, **counts):
    tokens = dict.fromkeys(
        ("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens",
         "reasoning_tokens")
    )  # fmt: skip
    zeros = dict.fromkeys(("unpriced", "estimated", "unknown", "unmetered", "failed", "refused"), 0)
    return UsageRow(group=group, currency=currency, cost_nanos=cost, calls=calls,
                    **{**tokens, **zeros, **counts})  # fmt: skip


def test_totals_are_of_one_currency_and_of_calls_without_any():
    rows = [
        row(cost=100, calls=3, input_tokens=10, output_tokens=5, failed=1),
        row(cost=7, currency="EUR", calls=9),
        row(currency=None, calls=2, unknown=2, unmetered=1),
    ]
    found = totals(rows, "USD")
    assert (found.cost_nanos, found.calls, found.tokens) == (100, 5, 15)
    assert (found.unsettled, found.failed) == (1, 1)


def test_a_cost_that_nobody_knows_is_none_and_not_zero():
    assert totals([row(unpriced=1)], "USD").cost_nanos is None
    assert totals([], "USD").cost_nanos is None
    assert totals([row(unpriced=1)], "USD").nanos_per_call is None


def test_the_cost_of_a_call_is_over_those_that_were_answered_for_a_price():
    found = totals([row(cost=100, calls=9, refused=2, unpriced=1, unknown=2)], "USD")
    # 100 nanos over 9 - 2 - 1 - 2 = 4 calls
    assert (found.priced, found.nanos_per_call) == (4, 25)


def test_the_cost_of_a_thousand_tokens_is_rounded_once():
    found = totals([row(cost=1000, input_tokens=600, output_tokens=66)], "USD")
    # 1000 nanos × 1000 / 666 tokens = 1501.50 nanos, to the even 1502
    assert found.nanos_per_thousand_tokens == 1502


def test_moves_are_the_greatest_differences_first():
    before = [row(("a",), 10), row(("b",), 50), row(("gone",), 5), row(("same",), 3)]
    after = [row(("a",), 30), row(("b",), 10), row((None,), 1), row(("same",), 3)]
    assert moves(before, after, "USD") == [
        Move("b", 50, 10), Move("a", 10, 30), Move("gone", 5, 0), Move(None, 0, 1),
    ]  # fmt: skip
    assert [move.difference_nanos for move in moves(before, after, "USD", most=2)] == [-40, 20]
    assert moves(before, after, "EUR") == []


def test_steps_fold_the_lesser_groups_and_lose_nothing():
    rows = [
        row(("d1", "big"), 100, input_tokens=5), row(("d1", "mid"), 10), row(("d1", "x"), 1),
        row(("d2", "y"), 2, calls=4), row(("d2", None), None, unpriced=1), row(("d1", "z"), 3),
        row(("d1", "big"), 9, currency="EUR"),
    ]  # fmt: skip
    found, kept = steps(rows, "USD", most=2)
    assert kept == ["big", "mid"]
    assert [(s.start, s.name, s.folded, s.cost_nanos, s.calls) for s in found] == [
        ("d1", "big", False, 100, 1),
        ("d1", "mid", False, 10, 1),
        ("d1", None, True, 4, 2),  # x and z: 1 + 3
        ("d2", None, True, 2, 5),  # y and the calls without a name
    ]


def test_one_group_more_than_wanted_is_not_folded_alone():
    found, kept = steps([row(("d", "a"), 2), row(("d", "b"), 1)], "USD", most=1)
    assert kept == ["a", "b"]
    assert not any(step.folded for step in found)


def test_a_running_sum_has_a_step_for_each_start():
    rows = [row(("d1",), 5), row(("d3",), 7), row(("d3",), 1, currency="EUR")]
    assert running(rows, "USD", ["d1", "d2", "d3"]) == [5, 5, 12]


def test_sums_are_of_the_price_book_asked_for():
    resold = row(cost=100, list_nanos=120, list_currency="USD", billed_nanos=900,
                 billed_currency="CNY")  # fmt: skip
    assert [(r.cost_nanos, r.currency) for r in in_book([resold], "billed")] == [(900, "CNY")]
    assert [(r.cost_nanos, r.currency) for r in in_book([resold], "list")] == [(120, "USD")]
    assert in_book([resold], "cost") == [resold]


def test_books_differ_where_any_of_them_says_something_else():
    same = row(cost=5, list_nanos=5, list_currency="USD", billed_nanos=5, billed_currency="USD")
    assert not books_differ([same])
    assert books_differ([same, row(cost=5, list_nanos=6, list_currency="USD", billed_nanos=5,
                                   billed_currency="USD")])  # fmt: skip


def test_sums_by_fewer_names_add_up_and_keep_what_is_unknown():
    rows = [
        row(("d1", "a"), 5, calls=2, input_tokens=None), row(("d2", "a"), None, output_tokens=1),
        row(("d1", "b"), 1), row(("d2", "b"), 1, currency="EUR"),
    ]  # fmt: skip
    found = [(r.group, r.currency, r.cost_nanos, r.calls, r.input_tokens, r.output_tokens)
             for r in regrouped(rows, 1)]  # fmt: skip
    assert found == [
        (("a",), "USD", 5, 3, None, 1),
        (("b",), "USD", 1, 1, None, None),
        (("b",), "EUR", 1, 1, None, None),
    ]
    assert [r.cost_nanos for r in regrouped(rows)] == [6, 1]


def test_the_rest_of_many_groups_is_the_whole_less_those_told_apart():
    whole = [row(("mon", "m"), 100, calls=9, input_tokens=50), row(("tue", "m"), 7, calls=1)]
    told = [row(("mon", "a"), 60, calls=4, input_tokens=20), row(("mon", "b"), 30, calls=3)]
    told += [row(("tue", "a"), 7, calls=1)]
    rest = less(whole, told)
    assert [(r.group, r.cost_nanos, r.calls, r.input_tokens) for r in rest] == [
        (("mon", None), 10, 2, 30)
    ]
    found, kept = steps(told, "USD", rest=rest)
    assert kept == ["a", "b"]
    assert sum(step.cost_nanos or 0 for step in found) == 107
    assert [(s.start, s.name, s.cost_nanos) for s in found if s.folded] == [("mon", None, 10)]


def test_the_dearest_groups_come_first_and_nobody_is_none_of_them():
    rows = [row(("a",), 1), row(("b",), 5), row((None,), 50), row(("c",), 5)]
    assert dearest(rows, "USD", 2) == ["b", "c"]
