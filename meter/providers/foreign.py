"""Take foreign JSON apart without trusting any of it.

Knows no provider. Every function takes a value of any JSON type, as the parser made it, and
never raises; what is not of the expected type is treated as absent.
"""

import json
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

import msgspec

JSONObject = Mapping[str, Any]

_EMPTY: JSONObject = {}
_MOST_EXPONENT = 400
_UNPRINTABLE = re.compile("[\x00-\x1f\ud800-\udfff]")


def _decimal(text: str) -> Decimal:
    """Return a number of JSON. One with an absurd exponent is not a number: it is refused."""
    number = Decimal(text)
    if abs(number.adjusted()) > _MOST_EXPONENT:
        raise ValueError(f"found a number with exponent {number.adjusted()}")
    return number


_plain = msgspec.json.Decoder()
_exact = msgspec.json.Decoder(float_hook=_decimal)


def decoded(payload: bytes, *, exact: bool = False) -> tuple[Any, str | None]:
    """Return a JSON text's value and None, or None and a sentence on why it is not JSON.

    Text that the strict parser refuses but many servers take (lone surrogates, a byte order
    mark, NaN) is read with the lenient one. `exact` gives Decimal for numbers with a fraction:
    amounts of money must not pass through a float.
    """
    try:
        return (_exact if exact else _plain).decode(payload), None
    except (ValueError, ArithmeticError, RecursionError):
        pass
    try:
        text = payload.decode("utf-8-sig")
        return json.loads(text, parse_float=_decimal if exact else float), None
    except RecursionError:
        return None, "found JSON nested too deeply to be read"
    except UnicodeDecodeError:
        return None, "found bytes that are not UTF-8, expected JSON"
    except (ValueError, ArithmeticError):
        return None, f"found {len(payload)} bytes that are not JSON"


def encoded(value: Any) -> bytes:
    """Return the JSON text of a parsed value."""
    try:
        return msgspec.json.encode(value)
    except (ValueError, TypeError, UnicodeEncodeError):
        return json.dumps(value, separators=(",", ":"), default=str).encode()


def mapping(value: Any) -> JSONObject:
    """Return the object, or an empty one."""
    return value if isinstance(value, dict) else _EMPTY


def objects(value: Any) -> Iterator[JSONObject]:
    """Iterate over the objects in an array; nothing when it is no array."""
    if isinstance(value, list):
        yield from (item for item in value if isinstance(item, dict))


def text(value: Any) -> str:
    """Return the string, or ""."""
    return value if isinstance(value, str) else ""


def label(value: Any, most: int = 256) -> str | None:
    """Return a string of 1 to `most` printable characters, None for anything else."""
    if not isinstance(value, str) or not 0 < len(value) <= most:
        return None
    return None if _UNPRINTABLE.search(value) else value


def whole(value: Any, least: int, most: int) -> int | None:
    """Return a whole number in [least, most], None for anything else (also true and false)."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if least <= value <= most else None


def index(value: Any) -> int:
    """Return the number of a choice, 0 when it is missing, odd or above any real answer's."""
    return whole(value, 0, 4095) or 0


class _Envelope(msgspec.Struct):
    """The members of an answer whose content is of no interest; the rest is not built."""

    id: Any = None
    model: Any = None
    usage: Any = None
    service_tier: Any = None
    error: Any = None
    code: Any = None
    msg: Any = None
    message: Any = None
    object: Any = None
    meta: Any = None
    usageMetadata: Any = None
    usage_info: Any = None
    prompt_eval_count: Any = None


_envelope = msgspec.json.Decoder(_Envelope, float_hook=_decimal)


def envelope(payload: bytes) -> tuple[Any, str | None]:
    """Return an answer's members apart from its content, as `decoded` returns all of them."""
    try:
        found = _envelope.decode(payload)
    except (ValueError, ArithmeticError, RecursionError):
        return decoded(payload, exact=True)
    return {key: value for key, value in msgspec.structs.asdict(found).items()
            if value is not None}, None  # fmt: skip
