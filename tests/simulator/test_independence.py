"""The simulator is a judge of the meter: it must not share the meter's code."""

import ast
import sys
from pathlib import Path

import meter.simulator

FOLDER = Path(meter.simulator.__file__).parent


def test_simulator_imports_itself_the_standard_library_and_uvicorn_only() -> None:
    foreign = set()
    for path in FOLDER.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            foreign |= {
                name
                for name in names
                if not name.startswith("meter.simulator")
                and name.split(".")[0] not in sys.stdlib_module_names
            }
    assert foreign == {"uvicorn"}
