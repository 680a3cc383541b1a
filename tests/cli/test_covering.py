"""The page of what is read: it is the code's, and it leaves nothing out."""

from pathlib import Path

import pytest

from meter.cli import covering
from meter.cli.covering import SURFACES
from meter.providers.dialect import ENDPOINTS
from meter.providers.openai.others import FETCHED
from meter.providers.others import LOOKED
from meter.providers.rows import PROVIDERS

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_is_the_code_s() -> None:
    page = (ROOT / "docs" / "coverage.md").read_text(encoding="utf-8")
    assert page == covering.page(ROOT / "tests"), "run `make docs`"


def test_every_endpoint_has_a_row() -> None:
    named = {surface.name or covering.endpoint_of(surface) for surface in SURFACES}
    assert named == {endpoint.name for endpoint in (*ENDPOINTS, *FETCHED, *LOOKED)}


def test_every_provider_has_a_row() -> None:
    named = {provider for surface in SURFACES for provider in surface.providers}
    assert named == {provider.name for provider in PROVIDERS}


def test_every_call_is_claimed_at_each_of_its_providers() -> None:
    assert covering.unmetered_calls() == []


@pytest.mark.parametrize("cells", [*covering.rows(ROOT / "tests")], ids=lambda cells: cells[1])
def test_every_row_is_proved_by_a_test(cells: tuple[str, ...]) -> None:
    proofs = cells[-1].split("<br>")
    assert all((ROOT / "tests" / "providers" / proof).is_file() for proof in proofs)
