"""Ask an issuer for its bill, with an admin key: usage and costs, page by page, bounded.

The key comes from OPENAI_ADMIN_KEY or ANTHROPIC_ADMIN_KEY and is never written anywhere.

Source: as in `openai_bill` and `anthropic_bill`.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import httpx

from meter.core.rates import datetime_of
from meter.errors import ConfigError, InputError
from meter.reports.reconciling.anthropic_bill import read_anthropic
from meter.reports.reconciling.bill import Bill
from meter.reports.reconciling.openai_bill import read_openai

_MOST_PAGES = 10_000
_SECONDS = 60.0
_DAY_US = 86_400_000_000


@dataclass(frozen=True, slots=True)
class _Issuer:
    base_url: str
    key_variable: str
    questions: Mapping[str, Mapping[str, Any]]
    read: Callable[[list[Any], str], Bill]


_OPENAI_DAYS: Mapping[str, Any] = {"bucket_width": "1d", "limit": 31, "group_by": ["model"]}
_OPENAI_KINDS = ("embeddings", "moderations", "images", "audio_speeches", "audio_transcriptions")
_ISSUERS = {
    "openai": _Issuer(
        "https://api.openai.com/v1",
        "OPENAI_ADMIN_KEY",
        {
            "/organization/usage/completions": {**_OPENAI_DAYS, "group_by": ["model", "batch"]},
            **{f"/organization/usage/{kind}": _OPENAI_DAYS for kind in _OPENAI_KINDS},
            "/organization/costs": {"bucket_width": "1d", "limit": 180, "group_by": ["line_item"]},
        },
        read_openai,
    ),
    "anthropic": _Issuer(
        "https://api.anthropic.com/v1",
        "ANTHROPIC_ADMIN_KEY",
        {
            "/organizations/usage_report/messages": {
                "bucket_width": "1d", "limit": 31, "group_by[]": ["model", "service_tier"],
            },
            "/organizations/cost_report": {"limit": 31, "group_by[]": ["description"]},
        },
        read_anthropic,
    ),
}  # fmt: skip


def fetch_bill(kind: str, since_us: int, until_us: int, *, base_url: str | None = None) -> Bill:
    """Return the issuer's bill of [since, until), whole days UTC.

    Raises: ConfigError without a key, InputError for an issuer that has no such API, that does
    not answer, or that answers otherwise.
    """
    issuer = _ISSUERS.get(kind)
    if issuer is None:
        raise InputError(f"found no bill to ask for at {kind!r}, expected {', '.join(_ISSUERS)}")
    key = os.environ.get(issuer.key_variable, "").strip()
    if not key:
        raise ConfigError(f"found no admin key, expected one in {issuer.key_variable}")
    if since_us % _DAY_US or until_us % _DAY_US:
        raise InputError("found a time that is no midnight UTC, expected whole days for this bill")
    headers = {"authorization": f"Bearer {key}"}
    if kind == "anthropic":
        headers = {"x-api-key": key, "anthropic-version": "2023-06-01"}
    base = (base_url or issuer.base_url).rstrip("/")
    with httpx.Client(headers=headers, timeout=_SECONDS) as client:
        pages = [
            page
            for path, question in issuer.questions.items()
            for page in _pages(client, base + path, {**question, **_span(kind, since_us, until_us)})
        ]
    return issuer.read(pages, f"{kind}'s own figures").within(since_us, until_us)


def _span(kind: str, since_us: int, until_us: int) -> dict[str, Any]:
    if kind == "anthropic":
        texts = [datetime_of(at).strftime("%Y-%m-%dT%H:%M:%SZ") for at in (since_us, until_us)]
        return {"starting_at": texts[0], "ending_at": texts[1]}
    return {"start_time": since_us // 1_000_000, "end_time": until_us // 1_000_000}


def _pages(client: httpx.Client, url: str, question: Mapping[str, Any]) -> Iterator[Any]:
    page: str | None = None
    for _ in range(_MOST_PAGES):
        answer = _answer(client, url, {**question, **({"page": page} if page else {})})
        yield answer
        page = answer.get("next_page")
        if not answer.get("has_more") or not page:
            return
    raise InputError(f"found more than {_MOST_PAGES} pages at {url}, expected fewer")


def _answer(client: httpx.Client, url: str, question: Mapping[str, Any]) -> dict[str, Any]:
    try:
        response = client.get(url, params=question)
    except httpx.HTTPError as error:
        raise InputError(f"cannot ask {url}: {error or type(error).__name__}") from None
    if response.status_code != 200:
        told = " ".join(response.text.split())[:200]
        raise InputError(f"found status {response.status_code} at {url}, expected 200: {told}")
    try:
        value = json.loads(response.content, parse_float=Decimal)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise InputError(f"found no JSON object at {url}, expected a page of buckets")
    return value
