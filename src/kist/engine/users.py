"""`--user`, passwd and group files → who the container's process is. Pure: text in, a `User` out.

::

    passwd   name:password:uid:gid:comment:home:shell        group   name:password:gid:member,member

Docker's rules (moby/sys/user, GetExecUser): a name or number may name the user and the group; a number needs
no entry, but one with an entry takes its home and groups from there; without a group the user's own and
every group that lists him count. A number is never looked up as a name, in range or not: an image's passwd file could
make root of it (CVE-2026-46680).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from kist.engine.spec import User
from kist.errors import InvalidParameter

MAX_ID = 2**31 - 1


class Account(NamedTuple):
    name: str
    uid: int
    gid: int
    home: str


class Group(NamedTuple):
    name: str
    gid: int
    members: tuple[str, ...]


def parse_passwd(text: str) -> list[Account]:
    found = []
    for fields in _fields(text, 4):
        uid, gid = _number(fields[2]), _number(fields[3])
        if uid is not None and gid is not None:
            found.append(Account(fields[0], uid, gid, fields[5] if len(fields) > 5 else ""))
    return found


def parse_group(text: str) -> list[Group]:
    found = []
    for fields in _fields(text, 3):
        gid = _number(fields[2])
        if gid is not None:
            members = tuple(name for name in (fields[3] if len(fields) > 3 else "").split(",") if name)
            found.append(Group(fields[0], gid, members))
    return found


def resolve(spec: str, accounts: list[Account], groups: list[Group], added: Iterable[str] = ()) -> User:
    """`spec`: ``[user][:group]``, empty is root; `added`: `--group-add`. Raises with Docker's words."""
    user_word, group_word, *_ = [*spec.split(":"), ""]
    account = _account(user_word, accounts)
    gid, additional = account.gid, []
    if group_word:
        gid = _group(group_word, groups)
    else:
        additional = [group.gid for group in groups if account.name and account.name in group.members]
    additional += [_group(word, groups, unable="Unable") for word in added]
    seen = dict.fromkeys([gid, *additional])  # the own group too (CVE-2022-36109)
    for number in (account.uid, *seen):
        _check_range(number)
    return User(uid=account.uid, gid=gid, additional=tuple(seen), home=account.home or "/")


def _account(word: str, accounts: list[Account]) -> Account:
    number = _number(word) if word else 0
    for account in accounts:
        if (account.name == word) if number is None else (account.uid == number):
            return account
    if number is None:
        raise InvalidParameter(f"unable to find user {word}: no matching entries in passwd file")
    return Account("", number, 0, "/root" if number == 0 else "/")


def _group(word: str, groups: list[Group], unable: str = "unable") -> int:
    number = _number(word)
    if number is not None:
        return number
    for group in groups:
        if group.name == word:
            return group.gid
    raise InvalidParameter(f"{unable} to find group {word}: no matching entries in group file")


def _check_range(number: int) -> None:
    if not 0 <= number <= MAX_ID:
        raise InvalidParameter(f"uids and gids must be in range 0-{MAX_ID}")


def _fields(text: str, least: int) -> Iterable[list[str]]:
    for line in text.splitlines():
        fields = line.strip().split(":")
        if len(fields) >= least and not line.startswith("#"):
            yield fields


def _number(text: str) -> int | None:
    """None: a name. Whatever its size, a number stays one, out of range then."""
    digits = text[1:] if text[:1] in ("+", "-") else text
    if not (digits.isascii() and digits.isdecimal()):
        return None
    return int(text) if len(text) < 12 else MAX_ID + 1
