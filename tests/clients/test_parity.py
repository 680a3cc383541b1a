"""The twins: one file for httpx, one for httpx2, and no difference but the library's name."""

from pathlib import Path

CLIENTS = Path(__file__).resolve().parents[2] / "meter" / "clients"


def swapped(text: str) -> str:
    return text.replace("httpx2", "\0").replace("httpx", "httpx2").replace("\0", "httpx")


def test_the_twins_differ_in_the_library_only() -> None:
    httpx = (CLIENTS / "httpx_transport.py").read_text(encoding="utf-8")
    httpx2 = (CLIENTS / "httpx2_transport.py").read_text(encoding="utf-8")
    assert httpx.splitlines() == swapped(httpx2).splitlines()


def test_each_twin_imports_its_own_library() -> None:
    assert "\nimport httpx\n" in (CLIENTS / "httpx_transport.py").read_text(encoding="utf-8")
    assert "\nimport httpx2\n" in (CLIENTS / "httpx2_transport.py").read_text(encoding="utf-8")
