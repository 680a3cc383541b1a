"""Read the settings: defaults, then `meter.toml`, then `METER_*` variables, then arguments.

Every setting is a field of `Settings`; its environment twin is METER_ and the name in capitals.
"""

import os
import re
import tomllib
from collections import abc
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from meter.errors import ConfigError

DEFAULT_FILE = "meter.toml"

_MAY_BE_ZERO = frozenset({"hold_wait_seconds"})
_MOST_GROUPS = 16


@dataclass(frozen=True, slots=True)
class Settings:
    """What can be set, with its default.

    `database_url`: where the ledger lies. `durability`: "full" survives power loss, "process"
    only the process. `on_client_close`: read the rest of an abandoned answer for its usage
    ("drain", at most `drain_seconds` and `drain_bytes`) or stop it and estimate ("cancel").
    `on_store_failure`: refuse calls while the ledger is away ("refuse"), or let them go on
    ("spool"); the file `spool_path` keeps what the ledger cannot take, and is replayed when it is
    back. `settle_before_last_byte`: hand out the end of an answer only when its record is durable.
    `hold_seconds`: how long a call may be in flight
    before its holds expire and it is listed as unsettled. `on_unsettled`: what becomes of such a
    call `unsettled_seconds` after its start: it stays listed ("list"), owes its prompt as it was
    counted ("estimate"), or owes nothing ("nothing"). `store_seconds`: how long a call
    waits for the ledger. `hold_wait_seconds`: how long a call that does not fit only because of
    money that other calls in flight hold waits for them to end. `clock_skew_seconds`: how far this
    machine's clock may be from the one of the ledger's server. `inject_usage`: ask streams for
    their usage where the provider is known to accept that. `queue_size`: how many writes may wait
    for the ledger. `calibrate`: correct estimates of prompts by what the ledger has learnt from
    calls before. `custom_id_pattern`: how the `custom_id` of a batch's request says who pays, as a
    regular expression; its group `subject` is the subject, other named groups are tags ("": it
    says nothing). `rate_file`: files of one's own prices, separated by commas and laid over those
    that travel with the product, the first on top ("": none). `clickhouse_url`: where the
    ClickHouse is that `meter export clickhouse` copies to, and that sums are read from ("": sums
    are read from the ledger).

    Of invoices: `invoice_prefix` begins their numbers; `invoice_seller`, `invoice_note` and
    `invoice_tax_label` are texts on each; `invoice_tax_percent` is an exact decimal ("": no tax);
    `invoice_language`: that of the PDF.

    Of the gateway: `upstreams`: where it sends calls, by name (see `meter.gateway.upstreams`).
    `allow_unmetered`: pass paths on that nobody knows how to meter. `allow_stored_objects`: let
    all keys share all files, batches and other objects of an upstream; else each subject has its
    own, and what cannot be kept apart is closed.
    `max_body_bytes`: the largest body that is read before it is sent. `client_seconds`: how long
    a client may send or take nothing, or be behind 500 bytes a second of a body, `head_seconds` how
    long a request's head may take, `idle_seconds` how long a connection is kept between two
    requests. `stop_seconds`: how long calls in flight may go on once the gateway was told to stop.
    `key_cache_seconds`: how long a revoked key may still be taken. `cors_origins`: whose pages may
    call from a browser, separated by commas ("": nobody's). `metrics_key`: what readers of /metrics
    must know ("": nothing).

    Of the dashboard: `dashboard_sign_in`: "none" serves this machine only and shows everything,
    "key" asks for one of the gateway's keys, "oidc" for an account at the OIDC provider that
    Streamlit's secrets name. `dashboard_users`: what each account may see, by its e-mail address:
    a subject, or * for everything; others see nothing. `dashboard_bills`: a folder whose files can
    be picked as bills.
    """

    database_url: str = "sqlite:///meter.db"
    durability: Literal["full", "process"] = "full"
    on_client_close: Literal["drain", "cancel"] = "cancel"
    drain_seconds: int = 30
    drain_bytes: int = 8_388_608
    on_store_failure: Literal["refuse", "spool"] = "spool"
    spool_path: str = "meter.spool"
    settle_before_last_byte: bool = True
    hold_seconds: int = 3600
    on_unsettled: Literal["list", "estimate", "nothing"] = "list"
    unsettled_seconds: int = 86_400
    store_seconds: int = 30
    hold_wait_seconds: int = 2
    clock_skew_seconds: int = 60
    inject_usage: bool = True
    queue_size: int = 10_000
    calibrate: bool = True
    custom_id_pattern: str = ""
    rate_file: str = ""
    clickhouse_url: str = ""
    invoice_prefix: str = "INV-"
    invoice_seller: str = ""
    invoice_note: str = ""
    invoice_tax_label: str = ""
    invoice_tax_percent: str = ""
    invoice_language: Literal["en", "zh"] = "en"
    hosts: Mapping[str, str] = field(default_factory=dict)
    upstreams: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    allow_unmetered: bool = False
    allow_stored_objects: bool = False
    max_body_bytes: int = 67_108_864
    client_seconds: int = 60
    head_seconds: int = 30
    idle_seconds: int = 75
    stop_seconds: int = 30
    key_cache_seconds: int = 5
    cors_origins: str = ""
    metrics_key: str = ""
    dashboard_sign_in: Literal["none", "key", "oidc"] = "none"
    dashboard_users: Mapping[str, str] = field(default_factory=dict)
    dashboard_bills: str = ""

    @property
    def rate_files(self) -> tuple[str, ...]:
        """Return the paths in `rate_file`."""
        return tuple(path.strip() for path in self.rate_file.split(",") if path.strip())

    @property
    def reserve_seconds(self) -> int:
        """Return how long a reservation may take: the ledger's time and that of the holds."""
        return self.store_seconds + self.hold_wait_seconds


