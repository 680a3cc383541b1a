"""Put the folders that live beside the package into its wheel.

`migrations/`, `dashboard/` and `alembic.ini` stand at the top level of the repository. In a wheel
they lie in `meter/_bundled/`, in the same arrangement, where `meter.resources` finds them. An
editable install gets no copy: it uses the checkout's own. Called by hatchling only.
"""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

BUNDLED = ("alembic.ini", "dashboard", "migrations")


class BundleHook(BuildHookInterface):  # type: ignore[type-arg]
    """Add the bundled paths to a standard wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Name each bundled path and its place in the wheel; hatchling refuses a missing one."""
        if version == "editable":
            return
        for name in BUNDLED:
            build_data["force_include"][str(Path(self.root, name))] = f"meter/_bundled/{name}"
