"""Who may do what. The routes ask here before they do anything; `open` Hubs let everybody do everything."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import Enum

from starlette.requests import Request


class Action(Enum):
    """What a request wants of a repository; the words of token scopes."""

    PULL = "pull"
    PUSH = "push"
    DELETE = "delete"


@dataclass(frozen=True)
class Principal:
    """Who asks. ``name`` is empty for somebody unknown."""

    name: str = ""
    admin: bool = False


class Access(ABC):
    """Raises HubError UNAUTHORIZED (with a challenge) or DENIED where the answer is no."""

    @abstractmethod
    def authenticate(self, request: Request) -> Principal:
        """Who is asking; raises UNAUTHORIZED for wrong credentials."""

    @abstractmethod
    def check(self, request: Request, action: Action, repository: str) -> Principal:
        """Let the request pass, or raise."""

    @abstractmethod
    def may_pull(self, request: Request, repository: str) -> bool:
        """Whether a repository may be shown or mounted from, without raising."""

    @abstractmethod
    def check_login(self, request: Request) -> Principal:
        """The base URL: what `docker login` asks."""


class OpenAccess(Access):
    """Everybody is anonymous and may do everything: a Hub on loopback, or behind a proxy that decides."""

    def authenticate(self, request: Request) -> Principal:
        return Principal()

    def check(self, request: Request, action: Action, repository: str) -> Principal:
        return Principal()

    def may_pull(self, request: Request, repository: str) -> bool:
        return True

    def check_login(self, request: Request) -> Principal:
        return Principal()
