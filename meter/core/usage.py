"""Hold what one call consumed: a quantity for each unit, as inclusive buckets.

A unit that was not reported is absent, not zero; one reported as zero is zero. Two reports of
the same call are merged ("last non-null field wins"), never added.
"""

from collections.abc import ItemsView, Iterator, Mapping
from decimal import Decimal
from typing import TypeVar, overload

from meter.core.money import Quantity
from meter.core.units import UNITS, unit
from meter.errors import UnitError

MAX_QUANTITY = 10**15
"""The largest quantity that is believed; a provider that reports more is not believed at all."""
Default = TypeVar("Default")

_PLACES = {name: place for place, name in enumerate(UNITS)}


class Usage(Mapping[str, Quantity]):
    """An immutable mapping of unit name to quantity, in registry order.

    Raises: UnitError for a name outside the registry, for a negative, non-finite or too large
    quantity, or for a fraction of a unit that has none.
    """

    __slots__ = ("_quantities",)

    def __init__(self, quantities: Mapping[str, Quantity] | None = None, /, **more: Quantity):
        """Build from a mapping, from keywords, or from both (keywords win)."""
        given = {**(quantities or {}), **more}
        for name, quantity in given.items():
            _check(name, quantity)
        self._quantities = {name: given[name] for name in sorted(given, key=_PLACES.__getitem__)}

    def __getitem__(self, name: str) -> Quantity:
        """Return the quantity of a unit. Raises: KeyError when it was not reported."""
        return self._quantities[name]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names of the reported units."""
        return iter(self._quantities)

    def __len__(self) -> int:
        """Return how many units were reported."""
        return len(self._quantities)

    # The mapping's own versions of these go through `__getitem__`, several times as slowly.

    def __contains__(self, name: object) -> bool:
        """Whether the unit was reported."""
        return name in self._quantities

    @overload
    def get(self, name: str, default: None = None, /) -> Quantity | None: ...
    @overload
    def get(self, name: str, default: Quantity | Default, /) -> Quantity | Default: ...
    def get(self, name: str, default: object = None, /) -> object:
        """Return the quantity of a unit, `default` when it was not reported."""
        return self._quantities.get(name, default)

    def items(self) -> ItemsView[str, Quantity]:
        """Return (unit name, quantity) pairs in registry order."""
        return self._quantities.items()

    def __repr__(self) -> str:
        """Return text such as `Usage(input_tokens=3, output_tokens=5)`."""
        inner = ", ".join(f"{name}={quantity}" for name, quantity in self.items())
        return f"Usage({inner})"

    def __hash__(self) -> int:
        """Return a hash that agrees with equality."""
        return hash(tuple(self._quantities.items()))

    def merged(self, later: "Usage") -> "Usage":
        """Return this usage with every field that `later` reports replaced (never added)."""
        return Usage({**self._quantities, **later._quantities})

    def clamped(self) -> "Usage":
        """Return this usage with no contained quantity above that of its container.

        Foreign reports break the inclusion now and then (a realtime example of OpenAI's own
        specification has 384 cached of 127 input tokens): clamp, never assert.
        """
        fixed = dict(self._quantities)
        for name in self._quantities:
            for container in UNITS[name].inside:
                if container in fixed:
                    fixed[name] = min(fixed[name], fixed[container])
        return Usage(fixed)

    @property
    def is_all_zero(self) -> bool:
        """Whether no quantity is above zero (also when nothing was reported)."""
        return not any(self._quantities.values())


def _check(name: str, quantity: Quantity) -> None:
    kind = unit(name)
    if isinstance(quantity, bool) or not isinstance(quantity, (int, Decimal)):
        raise UnitError(f"found {quantity!r} {kind.label}, expected a whole number or a Decimal")
    if isinstance(quantity, Decimal) and not (kind.fractional and quantity.is_finite()):
        raise UnitError(f"found {quantity} {kind.label}, expected a whole number")
    if not 0 <= quantity <= MAX_QUANTITY:
        raise UnitError(f"found {quantity} {kind.label}, expected 0 to {MAX_QUANTITY}")
