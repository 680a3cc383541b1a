"""Find the model that a request names, wherever it does. Called by `routing` and `allowing`."""

import re
from typing import Any, Final
from urllib.parse import unquote

import msgspec

from meter.gateway.rejections import Rejected
from meter.gateway.requests import Request
from meter.providers.forms import form_fields, is_form

IN_PATH: Final = re.compile(r"/(?:models|engines|deployments)/([^/]+)", re.IGNORECASE)


class _Named(msgspec.Struct):
    """The one member of a request that decides where it goes; the rest is not built."""

    model: Any = None


_named: Final = msgspec.json.Decoder(_Named)


def model_of(request: Request, body: bytes) -> str | None:
    """Return the model that path, JSON or form name, None when none of them does."""
    in_path = IN_PATH.search(request.path)
    if in_path is not None:
        named = unquote(in_path[1])
        return named.rpartition(":")[0] if request.shape == "google" and ":" in named else named
    if not body:
        return None
    content_type = request.fields.get("content-type")
    model: Any
    if content_type is not None and is_form(content_type):
        model = form_fields(content_type, body)[0].get("model")
    else:
        try:
            model = _named.decode(body).model
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return None
    return model if isinstance(model, str) and model else None


def no_such_model(model: str | None) -> Rejected:
    """Return the refusal of a model that the key may not use, or that nothing serves."""
    named = f"the model {model!r:.200}" if model else "a call that names no model"
    return Rejected(404, "model_not_found", f"{named} is not served to this key")
