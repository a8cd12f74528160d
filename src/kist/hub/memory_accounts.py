"""Accounts in memory (account_storage.py says what each method does)."""

from __future__ import annotations

from dataclasses import replace

from kist.hub.account_storage import AccountStorage, TokenRecord, UserRecord
from kist.hub.memory_tables import Tables, drop


class MemoryAccounts(AccountStorage):
    """In the tables of the metadata, whose transactions it joins."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._users: dict[int, UserRecord] = tables.table()
        self._tokens: dict[str, TokenRecord] = tables.table()
        self._sessions: dict[str, tuple[int, float]] = tables.table()
        self._organisations: dict[str, float] = tables.table()
        self._members: dict[tuple[str, int], str] = tables.table()
        self._grants: dict[tuple[str, int], str] = tables.table()
        self._secrets: dict[str, bytes] = tables.table()

    def name_taken(self, name: str) -> bool:
        with self._tables.lock:
            return name in self._organisations or self.user(name) is not None

    # --- users ---

    def add_user(self, name: str, password: str, *, admin: bool, now: float) -> int:
        with self._tables.transaction():
            number = next(self._tables.numbers)
            self._users[number] = UserRecord(number, name, password, admin)
            return number

    def user(self, name: str) -> UserRecord | None:
        with self._tables.lock:
            return next((user for user in self._users.values() if user.name == name), None)

    def users(self) -> list[UserRecord]:
        with self._tables.lock:
            return sorted(self._users.values(), key=lambda user: user.name)

    def set_password(self, user: int, password: str) -> None:
        with self._tables.transaction():
            self._users[user] = replace(self._users[user], password=password)
            self._end_sessions(user)

    def _end_sessions(self, user: int) -> None:
        for key in [key for key, (owner, _) in self._sessions.items() if owner == user]:
            del self._sessions[key]

    def remove_user(self, user: int) -> None:
        with self._tables.transaction():
            self._users.pop(user, None)
            self._end_sessions(user)
            for token in self.tokens(user):
                del self._tokens[token.id]
            for table in (self._members, self._grants):
                drop(table, column=1, value=user)

    # --- tokens and sessions ---

    def add_token(self, token: TokenRecord) -> None:
        with self._tables.transaction():
            self._tokens[token.id] = token

    def token(self, number: str) -> tuple[TokenRecord, UserRecord] | None:
        with self._tables.lock:
            token = self._tokens.get(number)
            return (token, self._users[token.user]) if token else None

    def tokens(self, user: int) -> list[TokenRecord]:
        with self._tables.lock:
            return sorted((token for token in self._tokens.values() if token.user == user),
                          key=lambda token: (token.created, token.id))

    def touch_token(self, number: str, now: float) -> None:
        with self._tables.transaction():
            if number in self._tokens:
                self._tokens[number] = replace(self._tokens[number], used=now)

    def remove_token(self, user: int, number: str) -> None:
        with self._tables.transaction():
            if number in self._tokens and self._tokens[number].user == user:
                del self._tokens[number]

    def open_session(self, session: str, user: int, expires: float, now: float) -> None:
        with self._tables.transaction():
            for key in [key for key, (_, end) in self._sessions.items() if end < now]:
                del self._sessions[key]
            self._sessions[session] = (user, expires)

    def session(self, session: str, now: float) -> UserRecord | None:
        with self._tables.lock:
            user, expires = self._sessions.get(session, (0, 0.0))
            return self._users.get(user) if expires > now else None

    def close_session(self, session: str) -> None:
        with self._tables.transaction():
            self._sessions.pop(session, None)

    # --- organisations and grants ---

    def add_organisation(self, name: str, now: float) -> None:
        with self._tables.transaction():
            self._organisations[name] = now

    def remove_organisation(self, name: str) -> bool:
        with self._tables.transaction():
            drop(self._members, column=0, value=name)
            return self._organisations.pop(name, None) is not None

    def organisations(self) -> list[str]:
        with self._tables.lock:
            return sorted(self._organisations)

    def set_member(self, organisation: str, user: int, level: str | None) -> bool:
        with self._tables.transaction():
            if organisation not in self._organisations:
                return False
            _set(self._members, (organisation, user), level)
            return True

    def members(self, organisation: str) -> dict[str, str]:
        return self._of(self._members, organisation)

    def memberships(self, user: int) -> dict[str, str]:
        with self._tables.lock:
            return {name: level for (name, one), level in sorted(self._members.items()) if one == user}

    def set_grant(self, repository: str, user: int, level: str | None) -> None:
        with self._tables.transaction():
            _set(self._grants, (repository, user), level)

    def grants(self, repository: str) -> dict[str, str]:
        return self._of(self._grants, repository)

    def grant(self, repository: str, user: int) -> str | None:
        with self._tables.lock:
            return self._grants.get((repository, user))

    def secret(self, name: str, new: bytes) -> bytes:
        with self._tables.transaction():
            return self._secrets.setdefault(name, new)

    def _of(self, table: dict[tuple[str, int], str], name: str) -> dict[str, str]:
        with self._tables.lock:
            found = {self._users[user].name: level for (one, user), level in table.items() if one == name}
            return dict(sorted(found.items()))


def _set(table: dict[tuple[str, int], str], key: tuple[str, int], level: str | None) -> None:
    table.pop(key, None)
    if level is not None:
        table[key] = level
