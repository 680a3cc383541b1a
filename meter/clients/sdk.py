"""Put a meter into the clients of the provider SDKs, by the hooks that the SDKs offer for it.

A wrapped client is a copy on a copy of its HTTP client: same classes, same configuration, same
connections, with a metered transport before each of its transports. The given client stays as it
was and keeps owning the connections: closing the copy leaves them open, closing the original
closes them. The copy keeps the original alive, so that `wrap(OpenAI())` needs no second name.

No SDK is imported before it is used: a client is known by the packages of its classes. Called by
the façade.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeVar

from meter.errors import WrapError
from meter.pipeline import Pipeline

Client = TypeVar("Client")

WRAPPABLE = (
    "a client of openai, anthropic, google-genai, mistralai, groq or cohere, "
    "or an httpx or httpx2 client"
)


def wrap(client: Client, pipeline: Pipeline, *, take_over: bool = False) -> Client:
    """Return a metered copy of a client; one that this pipeline meters already comes back as is.

    With `take_over` the copy owns the connections and closes them: for a client that was made
    only to be wrapped.

    Raises: WrapError when the object is no client that can be wrapped, or is metered by another
    pipeline.
    """
    wrapping = _Wrapping(pipeline, client, take_over)
    metered: Client
    if _library_of(client) is not None:
        metered = _of_http(client, wrapping)
        return metered
    for package in _packages(client):
        if package in _WRAPPERS:
            metered = _WRAPPERS[package](client, wrapping)
            return metered
    hint = ""
    if any(package.startswith("langchain") for package in _packages(client)):
        hint = "; pass a wrapped httpx2 client as the model's http_client instead"
    raise WrapError(f"cannot wrap {_title(client)}, expected {WRAPPABLE}{hint}")


@dataclass(frozen=True, slots=True)
class _Wrapping:
    """What is the same at every level of one wrapping.

    `lender` is the given client, which must outlive the copy: several SDKs close their connections
    when they are collected. With `takes_over` closing the copy closes the connections.
    """

    pipeline: Pipeline
    lender: object
    takes_over: bool


def _of_http(client: Any, wrapping: _Wrapping) -> Any:
    """Return a metered copy of an httpx or httpx2 client.

    A shallow copy keeps subclasses and every setting, known here or not. What could be changed on
    the copy and seen on the original is doubled; the cookies stay common, as one session.
    """
    if _is_metered(client, wrapping.pipeline):
        return client
    metered = copy.copy(client)
    metered._headers = client.headers.copy()
    metered.event_hooks = client.event_hooks
    metered._transport = _before(client._transport, client, wrapping)
    # Proxies, the environment's too, are mounts: their requests bypass the first transport.
    metered._mounts = {
        pattern: None if inner is None else _before(inner, client, wrapping)
        for pattern, inner in client._mounts.items()
    }
    if not client.is_closed:
        metered._state = type(client._state).UNOPENED
    return metered


def _is_metered(client: Any, pipeline: Pipeline) -> bool:
    """Tell whether an HTTP client is metered by this pipeline already.

    Raises: WrapError when it is no httpx or httpx2 client, or is metered by another pipeline.
    """
    if _library_of(client) is None:
        raise WrapError(f"found {_title(client)} as HTTP client, expected one of httpx or httpx2")
    present = getattr(client._transport, "pipeline", None)
    if isinstance(present, Pipeline) and present is not pipeline:
        raise WrapError(
            f"found {_title(client)} metered by another Meter, expected an unmetered one"
        )
    return present is pipeline


def _before(inner: Any, client: Any, wrapping: _Wrapping) -> Any:
    """Return a metered transport before an inner one, of the client's own library and kind."""
    if getattr(inner, "pipeline", None) is wrapping.pipeline:
        return inner
    kind: Any
    if _library_of(client) == ("httpx2", "AsyncClient"):
        from meter.clients.httpx2_transport import AsyncMeterTransport as kind
    elif _library_of(client) == ("httpx2", "Client"):
        from meter.clients.httpx2_transport import MeterTransport as kind
    elif _library_of(client) == ("httpx", "AsyncClient"):
        from meter.clients.httpx_transport import AsyncMeterTransport as kind
    else:
        from meter.clients.httpx_transport import MeterTransport as kind
    return kind(inner, wrapping.pipeline, lender=wrapping.lender, owns_inner=wrapping.takes_over)


def _of_stainless(client: Any, wrapping: _Wrapping) -> Any:
    """Wrap a client of openai, anthropic or groq: all three can copy themselves."""
    if not hasattr(client, "_client") or not hasattr(client, "copy"):
        raise WrapError(f"cannot wrap {_title(client)}, expected {WRAPPABLE}")
    metered = _of_http(client._client, wrapping)
    if metered is client._client:
        return client
    try:
        copied = client.copy(http_client=metered)
    except TypeError as error:
        raise WrapError(
            f"cannot copy {_title(client)} ({error}), expected a class whose copy() works"
        ) from error
    # The one setting that copy() of these SDKs forgets.
    copied._strict_response_validation = client._strict_response_validation
    return copied


