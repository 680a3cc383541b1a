"""Pass an answer on that can no longer be read, because reading it ran into a fault of ours.

Called by the pipeline: such a fault must reach neither the client nor the other calls, and must
not go unseen either.
"""

from dataclasses import replace

from meter.core.call import Observation
from meter.core.ports import AnswerObserver
from meter.providers.observing import PassingObserver


class UnreadingObserver(PassingObserver):
    """Passes the rest of an answer on and says what went wrong."""

    __slots__ = ("_fault", "held")

    def __init__(self, broken: AnswerObserver, status: int | None, error: Exception) -> None:
        """Take the place of a broken observer; `held` is what it kept back from the client."""
        super().__init__()
        self._status = status
        self._fault = f"a fault of the meter's own: {type(error).__name__}: {error}"[:400]
        self.hands_out_identity = broken.hands_out_identity
        try:
            self.held = broken.finish()
        except Exception:
            # It is broken: what it kept back, a part of one event, is lost with it.
            self.held = b""

    def result(self) -> Observation:
        """Return how much came, and the fault."""
        return replace(super().result(), defects=(self._fault,))
