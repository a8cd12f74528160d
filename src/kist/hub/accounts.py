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
import ipaddress
import re
import secrets
import threading
from dataclasses import dataclass
from enum import IntEnum

from kist.errors import Conflict, InvalidParameter, NotFound
from kist.hub.account_storage import TokenRecord, UserRecord
from kist.hub.metadata import Metadata
from kist.hub.names import is_name

_SCRYPT = {"n": 1 << 14, "r": 8, "p": 1}  # 16 MiB and some 50 ms
_USER = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,37}[a-z0-9])?", re.ASCII)
_TOKEN = re.compile(r"kist_([0-9a-f]{12})_([A-Za-z0-9_-]{43})", re.ASCII)
SHORTEST_PASSWORD = 10
SESSION_LIFE = 14 * 86400.0
#: Names that can't be a user's or an organisation's: paths of the pages, and the library's namespace.
RESERVED = frozenset({"library", "kist", "v1", "v2", "token", "healthz", "metrics", "static", "search", "signin",
                      "signout", "settings", "api", "r", "o"})
# Wrong passwords: after so many within the window, nobody gets another try for this name from there.
TRIES, TRIES_WINDOW = 10, 300.0
#: The same for one address whatever the names, so that nobody tries one password with many of them.
TRIES_OF_ADDRESS, MOST_REMEMBERED = 100, 100_000


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
        self._kept = metadata.accounts
        self._failures: dict[tuple[str, str], list[float]] = {}
        self._verified: dict[bytes, float] = {}
        self._pepper = secrets.token_bytes(32)
        self._lock = threading.Lock()

    # --- users ------------------------------------------------------------------------------------------

    def add_user(self, name: str, password: str, *, admin: bool = False) -> int:
        check_password(password)
        hashed = hash_password(password)
        with self._metadata.transaction():
            self._check_new_name(name)
            return self._kept.add_user(name, hashed, admin=admin, now=self._metadata.clock())

    def set_password(self, name: str, password: str) -> None:
        """Also ends the user's sessions."""
        check_password(password)
        self._kept.set_password(self.user(name).id, hash_password(password))
        with self._lock:
            self._verified.clear()

    def remove_user(self, name: str) -> None:
        self._kept.remove_user(self.user(name).id)
        with self._lock:
            self._verified.clear()

    def user(self, name: str) -> User:
        found = self._kept.user(name)
        if found is None:
            raise NotFound(f"No such user: {name}")
        return _user(found)

    def users(self) -> list[User]:
        return [_user(found) for found in self._kept.users()]

    def _check_new_name(self, name: str) -> None:
        if not _USER.fullmatch(name) or not is_name(name) or name in RESERVED:
            raise InvalidParameter(f'invalid name "{name}": 1 to 39 of a-z, 0-9 and inner dashes, and not reserved')
        if self._kept.name_taken(name):
            raise Conflict(f'the name "{name}" is in use')

    # --- signing in ---------------------------------------------------------------------------------------

    def sign_in(self, name: str, password: str, origin: str = "") -> User | None:
        """The user whose password or access token it is, None for a wrong one; raises TooManyTries."""
        token = _TOKEN.fullmatch(password)
        if token is not None:
            return self._by_token(name, token.group(1), token.group(2))
        return self.by_password(name, password, origin)

    def by_password(self, name: str, password: str, origin: str = "") -> User | None:
        """As `sign_in`, but that no access token will do: what opens the pages, and changes the password."""
        self._check_tries(name, origin)
        found = self._kept.user(name)
        # An unknown name costs as much time as a known one: the answer's time tells nothing.
        stored = found.password if found is not None else _NOBODY
        if self._verify(password, stored) and found is not None:
            return _user(found)
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
            for key, most in ((_key(name, origin), TRIES), (_key("", origin), TRIES_OF_ADDRESS)):
                if len([moment for moment in self._failures.get(key, []) if moment > now - TRIES_WINDOW]) >= most:
                    raise TooManyTries

    def _note_failure(self, name: str, origin: str) -> None:
        now = self._metadata.clock()
        with self._lock:
            for key in (_key(name, origin), _key("", origin)):
                recent = [moment for moment in self._failures.pop(key, []) if moment > now - TRIES_WINDOW]
                self._failures[key] = [*recent, now]  # at the end: the longest idle ones are forgotten first
            while len(self._failures) > MOST_REMEMBERED:
                del self._failures[next(iter(self._failures))]

    # --- access tokens --------------------------------------------------------------------------------------

    def add_token(self, user: User, label: str, level: Level, *, life: float | None = None) -> str:
        """A new personal access token; this is the only time that it can be seen."""
        if not 0 < len(label) <= 100 or level is Level.NONE:
            raise InvalidParameter("a token needs a label of at most 100 characters, and a level")
        number, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
        now = self._metadata.clock()
        self._kept.add_token(TokenRecord(number, user.id, _sha256(secret), label, level.name, now, None,
                                         now + life if life else None))
        return f"kist_{number}_{secret}"

    def tokens(self, user: User) -> list[AccessToken]:
        return [AccessToken(one.id, one.label, Level[one.level], one.created, one.used, one.expires)
                for one in self._kept.tokens(user.id)]

    def remove_token(self, user: User, number: str) -> None:
        self._kept.remove_token(user.id, number)

    def by_token(self, password: str) -> User | None:
        """The user of an access token, whatever the name."""
        token = _TOKEN.fullmatch(password)
        return self._by_token("", token.group(1), token.group(2)) if token else None

    def _by_token(self, name: str, number: str, secret: str) -> User | None:
        found, now = self._kept.token(number), self._metadata.clock()
        if found is None:
            return None
        token, owner = found
        if not hmac.compare_digest(token.secret, _sha256(secret)) or (name and name != owner.name):
            return None
        if token.expires is not None and token.expires < now:
            return None
        if token.used is None or token.used < now - 3600:
            self._kept.touch_token(number, now)
        return User(owner.id, owner.name, owner.admin, Level[token.level])

    # --- sessions of the pages --------------------------------------------------------------------------------

    def open_session(self, user: User) -> str:
        cookie, now = secrets.token_urlsafe(32), self._metadata.clock()
        self._kept.open_session(_sha256(cookie), user.id, now + SESSION_LIFE, now)
        return cookie

    def session(self, cookie: str) -> User | None:
        found = self._kept.session(_sha256(cookie), self._metadata.clock())
        return _user(found) if found else None

    def close_session(self, cookie: str) -> None:
        self._kept.close_session(_sha256(cookie))

    # --- organisations and grants -----------------------------------------------------------------------------

    def add_organisation(self, name: str) -> None:
        with self._metadata.transaction():
            self._check_new_name(name)
            self._kept.add_organisation(name, self._metadata.clock())

    def remove_organisation(self, name: str) -> None:
        if not self._kept.remove_organisation(name):
            raise NotFound(f"No such organisation: {name}")

    def set_member(self, organisation: str, user: str, level: Level) -> None:
        """Level NONE takes the user out."""
        if not self._kept.set_member(organisation, self.user(user).id, level.name if level else None):
            raise NotFound(f"No such organisation: {organisation}")

    def members(self, organisation: str) -> dict[str, Level]:
        return _levels(self._kept.members(organisation))

    def organisations(self) -> list[str]:
        return self._kept.organisations()

    def organisations_of(self, user: User) -> dict[str, Level]:
        return _levels(self._kept.memberships(user.id))

    def grant(self, repository: str, user: str, level: Level) -> None:
        """Level NONE takes it back."""
        self._kept.set_grant(repository, self.user(user).id, level.name if level else None)

    def grants(self, repository: str) -> dict[str, Level]:
        return _levels(self._kept.grants(repository))

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
        found = [self._kept.grant(repository, user.id), self._kept.memberships(user.id).get(namespace if slash else "")]
        return [Level[name] for name in found if name]

    def signing_key(self) -> bytes:
        """The secret that bearer tokens are signed with; made at the first call, the same ever after."""
        return self._kept.secret("signing-key", secrets.token_bytes(32))


def _key(name: str, origin: str) -> tuple[str, str]:
    """Who is counted together: of IPv6, everybody in a /64, since whoever has one address there has them all."""
    try:
        address = ipaddress.ip_address(origin)
    except ValueError:
        return name[:100], origin
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is None:
        return name[:100], str(ipaddress.ip_network((address, 64), strict=False))
    return name[:100], origin


def _user(found: UserRecord) -> User:
    return User(found.id, found.name, found.admin)


def _levels(found: dict[str, str]) -> dict[str, Level]:
    return {name: Level[level] for name, level in found.items()}


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
