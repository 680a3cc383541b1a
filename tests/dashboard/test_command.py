"""The command that opens the dashboard: what it refuses, in one sentence."""

import pytest

from meter.cli.main import run


def test_another_address_needs_a_sign_in(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["dashboard", "--host", "0.0.0.0"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("meter: found the address 0.0.0.0 and nobody asked to sign in")
    assert said.count("\n") == 1


def test_a_way_to_sign_in_that_there_is_not_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["dashboard", "--sign-in", "password"]) == 2
    assert "expected 'none' or 'key' or 'oidc'" in capsys.readouterr().err
