"""Let a call in: reserve its money, lower its limit to what can be paid.

Knows no HTTP. Called by `relay` before anything is sent.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import Final

from meter.core.affording import output_within
from meter.core.budgets import Hold, Refusal
from meter.core.call import Bound
from meter.core.ports import Answer
from meter.core.rates import RateCard
from meter.errors import StoreError, StoreUnavailable
from meter.gateway.bounding import WORK, Unbounded
from meter.gateway.lowering import answers_of, limit_of, lowered
from meter.gateway.rejections import ClientLeft
from meter.gateway.waiting import AWAY, is_done, reason_of
from meter.pipeline import OpenCall, Pipeline
from meter.store.ledger import Ledger

logger = logging.getLogger("meter.gateway")

_LOOK_SECONDS: Final = 0.25
"""How often it is looked whether a client that waits for money is still there."""

_TIMES_LOWERED: Final = 4
_TAKEN_BY_ALL_TOKENS: Final = 4096
"""A limit that no model refuses as too large: what is put in where the model's own is unknown."""

Reopen = Callable[[bytes], Awaitable[OpenCall]]
"""Opens the same call again with another body."""

BoundOfWork = Callable[[OpenCall], Awaitable[Bound]]
"""Looks up what a call's work can cost. Raises: Unbounded."""


@dataclass(frozen=True, slots=True)
class Admission:
    """What was decided: the call to send, or the answer to give instead.

    `max_tokens` is the limit that was written into the request, None when it was left as it is.
    """

    call: OpenCall
    answer: Answer | None = None
    max_tokens: int | None = None


class Door:
    """Decides on calls, one ledger for all of them."""

    def __init__(self, pipeline: Pipeline, ledger: Ledger, threads: Executor) -> None:
        """Ask the pipeline's store; read budgets on the threads."""
        self._pipeline = pipeline
        self._ledger = ledger
        self._threads = threads

    async def admit(
        self,
        call: OpenCall,
        reopen: Reopen,
        bound_of_work: BoundOfWork,
        is_gone: Callable[[], bool],
    ) -> Admission:
        """Return the call with its money set aside, or the answer that refuses it.

        `is_gone` tells whether its client has left. Raises: ClientLeft.
        """
        asked, max_tokens = call, None
        times_left, has_waited, has_looked = _TIMES_LOWERED, False, False
        try:
            while True:
                verdict = await self._verdict(call, is_gone, waits=not has_waited)
                if not isinstance(verdict, Refusal):
                    return Admission(call, None, max_tokens)
                if verdict.is_unbounded and call.reading.endpoint in WORK and not has_looked:
                    has_looked = True
                    try:
                        call.call = replace(call.call, bound=await bound_of_work(call))
                    except Unbounded as why:
                        refused = replace(verdict, message=f"{verdict.message}: {why}")
                        return Admission(asked, asked.judge(refused))
                    continue
                has_waited = has_waited or verdict.may_fit_later
                is_final = verdict.again_us is not None or not times_left
                cheaper = None if is_final else await self._cheaper(call, verdict)
                if cheaper is None:
                    return Admission(asked, asked.judge(verdict))
                body, max_tokens = cheaper
                call = await reopen(body)
                times_left -= 1
        except AWAY as error:
            return Admission(call, self._without_ledger(call, error), max_tokens)
        except BaseException:
            call.abandon()
            raise

    async def _verdict(
        self, call: OpenCall, is_gone: Callable[[], bool], *, waits: bool
    ) -> tuple[Hold, ...] | Refusal:
        """Reserve, which may wait for holds of other calls. Raises: ClientLeft, StoreError."""
        reserved = call.reserve(waits=waits)
        until = time.monotonic() + self._pipeline.settings.reserve_seconds
        while not await is_done(reserved, _LOOK_SECONDS):
            if is_gone():
                raise ClientLeft
            if time.monotonic() > until:
                raise TimeoutError
        return reserved.result()

    async def _cheaper(self, call: OpenCall, refusal: Refusal) -> tuple[bytes, int] | None:
        """Return a body that the budget can pay for with its limit, None when there is none."""
        loop = asyncio.get_running_loop()
        row = await loop.run_in_executor(self._threads, self._ledger.budget, refusal.budget_id)
        reading, bound = call.reading, call.call.bound
        if row is None or reading.model is None:
            return None
        card, billed = call.pricing.cost_card, call.pricing.billed
        most = output_within(
            row.budget,
            row.left,
            card,
            input_tokens=bound.input_tokens,
            at_us=call.call.started_us,
            tier=reading.service_tier,
            billed=billed if isinstance(billed, RateCard) else None,
        )
        if most is None:
            return None
        limit = most // answers_of(reading)
        if limit_of(reading) is None:
            known = card.max_output_tokens if card is not None else None
            limit = min(limit, known or _TAKEN_BY_ALL_TOKENS)
        body = lowered(reading, limit)
        return None if body is None else (body, limit)

    def _without_ledger(self, call: OpenCall, error: BaseException) -> Answer | None:
        settings = self._pipeline.settings
        reason = reason_of(error, settings.reserve_seconds)
        # A spool keeps what the ledger cannot take: where it is away too, nothing is recorded.
        if settings.on_store_failure == "refuse" or isinstance(error, StoreUnavailable):
            try:
                # The ledger may yet get to the reservation that was given up.
                call.abandon()
            except StoreError:
                logger.warning("the ledger is away: %s", reason)
            return call.refuse_without_store(reason)
        logger.warning("call %s goes ahead without its record: %s", call.call.id, reason)
        return call.judge(())
