"""What is published is complete, and what is installed is pinned."""

import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import ROOT

LOCK_FILES = ["requirements.lock", "requirements-openai2.lock", "tools/uv.lock"]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())


def pins(lock_file: str) -> dict[str, tuple[str, int]]:
    """Return version and number of hashes of each package that a lock file names."""
    found: dict[str, tuple[str, int]] = {}
    name = ""
    for line in (ROOT / lock_file).read_text().splitlines():
        if match := re.match(r"([A-Za-z0-9._-]+)==(\S+)", line):
            name = canonicalize_name(match[1])
            found[name] = (match[2], 0)
        elif line.startswith("    --hash=sha256:"):
            found[name] = (found[name][0], found[name][1] + 1)
    return found


def declared() -> Iterator[Requirement]:
    """Yield what pyproject.toml asks for: base, extras and the dev group."""
    lines = [*PROJECT["project"]["dependencies"], *PROJECT["dependency-groups"]["dev"]]
    for extra in PROJECT["project"]["optional-dependencies"].values():
        lines += extra
    for line in lines:
        requirement = Requirement(line)
        if requirement.name != PROJECT["project"]["name"]:
            yield requirement


@pytest.mark.parametrize("lock_file", LOCK_FILES)
def test_every_pin_has_a_hash(lock_file: str) -> None:
    found = pins(lock_file)
    assert found
    assert [name for name, (_, hashes) in found.items() if hashes == 0] == []


@pytest.mark.parametrize("lock_file", LOCK_FILES)
def test_a_lock_file_holds_pins_and_hashes_and_no_address(lock_file: str) -> None:
    pin = re.compile(r"[a-z0-9-]+(\[[a-z0-9,-]+\])?==[0-9][\w.+!]*( ; [^\\]+)? \\")
    digest = re.compile(r"    --hash=sha256:[0-9a-f]{64}( \\)?")
    comment = re.compile(r" *#( .*)?")
    lines = (ROOT / lock_file).read_text().splitlines()
    shapes = (pin, digest, comment)
    assert [line for line in lines if not any(shape.fullmatch(line) for shape in shapes)] == []
    assert [line for line in lines if re.search(r"://|index-url|find-links|[ =]/", line)] == []


def test_the_lock_satisfies_what_the_project_declares() -> None:
    found = pins("requirements.lock")
    wrong = []
    for requirement in declared():
        version, _ = found.get(canonicalize_name(requirement.name), (None, 0))
        if version is None or not requirement.specifier.contains(version):
            wrong.append(f"{requirement} is declared, {version} is locked")
    assert wrong == []


def test_set_up_installs_the_uv_that_the_lock_keeps() -> None:
    assert pins("tools/uv.lock")["uv"] == pins("requirements.lock")["uv"]


def test_all_is_every_extra() -> None:
    extras = PROJECT["project"]["optional-dependencies"]
    (everything,) = (Requirement(line) for line in extras["all"])
    assert everything.name == "metergate"
    assert everything.extras == set(extras) - {"all"}


def test_the_markers_are_ones_that_packaging_understands() -> None:
    environment = default_environment()
    chosen = [r.name for r in declared() if r.marker is None or r.marker.evaluate(environment)]
    assert "sqlalchemy" in chosen


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the source distribution, which is built from the checkout."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    if done.returncode != 0:
        pytest.fail(f"the build failed: {done.stderr or done.stdout}", pytrace=False)
    (built,) = folder.glob("*.whl")
    return built


def files_below(folder: str) -> set[str]:
    """Return the files that belong to a folder of the checkout, by their path in it."""
    return {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_the_wheel_holds_the_whole_package(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert files_below("meter") - names == set()
    assert "meter/py.typed" in names


def test_the_wheel_holds_rank_files_and_the_price_overlay(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for encoding in ("cl100k_base", "o200k_base", "p50k_base", "r50k_base"):
        assert [name for name in names if name.startswith("meter/tokens/") and encoding in name]
    assert [name for name in names if re.fullmatch(r"meter/prices/.*\.(toml|json|csv)", name)]


def test_the_wheel_holds_migrations_and_dashboard(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    wanted = files_below("migrations") | files_below("dashboard") | {"alembic.ini"}
    assert {"migrations/env.py", "migrations/script.py.mako"} <= wanted
    assert {f"meter/_bundled/{name}" for name in wanted} - names == set()


def test_the_wheel_holds_nothing_else(wheel: Path) -> None:
    places = ("meter/", f"metergate-{PROJECT['project']['version']}.dist-info/")
    assert [n for n in zipfile.ZipFile(wheel).namelist() if not n.startswith(places)] == []


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked wheel, far from the checkout."""
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def run_installed(installed: Path, script: str, *arguments: str) -> str:
    """Run Python with the unpacked wheel in front of the checkout, and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        capture_output=True,
        text=True,
        cwd=installed.parent,
        env={"PYTHONPATH": str(installed), "PATH": ""},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_an_installed_wheel_finds_what_it_carries(installed: Path) -> None:
    script = (
        "from meter import resources\n"
        "print(resources.migrations_folder())\n"
        "print(resources.dashboard_folder())\n"
        "print(resources.alembic_ini())\n"
    )
    bundled = installed / "meter" / "_bundled"
    assert run_installed(installed, script).splitlines() == [
        str(bundled / "migrations"),
        str(bundled / "dashboard"),
        str(bundled / "alembic.ini"),
    ]


def test_an_installed_wheel_makes_its_own_database(installed: Path, tmp_path: Path) -> None:
    script = "import sys; from meter.cli import main; sys.exit(main())"
    url = f"sqlite:///{tmp_path / 'meter.db'}"
    arguments = ("db", "upgrade")
    environment = f"import os; os.environ['METER_DATABASE_URL'] = {url!r}; "
    run_installed(installed, environment + script, *arguments)
    assert (tmp_path / "meter.db").stat().st_size > 0


def test_nothing_has_slipped_into_the_top_level() -> None:
    told = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert {name.partition("/")[0] for name in told.stdout.split("\n") if name} == {
        ".ci", ".gitignore", "CHANGELOG.md", "LICENSE", "Makefile", "README.md", "alembic.ini",
        "benchmarks", "dashboard", "docs", "meter", "migrations", "pyproject.toml",
        "requirements-chdb.lock", "requirements-litellm.lock", "requirements-openai1.lock",
        "requirements-openai2.lock", "requirements.lock", "tests", "tools",
    }  # fmt: skip
