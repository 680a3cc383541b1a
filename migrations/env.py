"""Run migrations for Alembic, on the connection that `meter` hands over or on METER_DATABASE_URL.

Alembic executes this file; nothing imports it.
"""

import os
from typing import Any

from alembic import context
from sqlalchemy import Connection

from meter.store.engine import open_engine, write_connection
from meter.store.schema import metadata


def _migrate(connection: Connection) -> None:
    """Bring the schema up on a connection that is already in a transaction."""
    context.configure(
        connection=connection,
        target_metadata=metadata,
        compare_type=True,
        on_version_apply=_report,
    )
    with context.begin_transaction():
        context.run_migrations()


def _report(*, step: Any, **_more: object) -> None:
    """Tell whoever watches that one migration was applied."""
    progress = context.config.attributes.get("progress")
    if progress is not None:
        progress(f"migrated the schema to revision {step.up_revision_id}")


given = context.config.attributes.get("connection")
url = context.config.get_main_option("sqlalchemy.url") or os.environ.get(
    "METER_DATABASE_URL", "sqlite:///meter.db"
)
if context.is_offline_mode():
    context.configure(url=url, target_metadata=metadata, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()
elif given is not None:
    _migrate(given)
else:
    engine = open_engine(url)
    with write_connection(engine) as connection:
        _migrate(connection)
    engine.dispose()
