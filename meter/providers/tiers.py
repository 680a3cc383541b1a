"""Give the service tiers of all providers the names that rate cards use.

Source: https://platform.openai.com/docs/api-reference (`fast` and `priority` both answer
`priority`), SDKs of openai 3.54, anthropic 2.12 and google-genai 3.4, all 2026-11.
"""

from typing import Any

from meter.core.rates import STANDARD
from meter.providers.foreign import label

_NAMES = {
    "auto": None,
    "default": STANDARD,
    "fast": "priority",
    "on_demand": STANDARD,
    "on_demand_flex": "flex",
    "on_demand_priority": "priority",
    "provisioned_throughput": "provisioned",
    "standard": STANDARD,
    "standard_only": STANDARD,
    "service_tier_unspecified": None,
    "traffic_type_unspecified": None,
    "unspecified": None,
}


def tier_of(value: Any) -> str | None:
    """Return the core's name of a service tier, None when none is named.

    An unknown tier keeps its own name in lower case: it is then unpriced, not standard.
    """
    if value is None:
        return None
    given = label(value, 64)
    return None if given is None else _NAMES.get(given.lower(), given.lower())
