"""Run several processes on one listening socket: one starts them, restarts them, stops them.

Knows nothing of gateways. Forks before any thread or connection exists. Called by `meter serve`.
"""

import logging
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Final

from meter.errors import ConfigError

logger = logging.getLogger("meter.gateway")

_SHORT_SECONDS: Final = 2.0
_SHORT_LIVES: Final = 5


class Workers:
    """Processes that all do the same work until they are told to stop."""

    def __init__(self, number: int, work: Callable[[], int]) -> None:
        """Take what each process does; it returns its exit status."""
        self._number = number
        self._work = work
        self._begun_s: dict[int, float] = {}
        self._is_stopping = False

    def run(self) -> None:
        """Keep that many processes running until SIGINT or SIGTERM, then wait for their ends.

        Raises: ConfigError when processes keep dying as soon as they have begun.
        """
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGHUP, self._hand_on)
        short_lives = 0
        for _ in range(self._number):
            self._begin()
        while self._begun_s:
            pid, status = os.wait()
            lived_s = time.monotonic() - self._begun_s.pop(pid)
            if self._is_stopping:
                continue
            logger.error("worker %d ended with status %d", pid, os.waitstatus_to_exitcode(status))
            short_lives = short_lives + 1 if lived_s < _SHORT_SECONDS else 0
            if short_lives >= _SHORT_LIVES:
                self._stop()
            else:
                self._begin()
        if short_lives >= _SHORT_LIVES:
            raise ConfigError("the workers end as soon as they begin: their messages say why")

    def _begin(self) -> None:
        pid = os.fork()
        if pid:
            self._begun_s[pid] = time.monotonic()
            if self._is_stopping:
                self._stop()
            return
        status = 1
        try:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_DFL)
            status = 0 if self._is_stopping else self._work()
        finally:
            # Nothing of the parent is to be run again: no handlers, no buffers.
            os._exit(status)

    def _stop(self, _number: int = 0, _frame: FrameType | None = None) -> None:
        self._is_stopping = True
        self._tell(signal.SIGTERM)

    def _hand_on(self, number: int, _frame: FrameType | None) -> None:
        self._tell(number)

    def _tell(self, number: int) -> None:
        for pid in self._begun_s:
            # One that has just ended is waited for in a moment.
            with suppress(ProcessLookupError):
                os.kill(pid, number)
