"""Say who pays for a call: the key's subject, or the user whom the request may name. Pure.

Called by `relay`.
"""

from collections.abc import Mapping
from typing import Final

from meter.attribution import checked
from meter.core.call import Attribution
from meter.errors import InputError
from meter.gateway.rejections import Rejected
from meter.store.keys import Key

USER_HEADER: Final = "x-meter-user"
TAGS_HEADER: Final = "x-meter-tags"

_NOBODY: Final = Attribution()


def attribution_of(
    key: Key, hint: Attribution = _NOBODY, fields: Mapping[str, str] | None = None
) -> Attribution:
    """Return the attribution of a call made with a key.

    `hint` is what the body says (`user`, `metadata`, …), `fields` the headers. Both count only
    for a key that may name users; the header wins over the body, and the key's own tags over
    both. Raises: Rejected when a header names what it may not, or is no attribution.
    """
    own = Attribution(key.subject, key.tags, key.id)
    fields = fields or {}
    user, tags = fields.get(USER_HEADER), fields.get(TAGS_HEADER)
    if not key.may_name_users:
        if user is not None or tags is not None:
            raise Rejected(403, "may_not_name_users", "this key may not name users or tags")
        return own
    try:
        named = checked(Attribution(user, _tags(tags)))
        subject = named.subject or hint.subject or key.subject
        return checked(Attribution(subject, key.tags, key.id).over(named).over(hint))
    except InputError as error:
        raise Rejected(400, "invalid_attribution", str(error)) from None


def _tags(text: str | None) -> tuple[tuple[str, str], ...]:
    """Return the tags of `team=search, feature=chat`. Raises: InputError."""
    tags = {}
    for pair in (text or "").split(","):
        name, equals, value = (part.strip() for part in pair.partition("="))
        if not (name or value):
            continue
        if not equals:
            raise InputError(f"found {pair.strip()!r:.80} as a tag, expected name=value")
        tags[name] = value
    return tuple(sorted(tags.items()))
