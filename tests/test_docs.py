"""What README and docs say is run, or compared with the code."""

import os
import re
import shlex
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from meter.config import Settings
from meter.simulator import Simulator, SimulatorSettings

ROOT = Path(__file__).resolve().parents[1]
METER = Path(sys.executable).with_name("meter")


def blocks(name, language):
    text = (ROOT / name).read_text()
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.S | re.M)


@pytest.fixture(scope="module")
def newcomer(tmp_path_factory):
    """A folder of one's own, and an environment in which the README's client meets a simulator."""
    folder = tmp_path_factory.mktemp("newcomer")
    with Simulator(SimulatorSettings()) as simulator:
        host = simulator.url.removeprefix("http://")
        environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("METER_")},
            "OPENAI_API_KEY": "sk-test",
            "OPENAI_BASE_URL": f"{simulator.url}/v1",
            "METER_HOSTS": f"{host}=auto",
            "COLUMNS": "160",
        }
        yield folder, environment


def run(command, newcomer):
    folder, environment = newcomer
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60
    )


def test_the_readme_s_example_meters_a_call_and_its_commands_show_it(newcomer):
    (example,) = blocks("README.md", "python")
    assert run([sys.executable, "-c", example], newcomer).stderr == ""
    lines = (ROOT / "README.md").read_text().splitlines()
    commands = [line.removeprefix("$ ") for line in lines if line.startswith("$ meter ")]
    assert len(commands) >= 3
    for command in commands:
        words = shlex.split(command)
        ended = run([METER, *words[1:]], newcomer)
        assert (ended.returncode, ended.stderr) == (0, ""), command
    shown = run([METER, "usage", "--by", "subject,model", "--format", "csv"], newcomer).stdout
    assert "alice,gpt-4o-mini" in shown


def test_every_setting_is_in_the_docs():
    text = (ROOT / "docs" / "settings.md").read_text()
    missing = [setting.name for setting in fields(Settings) if f"`{setting.name}`" not in text]
    assert missing == []


def test_the_docs_of_the_command_line_are_what_help_prints(tmp_path):
    from meter.cli.documenting import write

    write(tmp_path / "cli.md")
    found, expected = (ROOT / "docs" / "cli.md").read_text(), (tmp_path / "cli.md").read_text()
    assert found == expected, "docs/cli.md is out of date: run `make docs`"
    assert expected.count("\n## meter") >= 12
