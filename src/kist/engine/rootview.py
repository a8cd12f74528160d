"""A container's files as seen from outside: `Root` objects, resolved by descriptor. Blocking.

Nothing is mounted at a path: what does not run is a detached overlay mount that vanishes with its descriptor, a
running container is seen through /proc/<pid>/root. Whatever lies in there is hostile: only `Root`'s
RESOLVE_IN_ROOT look-ups may be used on it.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from kist.engine import processes
from kist.engine.container import Container
from kist.engine.mountedview import mounted_root
from kist.engine.records import Mount
from kist.engine.spec import User
from kist.engine.users import Account, Group, parse_group, parse_passwd, resolve
from kist.linux.openat2 import Root
from kist.oci.digest import Digest
from kist.store.store import Store

MAX_ACCOUNTS = 4 << 20  # bytes of passwd or group that are read
KEPT_CHAINS = 64  # images whose accounts are remembered


@contextmanager
def of_container(store: Store, container: Container) -> Iterator[Root]:
    """The container's whole root, for reading; its own mounts included while it runs."""
    if container.alive and container.record.pid:
        with _of_process(container) as root:
            yield root
        return
    with store.snapshots.view(container.id) as fd:
        with Root(os.dup(fd)) as root:
            yield root


@contextmanager
def of_container_whole(store: Store, container: Container, mounts: Sequence[Mount], place: str, *,
                       write: bool) -> Iterator[Root]:
    """The same for writing, or with `mounts` on a stopped one; the caller sees to it that it isn't started meanwhile,
    and that its volumes are mounted. `place`: an empty directory."""
    if container.alive and container.record.pid:
        with _of_process(container) as root:
            yield root
    elif mounts:
        with store.snapshots.edit(container.id) as fd, mounted_root(fd, mounts, place) as root:
            yield root
    elif write:
        with store.snapshots.edit(container.id) as fd, Root(os.dup(fd)) as root:
            yield root
    else:
        with of_container(store, container) as root:
            yield root


def _of_process(container: Container) -> Root:
    with processes.directory(container) as process:
        return Root(os.open("root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=process))


def container_user(store: Store, container: Container, spec: str) -> User:
    """Who `spec` (user[:group]) is in the container as it is now."""
    with of_container(store, container) as root:
        accounts, groups = read_accounts(root)
    return resolve(spec, accounts, groups, container.record.host["GroupAdd"] or ())


def read_accounts(root: Root) -> tuple[list[Account], list[Group]]:
    return parse_passwd(_read(root, "/etc/passwd")), parse_group(_read(root, "/etc/group"))


class Accounts:
    """passwd and group of images, kept by chain id: every create asks for them."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._kept: OrderedDict[str, tuple[list[Account], list[Group]]] = OrderedDict()

    def user(self, container: Container) -> User:
        """Who the container's process is; its own changes to passwd count from the second start on."""
        record = container.record
        if record.was_started:
            return container_user(self._store, container, record.config["User"])
        accounts, groups = self._of_chain(record.chain_id)
        return resolve(record.config["User"], accounts, groups, record.host["GroupAdd"] or ())

    def _of_chain(self, chain_id: str) -> tuple[list[Account], list[Group]]:
        found = self._kept.pop(chain_id, None)
        if found is None:
            with self._store.snapshots.view_image(Digest(chain_id) if chain_id else None) as fd, \
                    Root(os.dup(fd)) as root:
                found = read_accounts(root)
        self._kept[chain_id] = found
        while len(self._kept) > KEPT_CHAINS:
            self._kept.popitem(last=False)
        return found


def _read(root: Root, path: str) -> str:
    """A file's text; empty when it is missing, no plain file, or not to be had."""
    try:
        fd = root.open_regular(path)
    except OSError:
        return ""
    with open(fd, "rb") as file:
        try:
            return file.read(MAX_ACCOUNTS).decode("utf-8", "replace")
        except OSError:
            return ""
