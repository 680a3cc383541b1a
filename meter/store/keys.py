"""Keep the gateway's keys: make, find, list, revoke and renew them.

A secret is shown once, when it is made. What is stored is its hash and its first characters, by
which a person tells keys apart. Knows no HTTP. Called by the gateway and the command line.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from hmac import compare_digest

from sqlalchemy import Engine, insert, select, update

from meter.clock import now_us
from meter.errors import InputError
from meter.store.encoding import AnyRow, pairs_from_json, pairs_to_json, texts_from_json, to_json
from meter.store.engine import read_connection, write_connection
from meter.store.schema import keys as keys_table

PREFIX = "mk-"
"""What every secret begins with, so that a leaked one can be recognised."""

ROLES = ("admin", "reader")
"""What a key of the admin API may do: everything, or only read."""

_SECRET_BYTES = 32
_NAME_CHARACTERS = 256
_SHOWN_CHARACTERS = 9
_ID_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
_ID_CHARACTERS = 10
# The secret is 32 random bytes: the hash needs no salt, only a use of its own.
_PURPOSE = b"meter-key-secret"


@dataclass(frozen=True, slots=True)
class Key:
    """One key, without its secret.

    `subject` and `tags` are what its calls are attributed to. `models` and `endpoints` are the
    patterns and names that it may use, None for all. `may_name_users`: a request may name another
    subject. `role` is None for a customer's key; "admin" and "reader" are for the admin API only.
    Times are microseconds UTC; `expires_us` None means never, `revoked_us` None that it was not
    revoked.
    """

    id: str
    prefix: str
    name: str
    subject: str
    tags: tuple[tuple[str, str], ...]
    models: tuple[str, ...] | None
    endpoints: tuple[str, ...] | None
    may_name_users: bool
    created_us: int
    expires_us: int | None
    revoked_us: int | None
    role: str | None = None

    def state_at(self, at_us: int) -> str:
        """Return "active", "expired" or "revoked"."""
        if self.revoked_us is not None:
            return "revoked"
        is_over = self.expires_us is not None and self.expires_us <= at_us
        return "expired" if is_over else "active"


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was just made or renewed, with the secret that nobody can show again."""

    key: Key
    secret: str


