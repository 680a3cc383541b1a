"""The folders that travel with the package are found in a checkout and beside nothing else."""

from pathlib import Path

import pytest

from meter import resources
from tests.conftest import ROOT


def place(monkeypatch: pytest.MonkeyPatch, package: Path) -> None:
    package.mkdir(parents=True, exist_ok=True)
    monkeypatch.setattr(resources, "_PACKAGE", package)


def test_a_checkout_uses_its_own_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    place(monkeypatch, tmp_path / "meter")
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "migrations").mkdir()
    (tmp_path / "dashboard").mkdir()
    (tmp_path / "alembic.ini").touch()
    assert resources.migrations_folder() == tmp_path / "migrations"
    assert resources.dashboard_folder() == tmp_path / "dashboard"
    assert resources.alembic_ini() == tmp_path / "alembic.ini"


def test_an_installed_package_uses_what_is_bundled_not_what_lies_beside_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    place(monkeypatch, tmp_path / "meter")
    bundled = tmp_path / "meter" / "_bundled" / "migrations"
    bundled.mkdir(parents=True)
    (tmp_path / "migrations").mkdir()
    assert resources.migrations_folder() == bundled


def test_somebody_elses_folder_of_that_name_is_not_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    place(monkeypatch, tmp_path / "meter")
    (tmp_path / "migrations").mkdir()
    with pytest.raises(FileNotFoundError, match="'migrations' was found neither in"):
        resources.migrations_folder()


def test_this_checkout_has_its_migrations() -> None:
    assert resources.migrations_folder() == ROOT / "migrations"
