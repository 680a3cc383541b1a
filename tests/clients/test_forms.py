"""Forms with files are read for what they ask, and sent byte for byte."""

import openai
import pytest

from tests.clients.forms import spoken
from tests.clients.memory import MemoryStore


@pytest.mark.anyio
async def test_an_async_upload_is_read_too() -> None:
    from meter.clients.sdk import wrap
    from meter.config import Settings
    from meter.pipeline import Pipeline
    from meter.prices.book import PriceBook
    from meter.simulator import Simulator

    store = MemoryStore()
    with Simulator() as simulator:
        host = simulator.url.removeprefix("http://")
        pipeline = Pipeline(store, PriceBook.bundled(), Settings(hosts={host: "auto"}))
        bare = openai.AsyncOpenAI(api_key="k", base_url=f"{simulator.url}/v1")
        client = wrap(bare, pipeline)
        answer = await client.audio.transcriptions.create(
            model="whisper-1", file=("a.wav", spoken(2)), response_format="text"
        )
        assert answer
        await bare.close()
    assert store.event.call.model_requested == "whisper-1"
    assert store.event.usage is not None
    assert store.event.usage["audio_seconds"] == 2
