"""The commands that ask: `meter usage`, `meter calls`, `meter estimate`."""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from meter.cli.output import Column, Format, amount, encoded, is_wide, say, show
from meter.cli.times import moment_us, shown_time
from meter.core.rates import datetime_of
from meter.errors import InputError

if TYPE_CHECKING:
    from meter.meter import Meter
    from meter.store.reads import CallRow, UsageRow

DatabaseUrl = Annotated[
    str | None,
    typer.Option("--database-url", help="Where the ledger lies (METER_DATABASE_URL)."),
]
Since = Annotated[str | None, typer.Option(help="From this moment on: 2026-11-01, 7d, today.")]
Until = Annotated[str | None, typer.Option(help="Up to this moment, not included.")]
Zone = Annotated[str, typer.Option("--tz", help="Time zone of days and of moments.")]
Tag = Annotated[str | None, typer.Option(help="Only calls with this tag: NAME=VALUE.")]
Shown = Annotated[Format, typer.Option("--format", help="How to show the rows.")]

_DIMENSIONS = (
    "subject", "model", "model_served", "provider", "issuer", "endpoint", "key", "outcome",
    "basis", "currency", "team", "project", "hour", "day", "week", "month",
)  # fmt: skip

BOOK_COLUMNS = (
    Column("list_cost", "List", numeric=True, decimals=6),
    Column("list_currency", "List currency"),
    Column("billed", "Billed", numeric=True, decimals=6),
    Column("billed_currency", "Billed in"),
)
"""What other price books say; a table leaves it out where it is the cost."""

_SUMS = (
    Column("calls", "Calls", numeric=True),
    Column("input_tokens", "Input", numeric=True),
    Column("cache_read_tokens", "Cached", numeric=True),
    Column("cache_write_tokens", "Cache write", numeric=True),
    Column("output_tokens", "Output", numeric=True),
    Column("reasoning_tokens", "Reasoning", numeric=True),
    Column("cost", "Cost", numeric=True, decimals=6),
    Column("currency", "Currency"),
    *BOOK_COLUMNS,
    Column("unpriced", "Unpriced", numeric=True),
    Column("estimated", "Estimated", numeric=True),
    Column("unknown", "Unsettled", numeric=True),
    Column("unmetered", "Unmetered", numeric=True),
    Column("failed", "Failed", numeric=True),
    Column("refused", "Refused", numeric=True),
)

_ONLY_WHERE_ANY = {"cache_read_tokens", "cache_write_tokens", "reasoning_tokens"}
"""Columns that a table leaves out where it is narrow, or no row has anything in them."""

_REMARKED = {
    "unpriced": "unpriced",
    "estimated": "estimated",
    "unknown": "unsettled",
    "unmetered": "unmetered",
    "failed": "failed",
    "refused": "refused",
}
"""Counts that a table puts into words, in one column."""

_CALLS = (
    Column("started", "Started"),
    Column("id", "Call"),
    Column("subject", "Subject"),
    Column("provider", "Provider"),
    Column("endpoint", "Endpoint"),
    Column("model", "Model"),
    Column("basis", "Basis"),
    Column("estimated_input_tokens", "Estimated", numeric=True),
    Column("input_tokens", "Input", numeric=True),
    Column("output_tokens", "Output", numeric=True),
    Column("cost", "Cost", numeric=True, decimals=6),
    Column("currency", "Currency"),
    *BOOK_COLUMNS[2:],
    Column("remark", "Remark", wraps=True),
)

_ONLY_WHERE_WIDE = {"id", "provider", "endpoint", "basis", "estimated_input_tokens"}

_CALL_FIELDS = (
    "id", "operation_id", "state", "started", "ended", "latency_ms", "first_byte_ms", "subject",
    "key", "tags", "provider", "issuer", "endpoint", "path", "model", "model_served",
    "service_tier", "streaming", "outcome", "basis", "status", "estimated_input_tokens",
    "counted_output_tokens", "usage", "cost", "currency", "lines", "rate_card_id", "unpriced",
    "list_cost", "list_currency", "list_card_id", "list_unpriced", "billed", "billed_currency",
    "billed_card_id", "billed_unpriced", "provider_cost", "bound_cost", "bound_currency",
    "response_id", "defects", "corrections",
)  # fmt: skip

ACCURACY_COLUMNS = (
    Column("provider", "Provider"),
    Column("model", "Model"),
    Column("endpoint", "Endpoint"),
    Column("calls", "Calls", numeric=True),
    Column("exact", "Exact", numeric=True),
    Column("median", "Median", numeric=True),
    Column("p95", "95 %", numeric=True),
)


