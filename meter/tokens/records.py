"""Hold what an estimate says. Knows no formula; made by the estimating modules of this package."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class InputEstimate:
    """How many input tokens a request has, told from the request alone.

    `tokens` is the best estimate and `upper_bound` what it cannot exceed, both >= 0 and
    `tokens <= upper_bound`. `encoding` names what counted. `exact` says that the formula is known
    to be exact for this kind of request. `notes` are sentences on what was assumed.
    """

    tokens: int
    upper_bound: int
    encoding: str
    exact: bool
    notes: tuple[str, ...] = ()
