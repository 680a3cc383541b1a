"""The floors of the house: imports point down, the core is pure, no float stands beside money.

The rules read the source text only. The second half of the file tests the rules themselves on
small sources, so that a rule that has stopped looking is found.
"""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Each room of the package and the floor it stands on. A new room is entered here first.
FLOORS = {
    "meter.core": 0,
    "meter.errors": 0,
    "meter.attribution": 1,
    "meter.clock": 1,
    "meter.config": 1,
    "meter.memory": 1,
    "meter.prices": 1,
    "meter.providers": 1,
    "meter.resources": 1,
    "meter.store": 1,
    "meter.tokens": 1,
    "meter.wire": 1,
    "meter.imported": 2,
    "meter.pipeline": 2,
    "meter.clients": 3,
    "meter.exports": 3,
    "meter.gateway": 3,
    "meter.manual": 3,
    "meter.reports": 3,
    "meter.simulator": 3,
    "meter": 4,  # the package's own face, which offers the façade
    "meter.crediting": 4,
    "meter.meter": 4,
    "meter.__main__": 5,
    "meter.cli": 5,
}

# Rooms on one floor that may know each other: (who imports, what), and why.
SIBLINGS = {
    ("meter.core", "meter.errors"): "the core raises the product's errors",
    (
        "meter.gateway",
        "meter.reports",
    ): "a customer sees its lines as the reports derive them",
    ("meter.gateway", "meter.manual"): "a realtime response is a call without an HTTP exchange",
    ("meter.meter", "meter.crediting"): "the façade offers prepaid credit as a part of its own",
    ("meter", "meter.meter"): "the package offers the façade by its name",
    ("meter.__main__", "meter.cli"): "`python -m meter` is the command line",
    ("meter.exports", "meter.reports"): "exports show charge lines as the reports derive them",
    ("meter.providers", "meter.wire"): "an endpoint reads its answer with the wire's observers",
    ("meter.providers", "meter.tokens"): "what a provider delivers is counted as its model counts",
    ("meter.store", "meter.clock"): "an opened ledger sweeps by the time of day",
    ("meter.store", "meter.config"): "the settings say which ledger is opened, and how",
    ("meter.store", "meter.resources"): "the migrations lie where resources says",
}

# The core decides; it does not look. None of these, and no clock (see `clock_calls`).
NOT_IN_CORE = {
    "asyncio", "http", "io", "logging", "multiprocessing", "os", "pathlib", "random", "secrets",
    "selectors", "shutil", "signal", "socket", "sqlite3", "ssl", "subprocess", "sys", "tempfile",
    "threading", "time", "urllib", "uuid",
}  # fmt: skip
# The one name of such a module that is only a type.
PURE_NAMES = {"uuid.UUID"}
CLOCK_CALLS = {"now", "utcnow", "today"}

SQL_PACKAGES = {"alembic", "psycopg", "pysqlite3", "sqlalchemy", "sqlite3"}

# Where an amount is made or kept: no float may be written, named or produced here at all.
MONEY_FILES = (
    "meter/core/budgets.py",
    "meter/core/credit.py",
    "meter/core/ledger.py",
    "meter/core/money.py",
    "meter/core/rates.py",
    "meter/core/rating.py",
    "meter/core/settlement.py",
    "meter/prices/",
)


@dataclass(frozen=True, slots=True)
class Source:
    """One Python file: its path in the repository, with slashes, and its text."""

    path: str
    text: str

    @property
    def module(self) -> str:
        """The dotted name it is imported by, such as `meter.core.money`."""
        name = self.path.removesuffix(".py").replace("/", ".")
        return name.removesuffix(".__init__")

    @property
    def package(self) -> str:
        """The package that its relative imports start from."""
        is_package = self.path.endswith("__init__.py")
        return self.module if is_package else self.module.rpartition(".")[0]