def usage(
    by: Annotated[
        str,
        typer.Option(help=f"Groups, separated by commas: {', '.join(_DIMENSIONS)}, tag:NAME."),
    ] = "subject,model",
    since: Since = None,
    until: Until = None,
    tz: Zone = "UTC",
    subject: Annotated[str | None, typer.Option(help="Only this subject.")] = None,
    model: Annotated[str | None, typer.Option(help="Only this model.")] = None,
    provider: Annotated[str | None, typer.Option(help="Only this provider.")] = None,
    endpoint: Annotated[str | None, typer.Option(help="Only this endpoint.")] = None,
    tag: Tag = None,
    format: Shown = Format.TABLE,
    database_url: DatabaseUrl = None,
) -> None:
    """Sum up calls, tokens and money by user, model, day or tag."""
    names = dimensions(by)
    filters = {
        "subject": subject, "model": model, "provider": provider, "endpoint": endpoint, "tag": tag,
    }  # fmt: skip
    with _meter(database_url) as meter:
        rows = meter.usage(
            names,
            since=_moment(since, tz),
            until=_moment(until, tz),
            tz=tz,
            **{name: value for name, value in filters.items() if value is not None},
        )
        records = usage_records(rows, names)
        empty = f"No call is recorded in {meter.settings.database_url} for this question."
        show_usage(records, names, format, empty=empty, footer=totals(records))


def calls(
    subject: Annotated[str | None, typer.Option(help="Only this subject.")] = None,
    model: Annotated[str | None, typer.Option(help="Only this model.")] = None,
    provider: Annotated[str | None, typer.Option(help="Only this provider.")] = None,
    endpoint: Annotated[str | None, typer.Option(help="Only this endpoint.")] = None,
    tag: Tag = None,
    outcome: Annotated[str | None, typer.Option(help="Only this outcome.")] = None,
    basis: Annotated[
        str | None, typer.Option(help="Only this basis: reported, estimated or unknown.")
    ] = None,
    since: Since = None,
    until: Until = None,
    tz: Zone = "UTC",
    limit: Annotated[int, typer.Option(min=1, help="At most this many, newest first.")] = 50,
    format: Shown = Format.TABLE,
    database_url: DatabaseUrl = None,
) -> None:
    """List calls one by one, newest first.

    --basis unknown lists the unsettled ones.
    """
    filters = {
        "subject": subject, "model": model, "provider": provider, "endpoint": endpoint,
        "tag": tag, "outcome": outcome, "basis": basis,
    }  # fmt: skip
    chosen: dict[str, Any] = {name: text for name, text in filters.items() if text is not None}
    with _meter(database_url) as meter:
        found = meter.calls(
            since=_moment(since, tz), until=_moment(until, tz), limit=limit, **chosen
        )
        if format is not Format.TABLE:
            columns = [Column(name, name) for name in _CALL_FIELDS]
            show((call_record(row, tz) for row in found), columns, format)
            return
        rows = [_call_line(row, tz) for row in found]
        columns = [c for c in _CALLS if is_wide() or c.key not in _ONLY_WHERE_WIDE]
        footer = [f"The newest {limit:,}; --limit shows more."] if len(rows) == limit else []
        show(rows, _with_currency(columns, rows), format, empty="No call was found.", footer=footer)


def estimate(
    file: Annotated[str, typer.Argument(help="A request body in JSON; - reads standard input.")],
    provider: Annotated[str, typer.Option(help="Who will serve it.")] = "openai",
    endpoint: Annotated[
        str,
        typer.Option(help="chat, completions, responses, embeddings, messages or generateContent."),
    ] = "chat",
    format: Shown = Format.TABLE,
) -> None:
    """Estimate the tokens and the cost of a request; sends nothing."""
    from meter.prices.book import PriceBook
    from meter.reports.estimating import estimate_request

    found = asdict(estimate_request(_request_in(file), provider, endpoint, PriceBook.bundled()))
    for name in ("input_cost", "max_cost"):
        found[name] = amount(found.pop(f"{name}_nanos"))
    if format is Format.JSON:
        say(encoded(found))
        return
    if format is not Format.TABLE:
        show([found], [Column(name, name) for name in found], format)
        return
    notes = found.pop("notes")
    rows = [{"what": name.replace("_", " "), "value": value} for name, value in found.items()]
    columns = (Column("what", "Estimate"), Column("value", "Value", numeric=True))
    show(rows, columns, Format.TABLE, footer=notes)


