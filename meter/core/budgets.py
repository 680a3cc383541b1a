"""Decide whether a call may go ahead under its budgets. Pure; the store makes it atomic.

A budget limits money, tokens or calls for one scope in one window. `spent + held <= limit` holds
at every instant, because a call is admitted only with a hold that bounds what it can consume.

A budget whose window is a minute is a rate limit: who is over it comes again in the next minute.
A limit of tokens a minute holds what the request says at most, and never more than itself, so
that any call fits into an untouched minute; what was used counts in full.

Prepaid credit is a budget too (see `credit`): one for each currency that its subject was granted,
with what is left for a limit. A call needs the one in which it is billed.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from meter.core.call import Attribution, Bound
from meter.core.money import nanos_to_text
from meter.core.windows import Span, Window


class ScopeKind(StrEnum):
    """What a budget applies to."""

    SUBJECT = "subject"
    KEY = "key"
    TAG = "tag"
    MODEL = "model"
    EVERYTHING = "everything"


class Measure(StrEnum):
    """What a budget counts."""

    MONEY = "money"
    TOKENS = "tokens"
    CALLS = "calls"
    CREDIT = "credit"


@dataclass(frozen=True, slots=True, order=True)
class Scope:
    """One scope: a kind and its value ("alice"; "team=search" for a tag; "" for everything)."""

    kind: ScopeKind
    value: str = ""


@dataclass(frozen=True, slots=True)
class Budget:
    """A limit for a scope in a window.

    `limit` is in nanos of `currency` for money, else a number of tokens or calls.
    """

    id: str
    scope: Scope
    measure: Measure
    limit: int
    currency: str | None = None
    window: Window = field(default_factory=lambda: Window(Span.MONTH))

    @property
    def is_rate(self) -> bool:
        """Whether this is a rate limit, which refuses for less than a minute."""
        return self.window.span is Span.MINUTE

    def amount_of(self, bound: Bound) -> int | None:
        """Return what a call with this bound could take from the budget, None if unbounded.

        Money counts as what the subject is billed, else as the cost, whichever is in the budget's
        currency; where neither is, it is unbounded: it cannot be compared. Prepaid credit pays what
        is billed and nothing else.
        """
        if self.measure is Measure.CALLS:
            return 1
        if self.measure is Measure.TOKENS and self.is_rate:
            return min((bound.input_tokens or 0) + (bound.output_tokens or 0), self.limit)
        if self.measure is Measure.TOKENS:
            if bound.input_tokens is None or bound.output_tokens is None:
                return None
            return bound.input_tokens + bound.output_tokens
        if bound.billed_currency is not None and bound.billed_currency == self.currency:
            return bound.billed_nanos
        if self.is_credit and bound.billed_currency is not None:
            return None
        return bound.cost_nanos if bound.currency == self.currency else None

    def show(self, amount: int) -> str:
        """Return an amount of this budget's measure as text with its unit."""
        if self.currency is not None:
            return f"{nanos_to_text(amount)} {self.currency}"
        return f"{amount} {self.measure}"

    @property
    def is_credit(self) -> bool:
        """Whether this is a subject's prepaid credit in `currency`."""
        return self.measure is Measure.CREDIT


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a budget stands in its present window: what is spent and what is held."""

    spent: int = 0
    held: int = 0


@dataclass(frozen=True, slots=True)
class Hold:
    """An amount set aside in one window of one budget for a call in flight."""

    budget_id: str
    window_start_us: int
    amount: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a call was refused: the budget, and one sentence for a person.

    `may_fit_later`: the call does not fit only because of holds in flight in the window that
    starts at `window_start_us`. `again_us`: when the window of a rate limit ends, microseconds
    UTC; None where waiting a little does not help. `is_unbounded`: nothing says what the call can
    cost at most.
    """

    budget_id: str
    message: str
    may_fit_later: bool = False
    again_us: int | None = None
    window_start_us: int = 0
    is_unbounded: bool = False


def scopes_of(attribution: Attribution, model: str | None) -> tuple[Scope, ...]:
    """Return every scope that a budget for this call could have."""
    scopes = [Scope(ScopeKind.EVERYTHING)]
    if attribution.subject is not None:
        scopes.append(Scope(ScopeKind.SUBJECT, attribution.subject))
    if attribution.key_id is not None:
        scopes.append(Scope(ScopeKind.KEY, attribution.key_id))
    if model is not None:
        scopes.append(Scope(ScopeKind.MODEL, model))
    scopes.extend(Scope(ScopeKind.TAG, f"{name}={value}") for name, value in attribution.tags)
    return tuple(scopes)


