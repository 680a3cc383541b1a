"""Turn Cohere's billed units into the registry's. Called by the endpoints beside it.

The bill is made of `billed_units`; `tokens` beside them, and the `cached_tokens` among those,
include what the model is sent around the prompt, and are not billed.

Source: SDK cohere 7.3 (`ApiMetaBilledUnits`, `UsageBilledUnits`, floats), 2026-11.
https://github.com/giselles-ai/giselle/pull/1881 and https://github.com/vllm-project/vllm/pull/46093
(2026-11): image tokens of an embedding are beside its input tokens, at a price of their own.
"""

from typing import Any, Final

from meter.providers.endpoint import Normalised
from meter.providers.foreign import JSONObject, mapping
from meter.providers.native import in_units, whole_number

_UNITS: Final = {
    "input_tokens": "input_tokens",
    "image_tokens": "input_image_tokens",
    "output_tokens": "output_tokens",
    "search_units": "searches",
    "images": "images",
    "pages": "pages",
}


def billed_units_in(payload: JSONObject) -> Any:
    """Return the report in `usage` or `meta`, of a body, a last event or its `response`.

    Where nothing is said of billing, as other hosts of the models do, it is the tokens used.
    """
    used = None
    for holder in (payload, mapping(payload.get("response")), mapping(payload.get("delta"))):
        for name in ("usage", "meta"):
            report = mapping(holder.get(name))
            billed = report.get("billed_units")
            if billed is not None:
                return billed
            used = used or mapping(report.get("tokens")) or None
    return used


def in_billed_units(raw: JSONObject) -> Normalised:
    """Return billed units as inclusive buckets; a report that says only zeros is a report."""
    text_tokens = raw.get("input_tokens")
    text_tokens = raw.get("text_tokens") if text_tokens is None else text_tokens
    report: dict[str, Any] = {**raw, "input_tokens": text_tokens}
    images = whole_number(raw.get("image_tokens"))
    plain = 0 if text_tokens is None else whole_number(text_tokens)
    if images is not None and plain is not None:
        report["input_tokens"] = plain + images
    return in_units(report, _UNITS)
