"""A stopped container's files with its volumes and binds in their places, as they will be when it runs. Blocking.

The kernel takes no mounts below a detached one (before Linux 6.15), and nothing of it may be seen on the host. So a
thread of its own, which ends at once, makes a mount namespace and puts everything together in there; a descriptor of
that namespace keeps it as long as it is used, and everything goes with the descriptor, however the server ends.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress

from kist.engine.records import Mount
from kist.errors import EngineFailure
from kist.linux import mount as m
from kist.linux.namespaces import CLONE_NEWNS, unshare
from kist.linux.openat2 import Root


@contextmanager
def mounted_root(tree: int, mounts: Iterable[Mount], place: str) -> Iterator[Root]:
    """`tree`: the container's root as a detached mount, which may be written; `place`: an empty directory."""
    with ExitStack() as held:
        errors: list[OSError] = []

        def build() -> None:
            try:
                _build(tree, mounts, place, held)
            except OSError as error:
                errors.append(error)

        thread = threading.Thread(target=build, name="kist-mounts")
        thread.start()
        thread.join()
        if errors:
            raise EngineFailure(f"mount the container's volumes: {errors[0].filename or ''}: {errors[0].strerror}")
        yield held.enter_context(Root(os.dup(tree)))


def _build(tree: int, mounts: Iterable[Mount], place: str, held: ExitStack) -> None:
    unshare(CLONE_NEWNS)  # of this thread alone
    namespace = os.open("/proc/thread-self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    held.callback(os.close, namespace)
    m.mount("", "/", None, m.MS_PRIVATE | m.MS_REC)
    m.move_mount(tree, m.AT_FDCWD, place)
    with Root(os.dup(tree)) as root:
        for one in sorted(mounts, key=lambda mount: mount.target.count("/")):
            if one.type in ("bind", "volume"):
                with suppress(FileNotFoundError):  # of a bind whose source is gone: start will say so
                    _bind(root, one)


def _bind(root: Root, one: Mount) -> None:
    """By descriptor, so that no link of the container's leads elsewhere."""
    with ExitStack() as opened:
        source = os.open(one.source, os.O_PATH | os.O_CLOEXEC)
        opened.callback(os.close, source)
        if one.subpath:
            with Root(os.dup(source)) as volume:
                source = volume.resolve(one.subpath)
                opened.callback(os.close, source)
        clone = m.open_tree(source, "", m.OPEN_TREE_CLONE | m.AT_EMPTY_PATH | m.AT_RECURSIVE)
        opened.callback(os.close, clone)
        m.mount_setattr(clone, propagation=m.MS_PRIVATE, set=0 if one.rw else m.MOUNT_ATTR_RDONLY, recursive=True)
        is_directory = stat.S_ISDIR(os.fstat(source).st_mode)
        target = root.mkdirs(one.target) if is_directory else root.create_file(one.target)
        opened.callback(os.close, target)
        m.move_mount(clone, target)
