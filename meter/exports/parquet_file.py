"""Write Parquet: zstd, decimal128 amounts (9 places) and quantities (18), UTC timestamps.

Times carry the zone in which they are shown. Totals are in the file's metadata, under
`meter.totals`, as JSON.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from meter.core.money import nanos_to_decimal
from meter.core.windows import zone
from meter.errors import InputError
from meter.exports.summing import Total
from meter.exports.tables import Kind, Row, Table
from meter.exports.texts import Convert, converters, json_text
from meter.exports.totals import total_record

_ROW_GROUP = 100_000
_PLACES = 18


class ParquetWriter:
    """Writes rows as Parquet, in groups of a hundred thousand rows."""

    def __init__(self, stream: BinaryIO, table: Table, tz: str) -> None:
        """Begin the file."""
        zone(tz)
        self._table = table
        self._schema = pa.schema([pa.field(f.name, _type(f.kind, tz)) for f in table.fields])
        self._writer = pq.ParquetWriter(stream, self._schema, compression="zstd")
        self._batches: list[Any] = []
        self._waiting = 0
        kinds: dict[Kind, Convert] = {
            Kind.AMOUNT: nanos_to_decimal, Kind.DECIMAL: _decimal, Kind.JSON: json_text,
        }  # fmt: skip
        self._converters = converters(table, kinds)

    def write(self, rows: Sequence[Row]) -> None:
        """Take some more rows; they are written when a group is full."""
        if not rows:
            return
        columns = [
            values
            if convert is None
            else [None if value is None else convert(value) for value in values]
            for values, convert in zip(zip(*rows, strict=True), self._converters, strict=True)
        ]
        arrays = [
            pa.array(values, field.type)
            for values, field in zip(columns, self._schema, strict=True)
        ]
        self._batches.append(pa.RecordBatch.from_arrays(arrays, schema=self._schema))
        self._waiting += len(rows)
        if self._waiting >= _ROW_GROUP:
            self._write_group()

    def finish(self, totals: Sequence[Total]) -> None:
        """Write the last group, the totals and the footer."""
        self._write_group()
        records = [total_record(self._table, total) for total in totals]
        self._writer.add_key_value_metadata({"meter.totals": json_text(records)})
        self._writer.close()

    def abandon(self) -> None:
        """End the file where it is, which closes the writer."""
        self._batches.clear()
        self._writer.close()

    def _write_group(self) -> None:
        if self._batches:
            group = pa.Table.from_batches(self._batches, self._schema)
            self._writer.write_table(group, row_group_size=self._waiting)
        self._batches, self._waiting = [], 0


def open_writer(stream: BinaryIO, table: Table, tz: str) -> ParquetWriter:
    """Begin a Parquet file."""
    return ParquetWriter(stream, table, tz)


def _type(kind: Kind, tz: str) -> Any:
    match kind:
        case Kind.TEXT | Kind.JSON:
            return pa.string()
        case Kind.INTEGER:
            return pa.int64()
        case Kind.DECIMAL:
            return pa.decimal128(38, _PLACES)
        case Kind.AMOUNT:
            return pa.decimal128(38, 9)
        case Kind.TIME:
            return pa.timestamp("us", tz=tz)
        case Kind.UTC:
            return pa.timestamp("us", tz="UTC")
        case Kind.FLAG:
            return pa.bool_()


def _decimal(quantity: int | Decimal) -> Decimal:
    exact = Decimal(quantity)
    exponent = exact.as_tuple().exponent
    if isinstance(exponent, int) and exponent < -_PLACES:
        raise InputError(
            f"found a quantity of {exact}, expected at most {_PLACES} decimal places for Parquet: "
            "csv and jsonl keep it whole"
        )
    return exact
