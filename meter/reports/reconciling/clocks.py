"""Find out whether an issuer's clock runs as ours, and whether it dates calls by their end.

A bill cut by the hour disagrees all over when the clocks are minutes apart, though nothing is
wrong with it. The clock under which most places agree is taken, if it explains at least half of
what disagrees otherwise. Pure; called by `comparing`.
"""

from collections.abc import Callable, Mapping

from meter.reports.reconciling.recorded import Clock, Place, Recorded, Sum

_MINUTE_US = 60_000_000
_SECOND_US = 1_000_000
_MOST_MINUTES = 15
_LEAST_GAIN = 2

Agrees = Callable[[Sum, Sum], bool]
"""Whether their sum and ours of one place agree."""


def clock_of(recorded: Recorded, theirs: Mapping[Place, Sum], agrees: Agrees) -> Clock:
    """Return the clock of the issuer, ours where no other explains the bill better."""
    usual = Clock()
    if not recorded.is_complete or not recorded.near:
        return usual

    def misses(clock: Clock) -> int:
        ours = recorded.sums(clock)
        places = theirs.keys() | ours.keys()
        return sum(not agrees(theirs.get(p, Sum()), ours.get(p, Sum())) for p in places)

    at_first = misses(usual)
    if at_first < _LEAST_GAIN:
        return usual
    minutes = [
        Clock(ahead * _MINUTE_US, by_end)
        for ahead in sorted(range(-_MOST_MINUTES, _MOST_MINUTES + 1), key=abs)
        for by_end in (False, True)
    ]
    best = min(minutes, key=misses)
    left = misses(best)
    if left and best.ahead_us:
        seconds = [
            Clock(best.ahead_us + ahead * _SECOND_US, best.by_end)
            for ahead in sorted(range(-59, 60, 5), key=abs)
        ]
        best = min(seconds, key=misses)
        left = misses(best)
    is_better = at_first - left >= _LEAST_GAIN and 2 * left <= at_first
    return best if is_better else usual
