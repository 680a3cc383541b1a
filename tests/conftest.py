"""What every test may ask for: databases, the shared folder, the second openai SDK."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
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
    """The folder with the last openai SDK that runs on httpx, to put on a process's PYTHONPATH.

    Installed once for a lock file; the test processes of one run wait for each other.
    """
    lock_file = ROOT / "requirements-openai2.lock"
    folder = ROOT / ".cache" / "openai2"
    wanted = hashlib.sha256(lock_file.read_bytes() + sys.version.encode()).hexdigest()
    marker = folder / ".installed"
    folder.parent.mkdir(exist_ok=True)
    with (folder.parent / "openai2.guard").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        if not marker.is_file() or marker.read_text() != wanted:
            shutil.rmtree(folder, ignore_errors=True)
            _install(lock_file, folder)
            marker.write_text(wanted)
    return folder


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
