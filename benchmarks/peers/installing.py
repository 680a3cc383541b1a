"""Install peers into folders of their own under .cache, once. Called by the scripts beside it."""

import shutil
import subprocess
import sys
from pathlib import Path

from peers.contestant import Unavailable

_PEERS = Path(__file__).resolve().parents[2] / ".cache" / "peers"
_SECONDS = 900


def python_environment(name: str, *packages: str) -> Path:
    """Return the folder of programs of an environment that holds the packages."""
    folder = _PEERS / name
    programs = folder / "bin"
    wanted = "\n".join(packages)
    stamp = folder / "installed"
    if not stamp.exists() or stamp.read_text() != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        _run(sys.executable, "-m", "venv", str(folder))
        _run(str(programs / "python"), "-m", "pip", "install", "-q", *packages)
        stamp.write_text(wanted)
    return programs


def node_modules(name: str, package: str) -> Path:
    """Return the folder of an npm package. Raises: Unavailable."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        raise Unavailable("found neither node nor npm")
    folder = _PEERS / name
    stamp = folder / "installed"
    if not stamp.exists() or stamp.read_text() != package:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        _run("npm", "install", "--silent", "--no-audit", "--no-fund", package, folder=folder)
        stamp.write_text(package)
    return folder / "node_modules" / package.rpartition("@")[0]


def debian_package(name: str) -> Path:
    """Return the folder into which a Debian package was unpacked. Raises: Unavailable."""
    folder = _PEERS / name
    stamp = folder / "installed"
    if not stamp.exists():
        if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
            raise Unavailable("found neither the program nor apt-get")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        _run("apt-get", "download", name, folder=folder)
        (package,) = folder.glob("*.deb")
        _run("dpkg", "-x", str(package), str(folder))
        stamp.write_text(package.name)
    return folder


def _run(*command: str, folder: Path | None = None) -> None:
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"could not be installed: {type(error).__name__}") from None
    if done.returncode:
        told = (done.stderr.strip() or done.stdout.strip() or "no reason").splitlines()[-1]
        raise Unavailable(f"could not be installed: {told[:160]}")
