"""Ask for four times what a budget pays for, from everywhere at once, and look what gets through.

    python -m benchmarks.torture.overspend --rounds 50 --database postgresql

In each round a new subject has a budget worth exactly 100 calls, and 64 clients make 400 calls
through four processes of the gateway. The kinds of round take turns:

    exact    each call costs what its bound says, whole and streamed: exactly 100 get through
    mixed    some calls fail, break off, hang or are left by their client: never over the limit, and
             what is left at the end is less than one call's bound
    tokens   as exact, with a budget in tokens; mixed-tokens as mixed
    credit   as exact, with prepaid credit instead of a budget; mixed-credit as mixed
    lapsing  as mixed-credit, and half of the credit ends during the round: calls that start after
             that have the other half at most
    minute   a budget a minute, and the minute ends during the round: each minute its 100 calls
    rolling  a budget over a rolling minute: no span of 60 seconds has more than 100 calls
"""

import asyncio
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID

from benchmarks.torture.stage import (
    Gateways,
    Got,
    NewLedger,
    Provider,
    Wish,
    a_folder,
    ask,
    bound_of,
    clients,
    findings,
    ledgers,
    options,
    recorded,
    run,
    show,
)
from meter.clock import now_us
from meter.core.money import nanos_to_text
from meter.core.rates import datetime_of
from meter.meter import Meter
from meter.store.reads import CallRow

KINDS = (
    "exact", "mixed", "tokens", "mixed-tokens", "credit", "mixed-credit", "lapsing", "minute",
    "rolling",
)  # fmt: skip
WORTH = 100
LASTS_S = 1.5
"""How long the credit lasts that ends during the round."""
FIRST = 60
"""How many calls are made before it ends, where some does: they cannot spend all of it."""
MINUTE_US = 60_000_000


@dataclass
class Sums:
    """What the rounds came to."""

    rounds: Counter[str] = field(default_factory=Counter)
    asked: int = 0
    admitted: int = 0
    most_over: int = 0
    most_left: float = 0.0
    phantoms: int = 0
    counts: dict[str, set[int]] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)


def _wishes(kind: str, input_tokens: int) -> Sequence[Wish]:
    exact = replace(Wish(), input_tokens=input_tokens, delay_ms=5)
    stream = replace(exact, mode="stream", delay_ms=2)
    if not _is_mixed(kind):
        return (exact, stream)
    return (
        *(exact, stream) * 4,
        replace(exact, output_tokens=7),
        replace(stream, output_tokens=3),
        replace(exact, mode="fail"),
        replace(exact, mode="busy"),
        replace(exact, mode="reset"),
        replace(exact, mode="half"),
        replace(stream, mode="cut"),
        replace(stream, leaves_after_bytes=300, delay_ms=10),
        replace(exact, mode="stall"),
    )


async def _load(url: str, key: str, prefix: str, wishes: Sequence[Wish], number: int, calls: int,
                random_of: random.Random, pause_until_us: int = 0) -> list[Got]:  # fmt: skip
    """Make the calls, so many at a time; one that hangs is left after two seconds.

    All but the first few wait until a moment.
    """
    left = iter(range(calls))
    got: list[Got] = []

    async def client() -> None:
        for turn in left:
            if turn >= FIRST:
                await asyncio.sleep(max(pause_until_us - now_us(), 0) / 1e6)
            wish = random_of.choice(wishes)
            name = f"{prefix}.{turn}"
            if wish.mode != "stall":
                got.append(await ask(session, url, key, name, wish))
                continue
            try:
                async with asyncio.timeout(2):
                    got.append(await ask(session, url, key, name, wish))
            except TimeoutError:
                got.append(Got(name))

    async with clients(120) as session:
        await asyncio.gather(*(client() for _ in range(number)))
    return got


