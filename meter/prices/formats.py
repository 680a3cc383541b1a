"""Read a rate file in any of its formats: TOML, YAML, CSV, or LiteLLM's price map.

Each format is turned into what a TOML rate file would say and read by `overlay`, so that all are
as strict. Called by the price book and the commands on prices.
"""

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from meter.errors import InputError
from meter.prices.csv_rates import content_of_csv
from meter.prices.litellm import content_of_litellm
from meter.prices.overlay import RateFile, rates_from

Content = Mapping[str, Any]

MOST_BYTES: Final = 33_554_432
"""A longer rate file is refused."""


def format_of(path: str | Path) -> str:
    """Return the format that a file's name says. Raises: InputError for another suffix."""
    suffix = Path(path).suffix.lower()
    if suffix not in _SUFFIXES:
        raise InputError(
            f"found the rate file {path}, expected a name that ends in {', '.join(_SUFFIXES)}"
        )
    return _SUFFIXES[suffix]


def read_file(path: str | Path) -> str:
    """Return the text of a rate file. Raises: InputError."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"cannot read the rate file {path}: {error.strerror}") from None
    if len(data) > MOST_BYTES:
        raise InputError(f"the rate file {path} has {len(data)} bytes, expected {MOST_BYTES}")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"the rate file {path} is not UTF-8 text") from None


def load_rate_file(path: str | Path, format: str | None = None) -> RateFile:
    """Return what a rate file says; the format is that of its name unless it is given.

    Raises: InputError in one sentence that names the entry and what is wrong with it.
    """
    return read_text(read_file(path), format or format_of(path), f"rate file {path}")


def read_text(text: str, format: str, where: str) -> RateFile:
    """Return what the text of a rate file says; `where` names it in errors. Raises: InputError."""
    if format not in FORMATS:
        raise InputError(f"found format {format!r}, expected one of {', '.join(FORMATS)}")
    return rates_from(FORMATS[format](text, where), where)


def _toml(text: str, where: str) -> Content:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{where} is not TOML: {error}") from None


def _yaml(text: str, where: str) -> Content:
    try:
        import yaml
    except ImportError:
        raise InputError(f"{where} is YAML, which needs PyYAML: pip install pyyaml") from None
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"{where} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise InputError(f"{where} is a {type(content).__name__}, expected a mapping")
    return content


FORMATS: Final[Mapping[str, Callable[[str, str], Content]]] = {
    "toml": _toml,
    "yaml": _yaml,
    "csv": content_of_csv,
    "litellm": content_of_litellm,
}
"""What each format's text is read with."""

_SUFFIXES: Final = {
    ".toml": "toml", ".yaml": "yaml", ".yml": "yaml", ".csv": "csv", ".json": "litellm",
}  # fmt: skip
