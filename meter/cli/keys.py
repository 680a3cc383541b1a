"""The commands `meter keys create|limit|list|revoke|rotate|show`: who may call the gateway."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from meter.attribution import checked, placed
from meter.cli.asking import DatabaseUrl
from meter.cli.output import Column, Format, encoded, say, show
from meter.cli.times import ahead_us, shown_time
from meter.clock import now_us
from meter.core.budgets import ScopeKind
from meter.core.call import Attribution
from meter.errors import InputError
from meter.meter import Meter

if TYPE_CHECKING:
    from meter.store.keys import Key

keys = typer.Typer(no_args_is_help=True, help="Give customers keys for the gateway.")

COLUMNS = (
    Column("id", "Key"),
    Column("prefix", "Begins"),
    Column("subject", "Subject"),
    Column("name", "Name", wraps=True),
    Column("team", "Team", wraps=True),
    Column("project", "Project", wraps=True),
    Column("role", "Role"),
    Column("tags", "Tags", wraps=True),
    Column("models", "Models", wraps=True),
    Column("endpoints", "Endpoints", wraps=True),
    Column("limits", "Limits", wraps=True),
    Column("state", "State"),
    Column("expires", "Expires"),
    Column("created", "Created"),
)

_RATES = ("calls", "tokens")

PerMinute = Annotated[int | None, typer.Option(min=0, help="Calls a minute it may make.")]
TokensPerMinute = Annotated[int | None, typer.Option(min=0, help="Tokens a minute it may use.")]
Listed = Annotated[Format, typer.Option("--format", help="How to show them.")]
KeyId = Annotated[str, typer.Argument(help="The key, such as key-4f7k2m9qxw.")]


@keys.command("create")
def create_key(
    subject: Annotated[str, typer.Option(help="Who pays for its calls.")],
    team: Annotated[str | None, typer.Option(help="The team its calls count for.")] = None,
    project: Annotated[str | None, typer.Option(help="The project they count for.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="A tag as name=value.")] = None,
    name: Annotated[str, typer.Option(help="What it is for.")] = "",
    expires: Annotated[str | None, typer.Option(help="30d, 12h, or a date.")] = None,
    models: Annotated[
        str | None, typer.Option(help="The models it may use: gpt-4o,gpt-4.1*.")
    ] = None,
    endpoints: Annotated[
        str | None, typer.Option(help="The endpoints it may use: chat,embeddings.")
    ] = None,
    may_name_users: Annotated[
        bool, typer.Option("--may-name-users", help="Requests may say for whom they are.")
    ] = False,
    calls_per_minute: PerMinute = None,
    tokens_per_minute: TokensPerMinute = None,
    role: Annotated[
        str | None, typer.Option(help="admin or reader: a key of the admin API, not for calls.")
    ] = None,
    format: Listed = Format.TABLE,
    database_url: DatabaseUrl = None,
) -> None:
    """Make a key. Its secret is shown once, now."""
    attribution = checked(Attribution(subject, placed(_tags(tag or []), team, project)))
    with Meter(database_url) as meter:
        made = meter.keys.create(
            subject,
            tags=attribution.tags,
            name=name,
            models=_names(models),
            endpoints=_endpoints(endpoints),
            may_name_users=may_name_users,
            expires_us=ahead_us(expires, "UTC"),
            role=role,
        )
        _limit(meter, made.key.id, calls_per_minute, tokens_per_minute)
    _show_secret(made.key.id, made.key.subject, made.secret, format)


@keys.command("limit")
def limit_key(
    key: KeyId,
    calls_per_minute: PerMinute = None,
    tokens_per_minute: TokensPerMinute = None,
    none: Annotated[bool, typer.Option("--none", help="Lift both limits first.")] = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Set or lift what a key may do in a minute; running gateways follow at once."""
    if not none and calls_per_minute is None and tokens_per_minute is None:
        raise InputError(
            "found no limit, expected --calls-per-minute, --tokens-per-minute or --none"
        )
    with Meter(database_url) as meter:
        if meter.keys.one(key) is None:
            raise InputError(f"found no key {key!r}: meter keys list shows them")
        if none:
            for measure in _RATES:
                meter.remove_budget(_rate_id(key, measure))
        _limit(meter, key, calls_per_minute, tokens_per_minute)
        limits = _limits(meter).get(key, "none")
    say(f"Limits of key {key}: {limits}.")


@keys.command("list")
def list_keys(
    subject: Annotated[str | None, typer.Option(help="Only this subject's.")] = None,
    team: Annotated[str | None, typer.Option(help="Only this team's.")] = None,
    project: Annotated[str | None, typer.Option(help="Only this project's.")] = None,
    tz: Annotated[str, typer.Option(help="Time zone of the moments.")] = "UTC",
    format: Listed = Format.TABLE,
    database_url: DatabaseUrl = None,
) -> None:
    """List every key, without its secret."""
    with Meter(database_url) as meter:
        found = [
            key
            for key in meter.keys.all()
            if subject in (None, key.subject)
            and team in (None, dict(key.tags).get("team"))
            and project in (None, dict(key.tags).get("project"))
        ]
        rows = _rows(found, _limits(meter), tz)
    show(rows, COLUMNS, format, title="Keys", empty="There is no key: meter keys create makes one.")