def sources(*folders: str) -> list[Source]:
    """Read every Python file below the folders that exist; a folder still to come has none."""
    return [
        Source(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8"))
        for folder in folders
        for path in sorted((ROOT / folder).rglob("*.py"))
    ]


def imports(source: Source) -> Iterator[tuple[int, str]]:
    """Yield line and dotted name of every import, wherever it stands in the file.

    `from meter.core import money` is `meter.core.money`: too deep a name does no harm, because
    rooms are found by their beginning, and `from meter import pipeline` has to name its room.
    """
    for node in ast.walk(ast.parse(source.text)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            start = source.package.split(".")[: len(source.package.split(".")) - node.level + 1]
            before = [*start] if node.level else []
            origin = ".".join([*before, *([node.module] if node.module else [])])
            for alias in node.names:
                yield node.lineno, f"{origin}.{alias.name}"
        elif isinstance(node, ast.Call) and _called(node) in {"import_module", "__import__"}:
            first = node.args[0] if node.args else None
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield node.lineno, first.value


def room_of(module: str) -> str | None:
    """Return the room that an imported name is in, None outside the package.

    A name such as `meter.Meter` is neither a room nor a module: the package's face offers it.
    """
    parts = module.split(".")
    if parts[0] != "meter":
        return None
    room = ".".join(parts[:2])
    return room if room in FLOORS or _is_module(room) else "meter"


def floor_faults(source: Source) -> list[str]:
    """Name each import that points up, or sideways without being an exception."""
    own = ".".join(source.module.split(".")[:2])
    if own not in FLOORS:
        return [f"{source.path}: the room {own} has no floor in tests/test_architecture.py"]
    faults = []
    for line, name in imports(source):
        other = room_of(name)
        if other is None or other == own:
            continue
        if other not in FLOORS:
            faults.append(f"{source.path}:{line}: {other} has no floor")
        elif FLOORS[other] > FLOORS[own]:
            faults.append(f"{source.path}:{line}: {own} imports {other}, which is above it")
        elif FLOORS[other] == FLOORS[own] and (own, other) not in SIBLINGS:
            faults.append(f"{source.path}:{line}: {own} imports its sibling {other}")
    return faults


def purity_faults(source: Source) -> list[str]:
    """Name what the core imports beyond the quiet part of the standard library, and its clocks."""
    faults = []
    for line, name in imports(source):
        top = name.split(".")[0]
        if top == "meter":
            if room_of(name) not in {"meter.core", "meter.errors"}:
                faults.append(f"{source.path}:{line}: the core imports {name}")
        elif top not in sys.stdlib_module_names:
            faults.append(f"{source.path}:{line}: the core imports the third-party {top}")
        elif top in NOT_IN_CORE and name not in PURE_NAMES:
            faults.append(f"{source.path}:{line}: the core imports {top}, which looks outside")
    for node in ast.walk(ast.parse(source.text)):
        if isinstance(node, ast.Call) and _called(node) in CLOCK_CALLS | {"open", "input", "print"}:
            faults.append(f"{source.path}:{node.lineno}: the core calls {_called(node)}()")
    return faults


def foreign_imports(source: Source, packages: set[str]) -> list[str]:
    """Name each import of one of the top-level packages."""
    return [
        f"{source.path}:{line}: imports {name}"
        for line, name in imports(source)
        if name.split(".")[0] in packages
    ]


def imports_beyond(source: Source, allowed: set[str]) -> list[str]:
    """Name each import whose top-level package is neither allowed nor the standard library's."""
    return [
        f"{source.path}:{line}: imports {name}"
        for line, name in imports(source)
        if name.split(".")[0] not in allowed | sys.stdlib_module_names
    ]


def float_faults(source: Source) -> list[str]:
    """Name each float in a money file: a literal, and the type, but for a test that rejects it."""
    tree = ast.parse(source.text)
    rejecting = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and _called(node) == "isinstance"
        for inner in ast.walk(node)
    }
    faults = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, float):
            faults.append(f"{source.path}:{node.lineno}: the float {node.value!r}")
        elif isinstance(node, ast.Name) and node.id == "float" and id(node) not in rejecting:
            faults.append(f"{source.path}:{node.lineno}: the type float")
    return faults


def nanos_faults(source: Source) -> list[str]:
    """Name each amount in nanos that is divided into a float, or given one."""
    faults = []
    for node in ast.walk(ast.parse(source.text)):
        match node:
            case ast.BinOp(left=left, op=ast.Div(), right=right) if _is_nanos(left) or _is_nanos(
                right
            ):
                faults.append(f"{source.path}:{node.lineno}: nanos divided with /, expected //")
        for target, value in _given(node):
            if _is_nanos(target) and _makes_float(value):
                faults.append(f"{source.path}:{node.lineno}: nanos given a float")
    return faults


