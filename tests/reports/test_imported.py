"""Prices that one process imports are used by another that was open before."""

import pytest

from meter import Meter
from meter.errors import InputError
from meter.imported import ImportedPrices, read_imported

CARD = """
[[card]]
providers = ["openai"]
models = ["ours"]
currency = "USD"
source = "us"
[card.rates.standard]
input_tokens = "{price}"
"""


def price_of(meter):
    card = meter.prices.card_for("openai", "ours", 0)
    return card and card.rates["standard"][0].nanos


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'own.db'}"


def test_another_process_takes_up_what_is_imported_when_it_looks(url):
    with Meter(url) as gateway, Meter(url) as other:
        files = other._ledger.price_files
        files.put("ours", "toml", CARD.format(price="1"), "alice", now_us=1)
        looking = ImportedPrices(gateway.prices, gateway._ledger.price_files)
        assert price_of(gateway) is None
        assert looking.refresh()
        assert price_of(gateway) == 10**9
        assert not looking.refresh()
        files.put("ours", "toml", CARD.format(price="2"), "alice", now_us=2)
        files.put("late", "toml", CARD.format(price="3"), "alice", now_us=3)
        assert looking.refresh()
        assert price_of(gateway) == 3 * 10**9  # the newest import lies on top
        files.remove("late", now_us=4)
        assert looking.refresh()
        assert price_of(gateway) == 2 * 10**9


def test_a_file_that_this_release_cannot_read_leaves_the_prices_as_they_were(url):
    with Meter(url) as meter:
        files = meter._ledger.price_files
        files.put("ours", "toml", CARD.format(price="1"), "alice", now_us=1)
        looking = ImportedPrices(meter.prices, files)
        looking.refresh()
        broken = files.put("broken", "toml", "[[dream]]", "alice", now_us=2)
        with pytest.raises(InputError, match="meter prices remove broken"):
            looking.refresh()
        assert price_of(meter) == 10**9
        with pytest.raises(InputError, match="imported rate file broken"):
            read_imported(broken)
