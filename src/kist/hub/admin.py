"""`python -m kist.hub.admin`: users, organisations, tokens, repositories and garbage, while a Hub runs or not.

    user  add NAME [--admin] | password NAME | remove NAME | list      (passwords come on standard input)
    org   add NAME | remove NAME | member NAME USER LEVEL | list
    token add USER LABEL [--level LEVEL] [--days N]                     (prints the token, once)
    repo  set NAME [--private|--public] [--immutable|--mutable] [--summary TEXT] [--description FILE]
    repo  grant NAME USER LEVEL | remove NAME | list
    gc    [--grace SECONDS] [--untagged]
    backup DIR                                                          (a data folder; again: only what is new)
"""

from __future__ import annotations

import argparse
import getpass
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from kist.errors import KistError, NotFound
from kist.hub import backup, gc
from kist.hub.accounts import Accounts, Level
from kist.hub.app import open_content
from kist.hub.content import Content
from kist.hub.errors import HubError
from kist.hub.names import repository_name

Command = Callable[[Content, Accounts, argparse.Namespace], None]


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        content = open_content(options.data)
        try:
            run: Command = options.run
            run(content, Accounts(content.metadata), options)
        finally:
            content.metadata.close()
    except (KistError, HubError, OSError, RuntimeError) as error:
        print(f"kist hub admin: {error}", file=sys.stderr)
        return 1
    return 0


# --- what each command does ---------------------------------------------------------------------------------


def _user_add(content: Content, accounts: Accounts, options: argparse.Namespace) -> None:
    accounts.add_user(options.name, _password(), admin=options.admin)


def _user_password(content: Content, accounts: Accounts, options: argparse.Namespace) -> None:
    accounts.set_password(options.name, _password())


def _user_remove(content: Content, accounts: Accounts, options: argparse.Namespace) -> None:
    accounts.remove_user(options.name)


def _user_list(content: Content, accounts: Accounts, options: argparse.Namespace) -> None:
    for user in accounts.users():
        print(f"{user.name}\t{'admin' if user.admin else 'user'}")


def _org_add(content: Content, accounts: Accounts, options: argparse.Namespace) -> None:
    accounts.add_organisation(options.name)


def _org_remove(content: Content, accounts: Accounts, options: argparse.Namespace) -> None:
    accounts.remove_organisation(options.name)


def _org_member(content: Content, accounts: Accounts, options: argparse.Namespace) -> None:
    accounts.set_member(options.name, options.user, Level.parse(options.level))


def _org_list(content: Content, accounts: Accounts, options: argparse.Namespace) -> None:
    for name in accounts.organisations():
        members = ", ".join(f"{user} ({level.name.lower()})" for user, level in accounts.members(name).items())
        print(f"{name}\t{members}")


def _token_add(content: Content, accounts: Accounts, options: argparse.Namespace) -> None:
    life = options.days * 86400.0 if options.days else None
    print(accounts.add_token(accounts.user(options.user), options.label, Level.parse(options.level), life=life))


def _repo_set(content: Content, accounts: Accounts, options: argparse.Namespace) -> None:
    content.metadata.ensure_repository(repository_name(options.name))
    fields = {"private": options.private, "immutable": options.immutable, "summary": options.summary,
              "description": Path(options.description).read_text() if options.description else None}
    content.metadata.describe(options.name, **{key: value for key, value in fields.items() if value is not None})


def _repo_grant(content: Content, accounts: Accounts, options: argparse.Namespace) -> None:
    accounts.grant(repository_name(options.name), options.user, Level.parse(options.level))


def _repo_remove(content: Content, accounts: Accounts, options: argparse.Namespace) -> None:
    if not content.metadata.delete_repository(options.name):
        raise NotFound(f"No such repository: {options.name}")
    for user in accounts.grants(options.name):  # the next one of this name has readers of its own
        accounts.grant(options.name, user, Level.NONE)


def _repo_list(content: Content, accounts: Accounts, options: argparse.Namespace) -> None:
    for name in content.metadata.repositories(1_000_000):
        print(name)


def _gc(content: Content, accounts: Accounts, options: argparse.Namespace) -> None:
    swept = gc.collect(content, grace=options.grace, untagged=options.untagged)
    print(f"{swept.manifests} manifests, {swept.links} links, {swept.blobs} blobs: {swept.bytes} bytes freed")


def _backup(content: Content, accounts: Accounts, options: argparse.Namespace) -> None:
    copied = backup.backup(options.data, options.folder)
    print(f"{copied.blobs} blobs, {copied.bytes} bytes copied")


def _password() -> str:
    if sys.stdin.isatty():
        return getpass.getpass()
    return sys.stdin.readline().rstrip("\r\n")


# --- the grammar --------------------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="kist hub admin", description="Looks after a Hub's data folder.")
    parser.add_argument("--data", metavar="DIR", type=Path, default=Path("/var/lib/kist/hub"))
    nouns = parser.add_subparsers(metavar="NOUN", required=True)
    user = nouns.add_parser("user").add_subparsers(metavar="VERB", required=True)
    _verb(user, "add", _user_add, "name").add_argument("--admin", action="store_true")
    _verb(user, "password", _user_password, "name")
    _verb(user, "remove", _user_remove, "name")
    _verb(user, "list", _user_list)
    org = nouns.add_parser("org").add_subparsers(metavar="VERB", required=True)
    _verb(org, "add", _org_add, "name")
    _verb(org, "remove", _org_remove, "name")
    _verb(org, "member", _org_member, "name", "user", "level")
    _verb(org, "list", _org_list)
    token = nouns.add_parser("token").add_subparsers(metavar="VERB", required=True)
    add = _verb(token, "add", _token_add, "user", "label")
    add.add_argument("--level", default="write")
    add.add_argument("--days", type=int, default=0)
    repo = nouns.add_parser("repo").add_subparsers(metavar="VERB", required=True)
    _repo_options(_verb(repo, "set", _repo_set, "name"))
    _verb(repo, "grant", _repo_grant, "name", "user", "level")
    _verb(repo, "remove", _repo_remove, "name")
    _verb(repo, "list", _repo_list)
    collect = nouns.add_parser("gc")
    collect.set_defaults(run=_gc)
    collect.add_argument("--grace", type=float, default=gc.GRACE, metavar="SECONDS",
                         help="leave what pushes have relied on for so long (3600); with 0 let nobody push meanwhile")
    collect.add_argument("--untagged", action="store_true", help="also manifests without a tag that nothing names")
    copy = nouns.add_parser("backup")
    copy.set_defaults(run=_backup)
    copy.add_argument("folder", type=Path)
    return parser


def _verb(
    nouns: argparse._SubParsersAction[argparse.ArgumentParser], name: str, run: Command, *arguments: str
) -> argparse.ArgumentParser:
    verb = nouns.add_parser(name)
    for argument in arguments:
        verb.add_argument(argument)
    verb.set_defaults(run=run)
    return verb


def _repo_options(verb: argparse.ArgumentParser) -> None:
    for yes, no, field in (("private", "public", "private"), ("immutable", "mutable", "immutable")):
        group = verb.add_mutually_exclusive_group()
        group.add_argument(f"--{yes}", dest=field, action="store_true", default=None)
        group.add_argument(f"--{no}", dest=field, action="store_false")
    verb.add_argument("--summary", help="one line")
    verb.add_argument("--description", metavar="FILE", help="Markdown")


if __name__ == "__main__":
    sys.exit(main())
