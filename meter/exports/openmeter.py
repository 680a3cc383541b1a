"""Events for OpenMeter and whatever else takes CloudEvents 1.0 in JSON.

Source: openmeter.io/docs/concepts/usage-events and cloudevents.io, read 2026-11-25. The same
source and id again is no second event.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from meter.core.rates import datetime_of
from meter.exports.events import Request, UsageDelta

_SOURCE = "meter"


class OpenMeter:
    """CloudEvents, up to a hundred in one request."""

    at_once = 100

    def record(self, event: UsageDelta, prefix: str) -> dict[str, Any]:
        """Return a CloudEvent; its value is `data.quantity`, a decimal text."""
        return {
            "specversion": "1.0",
            "id": event.id,
            "source": _SOURCE,
            "type": f"{prefix}{event.unit}",
            "subject": event.customer,
            "time": datetime_of(event.at_us).isoformat().replace("+00:00", "Z"),
            "datacontenttype": "application/json",
            "data": {
                "quantity": event.number,
                "unit": event.unit,
                "model": event.model,
                "provider": event.provider,
                "endpoint": event.endpoint,
                "call_id": event.call_id,
                "tags": dict(event.tags),
            },
        }

    def request(self, records: Sequence[dict[str, Any]]) -> Request:
        """Return a batch of CloudEvents."""
        return Request("application/cloudevents-batch+json", msgspec.json.encode(records))

    def known_already(self, status: int, body: bytes) -> set[int] | None:
        """Return None: what was sent before is taken in silence."""
        return None


SYSTEM = OpenMeter()
