"""Hold what the simulated providers remember between requests.

Identities, prompt caches, stored responses and uploaded files; all of it bounded. One world
belongs to one app and is used from one thread.
"""

from __future__ import annotations

import hashlib
import random
import secrets
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from meter.simulator.settings import SimulatorSettings

_CACHE_ENTRIES = 4096
_STORED_RESPONSES = 512


@dataclass(frozen=True, slots=True)
class StoredFile:
    """Hold an uploaded file and the key that owns it."""

    id: str
    owner: str
    filename: str
    purpose: str
    created_at: int
    content: bytes


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """Hold an answer of the Responses API that can be read again or continued."""

    owner: str
    payload: dict[str, Any]
    context_tokens: int


class World:
    """Hold the memory of one simulator."""

    def __init__(self, settings: SimulatorSettings) -> None:
        """Start with nothing remembered."""
        self.settings = settings
        self._salt = secrets.token_hex(8)
        self._numbers = 0
        self.forget()

    def forget(self) -> None:
        """Empty every memory and restart the chance of faults from the seed."""
        self.chance = random.Random(self.settings.seed)
        self.files: OrderedDict[str, StoredFile] = OrderedDict()
        self.responses: OrderedDict[str, StoredResponse] = OrderedDict()
        self._prefixes: OrderedDict[str, None] = OrderedDict()

    def new_id(self, prefix: str, length: int = 24) -> str:
        """Return an id that no other answer of any simulator has."""
        self._numbers += 1
        text = f"{self._salt}:{self._numbers}".encode()
        return prefix + hashlib.blake2b(text).hexdigest()[:length]

    def cached_tokens(self, owner: str, parts: Sequence[tuple[str, int]], block: int) -> int:
        """Return how many tokens of a prompt were seen before, and remember this prompt.

        `parts` are the prompt's texts in order, each with its tokens. A prefix made of whole
        parts counts when it is long enough; the result is a multiple of `block`.
        """
        found, tokens = 0, 0
        digest = hashlib.blake2b(owner.encode())
        for text, size in parts:
            digest.update(f"{len(text)}:{text}".encode(errors="replace"))
            tokens += size
            if tokens < self.settings.cache_minimum_tokens:
                continue
            if self.saw_prefix(digest.hexdigest()):
                found = tokens
        return found // block * block

    def saw_prefix(self, prefix: str) -> bool:
        """Tell whether a prefix is remembered, and remember it."""
        seen = prefix in self._prefixes
        self._prefixes[prefix] = None
        self._prefixes.move_to_end(prefix)
        if len(self._prefixes) > _CACHE_ENTRIES:
            self._prefixes.popitem(last=False)
        return seen

    def store_response(self, response_id: str, stored: StoredResponse) -> None:
        """Remember an answer; the oldest one is forgotten when there are too many."""
        self.responses[response_id] = stored
        if len(self.responses) > _STORED_RESPONSES:
            self.responses.popitem(last=False)

    def store_file(self, stored: StoredFile) -> None:
        """Remember a file; the oldest ones are forgotten when there are too many or too much."""
        self.files[stored.id] = stored
        while len(self.files) > self.settings.file_limit or (
            len(self.files) > 1
            and sum(len(file.content) for file in self.files.values())
            > self.settings.file_limit_bytes
        ):
            self.files.popitem(last=False)
