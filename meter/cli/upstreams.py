"""The commands `meter upstreams`: add, list and remove where gateways send calls."""

from typing import Annotated, Any

import typer

from meter.cli.asking import DatabaseUrl, Shown
from meter.cli.output import Column, Format, say, show
from meter.errors import InputError

upstreams = typer.Typer(
    name="upstreams",
    no_args_is_help=True,
    help="Where gateways send calls: add, list and remove, while they run.",
)

_COLUMNS = (
    Column("name", "Upstream"),
    Column("base_url", "Address", wraps=True),
    Column("dialect", "Dialect"),
    Column("models", "Models", wraps=True),
    Column("weight", "Weight", numeric=True),
    Column("fallbacks", "Fallbacks"),
    Column("key", "Key in"),
    Column("kept", "Kept in"),
)


@upstreams.command("set")
def set_upstream(
    name: Annotated[str, typer.Argument(help="Its name; the usual dialect has the same.")],
    base_url: Annotated[str, typer.Argument(help="Such as https://api.openai.com/v1.")],
    dialect: Annotated[
        str | None, typer.Option(help="What it speaks, if not what its name says.")
    ] = None,
    key_env: Annotated[
        str | None,
        typer.Option(help='The variable with its key (METER_UPSTREAM_<NAME>_KEY); "": none.'),
    ] = None,
    key_file: Annotated[str | None, typer.Option(help="The file with its key.")] = None,
    models: Annotated[str | None, typer.Option(help="Names and patterns: gpt-4o, o3*.")] = None,
    seconds: Annotated[int | None, typer.Option(help="How long it may send nothing.")] = None,
    weight: Annotated[int | None, typer.Option(help="Its share among equals.")] = None,
    fallbacks: Annotated[str | None, typer.Option(help="Upstreams to try when it fails.")] = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Add an upstream, or replace one; running gateways take it within seconds.

    Its credential is read where the gateway runs, and kept nowhere.
    """
    from meter.gateway.upstreams import checked_table
    from meter.meter import Meter

    given: dict[str, Any] = {
        "base_url": base_url,
        "dialect": dialect,
        "key_env": key_env,
        "key_file": key_file,
        "models": _names(models),
        "seconds": seconds,
        "weight": weight,
        "fallbacks": _names(fallbacks),
    }
    table = {field: value for field, value in given.items() if value is not None}
    with Meter(database_url) as meter:
        if name in meter.settings.upstreams:
            raise InputError(f"found upstream {name!r} in the settings, expected another name")
        meter.upstreams.set(name, checked_table(name, table))
    say(f"Calls can go to {name}: gateways on this ledger take it within seconds.")


@upstreams.command("list")
def list_upstreams(format: Shown = Format.TABLE, database_url: DatabaseUrl = None) -> None:
    """List the upstreams of the settings and of the ledger."""
    from meter.meter import Meter

    with Meter(database_url) as meter:
        settings = {name: dict(table) for name, table in meter.settings.upstreams.items()}
        stored = meter.upstreams.all()
    rows = [_shown(name, table, "settings") for name, table in settings.items()]
    rows += [_shown(name, t, "ledger") for name, t in stored.items() if name not in settings]
    show(rows, _COLUMNS, format, empty="There is no upstream: meter upstreams set adds one.")


@upstreams.command("show")
def show_upstream(
    name: Annotated[str, typer.Argument(help="The upstream, as the list names it.")],
    format: Shown = Format.TABLE,
    database_url: DatabaseUrl = None,
) -> None:
    """Show one upstream."""
    from meter.meter import Meter

    with Meter(database_url) as meter:
        settings, stored = meter.settings.upstreams, meter.upstreams.all()
    if name not in settings and name not in stored:
        raise InputError(f"found no upstream {name!r}: meter upstreams list shows them")
    table = dict(settings[name]) if name in settings else stored[name]
    show([_shown(name, table, "settings" if name in settings else "ledger")], _COLUMNS, format)


@upstreams.command("remove")
def remove_upstream(
    name: Annotated[str, typer.Argument(help="An upstream that was added.")],
    database_url: DatabaseUrl = None,
) -> None:
    """Remove an upstream that was added; calls under way end as they are."""
    from meter.meter import Meter

    with Meter(database_url) as meter:
        if not meter.upstreams.remove(name):
            raise InputError(
                f"found no upstream {name!r} in the ledger: those of the settings stay there"
            )
    say(f"Calls no longer go to {name}.")


def _names(text: str | None) -> list[str] | None:
    if text is None:
        return None
    return [name.strip() for name in text.split(",") if name.strip()]


def _shown(name: str, table: dict[str, Any], kept: str) -> dict[str, Any]:
    usual = f"METER_UPSTREAM_{name.upper().replace('-', '_').replace('.', '_')}_KEY"
    key = table.get("key_file") or table.get("key_env", usual) or None
    return {
        "name": name,
        "base_url": table.get("base_url"),
        "dialect": table.get("dialect", name),
        "models": ", ".join(table.get("models") or ()) or None,
        "weight": table.get("weight"),
        "fallbacks": ", ".join(table.get("fallbacks") or ()) or None,
        "key": key,
        "kept": kept,
    }
