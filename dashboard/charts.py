"""Turn frames into charts. Pure: rows in, chart out."""

import altair as alt
import pandas as pd


def spend_by_day(frame: pd.DataFrame, group: str, currency: str) -> alt.Chart:
    """Return stacked bars of cost by day, coloured by `group` ("model" or "subject")."""
    shown = frame.assign(cost=frame["cost"].map(lambda cost: None if cost is None else float(cost)))
    return (
        alt.Chart(shown)
        .mark_bar()
        .encode(
            x=alt.X("day:O", title="Day"),
            y=alt.Y("sum(cost):Q", title=f"Cost ({currency})"),
            color=alt.Color(
                f"{group}:N", title=group.capitalize(), scale=alt.Scale(scheme="tableau20")
            ),
            tooltip=[
                "day:O",
                f"{group}:N",
                alt.Tooltip("sum(cost):Q", format=".6f"),
                "sum(calls):Q",
            ],
        )
        .properties(height=340)
    )
