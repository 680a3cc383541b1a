"""The one tree of errors that `meter` raises.

    MeterError
    ├── InputError            a file, argument or request that cannot be read as what it should be
    ├── ConfigError           a setting with a value that is not allowed
    ├── MoneyError            an amount that is not exact, or two currencies in one sum
    ├── UnitError             a quantity or a unit name outside the registry
    ├── RateCardError         a rate card that cannot be used to rate
    ├── WrapError             a client object that cannot be wrapped
    ├── CallRefused           a budget does not allow a call that was reserved by hand
    └── StoreError            the ledger cannot take or give a record
        ├── StoreUnavailable  it cannot be reached, is locked, full or read-only
        ├── SchemaMismatch    its schema is older or newer than this release
        └── ConflictingWrite  the same id came again with other content

On the wire a refusal is an answer, not an error (`meter.core.budgets.Refusal`); only a call
reserved by hand raises one.
Each message is one sentence that says what was found and what was expected.
"""


class MeterError(Exception):
    """Any error that `meter` raises on purpose; its text is fit for a person."""


class InputError(MeterError):
    """A file, argument or request cannot be read as what it should be."""


class ConfigError(MeterError):
    """A setting has a value that is not allowed."""


class MoneyError(MeterError):
    """An amount is not exact in nanos, or two currencies met in one sum."""


class UnitError(MeterError):
    """A unit is not in the registry, or a quantity is not a finite number of it >= 0."""


class RateCardError(MeterError):
    """A rate card cannot be used to rate."""


class WrapError(MeterError):
    """A client object cannot be wrapped."""


class CallRefused(MeterError):
    """A budget does not allow a call that was reserved by hand."""


class StoreError(MeterError):
    """The ledger cannot take or give a record."""


class StoreUnavailable(StoreError):
    """The ledger cannot be reached, is locked, full or read-only."""


class SchemaMismatch(StoreError):
    """The ledger's schema is older or newer than this release of `meter`."""


class ConflictingWrite(StoreError):
    """The same id came again with other content."""