def dimensions(text: str) -> tuple[str, ...]:
    """Return the names in "subject,model,tag:team"; a plain unknown name is refused.

    Raises: InputError naming the choices.
    """
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    for name in names:
        if name not in _DIMENSIONS and not name.startswith("tag:"):
            raise InputError(
                f"found group {name!r}, expected some of {', '.join(_DIMENSIONS)} or tag:NAME "
                f"(a tag called {name} is tag:{name})"
            )
    if not names or len(set(names)) != len(names):
        raise InputError(f"found groups {text!r}, expected different names, separated by commas")
    return names


def usage_records(rows: Iterable["UsageRow"], by: Sequence[str]) -> list[dict[str, Any]]:
    """Return usage rows as records: a field for each group, then the sums."""
    return [
        {
            **dict(zip(by, row.group, strict=True)),
            **{column.key: getattr(row, column.key, None) for column in _SUMS},
            "cost": amount(row.cost_nanos),
            "list_cost": amount(row.list_nanos),
            "billed": amount(row.billed_nanos),
        }
        for row in rows
    ]


def usage_columns(by: Sequence[str]) -> list[Column]:
    """Return every column of usage records."""
    groups = [Column(name, name.removeprefix("tag:").capitalize()) for name in by]
    return [*groups, *(column for column in _SUMS if column.key not in by)]


def show_usage(
    records: Sequence[dict[str, Any]],
    by: Sequence[str],
    format: Format,
    *,
    title: str | None = None,
    empty: str = "No call was recorded.",
    footer: Iterable[str] = (),
) -> None:
    """Show usage records; a table leaves out empty columns and puts counts into words."""
    if format is not Format.TABLE:
        show(records, usage_columns(by), format)
        return
    shown = [
        column
        for column in usage_columns(by)
        if column.key not in _REMARKED
        and (
            column.key not in _ONLY_WHERE_ANY or (is_wide() and any(r[column.key] for r in records))
        )
    ]
    columns = _with_currency(shown, records)
    rows = [{**record, "remarks": _remarks_of(record)} for record in records]
    if any(row["remarks"] for row in rows):
        columns.append(Column("remarks", "Of these", wraps=True))
    show(rows, columns, format, title=title, empty=empty, footer=tuple(footer))


def _any(records: Sequence[dict[str, Any]], key: str) -> bool:
    return any(record[key] for record in records)


_MONEY = (("cost", "currency"), ("list_cost", "list_currency"), ("billed", "billed_currency"))
"""The columns of amounts, each with that of its currency."""


def _with_currency(columns: Sequence[Column], rows: Sequence[dict[str, Any]]) -> list[Column]:
    """Return the columns with the currency in the heading of an amount, where there is but one.

    Other price books are left out where they say nothing else.
    """
    told = _books_told(rows)
    shown = [column for column in columns if column not in BOOK_COLUMNS or column.key in told]
    grouped = [column.key for column in shown[:1]]
    for amount_key, currency_key in _MONEY:
        currencies = {row[currency_key] for row in rows if row[currency_key]}
        if len(currencies) == 1 and currency_key not in grouped:
            only = currencies.pop()
            shown = [
                replace(column, heading=f"{column.heading} {only}")
                if column.key == amount_key
                else column
                for column in shown
                if column.key != currency_key
            ]
    return shown


def _books_told(rows: Sequence[dict[str, Any]]) -> set[str]:
    """Return the columns of the price books that say anything else than the cost."""
    told: set[str] = set()
    for keys in _MONEY[1:]:
        if any((row[keys[0]], row[keys[1]]) != (row["cost"], row["currency"]) for row in rows):
            told.update(keys)
    return told


def _remarks_of(record: dict[str, Any]) -> str:
    counts = {word: record[key] for key, word in _REMARKED.items()}
    counts["unsettled"] -= counts["unmetered"]
    return ", ".join(f"{count:,} {word}" for word, count in counts.items() if count > 0)


def accuracy_rows(meter: "Meter", since: datetime | None = None) -> list[dict[str, Any]]:
    """Return how estimates compared with reality, one record for each model and endpoint."""
    return [
        {
            "provider": row.provider,
            "model": row.model,
            "endpoint": row.endpoint,
            "calls": row.calls,
            "exact": f"{row.exact / row.calls:.0%}",
            "median": f"{row.error_median:.1%}",
            "p95": f"{row.error_p95:.1%}",
        }
        for row in meter.accuracy(since=since)
    ]


