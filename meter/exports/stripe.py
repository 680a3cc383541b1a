"""Meter events for Stripe Billing.

Source: docs.stripe.com/api/billing/meter-event/create, read 2026-11-25: one event a request, as a
form; identifiers are unique for at least 24 hours; the time is within the past 35 days.
"""

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from meter.exports.events import Request, UsageDelta

_DUPLICATE = b"already exists with identifier"


class Stripe:
    """Stripe's meter events; the customer is `stripe_customer_id`."""

    at_once = 1

    def record(self, event: UsageDelta, prefix: str) -> dict[str, Any]:
        """Return an event; its value is `payload.value`, a decimal text."""
        return {
            "event_name": f"{prefix}{event.unit}",
            "identifier": event.id,
            "timestamp": event.at_us // 1_000_000,
            "payload": {"stripe_customer_id": event.customer, "value": event.number},
        }

    def request(self, records: Sequence[dict[str, Any]]) -> Request:
        """Return the form of one event."""
        (record,) = records
        fields = {name: value for name, value in record.items() if name != "payload"}
        fields |= {f"payload[{name}]": value for name, value in record["payload"].items()}
        return Request("application/x-www-form-urlencoded", urlencode(fields).encode())

    def known_already(self, status: int, body: bytes) -> set[int] | None:
        """Return the one place where the refusal says that the identifier is known."""
        return {0} if status == 400 and _DUPLICATE in body else None


SYSTEM = Stripe()
