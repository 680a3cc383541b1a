"""Name what an endpoint must say of itself, so that one observer serves them all.

Knows no provider's wire. Implemented by one file an endpoint; called by `dialect.py` and
`observing.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from meter.core.ports import OutputSink
from meter.core.reading import Reading
from meter.core.usage import Usage
from meter.providers.foreign import JSONObject
from meter.providers.provider import Provider, Shape


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it came in, its path taken apart.

    `path` is decoded, without query. `model` is the model that the path names, "" when none.
    `fields` is the parsed body, empty when it is no JSON object; `defects` then says so.
    """

    provider: Provider
    path: str
    query: Mapping[str, str]
    model: str
    body: bytes
    fields: JSONObject
    defects: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Normalised:
    """A usage object in the registry's units, None when it cannot be used; and why."""

    usage: Usage | None
    defects: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Progress:
    """How far one payload brings the answer.

    `ends`: nothing of weight follows it. `settles`: a usage report in it is the last word,
    though bytes may follow. `finished` are the numbers of the choices that end with it.
    `billed` are units that are counted from the answer's items and not in its usage object.
    `runs_on`: the answer is only a receipt, the work goes on elsewhere.
    """

    ends: bool = False
    settles: bool = False
    finished: frozenset[int] = frozenset()
    billed: Mapping[str, int] = field(default_factory=dict)
    runs_on: bool = False


class Output(Protocol):
    """Takes one answer's payloads in order and hands the delivered output to a sink."""

    def deliver(self, payload: JSONObject, sink: OutputSink) -> None:
        """Hand every piece of output in this payload to the sink. Never raises."""


class Endpoint(Protocol):
    """One API surface. Stateless."""

    @property
    def name(self) -> str:
        """The endpoint's name in `Call.endpoint`."""

    @property
    def shape(self) -> Shape:
        """Whose error objects its clients expect."""

    @property
    def only_usage(self) -> bool:
        """Whether nothing but identity and usage is of interest in an answer's body."""

    def claims(self, path: str) -> str | None:
        """Return the model that the path names ("" for none); None: another endpoint's path."""

    def read(self, request: Request) -> Reading:
        """Read a request. Never raises."""

    def choices(self, request: JSONObject) -> int:
        """Return how many choices the request asks for, at least 1."""

    def progress(self, payload: JSONObject) -> Progress:
        """Say how far a payload of a stream, or a whole body, brings the answer."""

    def normalise(self, raw: JSONObject, provider: Provider) -> Normalised:
        """Return a usage object, merged from all reports, in the registry's units."""

    def output(self) -> Output:
        """Return a fresh reader of one answer's output."""
