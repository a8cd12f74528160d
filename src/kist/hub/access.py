"""Who may do what. The routes ask here before they do anything.

`OpenAccess`     everybody may do everything: a Hub on loopback, or behind a proxy that decides
`AccountAccess`  accounts.py decides; credentials come as Basic, as our own bearer token, or as a session cookie
"""

from __future__ import annotations

import base64
import binascii
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from enum import Enum

from starlette.requests import Request

from kist.errors import NotFound
from kist.hub import bearer
from kist.hub.accounts import Accounts, Level, TooManyTries, User
from kist.hub.errors import HubError
from kist.hub.upstream import Upstream

SESSION_COOKIE = "kist_session"


class Action(Enum):
    """What a request wants of a repository; the words of token scopes."""

    PULL = "pull"
    PUSH = "push"
    DELETE = "delete"


NEEDS = {Action.PULL: Level.READ, Action.PUSH: Level.WRITE, Action.DELETE: Level.ADMIN}


class Access(ABC):
    """Raises HubError UNAUTHORIZED (with a challenge) or DENIED where the answer is no."""

    @abstractmethod
    def check(self, request: Request, action: Action, repository: str) -> None:
        """Let the request pass, or raise."""

    @abstractmethod
    def check_login(self, request: Request) -> None:
        """The base URL: what `docker login` asks."""

    @abstractmethod
    def level(self, request: Request, repository: str) -> Level:
        """The most that whoever asks may do with the repository."""

    @abstractmethod
    def user(self, request: Request) -> User | None:
        """Who is asking; None for anybody. Raises UNAUTHORIZED for wrong credentials."""

    def may_pull(self, request: Request, repository: str) -> bool:
        return self.level(request, repository) >= Level.READ


class OpenAccess(Access):
    """Everybody is anonymous and may do everything."""

    def check(self, request: Request, action: Action, repository: str) -> None:
        return

    def check_login(self, request: Request) -> None:
        return

    def level(self, request: Request, repository: str) -> Level:
        return Level.ADMIN

    def user(self, request: Request) -> User | None:
        return None