@keys.command("show")
def show_key(
    key: KeyId,
    tz: Annotated[str, typer.Option(help="Time zone of the moments.")] = "UTC",
    format: Listed = Format.TABLE,
    database_url: DatabaseUrl = None,
) -> None:
    """Show one key, without its secret."""
    with Meter(database_url) as meter:
        found = meter.keys.one(key)
        if found is None:
            raise InputError(f"found no key {key!r}: meter keys list shows them")
        (row,) = _rows([found], _limits(meter), tz)
    if format is not Format.TABLE:
        show([row], COLUMNS, format)
        return
    facts = [{"what": column.heading, "is": row[column.key]} for column in COLUMNS]
    show(facts, (Column("what", "Key"), Column("is", found.id, wraps=True)), format)


@keys.command("revoke")
def revoke_key(key: KeyId, database_url: DatabaseUrl = None) -> None:
    """Make a key worthless for good; running gateways notice within seconds."""
    with Meter(database_url) as meter:
        revoked = meter.keys.revoke(key)
    say(f"Key {revoked.id} ({revoked.prefix}…) of {revoked.subject} is revoked.")


@keys.command("rotate")
def rotate_key(key: KeyId, format: Listed = Format.TABLE, database_url: DatabaseUrl = None) -> None:
    """Give a key a new secret, shown once; the old one is worthless within seconds."""
    with Meter(database_url) as meter:
        made = meter.keys.rotate(key)
    _show_secret(made.key.id, made.key.subject, made.secret, format)


def _rows(found: list["Key"], limits: dict[str, str], tz: str) -> list[dict[str, Any]]:
    at_us = now_us()
    rows = []
    for key in found:
        tags = dict(key.tags)
        rows.append(
            {
                "id": key.id,
                "prefix": f"{key.prefix}…",
                "subject": key.subject,
                "name": key.name or None,
                "team": tags.get("team"),
                "project": tags.get("project"),
                "role": key.role,
                "tags": ", ".join(f"{name}={value}" for name, value in tags.items()) or None,
                "models": ", ".join(key.models) if key.models else "all",
                "endpoints": ", ".join(key.endpoints) if key.endpoints else "all",
                "limits": limits.get(key.id),
                "state": key.state_at(at_us),
                "expires": shown_time(key.expires_us, tz),
                "created": shown_time(key.created_us, tz),
            }
        )
    return rows


def _rate_id(key_id: str, measure: str) -> str:
    return f"rate:{key_id}:{measure}"


def _limit(meter: Meter, key_id: str, calls: int | None, tokens: int | None) -> None:
    for measure, limit in zip(_RATES, (calls, tokens), strict=True):
        if limit is not None:
            name = _rate_id(key_id, measure)
            meter.set_budget(name, limit=limit, key=key_id, measure=measure, window="minute")


def _limits(meter: Meter) -> dict[str, str]:
    """Return the rate limits of each key that has some, in words."""
    found: dict[str, list[str]] = {}
    for row in meter.budgets():
        budget = row.budget
        if budget.is_rate and budget.scope.kind is ScopeKind.KEY:
            words = f"{budget.limit} {budget.measure} a minute"
            found.setdefault(budget.scope.value, []).append(words)
    return {key_id: ", ".join(words) for key_id, words in found.items()}


def _show_secret(key_id: str, subject: str, secret: str, format: Format) -> None:
    if format is not Format.TABLE:
        row = {"id": key_id, "subject": subject, "secret": secret}
        if format is Format.JSON:
            say(encoded(row))
        else:
            show([row], tuple(Column(name, name) for name in row), format)
        return
    say(f"Key {key_id} of {subject}. Its secret is shown only now:")
    say(secret)


def _names(text: str | None) -> list[str] | None:
    return None if text is None else text.split(",")


def _endpoints(text: str | None) -> list[str] | None:
    names = _names(text)
    if names is None:
        return None
    from meter.gateway.endpoints import NAMES

    for name in names:
        if name.strip() not in NAMES:
            raise InputError(f"found endpoint {name!r}, expected one of {', '.join(sorted(NAMES))}")
    return names


def _tags(given: list[str]) -> tuple[tuple[str, str], ...]:
    pairs = {}
    for pair in given:
        name, equals, value = pair.partition("=")
        if not (name and equals and value):
            raise InputError(f"found tag {pair!r}, expected name=value")
        pairs[name] = value
    return tuple(sorted(pairs.items()))
