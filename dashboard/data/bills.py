"""Hold an issuer's bill against the ledger."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from zoneinfo import ZoneInfo

from data.asking import Viewer, amount, ledger, require_all, settings
from meter.core.money import nanos_to_decimal
from meter.core.rates import datetime_of
from meter.errors import InputError
from meter.reports.reconciling.differences import Total
from meter.reports.reconciling.reading import KINDS, read_bill

BILL_KINDS = KINDS


@dataclass(frozen=True)
class BillTotal:
    """Both sides' sum of one unit or currency; None where the bill does not say it."""

    name: str
    theirs: Decimal | None
    ours: Decimal
    difference: Decimal | None


@dataclass(frozen=True)
class BillDifference:
    """One difference between a bill and the ledger, theirs less ours, with its reason."""

    reason: str
    start: datetime
    end: datetime
    model: str | None
    sentence: str
    calls: int | None
    amount: Decimal | None
    currency: str | None
    call_ids: tuple[str, ...]
    settles: bool


@dataclass(frozen=True)
class Reconciled:
    """A bill held against the ledger."""

    agrees: bool
    start: datetime
    end: datetime
    totals: tuple[BillTotal, ...]
    differences: tuple[BillDifference, ...]


SUFFIXES = ("json", "jsonl", "csv", "gz", "txt")
"""What the names of a bill's files may end in."""


def kept_bills(viewer: Viewer) -> list[str]:
    """Return the files in the folder that the setting `dashboard_bills` names, sorted.

    Raises: LedgerError when there is no such folder.
    """
    require_all(viewer)
    folder = settings().dashboard_bills
    if not folder:
        return []
    try:
        found = [path for path in Path(folder).iterdir() if path.is_file()]
    except OSError as error:
        raise InputError(
            f"found no folder {folder} (dashboard_bills): {error.strerror}, expected one with bills"
        ) from None
    return sorted(path.name for path in found if path.suffix.lstrip(".").lower() in SUFFIXES)


def kept_bill(viewer: Viewer, name: str) -> bytes:
    """Return the content of one of those files. Raises: LedgerError when it is none of them."""
    if name not in kept_bills(viewer):
        raise InputError(f"found no bill {name!r:.80} in the folder, expected one that is listed")
    try:
        return Path(settings().dashboard_bills, name).read_bytes()
    except OSError as error:
        raise InputError(f"cannot read the bill {name}: {error.strerror}") from None


def reconcile(
    viewer: Viewer,
    kind: str,
    files: Sequence[tuple[str, bytes]],
    *,
    provider: str,
    tolerance: str,
    tz: str,
    columns: Mapping[str, str],
    currency: str | None,
) -> Reconciled:
    """Hold a bill's files (name, content) against the ledger. Raises: LedgerError."""
    require_all(viewer)
    with TemporaryDirectory(prefix="meter-bill-") as folder:
        paths = []
        for number, (name, content) in enumerate(files):
            path = Path(folder, str(number), Path(name).name or "bill")
            path.parent.mkdir()
            path.write_bytes(content)
            paths.append(path)
        bill = read_bill(kind, paths, columns=columns, tz=tz, currency=currency)
    found = ledger().reconcile(bill, provider=provider, tolerance=tolerance, tz=tz)
    zone = ZoneInfo(tz)
    return Reconciled(
        agrees=found.agrees,
        start=datetime_of(found.start_us).astimezone(zone),
        end=datetime_of(found.end_us).astimezone(zone),
        totals=tuple(_bill_total(one) for one in found.totals),
        differences=tuple(
            BillDifference(
                reason=str(one.reason),
                start=datetime_of(one.start_us).astimezone(zone),
                end=datetime_of(one.end_us).astimezone(zone),
                model=one.model,
                sentence=one.sentence,
                calls=one.calls,
                amount=amount(one.amount_nanos),
                currency=one.currency,
                call_ids=tuple(str(call_id) for call_id in one.call_ids),
                settles=one.settles is not None,
            )
            for one in found.differences
        ),
    )


def _bill_total(total: Total) -> BillTotal:
    def exact(number: Decimal | int | None) -> Decimal | None:
        if number is None:
            return None
        return nanos_to_decimal(int(number)) if total.is_money else Decimal(number)

    return BillTotal(
        total.name, exact(total.theirs), exact(total.ours) or Decimal(0), exact(total.difference)
    )
