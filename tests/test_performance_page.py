"""The arithmetic behind docs/performance.md, and the places that it is written to."""

import socket
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))

from gateway import Figures, mock, percentile  # noqa: E402
from peers import bare_relay  # noqa: E402
from performance import (  # noqa: E402
    PAGE,
    PARTS_OF_PAGE,
    cell,
    chunk_us,
    put,
    ratio,
)


def test_the_bare_relay_hands_on_what_the_mock_provider_answers():
    with (
        mock("--chunks", "3") as port,
        bare_relay.serving(port, Path()) as (target, _),
        socket.create_connection((target.host, target.port), timeout=20) as connection,
    ):
        connection.sendall(target.request())
        assert connection.recv(65_536).startswith(b"HTTP/1.1 200 ")


def figures(**values: list[float]) -> Figures:
    return Figures("any", "note", dict(values))


def test_the_page_has_a_place_for_every_part():
    page = PAGE.read_text()
    for part in PARTS_OF_PAGE:
        written = put(page, part, "what was measured")
        assert written.count("what was measured") == 1
        assert put(written, part, "anew").count("what was measured") == 0
    with pytest.raises(ValueError, match="no place for nothing"):
        put(page, "nothing", "x")


def test_a_cell_has_the_median_and_the_extremes():
    assert cell(figures(cpu=[0.3, 0.1, 0.2]), "cpu", 2) == "0.20 (0.10–0.30)"
    assert cell(figures(cpu=[1234.4]), "cpu", 0) == "1,234"
    assert cell(figures(), "cpu", 2) == "–"


def test_a_ratio_is_the_median_of_the_rounds_own_ratios():
    # 2/1, 9/3 and 4/4 are 2, 3 and 1.
    assert ratio(figures(x=[2, 9, 4]), figures(x=[1, 3, 4]), "x") == "2.00"


def test_a_chunk_costs_what_a_stream_adds_to_a_call_beyond_the_bare_relay():
    own = figures(cpu_ms_a_call=[0.2], cpu_ms_a_stream=[1.0])
    bare = figures(cpu_ms_a_call=[0.05], cpu_ms_a_stream=[0.45])
    # (1.0 - 0.2) - (0.45 - 0.05) = 0.4 ms for 100 chunks: 4 microseconds each.
    assert chunk_us(own, bare) == "4.0 (4.0–4.0)"
    assert chunk_us(figures(), bare) == "–"


def test_a_percentile_is_a_value_that_was_seen():
    values = [float(number) for number in range(1, 101)]
    assert (percentile(values, 0.5), percentile(values, 0.99)) == (51.0, 100.0)