def admit(
    budgets: Iterable[Budget], bound: Bound, standings: Mapping[str, Standing], at_us: int
) -> tuple[Hold, ...] | Refusal:
    """Return the holds of an admitted call (all budgets), or the first refusal (none).

    `standings` maps a budget's id to where it stands in the window that holds `at_us`.
    """
    holds = []
    waiting: Refusal | None = None
    for budget in _asked(budgets, bound):
        verdict = _one(budget, bound, standings.get(budget.id, Standing()), at_us)
        if isinstance(verdict, Hold):
            holds.append(verdict)
        elif verdict.may_fit_later:
            waiting = waiting or verdict
        else:
            return verdict
    return waiting or tuple(holds)


def _asked(budgets: Iterable[Budget], bound: Bound) -> list[Budget]:
    """Return the budgets that this call needs: of the credit accounts one, that of its currency."""
    asked: list[Budget] = []
    credit: list[Budget] = []
    for budget in budgets:
        (credit if budget.is_credit else asked).append(budget)
    if credit:
        billed_in = bound.currency if bound.billed_currency is None else bound.billed_currency
        fitting = [b for b in credit if b.amount_of(bound) is not None]
        named = [b for b in credit if b.currency == billed_in]
        asked.append((fitting or named or credit)[0])
    return asked


def _one(budget: Budget, bound: Bound, standing: Standing, at_us: int) -> Hold | Refusal:
    amount = budget.amount_of(bound)
    if budget.is_credit:
        return _prepaid(budget, bound, standing, at_us)
    if amount is None:
        return Refusal(
            budget.id,
            f"budget {budget.id} cannot cover this call because nothing bounds what it can "
            f"consume in {budget.currency or budget.measure}",
            is_unbounded=True,
        )
    start_us, end_us = budget.window.bounds(at_us)
    left = budget.limit - standing.spent
    if standing.held + amount <= left:
        return Hold(budget.id, start_us, amount)
    return Refusal(
        budget.id,
        f"budget {budget.id} has {budget.show(max(left - standing.held, 0))} left of "
        f"{budget.show(budget.limit)} and this call may need {budget.show(amount)}",
        may_fit_later=amount <= left,
        again_us=end_us if budget.is_rate else None,
        window_start_us=start_us,
    )


def _prepaid(budget: Budget, bound: Bound, standing: Standing, at_us: int) -> Hold | Refusal:
    """Decide on a subject's prepaid credit. Nothing goes out while nothing is left of it."""
    whose = f"the prepaid credit of {budget.scope.value}"
    left = budget.limit - standing.spent
    if left <= 0:
        over = f", {budget.show(-left)} more than there was" if left else ""
        return Refusal(budget.id, f"{whose} in {budget.currency} is used up{over}")
    amount = budget.amount_of(bound)
    if amount is None:
        billed_in = bound.currency if bound.billed_currency is None else bound.billed_currency
        why = "nothing bounds what it can cost"
        if billed_in == "":
            why = "no price says what it costs"
        elif billed_in not in (None, budget.currency):
            why = f"it is billed in {billed_in}"
        return Refusal(
            budget.id,
            f"{whose} in {budget.currency} cannot cover this call because {why}",
            is_unbounded=why.startswith("nothing"),
        )
    if standing.held + amount <= left:
        return Hold(budget.id, budget.window.bounds(at_us)[0], amount)
    return Refusal(
        budget.id,
        f"{whose} has {budget.show(max(left - standing.held, 0))} left and this call may need "
        f"{budget.show(amount)}",
        may_fit_later=amount <= left,
    )


def measured(
    budgets: Sequence[Budget],
    tokens: int,
    cost_nanos: int | None,
    currency: str | None,
    billed_nanos: int | None = None,
    billed_currency: str | None = None,
    *,
    is_resold: bool = False,
) -> dict[str, int]:
    """Return what a settled call takes from each budget, by budget id.

    `tokens` is input plus output. A fact is never refused: it counts in full, above a hold or
    after it expired. A money budget counts what the subject is billed, else the cost, whichever is
    in its currency. An unpriced call takes nothing from it. Prepaid credit pays what is billed:
    the cost, unless the call `is_resold` at a price of its own.
    """
    taken = {}
    for budget in budgets:
        if budget.measure is Measure.CALLS:
            taken[budget.id] = 1
        elif budget.measure is Measure.TOKENS:
            taken[budget.id] = tokens
        elif billed_nanos is not None and billed_currency == budget.currency:
            taken[budget.id] = billed_nanos
        elif budget.is_credit and is_resold:
            continue
        elif cost_nanos is not None and currency == budget.currency:
            taken[budget.id] = cost_nanos
    return taken
