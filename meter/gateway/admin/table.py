"""List every operation of the admin API, in the order in which it is described."""

from typing import Final

from meter.gateway.admin import credits, operations

OPERATIONS: Final = (*operations.OPERATIONS, *credits.OPERATIONS)
