"""The commands `meter calibration show|forget`: what estimates of prompts are corrected by."""

from decimal import Decimal
from typing import Annotated

import typer

from meter.cli.asking import DatabaseUrl
from meter.cli.output import Column, Format, say, show
from meter.core.calibrating import LEAST_SAMPLES
from meter.meter import Meter

calibration = typer.Typer(no_args_is_help=True, help="Show how estimates are corrected.")

COLUMNS = (
    Column("provider", "Provider"),
    Column("model", "Model"),
    Column("kind", "Content"),
    Column("samples", "Samples", numeric=True),
    Column("ratio", "Ratio", numeric=True),
    Column("offset", "Offset", numeric=True),
    Column("error_before", "Error before", numeric=True),
    Column("error_after", "Error after", numeric=True),
)


@calibration.command("show")
def show_calibrations(
    database_url: DatabaseUrl = None,
    format: Annotated[Format, typer.Option(help="How to show them.")] = Format.TABLE,
) -> None:
    """Show the ratio and the offset that correct estimates, and how sure they are.

    Errors are medians, each measured on calls that the correction was not fitted to.
    """
    with Meter(database_url, read_only=True) as meter:
        rows = [
            {
                **place._asdict(),
                "samples": found.samples,
                "ratio": str(Decimal(found.ratio_ppm).scaleb(-6).quantize(Decimal("0.001"))),
                "offset": found.offset,
                "error_before": _percent(found.before_ppm, found.samples),
                "error_after": _percent(found.after_ppm, found.samples),
            }
            for place, found in meter.calibrations()
        ]
    show(rows, COLUMNS, format, title="Corrections of estimated input tokens")


@calibration.command("forget")
def forget_calibrations(
    provider: Annotated[str | None, typer.Option(help="Of this provider only.")] = None,
    model: Annotated[str | None, typer.Option(help="Of this model only.")] = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Forget what was learnt: estimates are uncorrected until enough calls came again.

    Records of calls stay as they are.
    """
    with Meter(database_url) as meter:
        dropped = meter.forget_calibrations(provider, model)
    say(f"Forgot {dropped:,} samples.")


def _percent(ppm: int, samples: int) -> str | None:
    """Return a share as text, None while there are too few samples to measure it."""
    if samples < LEAST_SAMPLES:
        return None
    return f"{Decimal(ppm).scaleb(-4).quantize(Decimal('0.1'))}%"
