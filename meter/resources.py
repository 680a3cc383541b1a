"""Find the folders that travel with the package: migrations and dashboard.

They stand beside `meter/` in a checkout and in `meter/_bundled/` in an installed wheel, in the
same arrangement. Knows nothing of what is in them. Called by the store and the command line.
"""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def migrations_folder() -> Path:
    """Return Alembic's script folder, the one with `env.py` and `versions/`.

    Raises: FileNotFoundError when neither a checkout nor the installed package has it.
    """
    return _find("migrations")


def dashboard_folder() -> Path:
    """Return the folder of the Streamlit app, the one with `app.py`.

    Raises: FileNotFoundError when neither a checkout nor the installed package has it.
    """
    return _find("dashboard")


def alembic_ini() -> Path:
    """Return Alembic's configuration file, which stands beside the migrations folder.

    Raises: FileNotFoundError when neither a checkout nor the installed package has it.
    """
    return _find("alembic.ini")


def _find(name: str) -> Path:
    """Return the bundled path of that name, else the checkout's.

    The bundled place comes first: beside an installed package lie other people's folders, and one
    of them may be called `migrations`.
    """
    bundled = _PACKAGE / "_bundled" / name
    beside = _PACKAGE.parent / name
    in_checkout = (_PACKAGE.parent / "pyproject.toml").is_file()
    if bundled.exists():
        return bundled
    if in_checkout and beside.exists():
        return beside
    raise FileNotFoundError(f"{name!r} was found neither in {bundled.parent} nor beside {_PACKAGE}")