def load_settings(
    arguments: Mapping[str, Any] | None = None,
    *,
    environment: Mapping[str, str] | None = None,
) -> Settings:
    """Return the settings in force; `arguments` that are None count as not given.

    The file is METER_CONFIG, else `meter.toml` when it is present.

    Raises: ConfigError naming the setting, what was found and what was expected.
    """
    hints = _hints()
    names = [setting.name for setting in fields(Settings)]
    given = given_settings(environment)
    given |= {name: value for name, value in (arguments or {}).items() if value is not None}
    for name, value in given.items():
        if name not in hints:
            raise ConfigError(f"found setting {name!r}, expected one of {', '.join(names)}")
        _check(name, value, hints[name])
    return Settings(**given)


@cache
def _hints() -> dict[str, Any]:
    return get_type_hints(Settings)


def given_settings(environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return what file and environment say, not yet checked. Raises: ConfigError."""
    environment = os.environ if environment is None else environment
    given = _from_file(environment)
    for name, hint in _hints().items():
        text = environment.get(f"METER_{name.upper()}")
        if text is not None:
            given[name] = _from_text(name, text, hint)
    return given


def _from_file(environment: Mapping[str, str]) -> dict[str, Any]:
    named = environment.get("METER_CONFIG")
    path = Path(named or DEFAULT_FILE)
    if not named and not path.exists():
        return {}
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise ConfigError(f"cannot read the settings file {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"the settings file {path} is not TOML: {error}") from None


def _from_text(name: str, text: str, hint: Any) -> Any:
    if hint is bool:
        words = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
        if text.lower() not in words:
            raise ConfigError(f"found {text!r} for METER_{name.upper()}, expected true or false")
        return words[text.lower()]
    if hint is int:
        if not text.strip().isdecimal():
            raise ConfigError(f"found {text!r} for METER_{name.upper()}, expected a whole number")
        return int(text)
    if get_origin(hint) is abc.Mapping:
        pairs = [pair.partition("=") for pair in text.split(",") if pair.strip()]
        named = {left.strip(): right.strip() for left, _, right in pairs}
        if name == "upstreams":
            return {upstream: {"base_url": url} for upstream, url in named.items()}
        return named
    return text


def _check(name: str, value: Any, hint: Any) -> None:
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            expected = " or ".join(repr(choice) for choice in get_args(hint))
            raise ConfigError(f"found {value!r} for {name}, expected {expected}")
    elif name == "upstreams":
        if not isinstance(value, Mapping) or not all(
            isinstance(table, Mapping) for table in value.values()
        ):
            raise ConfigError(f"found {value!r} for upstreams, expected tables [upstreams.NAME]")
    elif get_origin(hint) is abc.Mapping:
        if not isinstance(value, Mapping) or not all(
            isinstance(key, str) and isinstance(text, str) and key and text
            for key, text in value.items()
        ):
            raise ConfigError(f"found {value!r} for {name}, expected names with texts")
    elif name == "custom_id_pattern":
        _check_pattern(value)
    elif not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise ConfigError(f"found {value!r} for {name}, expected {hint.__name__}")
    elif hint is int and value < (least := 0 if name in _MAY_BE_ZERO else 1):
        raise ConfigError(f"found {value!r} for {name}, expected a whole number from {least} on")


def _check_pattern(value: Any) -> None:
    try:
        groups = re.compile(value).groupindex
    except (re.error, TypeError) as error:
        raise ConfigError(f"found custom_id_pattern {value!r:.80}, expected a regular expression: "
                          f"{error}") from None  # fmt: skip
    if value and not 0 < len(groups) <= _MOST_GROUPS:
        raise ConfigError(
            f"found custom_id_pattern {value!r:.80}, expected one with 1 to {_MOST_GROUPS} named "
            "groups such as (?P<subject>[^/]+)"
        )