class AccountAccess(Access):
    """`upstream_of` tells the caches, which are read by everybody, or by users where they have credentials."""

    def __init__(
        self, accounts: Accounts, upstream_of: Callable[[str], Upstream | None], *, url: str = "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.accounts = accounts
        self._upstream_of = upstream_of
        self._url = url.rstrip("/")
        self._clock = clock
        self._key = accounts.signing_key()

    def check(self, request: Request, action: Action, repository: str) -> None:
        if self.level(request, repository) >= NEEDS[action]:
            return
        scope = f"repository:{repository}:{'pull,push' if action is Action.PUSH else action.value}"
        challenge, claims = self._challenge(request, scope), self._claims(request)
        if claims is not None:
            # A token for something else is no refusal yet: the client is told what to ask for (RFC 6750, section 3.1).
            challenge["WWW-Authenticate"] += ',error="insufficient_scope"'
        if claims is not None and claims.subject:
            raise HubError("DENIED", status=401, headers=challenge)  # whose words it shows when it has asked in vain
        if self.user(request) is None or claims is not None:
            raise HubError("UNAUTHORIZED", headers=challenge)
        raise HubError("DENIED", detail={"name": repository, "action": action.value})

    def check_login(self, request: Request) -> None:
        if self.user(request) is None and self._claims(request) is None:
            raise HubError("UNAUTHORIZED", headers=self._challenge(request, ""))

    def level(self, request: Request, repository: str) -> Level:
        claims = self._claims(request)
        if claims is not None:
            return _granted(claims, repository) or self.level_of(None, repository)
        return self.level_of(self.user(request), repository)

    def level_of(self, user: User | None, repository: str) -> Level:
        upstream = self._upstream_of(repository)
        if upstream is not None and not (user and user.admin):
            return Level.READ if user is not None or not upstream.private else Level.NONE
        return self.accounts.level(user, repository)

    # --- who --------------------------------------------------------------------------------------------

    def user(self, request: Request) -> User | None:
        if "kist.principal" not in request.scope:
            user = self._identify(request)
            request.scope["kist.principal"] = user
            request.scope["kist.user"] = user.name if user else ""
        found: User | None = request.scope["kist.principal"]
        return found

    def session(self, request: Request) -> User | None:
        """Who has signed in on the pages. A token, whatever its level, is nobody here: it must not make others."""
        cookie = request.cookies.get(SESSION_COOKIE, "")
        return self.accounts.session(cookie) if cookie and "authorization" not in request.headers else None

    def _identify(self, request: Request) -> User | None:
        scheme, _, rest = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "basic":
            return self._basic(request, rest)
        if scheme.lower() == "bearer":
            claims = self._claims(request)
            if claims is None:
                user = self.accounts.by_token(rest.strip())  # a personal access token as it is
                if user is None:
                    raise HubError("UNAUTHORIZED", "the token is not valid", headers=self._challenge(request, ""))
                return user
            return self._named(claims)
        # A cookie signs in on the pages only: the API takes no credentials that a foreign page could make us send.
        return self.session(request) if not request.url.path.startswith("/v2") else None

    def _named(self, claims: bearer.Claims) -> User | None:
        try:
            found = self.accounts.user(claims.subject)
        except NotFound:
            return None  # anybody, or somebody who has been removed meanwhile
        return User(found.id, found.name, found.admin, Level[claims.cap])

    def _basic(self, request: Request, packed: str) -> User:
        try:
            name, _, password = base64.b64decode(packed, validate=True).decode("utf-8").partition(":")
        except (binascii.Error, UnicodeDecodeError):
            name, password = "", ""
        try:
            user = self.accounts.sign_in(name, password, request.client.host if request.client else "")
        except TooManyTries:
            raise HubError("TOOMANYREQUESTS", "too many wrong passwords: wait some minutes",
                           headers={"Retry-After": "300"}) from None
        if user is None:
            raise HubError("UNAUTHORIZED", "incorrect username or password", headers=self._challenge(request, ""))
        return user

    # --- our own bearer tokens ------------------------------------------------------------------------------

    def _claims(self, request: Request) -> bearer.Claims | None:
        if "kist.claims" not in request.scope:
            scheme, _, token = request.headers.get("authorization", "").partition(" ")
            claims = bearer.read(token.strip(), self._key, self._clock()) if scheme.lower() == "bearer" else None
            request.scope["kist.claims"] = claims
            if claims is not None:
                request.scope["kist.user"] = claims.subject
        found: bearer.Claims | None = request.scope["kist.claims"]
        return found

    def issue(self, user: User | None, scopes: list[bearer.Scope], life: float) -> str:
        """A bearer token for as much of the scopes as the user may do."""
        access: dict[str, frozenset[str]] = {}
        for scope in scopes:
            if scope.kind == "repository":
                level = self.level_of(user, scope.name)
                granted = frozenset(action.value for action, needed in NEEDS.items() if level >= needed)
                wanted = granted if "*" in scope.actions else scope.actions & granted
                access[scope.name] = access.get(scope.name, frozenset()) | wanted
        claims = bearer.Claims(user.name if user else "", self._clock() + life, (user.cap if user else Level.READ).name,
                               access)
        return bearer.sign(claims, self._key)

    def _challenge(self, request: Request, scope: str) -> dict[str, str]:
        base = self._url or f"{request.url.scheme}://{request.url.netloc}"
        words = f'Bearer realm="{base}/token",service="{request.url.netloc}"'
        return {"WWW-Authenticate": words + (f',scope="{scope}"' if scope else "")}


def _granted(claims: bearer.Claims, repository: str) -> Level:
    actions = claims.access.get(repository, frozenset())
    return max((level for action, level in NEEDS.items() if action.value in actions), default=Level.NONE)
