"""Answer what a key's subject has used and what it cost, in the shapes of OpenAI's usage API.

    GET /v1/organization/usage/completions?start_time=…&bucket_width=1d&group_by=model
    GET /v1/organization/costs?start_time=…&group_by=line_item

A key sees the calls of its own subject, whoever else is asked for. `user_id` is the subject,
`api_key_id` the id of the key, `project_id` the tag `project`. Called by `app`.

Source: https://platform.openai.com/docs/api-reference/usage (2026-11).
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec

from meter.clock import now_us
from meter.core.money import nanos_to_decimal
from meter.core.ports import Answer
from meter.core.rating import ChargeLine
from meter.gateway.rejections import Rejected
from meter.gateway.requests import Request
from meter.gateway.services import Services
from meter.reports.charging import lines_of
from meter.reports.usage_kinds import usage_kind
from meter.store.keys import Key
from meter.store.reads import CallRow

_USAGE: Final = "/v1/organization/usage/"
_COSTS: Final = "/v1/organization/costs"
_SECOND_US: Final = 1_000_000
_LATEST_S: Final = 253_402_300_799
# Seconds of a bucket, buckets of a page unless told, most buckets of a page.
_WIDTHS: Final = {"1m": (60, 60, 1440), "1h": (3600, 24, 168), "1d": (86_400, 7, 31)}
_COST_BUCKETS: Final = (86_400, 7, 180)
_PAGE: Final = "page_"

_TOKENS: Final = {
    "input_tokens": "input_tokens",
    "input_cached_tokens": "cache_read_tokens",
    "input_cache_write_tokens": "cache_write_tokens",
    "output_tokens": "output_tokens",
    "input_audio_tokens": "input_audio_tokens",
    "input_image_tokens": "input_image_tokens",
    "output_audio_tokens": "output_audio_tokens",
    "output_image_tokens": "output_image_tokens",
}


Lines = Callable[[CallRow], tuple[ChargeLine, ...]]
"""Returns the lines of what a call's subject is billed."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """One question about usage: the kind of calls it takes in, and its sums of our units."""

    result: str
    sums: Mapping[str, str]


_KINDS: Final = {
    name: _Kind(name, sums)
    for name, sums in {
        "completions": _TOKENS,
        "embeddings": {"input_tokens": "input_tokens"},
        "moderations": {"input_tokens": "input_tokens"},
        "images": {"images": "images"},
        "audio_speeches": {"characters": "characters"},
        "audio_transcriptions": {"seconds": "audio_seconds"},
    }.items()
}
_USAGE_GROUPS: Final = ("project_id", "user_id", "api_key_id", "model", "batch", "service_tier")
_COST_GROUPS: Final = ("project_id", "user_id", "api_key_id", "line_item")
_FILTERS: Final = {
    "project_ids": "project_id",
    "user_ids": "user_id",
    "api_key_ids": "api_key_id",
    "models": "model",
}

Group = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Question:
    """What was asked: seconds since 1970 UTC, half open, and how to cut and group them.

    `kind` None asks for costs. `filters` are allowed values by the name of a group.
    """

    kind: _Kind | None
    start: int
    end: int
    width: int
    buckets: int
    group_by: tuple[str, ...]
    filters: Mapping[str, frozenset[str]]

    @property
    def first(self) -> int:
        """Return where the first bucket begins."""
        return self.start - self.start % self.width

    @property
    def until(self) -> int:
        """Return where the page ends."""
        return min(self.end, self.first + self.width * self.buckets)


@dataclass(slots=True)
class _Sums:
    """What one group of one bucket comes to; money is nanos."""

    requests: int = 0
    quantities: dict[str, Any] = field(default_factory=dict)
    amount_nanos: int = 0
    billed: Any = 0


def is_organization(request: Request) -> bool:
    """Whether a request asks for usage or costs in OpenAI's shapes."""
    return request.path.startswith(_USAGE) or request.path == _COSTS


