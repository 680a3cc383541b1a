"""The commands `meter budgets list|set|remove`."""

from typing import Annotated

import typer

from meter.cli.asking import DatabaseUrl
from meter.cli.output import Column, Format, amount, say, show
from meter.errors import InputError
from meter.meter import Meter

budgets = typer.Typer(no_args_is_help=True, help="Limit what may be spent.")

COLUMNS = (
    Column("name", "Budget"),
    Column("scope", "Scope"),
    Column("measure", "Measure"),
    Column("window", "Window"),
    Column("limit", "Limit", numeric=True),
    Column("spent", "Spent", numeric=True),
    Column("held", "Held", numeric=True),
    Column("left", "Left", numeric=True),
    Column("currency", "Currency"),
)


@budgets.command("list")
def list_budgets(
    format: Annotated[Format, typer.Option(help="How to show them.")] = Format.TABLE,
    database_url: DatabaseUrl = None,
) -> None:
    """List every budget with what is spent, held and left in its present window."""
    with Meter(database_url) as meter:
        rows = []
        for row in meter.budgets():
            budget, standing = row.budget, row.standing
            is_money = budget.currency is not None
            amounts = {
                "limit": budget.limit,
                "spent": standing.spent,
                "held": standing.held,
                "left": row.left,
            }
            rows.append(
                {
                    "name": budget.id,
                    "scope": f"{budget.scope.kind} {budget.scope.value}".strip(),
                    "measure": str(budget.measure),
                    "window": f"{budget.window.name}, {budget.window.tz}",
                    "currency": budget.currency,
                    **{k: amount(v) if is_money else v for k, v in amounts.items()},
                }
            )
    show(rows, COLUMNS, format, title="Budgets", empty="No budget is set.")


@budgets.command("set")
def set_budget(
    name: Annotated[str, typer.Argument(help="The budget's name; an existing one is replaced.")],
    limit: Annotated[str, typer.Option(help="A decimal amount, or a number of tokens or calls.")],
    subject: Annotated[str | None, typer.Option(help="Limit this subject.")] = None,
    team: Annotated[str | None, typer.Option(help="Limit this team.")] = None,
    project: Annotated[str | None, typer.Option(help="Limit this project.")] = None,
    tag: Annotated[str | None, typer.Option(help="Limit this tag, as name=value.")] = None,
    model: Annotated[str | None, typer.Option(help="Limit this model.")] = None,
    key: Annotated[str | None, typer.Option(help="Limit this key of the gateway.")] = None,
    currency: Annotated[str, typer.Option(help="Currency of the limit.")] = "USD",
    measure: Annotated[str, typer.Option(help="money, tokens or calls.")] = "money",
    window: Annotated[
        str, typer.Option(help="minute, hour, day, week, month, total, or rolling:24h (m, h, d).")
    ] = "month",
    tz: Annotated[str, typer.Option(help="Time zone of the window.")] = "UTC",
    database_url: DatabaseUrl = None,
) -> None:
    """Set a limit for a subject, a team, a project, a tag, a model, a key or everything."""
    pair = None
    if tag is not None:
        left, equals, right = tag.partition("=")
        if not (left and equals and right):
            raise InputError(f"found tag {tag!r}, expected name=value")
        pair = (left, right)
    with Meter(database_url) as meter:
        budget = meter.set_budget(
            name,
            limit=limit,
            subject=subject,
            team=team,
            project=project,
            tag=pair,
            model=model,
            key=key,
            currency=currency,
            measure=measure,
            window=window,
            tz=tz,
        )
    say(f"Budget {budget.id}: {budget.show(budget.limit)} for each {window}, {tz}.")


@budgets.command("remove")
def remove_budget(
    name: Annotated[str, typer.Argument(help="The budget's name.")],
    database_url: DatabaseUrl = None,
) -> None:
    """Remove a budget; what it counted stays in the ledger's records."""
    with Meter(database_url) as meter:
        if not meter.remove_budget(name):
            raise InputError(f"found no budget {name!r}")
    say(f"Budget {name} is removed.")