def _given(node: ast.AST) -> Iterator[tuple[ast.expr, ast.expr]]:
    """Yield each target of an assignment, annotation or keyword with what it is given."""
    match node:
        case ast.Assign(targets=targets, value=value):
            yield from ((target, value) for target in targets)
        case ast.AugAssign(target=target, op=op, value=value):
            yield target, ast.BinOp(target, op, value)
        case ast.AnnAssign(target=target, annotation=annotation, value=value):
            yield target, annotation
            if value is not None:
                yield target, value
        case ast.arg(arg=name, annotation=annotation) if annotation is not None:
            yield ast.Name(name), annotation
        case ast.keyword(arg=str(name), value=value):
            yield ast.Name(name), value
        case (
            ast.FunctionDef(name=name, returns=ast.expr() as returns)
            | ast.AsyncFunctionDef(name=name, returns=ast.expr() as returns)
        ):
            yield ast.Name(name), returns


def _is_nanos(node: ast.expr) -> bool:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name == "nanos" or name.endswith("_nanos")
        case ast.Subscript(slice=ast.Constant(value=str(name))):
            return name == "nanos" or name.endswith("_nanos")
        case ast.UnaryOp(operand=operand):
            return _is_nanos(operand)
    return False


def _makes_float(node: ast.expr) -> bool:
    """Tell whether the value itself is a float: a literal, the type, a call of it, a division."""
    match node:
        case ast.Constant(value=float()):
            return True
        case ast.Name(id="float"):
            return True
        case ast.Call(func=ast.Name(id="float")):
            return True
        case ast.BinOp(op=ast.Div()):
            return True
        case ast.BinOp(left=left, right=right):
            return _makes_float(left) or _makes_float(right)
        case ast.IfExp(body=body, orelse=orelse):
            return _makes_float(body) or _makes_float(orelse)
        case ast.UnaryOp(operand=operand):
            return _makes_float(operand)
    return False


def _called(node: ast.Call) -> str:
    match node.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def _is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


# The house as it stands.


def test_imports_point_down() -> None:
    assert [fault for source in sources("meter") for fault in floor_faults(source)] == []


def test_the_core_is_pure() -> None:
    faults = [fault for source in sources("meter/core") for fault in purity_faults(source)]
    faults += purity_faults(Source("meter/errors.py", (ROOT / "meter/errors.py").read_text()))
    assert faults == []


def test_only_the_store_knows_sql() -> None:
    # The simulator plays the provider and keeps that provider's books its own way.
    apart = ("meter/store/", "meter/simulator/")
    others = [s for s in sources("meter", "dashboard") if not s.path.startswith(apart)]
    assert [fault for source in others for fault in foreign_imports(source, SQL_PACKAGES)] == []


def test_the_simulator_shares_nothing_with_the_meter() -> None:
    inside = sources("meter/simulator")
    faults = [
        f"{source.path}:{line}: imports {name}"
        for source in inside
        for line, name in imports(source)
        if room_of(name) not in {None, "meter.simulator"}
    ]
    assert faults == []


def test_migrations_are_frozen_history() -> None:
    versions = sources("migrations/versions")
    allowed = {"sqlalchemy", "alembic"}
    assert [fault for source in versions for fault in imports_beyond(source, allowed)] == []


def test_only_the_migrations_environment_reads_the_schema() -> None:
    others = [s for s in sources("migrations") if s.path != "migrations/env.py"]
    assert [fault for source in others for fault in foreign_imports(source, {"meter"})] == []


def test_the_dashboard_asks_the_meter_in_one_place() -> None:
    others = [s for s in sources("dashboard") if not s.path.startswith("dashboard/data/")]
    assert [fault for source in others for fault in foreign_imports(source, {"meter"})] == []


def test_no_float_where_money_is_made() -> None:
    money = [s for s in sources("meter") if s.path.startswith(MONEY_FILES)]
    assert [fault for source in money for fault in float_faults(source)] == []


def test_no_amount_becomes_a_float() -> None:
    everything = sources("meter", "dashboard", "migrations")
    assert [fault for source in everything for fault in nanos_faults(source)] == []