async def answered(services: Services, request: Request, key: Key) -> Answer:
    """Return the page that was asked for. Raises: Rejected, StoreUnavailable."""
    question = read_question(request, now_us() // _SECOND_US)
    loop = asyncio.get_running_loop()
    page = await loop.run_in_executor(services.threads, _page, services, question, key.subject)
    body = msgspec.json.encode(page)
    fields = {"content-type": "application/json", "content-length": str(len(body))}
    return Answer(200, fields, body)


def read_question(request: Request, now_s: int) -> Question:
    """Return what a request asks for. Raises: Rejected for what cannot be understood."""
    if request.method != "GET":
        raise Rejected(405, "method_not_allowed", f"found {request.method}, expected GET")
    pairs = [(n.removesuffix("[]"), v) for n, v in parse_qsl(request.query)]
    single = dict(pairs)
    kind = None
    if request.path != _COSTS:
        kind = _KINDS.get(request.path.removeprefix(_USAGE).rstrip("/"))
        if kind is None:
            expected = ", ".join(_KINDS)
            raise Rejected(404, "unknown_url", f"found no such usage, expected one of {expected}")
    width, usual, most = _bucket(single.get("bucket_width", "1d"), kind)
    start = _whole(single, "start_time", None, _LATEST_S)
    end = _whole(single, "end_time", now_s + 1, _LATEST_S)
    if "page" in single:
        start = _page_start(single["page"], start, end)
    buckets = _whole(single, "limit", usual, most)
    if buckets < 1:
        raise _wrong("limit", "0", f"a whole number from 1 to {most}")
    groups = _USAGE_GROUPS if kind else _COST_GROUPS
    group_by = tuple(dict.fromkeys(v for n, v in pairs if n == "group_by"))
    for name in group_by:
        if name not in groups:
            raise _wrong("group_by", name, f"one of {', '.join(groups)}")
    filters = {
        group: frozenset(v for n, v in pairs if n == name)
        for name, group in _FILTERS.items()
        if name in single
    }
    return Question(kind, start, end, width, buckets, group_by, filters)


def _bucket(text: str, kind: _Kind | None) -> tuple[int, int, int]:
    if kind is None:
        if text != "1d":
            raise _wrong("bucket_width", text, "1d")
        return _COST_BUCKETS
    if text not in _WIDTHS:
        raise _wrong("bucket_width", text, "1m, 1h or 1d")
    return _WIDTHS[text]


def _whole(single: Mapping[str, str], name: str, usual: int | None, most: int) -> int:
    text = single.get(name)
    if text is None and usual is not None:
        return usual
    if text is None or not text.isascii() or not text.isdecimal() or int(text[:20]) > most:
        raise _wrong(name, text or "nothing", f"a whole number up to {most}")
    return int(text)


def _page_start(page: str, start: int, end: int) -> int:
    digits = page.removeprefix(_PAGE)
    if page == digits or not digits.isascii() or not digits.isdecimal():
        raise _wrong("page", page, "the next_page of an earlier answer")
    found = int(digits[:20])
    if not start <= found <= end:
        raise _wrong("page", page, "the next_page of the same question")
    return found


def _wrong(name: str, found: str, expected: str) -> Rejected:
    message = f"found {found!r:.80} for {name}, expected {expected}"
    return Rejected(400, "invalid_value", message)


def _page(services: Services, question: Question, subject: str) -> dict[str, Any]:
    calls: Iterable[CallRow] = ()
    if question.start < question.until:
        calls = services.ledger.calls(
            since_us=question.start * _SECOND_US,
            until_us=question.until * _SECOND_US,
            limit=None,
            newest_first=False,
            filters={"subject": subject},
        )
    card_named = services.ledger.rate_card
    return page_of(question, calls, lambda call: lines_of(call, "billed", card_named))


def page_of(question: Question, calls: Iterable[CallRow], lines: Lines) -> dict[str, Any]:
    """Return the page that calls of one subject make. Pure; the calls are streamed.

    Costs are what the subject is billed, not what the call cost us; `lines` returns their lines.
    """
    found: dict[int, dict[Group, _Sums]] = {}
    for call in calls:
        bucket = call.started_us // _SECOND_US // question.width * question.width
        for group, sums in _counted(question, call, found.setdefault(bucket, {}), lines):
            _add(question, sums, call, group, lines)
    buckets = [
        {
            "object": "bucket",
            "start_time": at,
            "end_time": at + question.width,
            "results": [
                _result(question, group, sums)
                for group, sums in sorted(found.get(at, {}).items(), key=lambda kv: repr(kv[0]))
            ],
        }
        for at in range(question.first, question.until, question.width)
    ]
    has_more = question.until < question.end
    return {
        "object": "page",
        "data": buckets,
        "has_more": has_more,
        "next_page": f"{_PAGE}{question.until}" if has_more else None,
    }


def _counted(
    question: Question, call: CallRow, groups: dict[Group, _Sums], lines: Lines
) -> Iterator[tuple[Group, _Sums]]:
    """Yield the groups that a call belongs to: one, or one for each of its charge lines."""
    names = _names_of(call)
    for name, allowed in question.filters.items():
        if names[name] not in allowed:
            return
    if question.kind is not None:
        if not call.usage or usage_kind(call.endpoint) != question.kind.result:
            return
        group: Group = tuple(names[name] for name in question.group_by)
        yield group, groups.setdefault(group, _Sums())
        return
    if not call.billed.amount_nanos:
        return
    items: Sequence[str | None] = [None]
    if "line_item" in question.group_by:
        items = [line.unit for line in lines(call)]
    for unit in items:
        line_item = None if unit is None else f"{names['model']}, {unit}"
        group = (call.billed.currency, unit, *((names | {"line_item": line_item})[n]
                 for n in question.group_by))  # fmt: skip
        yield group, groups.setdefault(group, _Sums())


def _names_of(call: CallRow) -> dict[str, Any]:
    return {
        "project_id": dict(call.tags).get("project"),
        "user_id": call.subject,
        "api_key_id": call.key_id,
        "model": call.model_served or call.model_requested,
        "batch": call.service_tier == "batch",
        "service_tier": call.service_tier,
    }


def _add(question: Question, sums: _Sums, call: CallRow, group: Group, lines: Lines) -> None:
    sums.requests += 1
    if question.kind is None:
        unit = group[1]
        if unit is None:
            sums.amount_nanos += call.billed.amount_nanos or 0
            return
        for line in lines(call):
            if line.unit == unit:
                sums.amount_nanos += line.amount_nanos
                sums.billed += line.quantity
        return
    for name, unit in question.kind.sums.items():
        quantity = call.usage.get(unit, 0) if call.usage else 0
        sums.quantities[name] = sums.quantities.get(name, 0) + quantity


def _result(question: Question, group: Group, sums: _Sums) -> dict[str, Any]:
    kind = question.kind
    if kind is None:
        currency, unit, *values = group
        named = dict.fromkeys(_COST_GROUPS) | dict(zip(question.group_by, values, strict=True))
        return {
            "object": "organization.costs.result",
            "amount": {
                "value": _number(nanos_to_decimal(sums.amount_nanos)),
                "currency": str(currency).lower(),
            },
            **named,
            "quantity": None if unit is None else _number(sums.billed),
        }
    named = dict.fromkeys(_USAGE_GROUPS) | dict(zip(question.group_by, group, strict=True))
    quantities = dict(sums.quantities)
    if kind.result == "completions":
        quantities["input_uncached_tokens"] = max(
            quantities["input_tokens"] - quantities["input_cached_tokens"], 0
        )
    if kind.result == "audio_transcriptions":
        quantities["seconds"] = round(quantities["seconds"])
    return {
        "object": f"organization.usage.{kind.result}.result",
        **quantities,
        "num_model_requests": sums.requests,
        **named,
    }


def _number(amount: Any) -> msgspec.Raw:
    """Return an exact decimal as a JSON number with all its digits."""
    text = f"{amount.normalize():f}" if isinstance(amount, Decimal) else str(amount)
    return msgspec.Raw(text.encode())
