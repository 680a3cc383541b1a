"""Name the kind of content of a request, by which errors of estimates are learnt apart.

Knows the parts of requests of all shapes. Called by the pipeline.
"""

from collections.abc import Mapping
from typing import Any, Final

from meter.tokens.notes import hosted_tools
from meter.tokens.shapes import list_of, mapping_of

_STORED: Final = ("previous_response_id", "conversation", "cachedContent", "cached_content")
_TOOLS: Final = ("tools", "functions", "toolConfig")
_MEDIA: Final = frozenset({
    "audio", "document", "fileData", "file_data", "image", "image_url", "inlineData",
    "inline_data", "input_audio", "file", "video", "input_image", "input_file",
})  # fmt: skip
_PARTS: Final = ("content", "parts", "output")


def kind_of(request: Mapping[str, Any]) -> str | None:
    """Return "text", "tools" or "media"; None where the request does not show all of its input.

    That is where hosted tools read more, or the provider keeps the beginning of a conversation.
    """
    if any(request.get(field) for field in _STORED) or _has_hosted_tools(request):
        return None
    turns = [*list_of(request.get("messages")), *list_of(request.get("contents")),
             *list_of(request.get("input"))]  # fmt: skip
    if any(map(_has_media, turns)):
        return "media"
    return "tools" if any(request.get(field) for field in _TOOLS) else "text"


def _has_hosted_tools(request: Mapping[str, Any]) -> bool:
    """Whether a tool is the provider's own; functions are written in many ways."""
    tools = [mapping_of(tool) for tool in list_of(request.get("tools"))]
    own = any({"google_search", "googleSearch", "code_execution", "codeExecution",
               "url_context", "urlContext"} & set(tool) for tool in tools)  # fmt: skip
    return own or bool(hosted_tools(request))


def _has_media(turn: object) -> bool:
    fields = mapping_of(turn)
    parts = [part for name in _PARTS for part in list_of(fields.get(name))]
    return any(
        mapping_of(part).get("type") in _MEDIA or not _MEDIA.isdisjoint(mapping_of(part))
        for part in parts
    )
