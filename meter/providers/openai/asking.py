"""Ask for usage in a stream on the client's behalf, where the provider is known to take it.

Called by the endpoints beside it.
"""

from meter.providers.endpoint import Request
from meter.providers.foreign import encoded, mapping


def with_usage_asked(request: Request, endpoint: str) -> bytes | None:
    """Return the body with `stream_options.include_usage` set, None when nothing is to change.

    That is: the provider is not known to take it, the call does not stream, or usage is already
    asked for. The client's own bytes stay as they are wherever that is possible.
    """
    fields = request.fields
    options = fields.get("stream_options")
    if fields.get("stream") is not True or not _may_ask(request, endpoint):
        return None
    if mapping(options).get("include_usage") is True:
        return None
    brace = request.body.find(b"{")
    if "stream_options" not in fields and not request.defects and brace >= 0:
        wish = b'{"stream_options":{"include_usage":true},'
        return request.body[:brace] + wish + request.body[brace + 1 :]
    if options is not None and not isinstance(options, dict):
        return None
    return encoded({**fields, "stream_options": {**mapping(options), "include_usage": True}})


def _may_ask(request: Request, endpoint: str) -> bool:
    provider = request.provider
    if endpoint not in provider.asks_usage:
        return False
    if not provider.asks_usage_since or "/openai/v1/" in request.path:
        return True
    # Calls on one's own data are answered by another service, which refuses the field.
    # Source: https://github.com/Azure/azure-sdk-for-js/issues/30751 (2026-11).
    if "data_sources" in request.fields or "dataSources" in request.fields:
        return False
    return request.query.get("api-version", "")[:10] >= provider.asks_usage_since
