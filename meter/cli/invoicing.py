"""The command `meter invoice`: issue, draft, list, show and void invoices."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from meter.cli.asking import DatabaseUrl, Zone
from meter.cli.exporting import progress_bar
from meter.cli.output import Column, Format, amount, is_wide, say, show
from meter.cli.times import shown_time
from meter.errors import InputError

if TYPE_CHECKING:
    from meter.reports.invoicing import Document

invoice = typer.Typer(
    no_args_is_help=True,
    invoke_without_command=True,
    help="Issue invoices, and list, show or void them.",
)

Output = Annotated[
    str | None,
    typer.Option("-o", "--output", help="The file: NAME.pdf or NAME.json; - prints the JSON."),
]
Language = Annotated[
    str | None, typer.Option(help="The PDF's own words: en or zh (invoice_language).")
]

_COLUMNS = (
    Column("number", "Number"),
    Column("kind", "Kind"),
    Column("subject", "Subject"),
    Column("period", "Period"),
    Column("issued", "Issued"),
    Column("subtotal", "Subtotal", numeric=True, decimals=6),
    Column("tax", "Tax", numeric=True, decimals=6),
    Column("total", "Total", numeric=True),
    Column("due", "Due", numeric=True),
    Column("currency", "Currency"),
    Column("remark", "Remark", wraps=True),
)

_ONLY_WHERE_WIDE = {"issued", "subtotal", "tax"}

_LINES = (
    Column("kind", "Kind"),
    Column("period", "Period"),
    Column("model", "Model"),
    Column("rule", "Rule"),
    Column("effect", "Effect"),
    Column("unit", "Unit"),
    Column("quantity", "Quantity", numeric=True),
    Column("price", "Price", numeric=True),
    Column("per", "Per", numeric=True),
    Column("amount", "Amount", numeric=True),
)


@invoice.callback()
def issue(
    context: typer.Context,
    subject: Annotated[str | None, typer.Option(help="Who is billed.")] = None,
    period: Annotated[
        str | None, typer.Option(help="What for: 2026-11, 2026-11-05, 2026-Q4 or 2026.")
    ] = None,
    output: Output = None,
    tz: Zone = "UTC",
    draft: Annotated[
        bool, typer.Option("--draft", help="Show what would be issued; write no invoice.")
    ] = False,
    bill_to: Annotated[str, typer.Option(help="Name and address on the invoice.")] = "",
    language: Language = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Issue the invoice of a subject for a period, or give out again the one that was issued.

    One for each currency; with several, -o NAME.pdf writes NAME-USD.pdf and so on. What comes
    late, and corrections, are adjustments on the next invoice.
    """
    if context.invoked_subcommand is not None:
        return
    if subject is None or period is None:
        raise InputError("found no --subject or no --period, expected both")
    from meter.meter import Meter

    path = _path(output)
    with Meter(database_url) as meter:
        with progress_bar(f"calls of {subject}", None) as advance:
            documents = meter.invoice(
                subject, period, tz=tz, draft=draft, bill_to=bill_to, progress=advance
            )
        if draft and not documents:
            raise InputError(f"found nothing to bill {subject!r} for {period}, expected calls")
        chosen = language or meter.settings.invoice_language
        for document in documents:
            several = f"-{document.invoice.currency}" if len(documents) > 1 else ""
            _hand_out(document, output, path, several, chosen)
            _remark(document)


@invoice.command("list")
def list_invoices(
    subject: Annotated[str | None, typer.Option(help="Only this subject.")] = None,
    tz: Zone = "UTC",
    format: Annotated[Format, typer.Option(help="How to show them.")] = Format.TABLE,
    database_url: DatabaseUrl = None,
) -> None:
    """List invoices and credit notes, oldest first."""
    from meter.meter import Meter

    with Meter(database_url) as meter:
        rows = [_summary(document, tz) for document in meter.invoices(subject=subject)]
    columns: tuple[Column, ...] = _COLUMNS
    if format is Format.TABLE and not is_wide():
        columns = tuple(c for c in _COLUMNS if c.key not in _ONLY_WHERE_WIDE)
    show(rows, columns, format, empty="No invoice was issued.")


@invoice.command("show")
def show_invoice(
    number: Annotated[str, typer.Argument(help="The invoice, as `meter invoice list` has it.")],
    output: Output = None,
    language: Language = None,
    format: Annotated[Format, typer.Option(help="How to show its lines.")] = Format.TABLE,
    database_url: DatabaseUrl = None,
) -> None:
    """Show an invoice, or write it to a file again."""
    from meter.meter import Meter

    path = _path(output)
    with Meter(database_url) as meter:
        found = meter.invoices(number=number)
        if not found:
            raise InputError(f"found no invoice {number!r}, expected one of meter invoice list")
        chosen = language or meter.settings.invoice_language
    (document,) = found
    if output is not None:
        _hand_out(document, output, path, "", chosen)
    elif format is Format.JSON:
        say(document.content.rstrip("\n"))
    else:
        _show(document, format)


