"""Keep upstreams that are made while gateways run: their tables, without any credential.

Knows not what a table means; see `meter.gateway.upstreams`. Called by the gateway, the admin API
and the command line.
"""

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Engine, delete, insert, select

from meter.clock import now_us
from meter.store.encoding import to_json
from meter.store.engine import read_connection, write_connection
from meter.store.schema import upstreams as upstreams_table


class StoredUpstreams:
    """The upstreams of one ledger. Thread-safe; every method raises StoreUnavailable."""

    def __init__(self, engine: Engine) -> None:
        """Take an engine whose schema is current."""
        self._engine = engine

    def all(self) -> dict[str, dict[str, Any]]:
        """Return the table of each upstream by name, the oldest first."""
        chosen = select(upstreams_table).order_by(
            upstreams_table.c.created_us, upstreams_table.c.name
        )
        with read_connection(self._engine) as connection:
            found = connection.execute(chosen).mappings().all()
        return {row["name"]: json.loads(row["content"]) for row in found}

    def set(self, name: str, table: Mapping[str, Any]) -> None:
        """Keep an upstream, in place of one of the same name."""
        row = {"name": name, "created_us": now_us(), "content": to_json(dict(table))}
        with write_connection(self._engine) as connection:
            connection.execute(delete(upstreams_table).where(upstreams_table.c.name == name))
            connection.execute(insert(upstreams_table), row)

    def remove(self, name: str) -> bool:
        """Forget an upstream; return whether there was one."""
        gone = delete(upstreams_table).where(upstreams_table.c.name == name)
        with write_connection(self._engine) as connection:
            return connection.execute(gone).rowcount > 0
