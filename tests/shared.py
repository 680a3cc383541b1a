"""Find the folder of facts and recorded exchanges that lies beside a developer's checkout.

A user's checkout has none, and the tests that read it say so. Under CI its absence is a fault.
"""

import os
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"

needs_shared = pytest.mark.skipif(
    not SHARED.is_dir() and not os.environ.get("CI"),
    reason="found no folder `shared` beside the checkout: the recorded exchanges lie in it",
)
