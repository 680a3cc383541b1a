"""Remember what an SQLite ledger says, so that a batch need not ask for it again.

A write transaction on SQLite keeps everybody else from writing, and SQLite tells whether anybody
has written since the one before: budgets and their windows are remembered until then. Which calls
this process has in flight is remembered longer; that another one has ended such a call shows in
how many rows are removed with it. PostgreSQL is always asked. Called by the ledger store, and by
the writes inside their transaction.
"""

from collections.abc import Mapping, Sequence
from uuid import UUID

from meter.core.budgets import Hold
from meter.store.batch import BudgetWindow, WindowKey
from meter.store.budget_rows import CountedBudget
from meter.store.requests import Answer, Correct, Request, Reserve

_MOST_CALLS = 100_000
_MOST_OTHERS = 20_000


class Known:
    """What one process knows of its ledger.

    `budgets` are those with a scope value, `windows` are (spent, held). `is_wary`: something was
    not as expected, so that everything is asked for this time.
    """

    def __init__(self) -> None:
        """Know nothing."""
        self.budgets: dict[str, list[CountedBudget]] = {}
        self.windows: dict[WindowKey, tuple[int, int]] = {}
        self.in_flight: dict[UUID, tuple[Hold, ...]] = {}
        self.is_wary = False
        self._version: object = None

    def refresh(self, version: object) -> None:
        """Forget what may have changed, unless the ledger's version is the one seen last."""
        if version != self._version:
            self.budgets.clear()
            self.windows.clear()
            self._version = version

    def learn(
        self,
        requests: Sequence[Request],
        answers: Sequence[Answer | Exception],
        windows: Mapping[WindowKey, BudgetWindow],
    ) -> None:
        """Take what a batch has changed, once it is committed."""
        self.is_wary = False
        for request, answer in zip(requests, answers, strict=True):
            if isinstance(request, Reserve):
                if isinstance(answer, tuple):
                    self.in_flight[request.call_id] = answer
            elif not isinstance(request, Correct):
                self.in_flight.pop(request.call_id, None)
        for key, window in windows.items():
            self.windows[key] = (window.standing.spent, window.standing.held)
        if len(self.in_flight) > _MOST_CALLS:
            self.in_flight.clear()
        if len(self.windows) > _MOST_OTHERS or len(self.budgets) > _MOST_OTHERS:
            self.refresh(None)

    def forget(self) -> None:
        """Forget everything, and trust nothing the next time."""
        self.refresh(None)
        self.in_flight.clear()
        self.is_wary = True
