"""Where accounts are kept: users, tokens, sessions, organisations, grants. An interface; accounts.py has the rules.

Levels are their names ("READ"), secrets and cookies come as hashes already. Removing a user or an organisation
takes all that is theirs along.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass


@dataclass(frozen=True)
class UserRecord:
    id: int
    name: str
    password: str  # as accounts.hash_password makes it
    admin: bool


@dataclass(frozen=True)
class TokenRecord:
    id: str
    user: int
    secret: str
    label: str
    level: str
    created: float
    used: float | None
    expires: float | None


class AccountStorage(ABC):
    """Thread-safe. Names are unique over users and organisations: the caller asks `name_taken` in a transaction."""

    @abstractmethod
    def name_taken(self, name: str) -> bool: ...

    # --- users ---

    @abstractmethod
    def add_user(self, name: str, password: str, *, admin: bool, now: float) -> int: ...

    @abstractmethod
    def user(self, name: str) -> UserRecord | None: ...

    @abstractmethod
    def users(self) -> list[UserRecord]:
        """By name."""

    @abstractmethod
    def set_password(self, user: int, password: str) -> None:
        """Also ends the user's sessions."""

    @abstractmethod
    def remove_user(self, user: int) -> None: ...

    # --- tokens and sessions ---

    @abstractmethod
    def add_token(self, token: TokenRecord) -> None: ...

    @abstractmethod
    def token(self, number: str) -> tuple[TokenRecord, UserRecord] | None: ...

    @abstractmethod
    def tokens(self, user: int) -> list[TokenRecord]:
        """Oldest first."""

    @abstractmethod
    def touch_token(self, number: str, now: float) -> None:
        """It has been used."""

    @abstractmethod
    def remove_token(self, user: int, number: str) -> None: ...

    @abstractmethod
    def open_session(self, session: str, user: int, expires: float, now: float) -> None:
        """Also forgets those that are over."""

    @abstractmethod
    def session(self, session: str, now: float) -> UserRecord | None: ...

    @abstractmethod
    def close_session(self, session: str) -> None: ...

    # --- organisations and grants ---

    @abstractmethod
    def add_organisation(self, name: str, now: float) -> None: ...

    @abstractmethod
    def remove_organisation(self, name: str) -> bool: ...

    @abstractmethod
    def organisations(self) -> list[str]:
        """By name."""

    @abstractmethod
    def set_member(self, organisation: str, user: int, level: str | None) -> bool:
        """None takes the user out; False where there is no such organisation."""

    @abstractmethod
    def members(self, organisation: str) -> dict[str, str]:
        """Level by user name, in order."""

    @abstractmethod
    def memberships(self, user: int) -> dict[str, str]:
        """Level by organisation, in order."""

    @abstractmethod
    def set_grant(self, repository: str, user: int, level: str | None) -> None:
        """None takes it back."""

    @abstractmethod
    def grants(self, repository: str) -> dict[str, str]:
        """Level by user name, in order."""

    @abstractmethod
    def grant(self, repository: str, user: int) -> str | None:
        """The level of one user."""

    @abstractmethod
    def secret(self, name: str, new: bytes) -> bytes:
        """The secret of that name; it is ``new`` where there was none yet."""
