"""Say which calls a price is for: by who bills, who pays, and which model. Pure.

A selector that is empty fits everything. Of several prices the one with the most specific
selectors holds: that of a key before that of a subject, of a tag, and of everybody.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache

from meter.core.call import Attribution

Rank = tuple[int, ...]
"""How specific a selector is: the larger, the more."""


@dataclass(frozen=True, slots=True)
class Parties:
    """Whose calls: each set names any of, and every one of `tags` must be on the call.

    `issuers` bill us, `upstreams` are the gateway's names of where it sends, `subjects` pay,
    `keys` are ids of gateway keys, `tags` are (name, value) pairs.
    """

    issuers: frozenset[str] = frozenset()
    upstreams: frozenset[str] = frozenset()
    subjects: frozenset[str] = frozenset()
    keys: frozenset[str] = frozenset()
    tags: frozenset[tuple[str, str]] = frozenset()

    @property
    def rank(self) -> Rank:
        """Return how specific this is."""
        return (
            bool(self.keys), bool(self.subjects), len(self.tags), bool(self.upstreams),
            bool(self.issuers),
        )  # fmt: skip

    def fit(self, issuer: str, upstream: str | None, attribution: Attribution) -> bool:
        """Whether a call is one of these."""
        return (
            (not self.issuers or issuer in self.issuers)
            and (not self.upstreams or upstream in self.upstreams)
            and (not self.subjects or attribution.subject in self.subjects)
            and (not self.keys or attribution.key_id in self.keys)
            and self.tags.issubset(attribution.tags)
        )


@dataclass(frozen=True, slots=True)
class Models:
    """Which models, at which providers; empty: all of them.

    `names` may hold `*` for any text, and are compared without regard to case.
    """

    providers: frozenset[str] = frozenset()
    names: tuple[str, ...] = ()
    _exact: frozenset[str] = field(init=False, repr=False, compare=False, default=frozenset())

    def __post_init__(self) -> None:
        """Note the names without a star."""
        exact = frozenset(name.lower() for name in self.names if "*" not in name)
        object.__setattr__(self, "_exact", exact)

    def rank(self, pairs: Iterable[tuple[str, str]]) -> Rank | None:
        """Return how exactly one of a model's (provider, name) pairs is meant, None: not at all.

        The pairs come with the most exact name first.
        """
        for place, (provider, name) in enumerate(pairs):
            if self.providers and provider not in self.providers:
                continue
            if not self.names:
                return (0, bool(self.providers), 0)
            if name.lower() in self._exact:
                return (2, 1, -place)
            if any(pattern_of(text).fullmatch(name.lower()) for text in self.names if "*" in text):
                return (1, 1, -place)
        return None


EVERYBODY = Parties()
EVERY_MODEL = Models()


@lru_cache(4096)
def pattern_of(text: str) -> re.Pattern[str]:
    """Return the pattern of a name in which `*` stands for any text, in lower case."""
    return re.compile(".*".join(re.escape(part) for part in text.lower().split("*")))
