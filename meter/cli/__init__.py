"""Floor 5: the command `meter`. `main` is the console script."""

from meter.cli.main import main

__all__ = ["main"]
