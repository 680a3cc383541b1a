"""Connect to a host that may have several addresses, some of which lead nowhere.

The addresses are tried one after the other, a new one as soon as the last has failed or has been
silent for a quarter of a second; the first that answers wins. Source: RFC 8305. Called by `client`.
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Callable, Coroutine, Iterable
from itertools import chain, zip_longest
from typing import Any, Final

from meter.gateway.http.connection import Connection
from meter.gateway.http.origin import Origin

_NEXT_SECONDS: Final = 0.25

Dial = Callable[[str], Coroutine[Any, Any, Connection]]


async def dial(
    make: Callable[[], Connection], origin: Origin, tls: ssl.SSLContext | None
) -> Connection:
    """Return the protocol of a new connection. Raises: OSError, ssl.SSLError, UnicodeError."""
    loop = asyncio.get_running_loop()
    name = origin.host if tls is not None else None

    async def one(address: str) -> Connection:
        _, made = await loop.create_connection(
            make, address, origin.port, ssl=tls, server_hostname=name
        )
        return made

    if _is_address(origin.host):
        return await one(origin.host)
    found = await loop.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)
    addresses = in_turn((family, str(place[0])) for family, _, _, _, place in found)
    if len(addresses) == 1:
        return await one(addresses[0])
    return await _first(one, addresses)


async def _first(one: Dial, addresses: list[str]) -> Connection:
    fault: BaseException = OSError("the name has no address")
    left = list(addresses)
    pending: set[asyncio.Task[Connection]] = set()
    try:
        while left or pending:
            if left:
                pending.add(asyncio.create_task(one(left.pop(0))))
            ended, pending = await asyncio.wait(
                pending,
                timeout=_NEXT_SECONDS if left else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            for task in ended:
                if (raised := task.exception()) is None:
                    return task.result()
                fault = raised
        raise fault
    finally:
        for task in pending:
            task.cancel()
            task.add_done_callback(_close_late)


def _close_late(task: "asyncio.Task[Connection]") -> None:
    """Close a connection that was made though another had won."""
    if not task.cancelled() and task.exception() is None:
        task.result().abort()


def in_turn(found: Iterable[tuple[int, str]]) -> list[str]:
    """Return the addresses, each once, the two families taking turns from the first one on."""
    known = list(dict.fromkeys(found))
    families = list(dict.fromkeys(family for family, _ in known))
    sorted_out = [[address for family, address in known if family == one] for one in families]
    return [each for each in chain.from_iterable(zip_longest(*sorted_out)) if each is not None]


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