class Keys:
    """The keys of one ledger. Thread-safe; every method raises StoreUnavailable."""

    def __init__(self, engine: Engine) -> None:
        """Take an engine whose schema is current."""
        self._engine = engine

    def create(
        self,
        subject: str,
        *,
        tags: tuple[tuple[str, str], ...] = (),
        name: str = "",
        models: Sequence[str] | None = None,
        endpoints: Sequence[str] | None = None,
        may_name_users: bool = False,
        expires_us: int | None = None,
        role: str | None = None,
    ) -> NewKey:
        """Make a key and return it with its secret.

        Subject and tags are taken as they are: `meter.attribution.checked` has seen them.
        Raises: InputError.
        """
        if len(name) > _NAME_CHARACTERS or not name.isprintable():
            raise InputError(f"found key name {name!r:.80}, expected plain text of at most 256")
        if role not in (None, *ROLES):
            raise InputError(f"found role {role!r:.80}, expected one of {', '.join(ROLES)}")
        secret = _new_secret()
        key = Key(
            id="key-" + "".join(secrets.choice(_ID_ALPHABET) for _ in range(_ID_CHARACTERS)),
            prefix=secret[:_SHOWN_CHARACTERS],
            name=name,
            subject=subject,
            tags=tuple(sorted(tags)),
            models=_listed(models),
            endpoints=_listed(endpoints),
            may_name_users=may_name_users,
            created_us=now_us(),
            expires_us=expires_us,
            revoked_us=None,
            role=role,
        )
        row = {
            "id": key.id,
            "hash": digest_of(secret),
            "prefix": key.prefix,
            "name": name,
            "subject": subject,
            "tags": pairs_to_json(key.tags),
            "models": None if key.models is None else to_json(key.models),
            "endpoints": None if key.endpoints is None else to_json(key.endpoints),
            "may_name_users": int(may_name_users),
            "created_us": key.created_us,
            "expires_us": expires_us,
            "revoked_us": None,
            "role": role,
        }
        with write_connection(self._engine) as connection:
            connection.execute(insert(keys_table), row)
        return NewKey(key, secret)

    def find(self, secret: str) -> Key | None:
        """Return the key of a secret, whatever its state, None when there is none."""
        digest = digest_of(secret)
        chosen = select(keys_table).where(keys_table.c.hash == digest)
        with read_connection(self._engine) as connection:
            row = connection.execute(chosen).mappings().first()
        if row is None or not compare_digest(bytes(row["hash"]), digest):
            return None
        return _key(row)

    def one(self, key_id: str) -> Key | None:
        """Return the key of an id, whatever its state, None when there is none."""
        with read_connection(self._engine) as connection:
            chosen = select(keys_table).where(keys_table.c.id == key_id)
            row = connection.execute(chosen).mappings().first()
        return None if row is None else _key(row)

    def all(self) -> list[Key]:
        """Return every key, the oldest first."""
        chosen = select(keys_table).order_by(keys_table.c.created_us, keys_table.c.id)
        with read_connection(self._engine) as connection:
            return [_key(row) for row in connection.execute(chosen).mappings()]

    def revoke(self, key_id: str) -> Key:
        """Revoke a key for good; one that was revoked before stays as it is.

        Raises: InputError when there is no key of that id.
        """
        chosen = keys_table.c.id == key_id
        with write_connection(self._engine) as connection:
            known = keys_table.c.revoked_us.is_(None)
            connection.execute(update(keys_table).where(chosen, known).values(revoked_us=now_us()))
            row = connection.execute(select(keys_table).where(chosen)).mappings().first()
        return _key(_found(row, key_id))

    def rotate(self, key_id: str) -> NewKey:
        """Give a key a new secret; the old one is worthless at once.

        Raises: InputError when there is no key of that id, or it was revoked.
        """
        secret = _new_secret()
        chosen = keys_table.c.id == key_id
        renewed = {"hash": digest_of(secret), "prefix": secret[:_SHOWN_CHARACTERS]}
        with write_connection(self._engine) as connection:
            before = connection.execute(select(keys_table).where(chosen)).mappings().first()
            if _found(before, key_id)["revoked_us"] is not None:
                raise InputError(f"found key {key_id} revoked, expected one that is not")
            connection.execute(update(keys_table).where(chosen).values(**renewed))
            row = connection.execute(select(keys_table).where(chosen)).mappings().first()
        return NewKey(_key(_found(row, key_id)), secret)


def digest_of(secret: str) -> bytes:
    """Return the hash under which a secret is stored, 32 bytes."""
    return blake2b(secret.encode("utf-8", "replace"), digest_size=32, key=_PURPOSE).digest()


def _new_secret() -> str:
    return PREFIX + secrets.token_urlsafe(_SECRET_BYTES)


def _listed(names: Sequence[str] | None) -> tuple[str, ...] | None:
    """Return what a key may use. Raises: InputError for a list that allows nothing."""
    if names is None:
        return None
    listed = tuple(dict.fromkeys(name.strip() for name in names if name.strip()))
    if not listed:
        raise InputError("found an empty list of what a key may use, expected at least one name")
    return listed


def _found(row: AnyRow | None, key_id: str) -> AnyRow:
    if row is None:
        raise InputError(f"found no key {key_id!r}: meter keys list shows them")
    return row


def _key(row: AnyRow) -> Key:
    return Key(
        id=row["id"],
        prefix=row["prefix"],
        name=row["name"],
        subject=row["subject"],
        tags=pairs_from_json(row["tags"]),
        models=None if row["models"] is None else texts_from_json(row["models"]),
        endpoints=None if row["endpoints"] is None else texts_from_json(row["endpoints"]),
        may_name_users=bool(row["may_name_users"]),
        created_us=row["created_us"],
        expires_us=row["expires_us"],
        revoked_us=row["revoked_us"],
        role=row["role"],
    )
