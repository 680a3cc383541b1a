"""What conftest offers is what it says it offers."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT


@pytest.mark.timeout(300)
def test_the_second_openai_sdk_runs_on_httpx(openai2_path: Path) -> None:
    script = (
        "import openai\n"
        "print(openai.__file__)\n"
        "print(openai.__version__)\n"
        "import httpx\n"
        "print(isinstance(openai.OpenAI(api_key='k')._client, httpx.Client))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(openai2_path)},
    )
    assert done.returncode == 0, done.stderr
    place, version, on_httpx = done.stdout.splitlines()
    assert Path(place) == openai2_path / "openai" / "__init__.py"
    assert version.startswith("2.")
    assert on_httpx == "True"


def test_the_shared_folder_lies_beside_the_checkout(shared_folder: Path) -> None:
    assert shared_folder.parent == ROOT.parent
    assert (shared_folder / "corpus").is_dir()
