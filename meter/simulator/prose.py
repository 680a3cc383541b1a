"""Write the text of answers: short sentences that follow from the request alone.

Knows no provider. The same seed gives the same text, streamed or not. Called by the dialects.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from meter.simulator.tokenizer import split_tokens

_ENGLISH = (
    "The morning train leaves at seven and follows the river.",
    "A small garden needs more patience than water.",
    "Good bread asks for flour, salt, time and a warm kitchen.",
    "The library keeps its oldest maps on the second floor.",
    "Rain is expected in the evening, so take the short path home.",
    "Three lanterns were enough to light the whole courtyard.",
    "Every measurement is a question that was asked carefully.",
    "The ferry crosses the bay in about twenty minutes.",
    "She wrote the first draft in pencil and the second in ink.",
    "A clear sentence is shorter than the thought behind it.",
    "The market opens early; the best peaches are gone by nine.",
    "Old bridges are repaired stone by stone.",
    "We counted 42 swallows above the roof before sunset.",
    "The answer depends on the season, but spring is a safe choice.",
    "Walk slowly and the hill becomes a view.",
    "There is tea in the blue tin and honey beside it.",
    "The clock in the hall is five minutes fast on purpose.",
    "First sort the list, then compare only the neighbours.",
    "A quiet room makes a long book feel short.",
    "The lighthouse keeper reads the weather from the gulls.",
    "Most of the work is done before the paint is opened.",
    "Snow fell on the orchard, and the orchard slept.",
    "Please keep the receipt; it is also the ticket for the way back.",
    "The orchestra tuned for a minute and the audience grew still.",
    "Two small steps are easier to check than a large one.",
    "By noon the fog had lifted and the islands were close again.",
)
_CHINESE = (
    "清晨的火车沿着河边慢慢开。",
    "好茶需要好水,也需要一点耐心。",
    "图书馆的二楼收藏着最旧的地图。",
    "今天傍晚可能下雨,请早些回家。",
    "院子里的三盏灯已经足够明亮。",
    "先把问题说清楚,再动手去做。",
    "市场开门很早,九点前桃子就卖完了。",
    "老桥要一块石头一块石头地修。",
    "春天是个稳妥的选择。",
    "慢慢走,山坡就成了风景。",
    "渡船大约二十分钟就能过海湾。",
    "写得短一些,读的人会感谢你。",
)
_CHINESE_CHANCE = 0.1


@dataclass(frozen=True, slots=True)
class Writing:
    """Hold a text as the pieces in which it is streamed, and its tokens.

    `is_cut_short` says that the request's limit ended it.
    """

    pieces: tuple[str, ...]
    tokens: int
    is_cut_short: bool

    @property
    def text(self) -> str:
        """Return the whole text."""
        return "".join(self.pieces)


def write_prose(
    seed: str,
    count: Callable[[str], int],
    *,
    span: tuple[int, int],
    limit: int | None = None,
    exactly: int | None = None,
    in_chinese: bool = False,
) -> Writing:
    """Write sentences of `span` tokens in all (least, most), or of `exactly` that many.

    The text stays within `limit` tokens whatever else is asked; None sets no limit.
    """
    chance = random.Random(seed)
    if not in_chinese:
        in_chinese = chance.random() < _CHINESE_CHANCE
    least, most = span
    wanted = round(least * (most / least) ** chance.random()) if exactly is None else exactly
    stock = list(_CHINESE if in_chinese else _ENGLISH)
    chance.shuffle(stock)
    sentences: list[str] = []
    tokens = 0
    while tokens < wanted:
        sentence = stock[len(sentences) % len(stock)]
        if sentences and not in_chinese:
            sentence = f" {sentence}"
        size = count(sentence)
        if exactly is None and sentences and tokens + size > most:
            break
        sentences.append(sentence)
        tokens += size
    pieces = split_tokens("".join(sentences))
    if exactly is not None:
        pieces = fit_tokens(pieces, exactly, count)
    return limit_writing(pieces, limit, count)


def limit_writing(pieces: list[str], limit: int | None, count: Callable[[str], int]) -> Writing:
    """Cut a text to at most `limit` tokens and count what is left."""
    kept = pieces if limit is None else fit_tokens(pieces, limit, count)
    return Writing(tuple(kept), count("".join(kept)), is_cut_short=len(kept) < len(pieces))


def fit_tokens(pieces: list[str], limit: int, count: Callable[[str], int]) -> list[str]:
    """Return the longest beginning of the pieces that has at most `limit` tokens."""
    if count("".join(pieces)) <= limit:
        return pieces
    fitting, too_long = 0, len(pieces)
    while too_long - fitting > 1:
        middle = (fitting + too_long) // 2
        if count("".join(pieces[:middle])) <= limit:
            fitting = middle
        else:
            too_long = middle
    return pieces[:fitting]


def grouped(pieces: Sequence[str], most: int = 4) -> list[str]:
    """Return the pieces joined in groups of 1 to `most`, as several tokens travel together."""
    chance = random.Random(len(pieces))
    groups: list[str] = []
    place = 0
    while place < len(pieces):
        size = chance.randint(1, most)
        groups.append("".join(pieces[place : place + size]))
        place += size
    return groups
