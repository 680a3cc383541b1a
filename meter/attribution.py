"""Say who pays for the calls made in a block of code.

    with attribute("alice", team="search"):
        client.chat.completions.create(...)

The attribution follows asyncio tasks and `contextvars` copies; it does not cross into threads
that were started without copying the context. Nested blocks add tags; the inner subject wins.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from meter.core.call import Attribution
from meter.errors import InputError

MAX_TAGS = 32
MAX_LENGTH = 256
"""A subject, tag name or tag value has at most this many characters."""

_NOBODY = Attribution()
_present: ContextVar[Attribution] = ContextVar("meter_attribution", default=_NOBODY)


@contextmanager
def attribute(subject: str | None = None, **tags: str) -> Iterator[Attribution]:
    """Attribute every call made in the block to `subject`, with cost dimensions `tags`.

    `None` keeps the subject of the surrounding block. Yields the attribution in force.

    Raises: InputError when a name or value is not text of 1 to 256 characters, or there are
    more than 32 tags.
    """
    attribution = checked(Attribution(subject, tuple(sorted(tags.items())))).over(_present.get())
    token = _present.set(attribution)
    try:
        yield attribution
    finally:
        _present.reset(token)


def present() -> Attribution:
    """Return the attribution in force here (empty when no block surrounds the caller)."""
    return _present.get()


def checked(attribution: Attribution) -> Attribution:
    """Return the attribution as it is. Raises: InputError as `attribute`."""
    texts = [] if attribution.subject is None else [attribution.subject]
    for name, value in attribution.tags:
        texts += [name, value]
    for text in texts:
        if not isinstance(text, str) or not 1 <= len(text) <= MAX_LENGTH:
            raise InputError(
                f"found {text!r:.80} as subject or tag, expected text of 1 to {MAX_LENGTH} "
                "characters"
            )
        if any(ord(character) < 32 or 0xD800 <= ord(character) < 0xE000 for character in text):
            raise InputError(f"found a control character in {text!r:.80}, expected plain text")
    if len(attribution.tags) > MAX_TAGS:
        raise InputError(f"found {len(attribution.tags)} tags, expected at most {MAX_TAGS}")
    return attribution


def placed(
    tags: tuple[tuple[str, str], ...], team: str | None, project: str | None
) -> tuple[tuple[str, str], ...]:
    """Return tags with a team and a project, which are tags of these names; sorted.

    Raises: InputError when a tag says another team or project.
    """
    named = dict(tags)
    for name, value in (("team", team), ("project", project)):
        if value is not None and named.setdefault(name, value) != value:
            raise InputError(
                f"found {name} {value!r:.80} and a tag {name}={named[name]:.80}, expected one"
            )
    return tuple(sorted(named.items()))