def _of_cohere(client: Any, wrapping: _Wrapping) -> Any:
    """Wrap one of cohere's four clients, which have no copy(): make it anew from its settings."""
    if type(client).__name__ not in {"Client", "ClientV2", "AsyncClient", "AsyncClientV2"}:
        raise WrapError(f"cannot wrap {_title(client)}, expected cohere's own Client or ClientV2")
    settings = client._client_wrapper
    http = settings.httpx_client.httpx_client
    metered = _of_http(http, wrapping)
    if metered is http:
        return client
    return type(client)(
        api_key=settings._token,
        base_url=settings.get_base_url(),
        client_name=settings._client_name,
        timeout=settings.get_timeout(),
        max_retries=settings.get_max_retries(),
        httpx_client=metered,
        thread_pool_executor=client._executor,
    )


def _of_mistral(client: Any, wrapping: _Wrapping) -> Any:
    """Wrap a Mistral client: its constructor takes both HTTP clients."""
    if type(client).__name__ != "Mistral" or not hasattr(client, "sdk_configuration"):
        raise WrapError(f"cannot wrap {_title(client)}, expected mistralai's own Mistral")
    settings = client.sdk_configuration
    metered = _of_http(settings.client, wrapping)
    metered_async = _of_http(settings.async_client, wrapping)
    if metered is settings.client and metered_async is settings.async_client:
        return client
    copied = type(client)(
        api_key=_mistral_key(settings.security),
        server=settings.server,
        server_url=settings.server_url,
        client=metered,
        async_client=metered_async,
        retry_config=settings.retry_config,
        timeout_ms=settings.timeout_ms,
        debug_logger=settings.debug_logger,
    )
    hooks = vars(settings).get("_hooks")
    if hooks is not None:
        vars(copied.sdk_configuration)["_hooks"] = hooks
    return copied


def _mistral_key(security: Any) -> Any:
    if callable(security):
        return lambda: security().api_key
    return None if security is None else security.api_key


def _of_genai(client: Any, wrapping: _Wrapping) -> Any:
    """Wrap a google-genai client by `http_options`, which takes both HTTP clients.

    Its asynchronous calls go over httpx2 (or httpx) from then on, also where it would have
    preferred aiohttp.
    """
    api = getattr(client, "_api_client", None)
    if type(client).__name__ != "Client" or api is None:
        raise WrapError(f"cannot wrap {_title(client)}, expected google-genai's own Client")
    if api._async_httpx_client is None:
        raise WrapError(
            "found a google-genai client whose asynchronous calls go over google-auth's sessions, "
            "expected one with an httpx_async_client"
        )
    metered = _of_http(api._httpx_client, wrapping)
    metered_async = _of_genai_loops(api._async_httpx_client, wrapping)
    if metered is api._httpx_client and metered_async is api._async_httpx_client:
        return client
    options = api._http_options.model_copy(
        update={
            "httpx_client": metered,
            "httpx_async_client": metered_async,
            "aiohttp_client": None,
            # Vertex works its address out again unless one was given.
            **({"base_url": api.custom_base_url} if api.vertexai else {}),
        }
    )
    copied = type(client)(
        vertexai=api.vertexai,
        api_key=None if api._credentials else api.api_key,
        credentials=api._credentials,
        project=api.project if api.vertexai else None,
        location=api.location if api.vertexai else None,
        debug_config=client._debug_config,
        http_options=options,
    )
    # With a client certificate the address depends on who made the HTTP clients.
    for name in ("_httpx_use_mtls_endpoint", "_async_httpx_use_mtls_endpoint"):
        if hasattr(api, name):
            setattr(copied._api_client, name, getattr(api, name))
    return copied


def _of_genai_loops(client: Any, wrapping: _Wrapping) -> Any:
    """Return a metered copy of google-genai's own async HTTP client, or of a given one.

    Its own one keeps an inner client for each event loop, made when that loop first calls; the
    copy makes metered ones, which are its own to close.
    """
    metered = _of_http(client, wrapping)
    make_inner = getattr(client, "_inner_client_cls", None)
    if metered is not client and make_inner is not None:
        owning = _Wrapping(wrapping.pipeline, None, True)
        metered._loop_clients = {}
        metered._inner_client_cls = lambda **settings: _of_http(make_inner(**settings), owning)
    return metered


_WRAPPERS: Mapping[str, Callable[[Any, _Wrapping], Any]] = MappingProxyType(
    {
        "anthropic": _of_stainless,
        "cohere": _of_cohere,
        "google.genai": _of_genai,
        "groq": _of_stainless,
        "mistralai": _of_mistral,
        "openai": _of_stainless,
    }
)


def _packages(thing: object) -> list[str]:
    """Return the packages that an object's classes come from, its own class first."""
    packages = []
    for kind in type(thing).__mro__:
        parts = kind.__module__.split(".")
        packages.append(".".join(parts[:2]) if parts[0] == "google" else parts[0])
    return packages


def _library_of(client: object) -> tuple[str, str] | None:
    """Return ("httpx" or "httpx2", "Client" or "AsyncClient"), None for anything else."""
    for kind in type(client).__mro__:
        library = kind.__module__.split(".")[0]
        if library in {"httpx", "httpx2"} and kind.__name__ in {"Client", "AsyncClient"}:
            return library, kind.__name__
    return None


def _title(thing: object) -> str:
    kind = type(thing)
    return f"{kind.__module__.split('.')[0]}.{kind.__qualname__}"
