"""The command `meter serve`: the gateway on a port."""

import os
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from meter.cli.asking import DatabaseUrl
from meter.cli.output import say
from meter.config import given_settings
from meter.errors import InputError
from meter.meter import Meter

if TYPE_CHECKING:
    from meter.gateway.serving import Certificate


def serve(
    upstream: Annotated[
        list[str] | None,
        typer.Option(help="An upstream as NAME=URL; its key is METER_UPSTREAM_<NAME>_KEY."),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8080,
    workers: Annotated[int, typer.Option(min=1, max=256, help="How many processes serve.")] = 1,
    tls_cert: Annotated[str | None, typer.Option(help="Speak TLS with this chain (PEM).")] = None,
    tls_key: Annotated[str | None, typer.Option(help="The key of that certificate (PEM).")] = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Serve an API that meters every call and refuses what nobody can pay.

    SIGTERM or Ctrl-C lets calls in flight end, for at most `stop_seconds`. SIGHUP reads the
    upstreams again; those of the ledger are taken up by themselves.
    """
    try:
        from meter.gateway import serving
        from meter.gateway.logs import log_as_json
    except ImportError as error:
        raise InputError(
            f"the gateway needs {error.name}: pip install 'metergate[gateway]'"
        ) from None
    # What was sold must be on record: calls wait for the ledger unless somebody said otherwise.
    given: dict[str, Any] = {}
    if "on_store_failure" not in given_settings():
        given["on_store_failure"] = "refuse"
    if database_url is not None:
        given["database_url"] = database_url
    upstreams = _pairs(upstream or [])
    certificate = serving.certificate_of(tls_cert, tls_key)
    log_as_json()
    if workers > 1:
        _serve_with_workers(workers, given, upstreams, (host, port), certificate)
        return
    with _opened(given) as meter:
        gateway = meter.gateway(upstreams)
        with serving.listen(host, port) as listener:
            _say_where(serving.address_of(listener, certificate))
            seconds = meter.settings.stop_seconds
            serving.serve(gateway, listener, stop_seconds=seconds, certificate=certificate)


def _serve_with_workers(
    number: int,
    given: dict[str, Any],
    upstreams: dict[str, str],
    address: tuple[str, int],
    certificate: "Certificate | None",
) -> None:
    from meter.gateway import serving
    from meter.gateway.upstreams import read_upstreams
    from meter.gateway.workers import Workers

    if not hasattr(os, "fork"):
        raise InputError("found --workers on a system without fork, expected it on Linux or macOS")
    # A mistake in the settings or the ledger is told once, and not by every process.
    with _opened(given) as meter:
        read_upstreams(meter.settings.upstreams, upstreams, stored=meter.upstreams.all())
    listener = serving.listen(*address)

    def work() -> int:
        with _opened(given) as meter:
            gateway = meter.gateway(upstreams)
            seconds = meter.settings.stop_seconds
            serving.serve(gateway, listener, stop_seconds=seconds, certificate=certificate)
        return 0

    with listener:
        _say_where(serving.address_of(listener, certificate))
        Workers(number, work).run()


def _opened(given: dict[str, Any]) -> Meter:
    settings = dict(given)
    return Meter(settings.pop("database_url", None), **settings)


def _say_where(url: str) -> None:
    say(f"Serving on {url}. Ctrl-C stops.")
    sys.stdout.flush()


def _pairs(given: list[str]) -> dict[str, str]:
    pairs = {}
    for pair in given:
        name, equals, url = pair.partition("=")
        if not (name and equals and url):
            raise InputError(f"found upstream {pair!r}, expected NAME=URL")
        pairs[name] = url
    return pairs
