"""Users, organisations, access tokens, and who may do what where.

A repository's first part is its namespace: a user's own name, or an organisation's. Levels contain each other:

    admin > write > read > none
    user's own namespace: admin     organisation's member: the level given     grant: one repository
    public repository: read, for everybody     the Hub's admins: admin, everywhere

Passwords are kept as scrypt hashes, tokens and sessions as SHA-256 of long random secrets.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
import threading
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from kist.errors import Conflict, InvalidParameter, NotFound
from kist.hub.metadata import Metadata
from kist.hub.names import is_name

_SCRYPT = {"n": 1 << 14, "r": 8, "p": 1}  # 16 MiB and some 50 ms
_USER = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,37}[a-z0-9])?", re.ASCII)
_TOKEN = re.compile(r"kist_([0-9a-f]{12})_([A-Za-z0-9_-]{43})", re.ASCII)
SHORTEST_PASSWORD = 10
SESSION_LIFE = 14 * 86400.0
#: Names that can't be a user's or an organisation's: paths of the pages, and the library's namespace.
RESERVED = frozenset({"library", "v1", "v2", "token", "healthz", "metrics", "static", "search", "signin", "signout",
                      "settings", "api", "r", "o"})
# Wrong passwords: after so many within the window, nobody gets another try for this name from there.
TRIES, TRIES_WINDOW = 10, 300.0


class Level(IntEnum):
    NONE = 0
    READ = 1
    WRITE = 2
    ADMIN = 3

    @classmethod
    def parse(cls, text: str) -> Level:
        try:
            return cls[text.upper()]
        except KeyError:
            raise InvalidParameter(f'invalid level "{text}": must be read, write or admin') from None


@dataclass(frozen=True)
class User:
    """Somebody known. ``cap`` is the most that the way of signing in allows (a token's level)."""

    id: int
    name: str
    admin: bool
    cap: Level = Level.ADMIN


@dataclass(frozen=True)
class AccessToken:
    id: str
    label: str
    level: Level
    created: float
    used: float | None
    expires: float | None


class TooManyTries(Exception):
    """Wrong passwords, again and again."""


class Accounts:
    """Thread-safe."""

    def __init__(self, metadata: Metadata) -> None:
        self._metadata = metadata
        self._db = metadata.database
        self._failures: dict[tuple[str, str], list[float]] = {}
        self._verified: dict[bytes, float] = {}
        self._pepper = secrets.token_bytes(32)
        self._lock = threading.Lock()

    # --- users ------------------------------------------------------------------------------------------

    def add_user(self, name: str, password: str, *, admin: bool = False) -> int:
        self._check_new_name(name)
        check_password(password)
        with self._db.write() as db:
            cursor = db.execute("INSERT INTO users (name, password, admin, created) VALUES (?, ?, ?, ?)",
                                (name, hash_password(password), admin, self._metadata.clock()))
            return int(cursor.lastrowid or 0)

    def set_password(self, name: str, password: str) -> None:
        """Also ends the user's sessions."""
        check_password(password)
        user = self.user(name)
        with self._db.write() as db:
            db.execute("UPDATE users SET password = ? WHERE id = ?", (hash_password(password), user.id))
            db.execute("DELETE FROM sessions WHERE user = ?", (user.id,))
        with self._lock:
            self._verified.clear()

    def remove_user(self, name: str) -> None:
        user = self.user(name)
        with self._db.write() as db:
            db.execute("DELETE FROM users WHERE id = ?", (user.id,))
        with self._lock:
            self._verified.clear()

    def user(self, name: str) -> User:
        row = self._db.one("SELECT * FROM users WHERE name = ?", name)
        if row is None:
            raise NotFound(f"No such user: {name}")
        return User(row["id"], row["name"], bool(row["admin"]))

    def users(self) -> list[User]:
        return [User(row["id"], row["name"], bool(row["admin"]))
                for row in self._db.all("SELECT * FROM users ORDER BY name")]

    def _check_new_name(self, name: str) -> None:
        if not _USER.fullmatch(name) or not is_name(name) or name in RESERVED:
            raise InvalidParameter(f'invalid name "{name}": 1 to 39 of a-z, 0-9 and inner dashes, and not reserved')
        taken = self._db.one("SELECT 1 FROM users WHERE name = ? UNION SELECT 1 FROM organisations WHERE name = ?",
                             name, name)
        if taken is not None:
            raise Conflict(f'the name "{name}" is in use')

    # --- signing in ---------------------------------------------------------------------------------------

    def sign_in(self, name: str, password: str, origin: str = "") -> User | None:
        """The user whose password or access token it is, None for a wrong one; raises TooManyTries."""
        token = _TOKEN.fullmatch(password)
        if token is not None:
            return self._by_token(name, token.group(1), token.group(2))
        self._check_tries(name, origin)
        row = self._db.one("SELECT * FROM users WHERE name = ?", name)
        # An unknown name costs as much time as a known one: the answer's time tells nothing.
        stored = row["password"] if row is not None else _NOBODY
        if self._verify(password, stored) and row is not None:
            return User(row["id"], row["name"], bool(row["admin"]))
        self._note_failure(name, origin)
        return None

    def _verify(self, password: str, stored: str) -> bool:
        """Verified once, a password is taken for a minute without the scrypt: clients ask for many tokens."""
        key = hmac.digest(self._pepper, f"{stored}\0{password}".encode(), "sha256")
        now = self._metadata.clock()
        with self._lock:
            if self._verified.get(key, 0.0) > now:
                return True
        if not verify_password(password, stored):
            return False
        with self._lock:
            if len(self._verified) > 1000:
                self._verified.clear()
            self._verified[key] = now + 60.0
        return True

    def _check_tries(self, name: str, origin: str) -> None:
        now = self._metadata.clock()
        with self._lock:
            recent = [moment for moment in self._failures.get((name, origin), []) if moment > now - TRIES_WINDOW]
            if len(recent) >= TRIES:
                raise TooManyTries

    def _note_failure(self, name: str, origin: str) -> None:
        now = self._metadata.clock()
        with self._lock:
            if len(self._failures) > 10_000:
                self._failures.clear()
            recent = [moment for moment in self._failures.get((name, origin), []) if moment > now - TRIES_WINDOW]
            self._failures[name, origin] = [*recent, now]

    # --- access tokens --------------------------------------------------------------------------------------

    def add_token(self, user: User, label: str, level: Level, *, life: float | None = None) -> str:
        """A new personal access token; this is the only time that it can be seen."""
        if not 0 < len(label) <= 100 or level is Level.NONE:
            raise InvalidParameter("a token needs a label of at most 100 characters, and a level")
        number, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
        now = self._metadata.clock()
        with self._db.write() as db:
            db.execute("INSERT INTO tokens VALUES (?, ?, ?, ?, ?, ?, NULL, ?)",
                       (number, user.id, _sha256(secret), label, level.name, now, now + life if life else None))
        return f"kist_{number}_{secret}"

    def tokens(self, user: User) -> list[AccessToken]:
        rows = self._db.all("SELECT * FROM tokens WHERE user = ? ORDER BY created", user.id)
        return [AccessToken(row["id"], row["label"], Level[row["level"]], row["created"], row["used"], row["expires"])
                for row in rows]

    def remove_token(self, user: User, number: str) -> None:
        with self._db.write() as db:
            db.execute("DELETE FROM tokens WHERE id = ? AND user = ?", (number, user.id))

    def by_token(self, password: str) -> User | None:
        """The user of an access token, whatever the name."""
        token = _TOKEN.fullmatch(password)
        return self._by_token("", token.group(1), token.group(2)) if token else None

    def _by_token(self, name: str, number: str, secret: str) -> User | None:
        row = self._db.one("SELECT t.*, u.name, u.admin FROM tokens t JOIN users u ON u.id = t.user WHERE t.id = ?",
                           number)
        now = self._metadata.clock()
        if row is None or not hmac.compare_digest(row["secret"], _sha256(secret)) or (name and name != row["name"]):
            return None
        if row["expires"] is not None and row["expires"] < now:
            return None
        if row["used"] is None or row["used"] < now - 3600:
            with self._db.write() as db:
                db.execute("UPDATE tokens SET used = ? WHERE id = ?", (now, number))
        return User(row["user"], row["name"], bool(row["admin"]), Level[row["level"]])

    # --- sessions of the pages --------------------------------------------------------------------------------

    def open_session(self, user: User) -> str:
        cookie = secrets.token_urlsafe(32)
        now = self._metadata.clock()
        with self._db.write() as db:
            db.execute("DELETE FROM sessions WHERE expires < ?", (now,))
            db.execute("INSERT INTO sessions VALUES (?, ?, ?)", (_sha256(cookie), user.id, now + SESSION_LIFE))
        return cookie

    def session(self, cookie: str) -> User | None:
        row = self._db.one("SELECT u.* FROM sessions s JOIN users u ON u.id = s.user WHERE s.id = ? AND s.expires > ?",
                           _sha256(cookie), self._metadata.clock())
        return User(row["id"], row["name"], bool(row["admin"])) if row else None

    def close_session(self, cookie: str) -> None:
        with self._db.write() as db:
            db.execute("DELETE FROM sessions WHERE id = ?", (_sha256(cookie),))

    # --- organisations and grants -----------------------------------------------------------------------------

    def add_organisation(self, name: str) -> None:
        self._check_new_name(name)
        with self._db.write() as db:
            db.execute("INSERT INTO organisations (name, created) VALUES (?, ?)", (name, self._metadata.clock()))

    def remove_organisation(self, name: str) -> None:
        with self._db.write() as db:
            if not db.execute("DELETE FROM organisations WHERE name = ?", (name,)).rowcount:
                raise NotFound(f"No such organisation: {name}")

    def set_member(self, organisation: str, user: str, level: Level) -> None:
        """Level NONE takes the user out."""
        number = self.user(user).id
        row = self._db.one("SELECT id FROM organisations WHERE name = ?", organisation)
        if row is None:
            raise NotFound(f"No such organisation: {organisation}")
        with self._db.write() as db:
            db.execute("DELETE FROM members WHERE organisation = ? AND user = ?", (row["id"], number))
            if level is not Level.NONE:
                db.execute("INSERT INTO members VALUES (?, ?, ?)", (row["id"], number, level.name))

    def members(self, organisation: str) -> dict[str, Level]:
        rows = self._db.all("SELECT u.name, m.level FROM members m JOIN users u ON u.id = m.user JOIN organisations o "
                            "ON o.id = m.organisation WHERE o.name = ? ORDER BY u.name", organisation)
        return {row["name"]: Level[row["level"]] for row in rows}

    def organisations(self) -> list[str]:
        return [row["name"] for row in self._db.all("SELECT name FROM organisations ORDER BY name")]

    def organisations_of(self, user: User) -> dict[str, Level]:
        rows = self._db.all("SELECT o.name, m.level FROM members m JOIN organisations o ON o.id = m.organisation "
                            "WHERE m.user = ? ORDER BY o.name", user.id)
        return {row["name"]: Level[row["level"]] for row in rows}

    def grant(self, repository: str, user: str, level: Level) -> None:
        """Level NONE takes it back."""
        number = self.user(user).id
        with self._db.write() as db:
            db.execute("DELETE FROM grants WHERE repository = ? AND user = ?", (repository, number))
            if level is not Level.NONE:
                db.execute("INSERT INTO grants VALUES (?, ?, ?)", (repository, number, level.name))

    def grants(self, repository: str) -> dict[str, Level]:
        rows = self._db.all("SELECT u.name, g.level FROM grants g JOIN users u ON u.id = g.user "
                            "WHERE g.repository = ? ORDER BY u.name", repository)
        return {row["name"]: Level[row["level"]] for row in rows}

    # --- the rule ---------------------------------------------------------------------------------------------

    def level(self, user: User | None, repository: str) -> Level:
        """The most that ``user`` (None: anybody) may do with the repository, there or not yet."""
        found = self._metadata.repository(repository)
        public = Level.READ if found is not None and not found.private else Level.NONE
        if user is None:
            return public
        own = max([public, *self._own_levels(user, repository)])
        return min(own, user.cap)

    def _own_levels(self, user: User, repository: str) -> list[Level]:
        if user.admin:
            return [Level.ADMIN]
        namespace, slash, _ = repository.partition("/")
        if slash and namespace == user.name:
            return [Level.ADMIN]
        rows: list[Any] = self._db.all(
            "SELECT m.level FROM members m JOIN organisations o ON o.id = m.organisation WHERE m.user = ? AND "
            "o.name = ? AND ? UNION ALL SELECT level FROM grants WHERE user = ? AND repository = ?",
            user.id, namespace, bool(slash), user.id, repository)
        return [Level[row["level"]] for row in rows]

    def signing_key(self) -> bytes:
        """The secret that bearer tokens are signed with; made at the first call, the same ever after."""
        with self._db.write() as db:
            db.execute("INSERT INTO secrets VALUES ('signing-key', ?) ON CONFLICT DO NOTHING",
                       (secrets.token_bytes(32),))
            return bytes(db.execute("SELECT value FROM secrets WHERE name = 'signing-key'").fetchone()["value"])


# --- passwords: "scrypt$SALT$HASH", both base64 -----------------------------------------------------------------


def check_password(password: str) -> None:
    if not SHORTEST_PASSWORD <= len(password) <= 1000:
        raise InvalidParameter(f"a password has at least {SHORTEST_PASSWORD} characters")


def hash_password(password: str) -> str:
    salt = secrets.token_bytes(16)
    return "$".join(("scrypt", _b64(salt), _b64(hashlib.scrypt(password.encode(), salt=salt, **_SCRYPT))))


def verify_password(password: str, stored: str) -> bool:
    _, salt, expected = stored.split("$")
    if len(password) > 1000:
        return False
    actual = hashlib.scrypt(password.encode("utf-8", "surrogateescape"), salt=base64.b64decode(salt), **_SCRYPT)
    return hmac.compare_digest(actual, base64.b64decode(expected))


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


_NOBODY = "$".join(("scrypt", _b64(b"\0" * 16), _b64(b"\0" * 64)))