# The rules themselves.


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("meter/core/money.py", "from meter.store import schema"),
        ("meter/core/money.py", "from ..store.schema import events"),
        ("meter/store/writes.py", "import meter.pipeline"),
        ("meter/store/writes.py", "from meter import pipeline"),
        ("meter/store/writes.py", "from meter import Meter"),
        ("meter/store/__init__.py", "from .. import pipeline"),
        ("meter/store/writes.py", "def late():\n    from meter.gateway import app"),
        ("meter/store/writes.py", "importlib.import_module('meter.cli')"),
        ("meter/store/writes.py", "from meter.providers import openai"),
        ("meter/tokens/chat.py", "from meter.providers import openai"),
        ("meter/gateway/app.py", "from meter.clients import sdk"),
        ("meter/pipeline.py", "if TYPE_CHECKING:\n    from meter.meter import Meter"),
        ("meter/errors.py", "from meter.core import money"),
        ("meter/surprise/new.py", "import json"),
    ],
)
def test_an_import_up_or_sideways_is_found(path: str, line: str) -> None:
    assert len(floor_faults(Source(path, line))) == 1


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("meter/pipeline.py", "from meter.store import writes"),
        ("meter/store/writes.py", "from meter.core import money"),
        ("meter/store/writes.py", "from . import schema"),
        ("meter/store/writes.py", "from .schema import events"),
        ("meter/core/money.py", "from meter.errors import MeterError"),
        ("meter/providers/openai/chat.py", "from ...wire import sse"),
        ("meter/cli/__init__.py", "from meter import Meter"),
        ("meter/__init__.py", "from meter.meter import Meter"),
        ("meter/core/money.py", "import metering"),
    ],
)
def test_an_import_down_or_at_home_passes(path: str, line: str) -> None:
    assert floor_faults(Source(path, line)) == []


@pytest.mark.parametrize(
    "line",
    [
        "import httpx",
        "import os.path",
        "from time import monotonic",
        "from uuid import uuid4",
        "from meter.store import schema",
        "today = datetime.now(UTC)",
        "print(amount)",
    ],
)
def test_what_the_core_may_not_do_is_found(line: str) -> None:
    assert len(purity_faults(Source("meter/core/money.py", line))) == 1


def test_what_the_core_may_do_passes() -> None:
    text = "from decimal import Decimal\nfrom uuid import UUID\nfrom .units import Unit"
    assert purity_faults(Source("meter/core/money.py", text)) == []


@pytest.mark.parametrize(
    "line",
    ["rate = 0.5", "rate = float(text)", "rate: float", "def f(rate: float | None): ...", "1e9"],
)
def test_a_float_beside_money_is_found(line: str) -> None:
    assert len(float_faults(Source("meter/core/money.py", line))) == 1


def test_rejecting_a_float_passes() -> None:
    text = "if isinstance(value, (bool, float)):\n    raise TypeError('a float is no amount')"
    assert float_faults(Source("meter/core/money.py", text)) == []


@pytest.mark.parametrize(
    "line",
    [
        "share = cost_nanos / 2",
        "share = 1 / row.cost_nanos",
        "share = row['cost_nanos'] / total",
        "cost_nanos: float",
        "cost_nanos: float | None = None",
        "cost_nanos = 0.0",
        "cost_nanos = price * 1e9",
        "row.cost_nanos = float(text)",
        "hold(limit_nanos=1.5)",
        "def f(cost_nanos: float): ...",
        "def cost_nanos() -> float: ...",
        "async def cost_nanos() -> float: ...",
    ],
)
def test_an_amount_that_becomes_a_float_is_found(line: str) -> None:
    assert len(nanos_faults(Source("meter/reports/usage.py", line))) == 1


@pytest.mark.parametrize("line", ["cost_nanos = a / b", "cost_nanos /= 2"])
def test_an_amount_made_by_division_is_found(line: str) -> None:
    assert len(nanos_faults(Source("meter/reports/usage.py", line))) == 1


def test_whole_amounts_pass() -> None:
    text = (
        "cost_nanos = quantity * rate_nanos // 1_000_000\n"
        "cost_nanos: int | None = None\n"
        "share = Decimal(cost_nanos) / Decimal(total_nanos)\n"
        "path = folder / 'cost_nanos'\n"
        "hold(limit_nanos=int(Decimal(text) * 10**9))\n"
    )
    assert nanos_faults(Source("meter/reports/usage.py", text)) == []


def test_the_rules_find_the_files() -> None:
    assert "meter/resources.py" in {source.path for source in sources("meter")}
