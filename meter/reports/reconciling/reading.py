"""Read bills from files: JSON, JSON lines or CSV, also compressed with gzip, of bounded size."""

import gzip
import io
import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from meter.errors import InputError
from meter.reports.reconciling.anthropic_bill import read_anthropic
from meter.reports.reconciling.balance import read_balances
from meter.reports.reconciling.bill import Bill
from meter.reports.reconciling.csv_bill import read_csv
from meter.reports.reconciling.openai_bill import read_openai

Kind = Literal["openai", "anthropic", "csv", "balance"]
KINDS: tuple[Kind, ...] = ("openai", "anthropic", "csv", "balance")

_MOST_BYTES = 512 * 1024 * 1024


def read_bill(
    kind: str,
    files: Sequence[str | Path],
    *,
    columns: Mapping[str, str] | None = None,
    tz: str = "UTC",
    currency: str | None = None,
) -> Bill:
    """Return the bill that the files hold together.

    `kind` is "openai", "anthropic", "csv" or "balance"; see the readers for `columns`, `tz` and
    `currency`. Raises: InputError for a file that cannot be read or is not of that kind.
    """
    if kind not in KINDS:
        raise InputError(f"found a bill of kind {kind!r}, expected one of {', '.join(KINDS)}")
    if not files:
        raise InputError("found no file, expected the files of a bill")
    name = ", ".join(Path(file).name for file in files)
    texts = [_text(Path(file)) for file in files]
    if kind == "csv":
        bills = [
            read_csv(
                io.StringIO(text), Path(file).name, columns=columns or {}, tz=tz, currency=currency
            )
            for file, text in zip(files, texts, strict=True)
        ]
        rows = tuple(row for bill in bills for row in bill.rows)
        return Bill(name, rows, min(bill.smallest_nanos for bill in bills))
    if kind == "balance":
        if len(texts) == 1 and not texts[0].lstrip("\ufeff \r\n\t").startswith(("[", "{")):
            return read_balances(texts[0], None, name, tz=tz, currency=currency)
        readings = [each for text in texts for each in _values(text, name)]
        return read_balances("", readings, name, tz=tz, currency=currency)
    pages = [page for text in texts for page in _values(text, name)]
    return read_openai(pages, name) if kind == "openai" else read_anthropic(pages, name)


def _text(path: Path) -> str:
    try:
        with path.open("rb") as plain:
            file = gzip.GzipFile(fileobj=plain) if path.suffix == ".gz" else plain
            content = file.read(_MOST_BYTES + 1)
    except (OSError, EOFError) as error:
        raise InputError(f"cannot read the bill {path}: {error}") from None
    if len(content) > _MOST_BYTES:
        raise InputError(f"found more than {_MOST_BYTES} bytes in {path}, expected a smaller bill")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        # Exports of Chinese resellers are often in the Windows encoding.
        try:
            return content.decode("gb18030")
        except UnicodeDecodeError:
            raise InputError(f"found bytes that are no text in {path}, expected UTF-8") from None


def _values(text: str, name: str) -> list[Any]:
    """Return the JSON values of a text: one, a list of them, or one a line."""
    text = text.lstrip("\ufeff")
    try:
        value = json.loads(text, parse_float=Decimal)
    except (ValueError, RecursionError):
        return [_line(line, name) for line in text.splitlines() if line.strip()]
    return value if isinstance(value, list) else [value]


def _line(line: str, name: str) -> Any:
    try:
        return json.loads(line, parse_float=Decimal)
    except (ValueError, RecursionError):
        raise InputError(f"found {line[:60]!r} in {name}, expected JSON") from None
