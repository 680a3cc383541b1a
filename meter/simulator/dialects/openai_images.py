"""Answer `POST /v1/images/generations` with a plain picture of the size asked for.

Models of the gpt-image family report tokens, others (dall-e) are priced by the picture.
Source: types of the openai package 3.54; output tokens by quality and size from the guide to
image generation, read 2026-11-22.
"""

from __future__ import annotations

import base64
import re
import struct
import time
import zlib

from meter.simulator.dialects.openai_chat import read_number
from meter.simulator.replies import Event, Json, Refusal, Reply, Request, Streamed, Whole
from meter.simulator.world import World

_IMAGES_LIMIT = 10
_SIDE_LIMIT_PIXELS = 4096
_SIZE = re.compile(r"(\d{2,4})x(\d{2,4})")
# quality -> tokens of a square, a portrait, a landscape picture
_OUTPUT_TOKENS = {
    "low": (272, 408, 400),
    "medium": (1056, 1584, 1568),
    "high": (4160, 6240, 6208),
}


def answer(request: Request, world: World) -> Reply:
    """Answer an image generation. Raises: Refusal."""
    fields = request.fields
    text = fields.get("prompt")
    if not isinstance(text, str) or not text:
        raise Refusal(400, "Missing required parameter: 'prompt'.", None, "prompt")
    number = read_number(fields, "n", 1, _IMAGES_LIMIT)
    width, height = _read_size(fields.get("size"))
    size = f"{width}x{height}"
    created = int(time.time())
    if not request.model.startswith(("gpt-image", "chatgpt-image")):
        address = f"https://images.invalid/{world.new_id('img-')}.png"
        encoded = {"b64_json": _picture(width, height)}
        wants_bytes = fields.get("response_format") == "b64_json"
        pictures = [encoded if wants_bytes else {"url": address} for _ in range(number)]
        return Whole(payload={"created": created, "data": pictures}, bill={"images": number})
    quality = fields.get("quality") if fields.get("quality") in _OUTPUT_TOKENS else "medium"
    each = _OUTPUT_TOKENS[str(quality)][0 if width == height else 1 if height > width else 2]
    text_tokens = world.settings.count(text)
    usage: Json = {
        "input_tokens": text_tokens,
        "input_tokens_details": {"image_tokens": 0, "text_tokens": text_tokens},
        "output_tokens": number * each,
        "total_tokens": text_tokens + number * each,
    }
    bill = {"input_tokens": text_tokens, "output_tokens": number * each, "images": number}
    about: Json = {
        "background": "opaque",
        "output_format": "png",
        "quality": quality,
        "size": size,
    }
    picture = _picture(width, height)
    if fields.get("stream"):
        events = _stream(picture, about, created, usage, fields.get("partial_images"))
        return Streamed(events, bill, framing="named")
    body = {
        "created": created,
        **about,
        "data": [{"b64_json": picture} for _ in range(number)],
        "usage": {
            **usage,
            "output_tokens_details": {"image_tokens": number * each, "text_tokens": 0},
        },
    }
    return Whole(payload=body, usage_path=("usage",), bill=bill)


def _stream(
    picture: str, about: Json, created: int, usage: Json, partial_images: object
) -> tuple[Event, ...]:
    partials = partial_images if isinstance(partial_images, int) else 0
    common = {"b64_json": picture, "created_at": created, **about}
    events = [
        Event(
            {
                "type": "image_generation.partial_image",
                "partial_image_index": index,
                **common,
            },
            name="image_generation.partial_image",
        )
        for index in range(min(partials, 3))
    ]
    final = {"type": "image_generation.completed", **common, "usage": usage}
    events.append(
        Event(
            final,
            name="image_generation.completed",
            hidden_tokens=usage["output_tokens"],
            usage_path=("usage",),
        )
    )
    return tuple(events)


def _read_size(given: object) -> tuple[int, int]:
    if given in (None, "auto"):
        return 1024, 1024
    found = _SIZE.fullmatch(str(given))
    if found is None or max(int(found[1]), int(found[2])) > _SIDE_LIMIT_PIXELS:
        raise Refusal(400, f"Invalid size: {given!r}.", "invalid_value", "size")
    return int(found[1]), int(found[2])


def _picture(width: int, height: int) -> str:
    """Return a white PNG of one bit a pixel, as base64."""
    row = b"\x00" + b"\xff" * ((width + 7) // 8)
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(row * height)),
        (b"IEND", b""),
    )
    png = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in parts
    )
    return base64.b64encode(png).decode()
