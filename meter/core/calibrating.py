"""Learn how far estimates of prompts are off, from estimates and what was then reported. Pure.

In: pairs of (estimated, reported) input tokens of one model and kind of content, at most 64. Out:
a ratio and an offset, with how sure they are. Robust: medians only, so that a third of the pairs
may be anything. Knows no model, no store and no money.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final, NamedTuple

MOST_SAMPLES: Final = 64
"""How many pairs are learnt from at most; what keeps them replaces old ones."""
LEAST_SAMPLES: Final = 8
"""With fewer pairs nothing is corrected."""

_MILLION: Final = 1_000_000
_LEAST_RATIO_PPM: Final = 250_000
_MOST_RATIO_PPM: Final = 4_000_000
_MOST_OFFSET: Final = 20_000
_BOUND: Final = 10**9


class Sample(NamedTuple):
    """What was estimated for a prompt and what was reported, in tokens, both above 0."""

    estimated: int
    reported: int


@dataclass(frozen=True, slots=True)
class Calibration:
    """A correction: `tokens * ratio_ppm / 1,000,000 + offset`.

    `samples` is how many pairs it was learnt from. `before_ppm` and `after_ppm` are the median
    relative errors without and with it, in millionths, each measured on pairs that the correction
    was not fitted to.
    """

    ratio_ppm: int
    offset: int
    samples: int
    before_ppm: int
    after_ppm: int

    def corrected(self, tokens: int) -> int:
        """Return an estimate corrected, within a quarter and four times of it and an offset."""
        found = (tokens * self.ratio_ppm + _MILLION // 2) // _MILLION + self.offset
        return max(1, found) if tokens > 0 else max(0, found)


def calibrate(samples: Sequence[Sample]) -> Calibration:
    """Return the correction that these pairs speak for; one that changes nothing if none does.

    Four are tried: none; an offset; a ratio; both (Theil–Sen). Each is fitted to every other pair
    and judged by the rest, both ways round; a later one must be better by a tenth to be taken.
    """
    usable = [s for s in samples if 0 < s.estimated < _BOUND and 0 < s.reported < _BOUND]
    usable = usable[-MOST_SAMPLES:]
    if len(usable) < LEAST_SAMPLES:
        return Calibration(_MILLION, 0, len(usable), 0, 0)
    # Neighbours in size go to different halves, so that both halves have all sizes.
    usable.sort()
    halves = (usable[::2], usable[1::2])
    before = best = _judged(_unchanged, halves)
    chosen: _Fit = _unchanged
    for fit in (_with_offset, _with_ratio, _with_both):
        error = _judged(fit, halves)
        if error * 10 < best * 9:
            chosen, best = fit, error
    ratio_ppm, offset = chosen(usable)
    return Calibration(ratio_ppm, offset, len(usable), before, best)


_Fit = Callable[[Sequence[Sample]], tuple[int, int]]


def _judged(fit: _Fit, halves: tuple[list[Sample], list[Sample]]) -> int:
    """Return the median relative error on pairs that were not fitted to, in millionths."""
    errors: list[int] = []
    for fitted, judged in (halves, halves[::-1]):
        ratio_ppm, offset = fit(fitted)
        correction = Calibration(ratio_ppm, offset, 0, 0, 0)
        errors += (
            abs(correction.corrected(s.estimated) - s.reported) * _MILLION // s.reported
            for s in judged
        )
    return _median(errors)


def _unchanged(samples: Sequence[Sample]) -> tuple[int, int]:
    return _MILLION, 0


def _with_offset(samples: Sequence[Sample]) -> tuple[int, int]:
    return _MILLION, _bounded_offset(_median([s.reported - s.estimated for s in samples]))


def _with_ratio(samples: Sequence[Sample]) -> tuple[int, int]:
    return _bounded_ratio(_median([s.reported * _MILLION // s.estimated for s in samples])), 0


def _with_both(samples: Sequence[Sample]) -> tuple[int, int]:
    """Return the median of the slopes between all pairs, and the median of what is left."""
    slopes = [
        (b.reported - a.reported) * _MILLION // (b.estimated - a.estimated)
        for a, b in combinations(samples, 2)
        if a.estimated != b.estimated
    ]
    if not slopes:
        return _with_offset(samples)
    ratio_ppm = _bounded_ratio(_median(slopes))
    left = [s.reported - s.estimated * ratio_ppm // _MILLION for s in samples]
    return ratio_ppm, _bounded_offset(_median(left))


def _bounded_ratio(ratio_ppm: int) -> int:
    return min(max(ratio_ppm, _LEAST_RATIO_PPM), _MOST_RATIO_PPM)


def _bounded_offset(offset: int) -> int:
    return min(max(offset, -_MOST_OFFSET), _MOST_OFFSET)


def _median(values: list[int]) -> int:
    """Return the middle value, the lower one of two."""
    return sorted(values)[(len(values) - 1) // 2]
