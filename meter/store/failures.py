"""Put what a database driver raises into one sentence that says what to do.

Called by the engine for every error of the driver; what it does not know stays as it was.
"""

from meter.errors import SchemaMismatch, StoreUnavailable


class ConnectionLost(StoreUnavailable):
    """The connection broke: whether the last commit happened is unknown, repeating it is safe."""


class Interrupted(StoreUnavailable):
    """Two transactions got in each other's way and this one was undone: repeating it is safe."""


def in_words(error: BaseException | None, place: str) -> BaseException | None:
    """Return the error that `meter` raises for a driver's error, None to leave it as it is.

    `place` is the database's address without its password.
    """
    name = getattr(error, "sqlite_errorname", None)
    if name is None and type(error).__module__.startswith(("sqlite3", "pysqlite3")):
        name = _name_by_text(str(error))
    if name is not None:
        return _sqlite(name, str(error), place)
    if type(error).__module__.startswith("psycopg"):
        return _postgres(error, place)
    return None


_SQLITE_SENTENCES = {
    "SQLITE_BUSY": "is locked by another process, expected its write to end within the busy "
    "timeout: end that process or its transaction",
    "SQLITE_LOCKED": "is locked by another connection, expected its write to end",
    "SQLITE_FULL": "has no room left on its disk: free some and try again",
    "SQLITE_READONLY": "is read-only, expected a file and a folder that this user may write",
    "SQLITE_CANTOPEN": "cannot be opened, expected an existing folder that this user may write",
    "SQLITE_PERM": "may not be opened by this user",
    "SQLITE_AUTH": "may not be opened by this user",
    "SQLITE_IOERR": "cannot be read or written because the disk reports an error",
    "SQLITE_CORRUPT": "is damaged: keep a copy, then restore a backup or run sqlite3 .recover",
    "SQLITE_NOTADB": "is not an SQLite database, expected one or a path where no file is",
}

_SQLITE_TEXTS = (
    ("locked", "SQLITE_BUSY"),
    ("disk is full", "SQLITE_FULL"),
    ("readonly database", "SQLITE_READONLY"),
    ("unable to open", "SQLITE_CANTOPEN"),
    ("disk I/O error", "SQLITE_IOERR"),
    ("malformed", "SQLITE_CORRUPT"),
    ("not a database", "SQLITE_NOTADB"),
)


def _name_by_text(text: str) -> str:
    return next((name for part, name in _SQLITE_TEXTS if part in text), "SQLITE_ERROR")


def _sqlite(name: str, text: str, place: str) -> BaseException | None:
    if "no such table" in text or "no such column" in text or "has no column named" in text:
        return _no_schema(place)
    for code, sentence in _SQLITE_SENTENCES.items():
        if name.startswith(code):
            return StoreUnavailable(f"the ledger {place} {sentence}")
    return None


_POSTGRES_SENTENCES = {
    "28": "refuses this user: give the address a user and a password that it knows",
    "3D": "has no database of that name: create it, then run meter db upgrade",
    "42501": "denies this user a right that it needs: grant it the tables of the ledger",
    "53100": "has no room left on its disk: free some and try again",
    "53300": "has no connection left: raise max_connections or run fewer processes",
    "53": "has run out of a resource",
    "25006": "is read-only (a standby?), expected the primary server",
    "55P03": "is locked by another transaction, expected its write to end: end that session",
    "57014": "cancelled the statement, expected it to end within the server's statement_timeout",
    "58": "reports an error of its disk or its system",
    "XX": "reports that it is damaged: keep a copy and look at the server's log",
}

_READ_ONLY = "25006"

_POSTGRES_TEXTS = (
    ("password", "28"),
    ("authentication failed", "28"),
    ('FATAL: role "', "28"),
    ("does not exist", "3D"),
    ("too many", "53300"),
)


def _postgres(error: BaseException | None, place: str) -> BaseException | None:
    state = getattr(error, "sqlstate", None)
    kind = type(error).__name__
    text = " ".join(str(error).split())
    if state is None:
        if kind not in ("OperationalError", "InterfaceError", "ConnectionTimeout"):
            return None
        # While it connects, the driver gives the server's words and no code.
        for part, code in _POSTGRES_TEXTS:
            if part in text:
                return StoreUnavailable(f"the ledger {place} {_POSTGRES_SENTENCES[code]}")
        return ConnectionLost(
            f"the ledger {place} cannot be reached ({text}): check that the server runs there"
        )
    if state in ("40001", "40P01"):
        return Interrupted(f"the ledger {place} is too busy to finish a transaction: try again")
    if state in ("42P01", "42703"):
        return _no_schema(place)
    if state.startswith("08") or state in ("57P01", "57P02", "57P03"):
        return ConnectionLost(f"the ledger {place} ended the connection ({text}): try again")
    if state == _READ_ONLY:
        # After a failover this connection leads to a standby; a new one may lead to the primary.
        return ConnectionLost(f"the ledger {place} {_POSTGRES_SENTENCES[state]}")
    for code, sentence in _POSTGRES_SENTENCES.items():
        if state.startswith(code):
            return StoreUnavailable(f"the ledger {place} {sentence}")
    return None


def _no_schema(place: str) -> SchemaMismatch:
    return SchemaMismatch(
        f"the ledger {place} lacks tables or columns of this release: run meter db upgrade"
    )
