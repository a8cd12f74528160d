"""Accounts in SQLite (account_storage.py says what each method does, database.py has the tables)."""

from __future__ import annotations

from typing import Any

from kist.hub.account_storage import AccountStorage, TokenRecord, UserRecord
from kist.hub.database import Database


class SqliteAccounts(AccountStorage):
    """Over the database of the metadata, whose transactions it joins."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def _change(self, sql: str, *values: object) -> int:
        """How many rows it was done to."""
        with self._db.write() as db:
            return int(db.execute(sql, values).rowcount)

    def name_taken(self, name: str) -> bool:
        return self._db.one("SELECT 1 FROM users WHERE name = ? UNION SELECT 1 FROM organisations WHERE name = ?",
                            name, name) is not None

    # --- users ---

    def add_user(self, name: str, password: str, *, admin: bool, now: float) -> int:
        with self._db.write() as db:
            cursor = db.execute("INSERT INTO users (name, password, admin, created) VALUES (?, ?, ?, ?)",
                                (name, password, admin, now))
            return int(cursor.lastrowid or 0)

    def user(self, name: str) -> UserRecord | None:
        row = self._db.one("SELECT * FROM users WHERE name = ?", name)
        return _user(row) if row else None

    def users(self) -> list[UserRecord]:
        return [_user(row) for row in self._db.all("SELECT * FROM users ORDER BY name")]

    def set_password(self, user: int, password: str) -> None:
        with self._db.write() as db:
            db.execute("UPDATE users SET password = ? WHERE id = ?", (password, user))
            db.execute("DELETE FROM sessions WHERE user = ?", (user,))

    def remove_user(self, user: int) -> None:
        self._change("DELETE FROM users WHERE id = ?", user)

    # --- tokens and sessions ---

    def add_token(self, token: TokenRecord) -> None:
        self._change("INSERT INTO tokens VALUES (?, ?, ?, ?, ?, ?, ?, ?)", token.id, token.user, token.secret,
                     token.label, token.level, token.created, token.used, token.expires)

    def token(self, number: str) -> tuple[TokenRecord, UserRecord] | None:
        row = self._db.one("SELECT * FROM tokens WHERE id = ?", number)
        user = self._db.one("SELECT * FROM users WHERE id = ?", row["user"]) if row else None
        return (_token(row), _user(user)) if user else None

    def tokens(self, user: int) -> list[TokenRecord]:
        return [_token(row) for row in self._db.all("SELECT * FROM tokens WHERE user = ? ORDER BY created, id", user)]

    def touch_token(self, number: str, now: float) -> None:
        self._change("UPDATE tokens SET used = ? WHERE id = ?", now, number)

    def remove_token(self, user: int, number: str) -> None:
        self._change("DELETE FROM tokens WHERE id = ? AND user = ?", number, user)

    def open_session(self, session: str, user: int, expires: float, now: float) -> None:
        with self._db.write() as db:
            db.execute("DELETE FROM sessions WHERE expires < ?", (now,))
            db.execute("INSERT INTO sessions VALUES (?, ?, ?)", (session, user, expires))

    def session(self, session: str, now: float) -> UserRecord | None:
        row = self._db.one("SELECT u.* FROM sessions s JOIN users u ON u.id = s.user WHERE s.id = ? AND s.expires > ?",
                           session, now)
        return _user(row) if row else None

    def close_session(self, session: str) -> None:
        self._change("DELETE FROM sessions WHERE id = ?", session)

    # --- organisations and grants ---

    def add_organisation(self, name: str, now: float) -> None:
        self._change("INSERT INTO organisations (name, created) VALUES (?, ?)", name, now)

    def remove_organisation(self, name: str) -> bool:
        return bool(self._change("DELETE FROM organisations WHERE name = ?", name))

    def organisations(self) -> list[str]:
        return [row["name"] for row in self._db.all("SELECT name FROM organisations ORDER BY name")]

    def set_member(self, organisation: str, user: int, level: str | None) -> bool:
        with self._db.write() as db:
            row = db.execute("SELECT id FROM organisations WHERE name = ?", (organisation,)).fetchone()
            if row is None:
                return False
            db.execute("DELETE FROM members WHERE organisation = ? AND user = ?", (row["id"], user))
            if level is not None:
                db.execute("INSERT INTO members VALUES (?, ?, ?)", (row["id"], user, level))
            return True

    def members(self, organisation: str) -> dict[str, str]:
        return _levels(self._db.all(
            "SELECT u.name, m.level FROM members m JOIN users u ON u.id = m.user JOIN organisations o "
            "ON o.id = m.organisation WHERE o.name = ? ORDER BY u.name", organisation))

    def memberships(self, user: int) -> dict[str, str]:
        return _levels(self._db.all("SELECT o.name, m.level FROM members m JOIN organisations o ON "
                                    "o.id = m.organisation WHERE m.user = ? ORDER BY o.name", user))

    def set_grant(self, repository: str, user: int, level: str | None) -> None:
        with self._db.write() as db:
            db.execute("DELETE FROM grants WHERE repository = ? AND user = ?", (repository, user))
            if level is not None:
                db.execute("INSERT INTO grants VALUES (?, ?, ?)", (repository, user, level))

    def grants(self, repository: str) -> dict[str, str]:
        return _levels(self._db.all("SELECT u.name, g.level FROM grants g JOIN users u ON u.id = g.user "
                                    "WHERE g.repository = ? ORDER BY u.name", repository))

    def grant(self, repository: str, user: int) -> str | None:
        row = self._db.one("SELECT level FROM grants WHERE repository = ? AND user = ?", repository, user)
        return row["level"] if row else None

    def secret(self, name: str, new: bytes) -> bytes:
        with self._db.write() as db:
            db.execute("INSERT INTO secrets VALUES (?, ?) ON CONFLICT DO NOTHING", (name, new))
            return bytes(db.execute("SELECT value FROM secrets WHERE name = ?", (name,)).fetchone()["value"])


def _user(row: Any) -> UserRecord:
    return UserRecord(row["id"], row["name"], row["password"], bool(row["admin"]))


def _token(row: Any) -> TokenRecord:
    return TokenRecord(row["id"], row["user"], row["secret"], row["label"], row["level"], row["created"], row["used"],
                       row["expires"])


def _levels(rows: list[Any]) -> dict[str, str]:
    return {row["name"]: row["level"] for row in rows}