def call_record(row: "CallRow", tz: str) -> dict[str, Any]:
    """Return everything that is known of a call, for a script."""
    return {
        "id": str(row.id),
        "operation_id": str(row.operation_id),
        "state": row.state,
        "started": shown_time(row.started_us, tz),
        "ended": shown_time(row.ended_us, tz),
        "latency_ms": _between_ms(row.started_us, row.ended_us),
        "first_byte_ms": _between_ms(row.started_us, row.first_byte_us),
        "subject": row.subject,
        "key": row.key_id,
        "tags": dict(row.tags),
        "provider": row.provider,
        "issuer": row.issuer,
        "endpoint": row.endpoint,
        "path": row.path,
        "model": row.model_requested,
        "model_served": row.model_served,
        "service_tier": row.service_tier,
        "streaming": row.streaming,
        "outcome": row.outcome and str(row.outcome),
        "basis": row.basis and str(row.basis),
        "status": row.status,
        "estimated_input_tokens": row.estimated_input_tokens,
        "counted_output_tokens": row.counted_output_tokens,
        "usage": None if row.usage is None else dict(row.usage),
        "cost": amount(row.cost_nanos),
        "currency": row.currency,
        "lines": [
            {
                "unit": line.unit,
                "quantity": line.quantity,
                "price": amount(line.nanos),
                "per": line.per,
                "amount": amount(line.amount_nanos),
            }
            for line in row.lines
        ],
        "rate_card_id": row.rate_card_id,
        "unpriced": row.unpriced,
        "list_cost": amount(row.listed.amount_nanos),
        "list_currency": row.listed.currency,
        "list_card_id": row.listed.card_id,
        "list_unpriced": row.listed.unpriced,
        "billed": amount(row.billed.amount_nanos),
        "billed_currency": row.billed.currency,
        "billed_card_id": row.billed.card_id,
        "billed_unpriced": row.billed.unpriced,
        "provider_cost": amount(row.provider_cost_nanos),
        "bound_cost": amount(row.bound_cost_nanos),
        "bound_currency": row.bound_currency,
        "response_id": row.response_id,
        "defects": list(row.defects),
        "corrections": row.corrections,
    }


def _call_line(row: "CallRow", tz: str) -> dict[str, Any]:
    usage: Mapping[str, Any] = row.usage or {}
    started = shown_time(row.started_us, tz) or ""
    remarks = [] if row.outcome == "completed" else [str(row.outcome or row.state)]
    if row.basis != "reported" and not is_wide():
        remarks.append(str(row.basis))
    if row.status is not None and row.status >= 400:
        remarks.append(f"status {row.status}")
    if row.path is not None:
        remarks.append(f"unmetered {row.path}")
    if row.unpriced is not None and row.usage:
        remarks.append(row.unpriced)
    remarks += row.defects
    return {
        "started": started[5:19],
        "id": str(row.id)[-12:],
        "subject": row.subject,
        "provider": row.provider,
        "endpoint": row.endpoint,
        "model": row.model,
        "basis": row.basis,
        "estimated_input_tokens": row.estimated_input_tokens,
        "input_tokens": usage.get("input_tokens"),
        "output_tokens": usage.get("output_tokens"),
        "cost": amount(row.cost_nanos),
        "currency": row.currency,
        "list_cost": amount(row.listed.amount_nanos),
        "list_currency": row.listed.currency,
        "billed": amount(row.billed.amount_nanos),
        "billed_currency": row.billed.currency,
        "remark": "; ".join(remarks).replace("_", " "),
    }


def totals(records: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield a sentence for the total in each currency, and one on unsettled calls."""
    for currency in sorted({r["currency"] for r in records if r["currency"]}):
        rows = [record for record in records if record["currency"] == currency]
        cost = sum(record["cost"] or 0 for record in rows)
        yield f"Total {cost:,f} {currency} for {sum(row['calls'] for row in rows):,} calls."
    if "billed" in _books_told(records):
        for currency in sorted({r["billed_currency"] for r in records if r["billed_currency"]}):
            billed = sum(r["billed"] or 0 for r in records if r["billed_currency"] == currency)
            yield f"Billed {billed:,f} {currency}."
    unsettled = sum(max(r["unknown"] - r["unmetered"], 0) for r in records)
    if unsettled:
        yield f"{unsettled:,} calls are unsettled: meter calls --basis unknown lists them."


def _request_in(file: str) -> dict[str, Any]:
    import msgspec

    try:
        content = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror}") from None
    try:
        request = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{file} is not JSON: {error}") from None
    if not isinstance(request, dict):
        raise InputError(f"found a JSON {type(request).__name__} in {file}, expected an object")
    return request


def _meter(database_url: str | None) -> "Meter":
    from meter.meter import Meter

    return Meter(database_url)


def _moment(text: str | None, tz: str) -> datetime | None:
    at_us = moment_us(text, tz)
    return None if at_us is None else datetime_of(at_us)


def _between_ms(start_us: int, end_us: int | None) -> int | None:
    return None if end_us is None else (end_us - start_us) // 1000
