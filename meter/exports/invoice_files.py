"""Write an invoice to a file: JSON as it was issued, or a PDF. Called by the command line."""

from pathlib import Path

from meter.errors import InputError
from meter.exports.exporting import replacing
from meter.reports.invoicing import Document

SUFFIXES = (".pdf", ".json")


def require_suffix(path: Path) -> None:
    """Raise InputError for a name that does not say PDF or JSON."""
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"found {path.name}, expected a name that ends in .pdf or .json")


def write_invoice(document: Document, path: Path, language: str = "en") -> None:
    """Write the document in the form that the file's name asks for.

    Raises: InputError for another name, for a place that cannot be written, or for a PDF where the
    package that makes it is missing.
    """
    require_suffix(path)
    content = document.content.encode()
    if path.suffix.lower() == ".pdf":
        content = _pdf(document, language)
    with replacing(path) as stream:
        stream.write(content)


def _pdf(document: Document, language: str) -> bytes:
    try:
        from meter.exports.invoice_pdf import to_pdf
    except ModuleNotFoundError as error:
        raise InputError(
            f"found no package {error.name}, which PDF files need: pip install 'metergate[exports]'"
        ) from None
    return to_pdf(document.invoice, "zh" if language == "zh" else "en")