@invoice.command("void")
def void_invoice(
    number: Annotated[str, typer.Argument(help="The invoice to take back.")],
    reason: Annotated[str, typer.Option(help="Why: one sentence on the credit note.")],
    output: Output = None,
    language: Language = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Take an invoice back by a credit note; its period can then be invoiced again."""
    from meter.meter import Meter

    if not reason.strip():
        raise InputError("found an empty reason, expected a sentence for the credit note")
    path = _path(output)
    with Meter(database_url) as meter:
        document = meter.void_invoice(number, reason=reason)
        chosen = language or meter.settings.invoice_language
    _hand_out(document, output, path, "", chosen)


def _path(output: str | None) -> Path | None:
    """Return the file that is asked for; its name is looked at before anything is issued."""
    from meter.exports.invoice_files import require_suffix

    if output is None or output == "-":
        return None
    path = Path(output)
    require_suffix(path)
    if not path.absolute().parent.is_dir():
        raise InputError(f"found no folder {path.parent}, expected one for {path.name}")
    return path


def _hand_out(
    document: "Document", output: str | None, path: Path | None, several: str, language: str
) -> None:
    from meter.exports.invoice_files import write_invoice

    if output == "-":
        say(document.content.rstrip("\n"))
    if path is not None:
        path = path.with_name(f"{path.stem}{several}{path.suffix}")
        write_invoice(document, path, language)
    invoice = document.invoice
    kind = "Draft" if invoice.number is None else invoice.kind.value.replace("_", " ").capitalize()
    number = f" {invoice.number}" if invoice.number else ""
    total = f"{amount(invoice.total_nanos):,f} {invoice.currency}"
    if invoice.credit is not None:
        total += f" ({amount(invoice.due_nanos):,f} due, the rest is paid from credit)"
    where = f" in {path}" if path else ""
    sys.stderr.write(f"{kind}{number}: {total} for {invoice.subject}{where}.\n")


def _remark(document: "Document") -> None:
    """Say on standard error what a person who issues should know."""
    from meter.clock import now_us

    invoice = document.invoice
    if invoice.unpriced_calls:
        sys.stderr.write(
            f"{invoice.unpriced_calls:,} calls have no price yet: they come on the next invoice "
            "once they have one.\n"
        )
    if invoice.period.end_us > now_us():
        until = shown_time(invoice.period.end_us, invoice.period.tz)
        sys.stderr.write(
            f"{invoice.period.name} runs until {until}: later calls come on the next invoice.\n"
        )


def _summary(document: "Document", tz: str) -> dict[str, Any]:
    invoice = document.invoice
    remark = f"takes back {invoice.voids}: {invoice.reason}" if invoice.voids else ""
    if document.voided_by:
        remark = f"voided by {document.voided_by}"
    return {
        "number": invoice.number,
        "kind": invoice.kind.value,
        "subject": invoice.subject,
        "period": invoice.period.name,
        "issued": shown_time(invoice.issued_us, tz),
        "subtotal": amount(invoice.subtotal_nanos),
        "tax": amount(invoice.tax_nanos),
        "total": amount(invoice.total_nanos),
        "due": amount(invoice.due_nanos),
        "currency": invoice.currency,
        "remark": remark,
    }


def _show(document: "Document", format: Format) -> None:
    invoice = document.invoice
    rows = [
        {
            "kind": line.kind.value,
            "period": line.period.name,
            "model": line.item.model,
            "rule": line.item.rule,
            "effect": line.item.effect,
            "unit": line.item.unit,
            "quantity": line.quantity,
            "price": None if line.item.rule else amount(line.item.nanos),
            "per": None if line.item.rule else line.item.per,
            "amount": amount(line.amount_nanos),
        }
        for line in invoice.lines
    ]
    summary = _summary(document, invoice.period.tz)
    footer = [f"Subtotal {summary['subtotal']:,f} {invoice.currency}."]
    if invoice.tax is not None:
        footer.append(f"{invoice.tax.label} {invoice.tax.percent:f} %: {summary['tax']:,f}.")
    footer.append(f"Total {summary['total']:,f} {invoice.currency}.")
    if invoice.credit is not None:
        paid = amount(invoice.paid_nanos)
        footer.append(f"Paid from credit {paid:,f}, due {summary['due']:,f} {invoice.currency}.")
    if summary["remark"]:
        footer.append(str(summary["remark"]))
    title = f"{invoice.kind.value.replace('_', ' ').capitalize()} {invoice.number}"
    columns: tuple[Column, ...] = _LINES
    if format is Format.TABLE:
        periods = {line.period for line in invoice.lines}
        alike = {"kind", "period"} if len(periods) == 1 else {"kind"}
        if not any(line.item.rule for line in invoice.lines):
            alike |= {"rule", "effect"}
        columns = tuple(column for column in _LINES if column.key not in alike)
    show(rows, columns, format, title=f"{title}: {invoice.subject}, {invoice.period.name}",
         footer=footer)  # fmt: skip
