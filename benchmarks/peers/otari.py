"""otari, which PyPI has the client of and not the gateway: named, so that nobody misses it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from driving import Target
from processes import Running

from peers.contestant import Contestant, Unavailable


@contextmanager
def serving(_port: int, _folder: Path) -> Iterator[tuple[Target, Running]]:
    """Say why it does not take part. Raises: Unavailable."""
    raise Unavailable("PyPI has its client only: the gateway comes as a container image")
    yield


OTARI = Contestant("otari", "not measured", serving)