@dataclass
class Stage:
    """What all rounds have in common."""

    ledger: str
    provider: Provider
    gateways: Gateways
    clients: int
    calls: int
    random: random.Random
    sums: Sums

    def play(self, kind: str, number: int) -> None:
        """Play one round and judge it."""
        subject = f"{kind}-{number}"
        input_tokens, bound_nanos = bound_of(Wish())
        bound, measure, window = bound_nanos, "money", "total"
        if kind.endswith("tokens"):
            bound, measure = input_tokens + Wish().max_tokens, "tokens"
        elif kind in ("minute", "rolling"):
            window = "minute" if kind == "minute" else "rolling:1m"
        limit = WORTH * bound
        with Meter(self.ledger) as meter:
            key = meter.keys.create(subject, may_name_users=True).secret
            amount = nanos_to_text(limit) if measure == "money" else limit
            ends_us = now_us() + int(LASTS_S * 1_000_000)
            if kind.endswith("credit"):
                meter.credits.grant(subject, str(amount), "USD", reason="paid", author="torture")
            elif kind == "lapsing":
                for expires in (None, datetime_of(ends_us)):
                    meter.credits.grant(
                        subject, nanos_to_text(limit // 2), "USD", expires=expires,
                        reason="paid", author="torture",
                    )  # fmt: skip
            else:
                meter.set_budget(
                    subject, subject=subject, limit=amount, measure=measure, window=window
                )
        if kind == "minute":
            _wait_for_the_end_of_a_minute()
        since_us = now_us()
        wishes = _wishes(kind, input_tokens)
        got = run(_load(self.gateways.url, key, subject, wishes, self.clients, self.calls,
                        self.random, ends_us if kind == "lapsing" else 0))  # fmt: skip
        rows = self._rows(subject, since_us)
        self._judge(kind, subject, limit, bound, ends_us, rows, got)

    def _rows(self, subject: str, since_us: int) -> list[CallRow]:
        """Return the round's calls, once none is in flight: the gateway ends some by itself."""
        until = time.monotonic() + 60
        while True:
            rows: dict[UUID, CallRow] = recorded(self.ledger, since_us)
            mine = [row for row in rows.values() if row.subject == subject]
            if not any(row.state == "in_flight" for row in mine) or time.monotonic() > until:
                return mine
            time.sleep(0.05)

    def _judge(self, kind: str, subject: str, limit: int, bound: int, ends_us: int,
               rows: list[CallRow], got: list[Got]) -> None:  # fmt: skip
        sums = self.sums
        arrived = [n for n in self.provider.books().arrived if n.startswith(f"{subject}.")]
        refused = sum(each.status == 429 for each in got) - sum(
            row.status == 429 and row.outcome != "refused" for row in rows
        )
        sums.rounds[kind] += 1
        sums.asked += len(got)
        sums.admitted += len(arrived)
        left_open = [row for row in rows if row.state == "in_flight"]
        if left_open:
            sums.broken.append(f"{subject}: {len(left_open)} calls are still in flight")
        sent = [row for row in rows if row.outcome != "refused"]
        if kind == "lapsing":
            late = [row for row in sent if row.started_us >= ends_us]
            if not late:
                sums.broken.append(f"{subject}: no call started after the credit had ended")
            for over in _over(kind, late, limit // 2):
                sums.most_over = max(sums.most_over, over)
                sums.broken.append(f"{subject}: {over} over what had not ended")
        for over in _over(kind, sent, limit):
            sums.most_over = max(sums.most_over, over)
            sums.broken.append(f"{subject}: {over} over the limit of {limit}")
        sums.counts.setdefault(kind, set()).add(len(arrived))
        if kind in ("exact", "tokens", "credit") and len(arrived) != WORTH:
            sums.phantoms += WORTH - len(arrived)
            sums.broken.append(f"{subject}: {len(arrived)} calls got through, expected {WORTH}")
        if kind.startswith("mixed"):
            left = limit - _taken(kind, sent)
            sums.most_left = max(sums.most_left, left / bound)
            if refused and left >= bound:
                sums.phantoms += left // bound
                sums.broken.append(f"{subject}: {left} left, {refused} refused, bound {bound}")


def _is_mixed(kind: str) -> bool:
    return kind.startswith("mixed") or kind == "lapsing"


def _taken(kind: str, rows: list[CallRow]) -> int:
    """Return what these calls took, in the measure of the budget."""
    if kind.endswith("tokens"):
        return sum(
            int(row.usage["input_tokens"] + row.usage["output_tokens"]) for row in rows if row.usage
        )
    return sum(row.cost_nanos or 0 for row in rows)


def _over(kind: str, sent: list[CallRow], limit: int) -> list[int]:
    """Return by how much each span that the budget limits is overspent, where it is."""
    if kind == "minute":
        spans = [[r for r in sent if r.started_us // MINUTE_US == minute]
                 for minute in {r.started_us // MINUTE_US for r in sent}]  # fmt: skip
    elif kind == "rolling":
        spans = [[r for r in sent if 0 <= r.started_us - first.started_us < MINUTE_US]
                 for first in sent]  # fmt: skip
    else:
        spans = [sent]
    return [over for span in spans if (over := _taken(kind, span) - limit) > 0]


def _wait_for_the_end_of_a_minute() -> None:
    """Begin just before a minute of the clock ends."""
    time.sleep((MINUTE_US - (now_us() + 1_000_000) % MINUTE_US) / 1_000_000)


def attack(new_ledger: NewLedger, *, rounds: int, number: int, calls: int, seed: int = 1,
           kinds: Sequence[str] = KINDS, workers: int = 4) -> tuple[Sums, list[str]]:  # fmt: skip
    """Play that many rounds; return what they came to and what `meter check` finds."""
    sums = Sums()
    with a_folder() as folder, new_ledger(folder) as ledger, Provider() as provider:
        gateways = Gateways(ledger, provider.url, workers=workers, hold_wait_seconds=60)
        with gateways:
            stage = Stage(ledger, provider, gateways, number, calls, random.Random(seed), sums)
            for played in range(rounds):
                stage.play(kinds[played % len(kinds)], played)
        return sums, findings(ledger)


def main(arguments: list[str]) -> int:
    """Attack and print; return 1 when a promise was broken."""
    parser = options(__doc__, rounds=10, clients=64, calls=400, seed=1)
    parser.add_argument("--kinds", default=",".join(KINDS), help="which rounds, with commas")
    given = parser.parse_args(arguments)
    begun_s = time.monotonic()
    kinds = given.kinds.split(",")
    with ledgers(given.database) as new_ledger:
        sums, found = attack(
            new_ledger,
            rounds=given.rounds,
            number=given.clients,
            calls=given.calls,
            seed=given.seed,
            kinds=kinds,
        )
    figures = {
        "rounds": dict(sums.rounds),
        "calls asked": sums.asked,
        "calls that got through": sums.admitted,
        "got through in one round": {k: sorted(v) for k, v in sums.counts.items()},
        "most over a limit, in its measure": sums.most_over,
        "most left beside refusals, in bounds (mixed)": round(sums.most_left, 3),
        "phantom refusals": sums.phantoms,
        "findings of meter check": len(found),
        "seconds": round(time.monotonic() - begun_s),
    }
    return show(f"overspend on {given.database}", figures, [*sums.broken, *found])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
