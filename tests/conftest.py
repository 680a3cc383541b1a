"""What every test may ask for: databases, the shared folder, clients of their own."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import settings

from tests.postgres import PostgresServer, running_server

ROOT = Path(__file__).resolve().parents[1]

# A slow machine is no fault of the code. A landing change sees the same examples as its author.
settings.register_profile("local", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Run tests marked `anyio` on asyncio, the loop that the product runs on."""
    return "asyncio"


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One PostgreSQL server for each test process."""
    with running_server() as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """The address of an empty PostgreSQL database that this test has for itself."""
    with postgres_server.fresh_database() as name:
        yield postgres_server.url(name)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """The address of an SQLite file that does not exist yet."""
    return f"sqlite:///{tmp_path / 'meter.db'}"


@pytest.fixture(
    params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)],
)
def database_url(request: pytest.FixtureRequest) -> str:
    """The address of an empty database: the test runs once for each engine."""
    wanted = "sqlite_url" if request.param == "sqlite" else "postgres_url"
    url: str = request.getfixturevalue(wanted)
    return url


@pytest.fixture(scope="session")
def shared_folder() -> Path:
    """The folder of facts and recorded exchanges that lies beside the checkout."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        sentence = "found no folder `shared` beside the checkout: the recorded exchanges lie in it"
        if os.environ.get("CI"):
            pytest.fail(sentence)
        pytest.skip(sentence)
    return folder


@pytest.fixture(scope="session")
def openai2_path() -> Path:
    """The folder with the last openai SDK that runs on httpx, to put on a process's PYTHONPATH."""
    return _installed("openai2")


@pytest.fixture(scope="session")
def openai1_path() -> Path:
    """The folder with the last openai SDK of the first major version, for a PYTHONPATH."""
    return _installed("openai1")


@pytest.fixture(scope="session")
def litellm_path() -> Path:
    """The folder with litellm and what it needs, for a PYTHONPATH."""
    return _installed("litellm")


@pytest.fixture(scope="session")
def chdb_path() -> Path:
    """The folder with chDB, which is ClickHouse in process, and its client, for a PYTHONPATH."""
    return _installed("chdb")


@pytest.fixture(scope="session")
def node_path() -> Path:
    """The folder whose `node_modules` hold the clients from npm that the tests run in Node."""
    if shutil.which("npm") is None:
        pytest.fail("found no npm, expected Node.js with npm: apt install nodejs npm")
    source = ROOT / "tests" / "gateway" / "node"
    lock_file = source / "package-lock.json"
    with _once("node", lock_file) as folder:
        if folder is not None:
            for name in ("package.json", "package-lock.json"):
                shutil.copy(source / name, folder / name)
            command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
            done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
            if done.returncode != 0:
                pytest.fail(f"could not install {lock_file}: {done.stderr.strip()[-2000:]}")
    return ROOT / ".cache" / "node"


def _installed(name: str) -> Path:
    """Return the folder in which what requirements-<name>.lock names is installed."""
    lock_file = ROOT / f"requirements-{name}.lock"
    with _once(name, lock_file) as folder:
        if folder is not None:
            _install(lock_file, folder)
    return ROOT / ".cache" / name


@contextmanager
def _once(name: str, lock_file: Path) -> Iterator[Path | None]:
    """Yield an empty folder to fill, None where it is filled already for this lock file.

    The test processes of one run wait for each other.
    """
    folder = ROOT / ".cache" / name
    wanted = hashlib.sha256(lock_file.read_bytes() + sys.version.encode()).hexdigest()
    marker = folder / ".installed"
    folder.parent.mkdir(exist_ok=True)
    with (folder.parent / f"{name}.guard").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        if marker.is_file() and marker.read_text() == wanted:
            yield None
            return
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        yield folder
        marker.write_text(wanted)


def _install(lock_file: Path, folder: Path) -> None:
    uv = Path(sys.executable).with_name("uv")
    command = [str(uv), "pip", "install", "--quiet", "--python", sys.executable]
    command += ["--require-hashes", "--requirement", str(lock_file), "--target", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    if done.returncode != 0:
        pytest.fail(
            f"could not install {lock_file.name} into {folder.relative_to(ROOT)}, "
            f"which needs the package index: {done.stderr.strip()}"
        )
