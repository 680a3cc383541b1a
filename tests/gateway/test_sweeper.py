"""What a gateway looks after beside its requests."""

import time

from meter.attribution import attribute
from meter.core.call import Basis
from meter.gateway import app
from tests.gateway.serving import WAIT_S, served


def test_the_sweeper_settles_lost_calls_as_the_settings_say(tmp_path, monkeypatch):
    monkeypatch.setattr(app, "_SWEEP_SECONDS", 0.1)
    settings = {"on_unsettled": "estimate", "unsettled_seconds": 1, "hold_seconds": 1}
    with served(tmp_path, {"openai": "http://127.0.0.1:9/v1"}, **settings) as gateway:
        with attribute("alice"):
            gateway.meter.reserve(
                provider="openai", model="gpt-4o", input_tokens=100, max_output_tokens=10
            )
        until = time.monotonic() + WAIT_S
        while not (found := [c for c in gateway.meter.calls() if c.state == "settled"]):
            assert time.monotonic() < until, "nobody has settled it"
            time.sleep(0.05)
    # 100 tokens of gpt-4o's input at 2.50 USD a million.
    assert [(c.basis, c.cost_nanos) for c in found] == [(Basis.ESTIMATED, 250_000)]
