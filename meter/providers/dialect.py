"""Read one provider's API: find the endpoint of a request, and what watches its answer.

Every dialect knows every endpoint, by the shape of the path: resellers serve them all, and
several providers serve Anthropic's beside OpenAI's. Made by `registry.py`, used by the pipeline.
"""

from functools import lru_cache
from typing import Final
from urllib.parse import parse_qsl, unquote

from meter.core.ports import Answer, AnswerObserver, OutputSink
from meter.core.reading import UNMETERED, Reading
from meter.providers.anthropic.messages import Messages
from meter.providers.endpoint import Endpoint, Request
from meter.providers.foreign import JSONObject, decoded
from meter.providers.forms import form_fields, is_form
from meter.providers.free import free_endpoint
from meter.providers.google.generate_content import GenerateContent
from meter.providers.native import Native
from meter.providers.observing import Observer, PassingObserver
from meter.providers.openai.chat import Chat
from meter.providers.openai.completions import Completions
from meter.providers.openai.embeddings import Embeddings
from meter.providers.openai.others import FETCHED, LOOKS, POSTED
from meter.providers.openai.records import record_endpoint
from meter.providers.openai.responses import Responses
from meter.providers.others import LOOKED, NATIVE, NATIVE_LOOKS
from meter.providers.provider import Provider
from meter.providers.refusals import refusal
from meter.providers.unclaimed import Unclaimed, UnclaimedObserver

ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    Chat(),
    Responses(),
    Messages(),
    GenerateContent(),
    *NATIVE,
    Embeddings(),
    Completions(),
    *POSTED,
)
"""Every endpoint of POST that is metered, the most frequent first."""

_REMEMBERED_PATH_CHARS: Final = 256
_BY_METHOD: Final[dict[str, tuple[Endpoint, ...]]] = {
    "POST": ENDPOINTS,
    "GET": (*FETCHED, *LOOKED),
}
_BY_NAME: Final = {endpoint.name: endpoint for endpoint in (*ENDPOINTS, *FETCHED, *LOOKED)}
_LOOKS: Final = LOOKS | NATIVE_LOOKS
_UNCLAIMED: Final = Unclaimed()


class ProviderDialect:
    """How one provider's API is read."""

    __slots__ = ("_provider", "issuer", "name")

    def __init__(self, provider: Provider) -> None:
        """Speak the dialect of a provider."""
        self._provider = provider
        self.name = provider.name
        self.issuer = provider.issuer or provider.name

    def read(self, method: str, path: str, content_type: str | None, body: bytes) -> Reading:
        """Read a request; `path` may carry a query. Never raises.

        Everything but a known endpoint and the calls known to be free is unmetered.
        """
        plain, _, query = path.partition("?")
        plain = plain_path(plain)
        for ending, usual in self._provider.aliases.items():
            if plain.endswith(ending):
                plain = plain.removesuffix(ending) + usual
        verb = method.upper()
        find = _endpoint_of if len(plain) <= _REMEMBERED_PATH_CHARS else _endpoint_of.__wrapped__
        found = find(verb, plain)
        if found is not None:
            endpoint, model = found
            return endpoint.read(self._request(plain, query, model, content_type, body))
        free = free_endpoint(self._provider, verb, plain) or record_endpoint(verb, plain)
        if free is not None:
            return Reading(self.name, free, free=True)
        if verb == "POST" and not is_form(content_type or "") and body[:1] == b"{":
            return _UNCLAIMED.read(self._request(plain, query, "", content_type, body))
        return Reading(self.name, UNMETERED)

    def observe(
        self, reading: Reading, sink: OutputSink | None = None, *, count_always: bool = False
    ) -> AnswerObserver:
        """Return an observer for the answer to that request."""
        endpoint = _BY_NAME.get(reading.endpoint)
        if not reading.metered and reading.request:
            return UnclaimedObserver(_UNCLAIMED, self._provider, reading, None, count_always=False)
        if endpoint is None or (reading.free and endpoint.name not in _LOOKS):
            return PassingObserver()
        if isinstance(endpoint, Native):
            return endpoint.observer(self._provider, reading, sink, count_always=count_always)
        return Observer(endpoint, self._provider, reading, sink, count_always=count_always)

    def refuse(
        self,
        reading: Reading,
        status: int,
        message: str,
        budget_id: str | None,
        again_s: int | None = None,
    ) -> Answer:
        """Return a refusal in the error shape of the endpoint, or else of the provider.

        `again_s`: the call may be tried again after so many seconds, None: never.
        """
        endpoint = _BY_NAME.get(reading.endpoint)
        shape = self._provider.shape if endpoint is None else endpoint.shape
        return refusal(shape, status, message, budget_id, again_s)

    def _request(
        self, path: str, query: str, model: str, content_type: str | None, body: bytes
    ) -> Request:
        fields, defects = _fields(content_type, body)
        pairs = dict(parse_qsl(query[:4096], max_num_fields=None)) if query else {}
        return Request(self._provider, path, pairs, model, body, fields, defects)


@lru_cache(4096)
def _endpoint_of(verb: str, path: str) -> tuple[Endpoint, str] | None:
    """Return the endpoint that serves a path, and the model that it names ("" for none)."""
    for endpoint in _BY_METHOD.get(verb, ()):
        model = endpoint.claims(path)
        if model is not None:
            return endpoint, model
    return None


def _fields(content_type: str | None, body: bytes) -> tuple[JSONObject, tuple[str, ...]]:
    """Return the fields of a JSON body or of a form, and sentences on what could not be read."""
    if content_type is not None and is_form(content_type):
        return form_fields(content_type, body)
    value, fault = decoded(body)
    if fault is not None:
        return {}, (fault,)
    if not isinstance(value, dict):
        return {}, (f"found a JSON {type(value).__name__} as request, expected an object",)
    return value, ()


def plain_path(path: str) -> str:
    """Return a URL path as servers understand it: decoded, without empty and dot segments.

    A call must not escape the meter by spelling its path in another way.
    """
    if "%" in path:
        path = unquote(path)
    if "//" not in path and "/." not in path:
        return path.rstrip("/")
    segments: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del segments[-1:]
        elif segment not in ("", "."):
            segments.append(segment)
    return "/" + "/".join(segments)
