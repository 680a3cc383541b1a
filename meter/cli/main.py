"""Run the command line: one sentence on stderr for every error, never a traceback.

Exit status: 0 done, 1 a difference or a failed check was found, 2 the command could not be done.
"""

import os
import sys
from typing import Any

from meter.errors import MeterError

FOUND = 1
"""Exit status when a check or comparison found something."""

CANNOT = 2
"""Exit status when the command could not be done as it was given."""


def main(arguments: list[str] | None = None) -> None:
    """Run `meter` with the given arguments (default: the process's own) and exit."""
    sys.exit(run(arguments))


def run(arguments: list[str] | None = None) -> int:
    """Run `meter` and return its exit status."""
    from typer._click.exceptions import ClickException  # typer carries its own click

    try:
        from meter.cli.app import app

        result: Any = app(args=arguments, prog_name="meter", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except MeterError as error:
        return _say(str(error))
    except ClickException as error:
        error.show()
        return CANNOT
    except (KeyboardInterrupt, EOFError):
        return _say("stopped")
    except BrokenPipeError:
        # The reader (head, less) went away: that is its right, and no error of ours.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if os.environ.get("METER_DEBUG"):
            raise
        what = " ".join(f"{type(error).__name__}: {error}".split())
        return _say(f"this is a fault of meter itself ({what:.300}); METER_DEBUG=1 shows where")


def _say(sentence: str) -> int:
    sys.stderr.write(f"meter: {sentence}\n")
    return CANNOT
