"""Write the pages of `docs/cli.md` from the commands themselves (`make docs`)."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import typer

_WIDTH = "100"


def commands() -> Iterator[tuple[str, ...]]:
    """Yield the words of every command, groups before what they hold."""
    from meter.cli.app import app

    yield ("meter",)
    yield from _below(app, ("meter",))


def _below(group: typer.Typer, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for command in group.registered_commands:
        yield (*path, str(command.name))
    for inner in group.registered_groups:
        assert inner.typer_instance is not None
        yield (*path, str(inner.name))
        yield from _below(inner.typer_instance, (*path, str(inner.name)))


def write(path: Path) -> None:
    """Write the page of every command to the file."""
    pages = ["# Command line\n\nMade by `make docs` from `--help`.\n"]
    for words in commands():
        pages.append(f"\n## {' '.join(words)}\n\n```\n{_help(words)}\n```\n")
    path.write_text("".join(pages))


def _help(words: tuple[str, ...]) -> str:
    command = [sys.executable, "-m", "meter", *words[1:], "--help"]
    environment = {**os.environ, "COLUMNS": _WIDTH, "TERMINAL_WIDTH": _WIDTH, "NO_COLOR": "1"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return "\n".join(line.rstrip() for line in ended.stdout.strip().splitlines())


if __name__ == "__main__":
    write(Path(sys.argv[1]))
