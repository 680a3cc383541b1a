"""Measure what counting costs: beside tiktoken itself, on an event loop, and in a long chat.

    python benchmarks/counting.py

A prompt of 1 MB is counted as a request, uncounted before, and its text encoded with tiktoken's
own `encode_ordinary`; both take turns. Then such requests are estimated beside an event loop that
notes how late it is woken, and the same loop is watched while nothing else is done. At last a chat
grows by one message at a time, and each state of it is counted.
"""

import asyncio
import json
import random
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from meter.tokens.counting import count_text
from meter.tokens.encodings import encoding
from meter.tokens.estimates import estimate_input

MEGABYTE = 1_000_000
ROUNDS = 7
TURNS = 400

WORDS = (
    "the", "of", "ledger", "token", "budget", "measure", "Usage", "stream", "and", "with",
    "invoice", "gateway", "between", "provider", "request", "answers,", "counted.", "(cache)",
    "price:", "message", "window;", "until", "exact", "while", "nothing", "lost",
)  # fmt: skip


def texts(chance: random.Random) -> Iterator[tuple[str, Callable[[], str]]]:
    """Yield kinds of text: each call makes another one of a megabyte in UTF-8."""
    yield "English prose", lambda: " ".join(chance.choices(WORDS, k=MEGABYTE // 7))
    yield (
        "JSON",
        lambda: json.dumps(
            [{"id": chance.randrange(10**6), "name": chance.choice(WORDS)} for _ in range(26_000)]
        ),
    )
    yield (
        "Python",
        lambda: "\n".join(
            f"    def {chance.choice(WORDS).strip(',.:;()')}_{n}(self) -> int:\n        return {n}"
            for n in range(17_000)
        ),
    )
    yield (
        "Chinese",
        lambda: "".join(
            chance.choices("这是一个用来测量词元数量的长文本，包含许多汉字。", k=330_000)
        ),
    )
    yield "one letter", lambda: chance.choice("abcdefgh") * MEGABYTE


def seconds(work: Callable[[], Any]) -> float:
    """Return how much of the processor's time the work took: a busy machine adds nothing to it."""
    started = time.process_time()
    work()
    return time.process_time() - started


def beside_tiktoken() -> None:
    """Print the time of an estimate beside that of encoding alone."""
    plain = encoding("o200k_base")
    print(f"{'1 MB of':16} {'encode_ordinary':>16} {'estimate':>10} {'ratio':>7}")
    for name, make in texts(random.Random(7)):
        alone, whole = [], []
        for _ in range(ROUNDS):
            text = make()
            alone.append(seconds(lambda text=text: plain.encode_ordinary(text)))
            request = {"messages": [{"role": "user", "content": text}]}
            whole.append(seconds(lambda r=request: estimate_input("chat", r, "gpt-4o")))
        ratio = statistics.median(w / a for w, a in zip(whole, alone, strict=True))
        print(
            f"{name:16} {statistics.median(alone) * 1000:13.0f} ms "
            f"{statistics.median(whole) * 1000:7.0f} ms {ratio:7.2f}"
        )


async def lateness(work: Callable[[], Any]) -> list[float]:
    """Return how late an event loop was woken, in seconds, while work was done in a thread."""
    late = []
    done = asyncio.create_task(asyncio.to_thread(work))
    while not done.done():
        due = time.perf_counter() + 0.001
        await asyncio.sleep(0.001)
        late.append(time.perf_counter() - due)
    await done
    return sorted(late)


async def beside_a_loop() -> None:
    """Print how late an event loop is woken while requests are estimated off it, and idle."""
    late = await lateness(lambda: time.sleep(2))
    print(f"\nan event loop by itself is woken late by {shown(late)}")
    for name, make in texts(random.Random(11)):
        body = msgspec.json.encode({"messages": [{"role": "user", "content": make()}]})
        request = msgspec.json.decode(body)
        late = await lateness(lambda r=request: estimate_input("chat", r, "gpt-4o"))
        print(f"while 1 MB of {name} is estimated, by {shown(late)}")


def shown(late: list[float]) -> str:
    """Return the median and the largest of sorted times."""
    return f"{late[len(late) // 2] * 1000:.1f} ms, at most {late[-1] * 1000:.1f} ms"


def growing_chat() -> None:
    """Print what the next message of a long chat costs, as the chat grows."""
    chance = random.Random(13)
    messages: list[dict[str, str]] = []
    spent = []
    for turn in range(TURNS):
        role = "assistant" if turn % 2 else "user"
        messages.append({"role": role, "content": " ".join(chance.choices(WORDS, k=500))})
        # Parsed anew, as each request is.
        request = json.loads(json.dumps({"messages": messages}))
        spent.append(seconds(lambda r=request: estimate_input("chat", r, "gpt-4o")))
    one = statistics.median(
        seconds(lambda: count_text(" ".join(chance.choices(WORDS, k=500)), "o200k_base"))
        for _ in range(50)
    )
    print(f"\na message of 500 words alone: {one * 1000:.2f} ms")
    for turn in (10, 50, 100, 200, TURNS):
        some = statistics.median(spent[turn - 9 : turn])
        print(f"message {turn:3} of a chat: {some * 1000:.2f} ms")


def main() -> None:
    """Run all three."""
    count_text("warm", "o200k_base")
    beside_tiktoken()
    asyncio.run(beside_a_loop())
    growing_chat()


if __name__ == "__main__":
    main()
