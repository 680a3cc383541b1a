"""Hold a call against the lists of its key: the endpoints and the models that it may use.

    check_lists     a call by itself: its endpoint, and every model that it names
    is_limited      whether the requests of a batch must be looked at one by one
    check_requests  the requests of a batch, which run other endpoints and models than their own

A call that runs no model, such as a file that is stored or an answer that is read again, needs to
name none. Called by `relay`; `listing` and the sessions ask `may_use`.
"""

from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any, Final

from meter.core.ports import Dialect
from meter.core.reading import Reading
from meter.gateway.naming import IN_PATH, model_of, no_such_model
from meter.gateway.objects import place_of
from meter.gateway.rejections import Rejected
from meter.gateway.requests import Request
from meter.providers.foreign import JSONObject, decoded, mapping, objects
from meter.providers.openai.others import LOOKS
from meter.store.keys import Key

BATCHES: Final = "batches"
_MESSAGE_BATCHES: Final = "messages.batches"
_MESSAGES: Final = "messages"
_READS: Final = frozenset({"GET", "HEAD", "DELETE"})
_RUN_NO_MODEL: Final = frozenset(
    {"files", "uploads", "vector_stores", "containers", "conversations", "threads"}
)
_RUNS: Final = "runs"
_RECORDS: Final = "records"
_MADE_BY: Final = {
    "chat/completions": "chat",
    "google/batches": "batchGenerateContent",
    "google/cachedContents": "cachedContents",
}


def may_use(key: Key, model: str) -> bool:
    """Whether a key's list allows a model."""
    return key.models is None or any(fnmatchcase(model, pattern) for pattern in key.models)


def is_limited(key: Key) -> bool:
    """Whether a key may not use everything."""
    return key.models is not None or key.endpoints is not None


def check_lists(key: Key, request: Request, reading: Reading, body: bytes) -> None:
    """Let a call pass that its key's lists allow. Raises: Rejected (403, 404)."""
    if not is_limited(key):
        return
    if reading.endpoint == "models" and request.method in ("GET", "HEAD"):
        if IN_PATH.search(request.path) is None:
            return
    else:
        _check_endpoint(key, reading.endpoint, request)
    if reading.endpoint == _MESSAGE_BATCHES:
        for asked in objects(reading.request.get("requests")):
            _check_request(key, _MESSAGES, mapping(asked.get("params")))
    if key.models is None:
        return
    if reading.endpoint in (BATCHES, _MESSAGE_BATCHES):
        # Its requests run models, whatever it names beside them.
        file = reading.request.get("input_file_id")
        if reading.endpoint == BATCHES and not (file and isinstance(file, str)):
            raise _unnamed()
        return
    model = reading.model or model_of(request, body)
    if model is not None:
        _check_models(key, [model, *_further_models(reading.request)])
    elif not _needs_no_model(request):
        raise _unnamed()


def check_requests(key: Key, dialect: Dialect, lines: Iterable[bytes]) -> None:
    """Let the requests on some lines of a batch's input file pass. Raises: Rejected."""
    endpoints: dict[str, str] = {}
    for line in lines:
        if not line.strip():
            continue
        asked = mapping(decoded(line)[0])
        url = asked.get("url")
        if not isinstance(url, str):
            raise Rejected(
                400, "invalid_value", "found a line that is no request in the batch's input file"
            )
        if url not in endpoints:
            endpoints[url] = dialect.read("POST", url, None, b"{}").endpoint
        _check_request(key, endpoints[url], mapping(asked.get("body")))


def _check_request(key: Key, endpoint: str, body: JSONObject) -> None:
    _check_endpoint(key, endpoint)
    if key.models is None:
        return
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise _unnamed()
    _check_models(key, [model, *_further_models(body)])


def _check_endpoint(key: Key, endpoint: str, request: Request | None = None) -> None:
    if key.endpoints is None or endpoint in key.endpoints:
        return
    if _makers(endpoint, request).isdisjoint(key.endpoints):
        raise Rejected(403, "endpoint_not_allowed", f"this key may not use the endpoint {endpoint}")


def _makers(endpoint: str, request: Request | None) -> set[str]:
    """Return the endpoints that make what a call reads, removes or ends; none for other calls."""
    is_look = endpoint in LOOKS
    found = {endpoint.rpartition(".")[0]} if is_look else set()
    if request is not None and (is_look or endpoint == _RECORDS or request.method in _READS):
        place = place_of(request.path, request.shape)
        if place is not None:
            name = place.family.name
            found.add(_MADE_BY.get(name) or name.replace("/", "."))
    return found


def _check_models(key: Key, models: Iterable[str]) -> None:
    for model in models:
        if not may_use(key, model):
            raise no_such_model(model)


def _further_models(body: Mapping[str, Any]) -> Iterator[str]:
    """Yield the models that a request names beside its own: to fall back on, and its tools'."""
    fallbacks = body.get("models")
    if isinstance(fallbacks, list):
        yield from (each for each in fallbacks if isinstance(each, str))
    for tool in objects(body.get("tools")):
        model = tool.get("model")
        if isinstance(model, str):
            yield model


def _needs_no_model(request: Request) -> bool:
    """Whether a call that names no model runs none."""
    if request.method in _READS:
        return True
    place = place_of(request.path, request.shape)
    if place is None or (place.makes and place.id is not None):
        return False
    rest = place.rest.strip("/").lower()
    return rest != _RUNS and (place.id is not None or place.family.name in _RUN_NO_MODEL)


def _unnamed() -> Rejected:
    return Rejected(
        403, "model_not_named",
        "this key may use certain models only, and the call names none",
    )  # fmt: skip
