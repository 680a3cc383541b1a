"""Copy calls and charge lines to ClickHouse, each statement at least once, and ask the copy.

Whatever is sent again changes nothing: a row is known by its call, or by its source and line, and
ClickHouse keeps one of each, of a call the one with the most corrections. The state file advances
by whole portions of the feed, behind what was sent. Amounts and quantities are integers and
decimals all the way. Called by the façade.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from meter.errors import InputError, StoreUnavailable
from meter.exports.delivering import Delivered
from meter.exports.exporting import Progress
from meter.exports.following import begin, end
from meter.exports.tables import changed_line_rows
from meter.exports.texts import json_text
from meter.reports.charging import Book
from meter.store import copied
from meter.store.changes import Change
from meter.store.encoding import UNIT_COLUMNS
from meter.store.ledger import Ledger
from meter.store.reads import UsageRow

_AT_ONCE = 20_000

_CALL_TYPES = {
    "call_id": "UUID", "version": "UInt32", "started_us": "Int64", "ended_us": "Nullable(Int64)",
    "provider": "String", "issuer": "String", "endpoint": "String", "outcome": "UInt8",
    "basis": "UInt8", "status": "Nullable(Int16)", "cost_nanos": "Nullable(Int128)",
    "list_nanos": "Nullable(Int128)", "billed_nanos": "Nullable(Int128)",
    **{name: "Nullable(Int64)" for name in UNIT_COLUMNS},
}  # fmt: skip
"""What is no nullable text in the copy of calls."""

_LINE_TYPES = {
    "source_id": "UUID", "line": "UInt32", "call_id": "UUID", "started_us": "Int64",
    "subject": "Nullable(String)", "key_id": "Nullable(String)", "tags": "Nullable(String)",
    "provider": "String", "issuer": "String", "endpoint": "String",
    "model_requested": "Nullable(String)", "model_served": "Nullable(String)",
    "service_tier": "Nullable(String)", "basis": "Nullable(String)", "book": "String",
    "unit": "String", "quantity": "Decimal(38, 18)", "price_nanos": "Int64", "per": "Int64",
    "amount_nanos": "Int128", "currency": "Nullable(String)", "rate_card_id": "Nullable(String)",
    "version": "UInt32",
}  # fmt: skip

_MONTH = "toYYYYMM(fromUnixTimestamp64Micro(started_us, 'UTC'))"


def follow(
    ledger: Ledger,
    url: str,
    state_file: Path,
    *,
    book: Book,
    progress: Progress | None,
) -> Delivered:
    """Copy what was committed since the last time: calls, and their charge lines in a price book.

    Raises: InputError for an address that is none, StoreUnavailable when ClickHouse does not take
    the rows; the next run goes on from there.
    """
    with _connected(url) as client:
        for statement in _tables():
            client.command(statement)
        portions = begin(ledger, state_file, f"clickhouse, lines of {book}", {})
        if portions is None:
            return Delivered(0, 0, None)
        sent, batch, portion = 0, list[Change](), portions.after
        for change in ledger.changes(portions.after, portions.last, {}):
            if change.portion != portion and len(batch) >= _AT_ONCE:
                sent += _send(client, batch, book, ledger)
                end(ledger, portions, portion)
                batch = []
            elif len(batch) >= 2 * _AT_ONCE:
                # Within one portion: what is sent again after an interruption changes nothing.
                sent += _send(client, batch, book, ledger)
                batch = []
            portion = change.portion
            batch.append(change)
            if progress is not None and not len(batch) % 1000:
                progress(sent + len(batch))
        sent += _send(client, batch, book, ledger)
        end(ledger, portions, portions.last)
    return Delivered(sent, 0, _shown(url))


def usage(
    url: str,
    by: Sequence[str],
    *,
    since_us: int | None,
    until_us: int | None,
    tz: str,
    filters: Mapping[str, str],
) -> list[UsageRow]:
    """Return sums over the copied calls, as `Meter.usage` does over the ledger's.

    What was committed since the last copy is not in them. Raises: InputError, ConfigError,
    StoreUnavailable.
    """
    with _connected(url) as client:
        return copied.usage(
            lambda text: client.query(text).result_rows,
            by=by, since_us=since_us, until_us=until_us, tz=tz, filters=filters,
        )  # fmt: skip


def _tables() -> Iterator[str]:
    """Yield what makes the tables, where they are not there."""
    calls = {c.name: _CALL_TYPES.get(c.name, "Nullable(String)") for c in copied.CALLS.columns}
    for name, types, key in (
        ("meter_calls", calls, "started_us, call_id"),
        ("meter_charge_lines", _LINE_TYPES, "started_us, book, source_id, line"),
    ):
        columns = ", ".join(f"{column} {kind}" for column, kind in types.items())
        yield (
            f"CREATE TABLE IF NOT EXISTS {name} ({columns})"
            f" ENGINE = ReplacingMergeTree(version) PARTITION BY {_MONTH} ORDER BY ({key})"
        )


def _send(client: Any, batch: Sequence[Change], book: Book, ledger: Ledger) -> int:
    """Insert the calls and lines of these changes; return how many changes they are."""
    if batch:
        calls = [copied.copied_row(change.call) for change in batch]
        columns = copied.CALLS.columns.keys()
        client.insert("meter_calls", [(UUID(row[0]), *row[1:]) for row in calls], columns)
        lines = [_line(row) for row in changed_line_rows(batch, book, ledger.rate_card)]
        if lines:
            client.insert("meter_charge_lines", lines, list(_LINE_TYPES))
    return len(batch)


def _line(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return an exported charge line in the order of `_LINE_TYPES`."""
    (source_id, call_id, line, started_us, subject, key_id, tags, provider, issuer, endpoint,
     requested, served, tier, basis, book, unit, quantity, price, per, amount, currency, card,
     version) = row  # fmt: skip
    return (
        UUID(source_id), line, UUID(call_id), started_us, subject, key_id,
        None if tags is None else json_text(tags), provider, issuer, endpoint, requested, served,
        tier, basis, book, unit, Decimal(quantity), price, per, amount, currency, card, version,
    )  # fmt: skip


@contextmanager
def _connected(url: str) -> Iterator[Any]:
    """Yield a client of the ClickHouse at an address: http(s)://user:password@host:port/database,
    or chdb:///folder for one in this process.
    """
    try:
        import clickhouse_connect
        from clickhouse_connect.driver.exceptions import Error
    except ModuleNotFoundError as error:
        raise InputError(
            f"found no package {error.name}, which ClickHouse needs: "
            "pip install 'metergate[clickhouse]'"
        ) from None
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https", "chdb"):
        raise InputError(
            f"found {_shown(url)} for ClickHouse, expected http(s)://user:password@host:port/"
            "database, or chdb:///folder"
        )
    try:
        if parts.scheme == "chdb":
            client = clickhouse_connect.get_client(interface="chdb", path=parts.path)
        else:
            client = clickhouse_connect.get_client(dsn=url)
        try:
            yield client
        finally:
            client.close()
    except (Error, OSError) as error:
        told = " ".join(str(error).split())
        raise StoreUnavailable(f"ClickHouse at {_shown(url)} says: {told:.300}") from None


def _shown(url: str) -> str:
    """Return an address without user and password."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
