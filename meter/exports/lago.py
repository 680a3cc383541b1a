"""Events for Lago.

Source: getlago.com/docs/api-reference/events/batch, read 2026-11-25: at most 100 events in a
request; a `transaction_id` that was sent before makes the whole request fail with 422 and says
which places they are.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from meter.exports.events import Request, UsageDelta

_DUPLICATE = "value_already_exist"


class Lago:
    """Events of Lago's batch endpoint; the customer is the external subscription."""

    at_once = 100

    def record(self, event: UsageDelta, prefix: str) -> dict[str, Any]:
        """Return an event; its value is `properties.quantity`, a decimal text."""
        seconds, microseconds = divmod(event.at_us, 1_000_000)
        return {
            "transaction_id": event.id,
            "external_subscription_id": event.customer,
            "code": f"{prefix}{event.unit}",
            "timestamp": f"{seconds}.{microseconds:06d}",
            "properties": {
                "quantity": event.number,
                "model": event.model,
                "provider": event.provider,
                "endpoint": event.endpoint,
                "call_id": event.call_id,
            },
        }

    def request(self, records: Sequence[dict[str, Any]]) -> Request:
        """Return a batch."""
        return Request("application/json", msgspec.json.encode({"events": records}))

    def known_already(self, status: int, body: bytes) -> set[int] | None:
        """Return the places that the refusal names, where it is about nothing else."""
        if status != 422:
            return None
        try:
            details = msgspec.json.decode(body)["error_details"]
            faults = {int(place): fault for place, fault in details.items()}
        except (msgspec.DecodeError, KeyError, TypeError, AttributeError, ValueError):
            return None
        for fault in faults.values():
            if not isinstance(fault, dict) or set(fault) != {"transaction_id"}:
                return None
            if fault["transaction_id"] != [_DUPLICATE]:
                return None
        return set(faults) or None


SYSTEM = Lago()
