"""Snapshots by overlayfs (Linux, Documentation/filesystems/overlayfs.rst).

    snapshots/<key>/fs      upper directory: what the container wrote
    snapshots/<key>/work    overlayfs' own
    snapshots/<key>/chain   a link whose target is the chain id (``-`` for none); it isn't meant to be followed
    snapshots/<key>/volatile   there if the snapshot needn't survive power loss
    snapshots/<key>/quota.img  in place of fs and work if it has a bound, see store/bounded.py

Layers that are EROFS files are mounted below it first, each at its own empty directory, in the container's own
mount namespace.

A snapshot is made aside and renamed to its key, so it is whole or not there.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress

from kist.errors import Conflict, InvalidParameter
from kist.linux import mount
from kist.oci.digest import Digest
from kist.store import bounded, tree
from kist.store.errors import NoSuchContent, storage_errors
from kist.store.layers import Layer, Layers
from kist.store.leases import Leases
from kist.store.merged import merged, overlay
from kist.store.snapshots import Mount, Quota, Sink
from kist.store.tarwrite import TarWriter
from kist.store.trash import Trash, remove_tree
from kist.store.tree import Change, Usage

#: mount(2) hands over one page of options.
MAX_OPTIONS = 4095
_KEY = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}", re.ASCII)
_NONE = "-"
# Renamed directories would need redirects in a committed layer; index would forbid a view of a running container.
_OPTIONS = ["index=off", "redirect_dir=off", "metacopy=off"]


class OverlaySnapshots:
    """Snapshots below *path*; they are made in *staging*, on the same file system."""

    name = "overlay"

    def __init__(self, path: str, staging: str, layers: Layers, trash: Trash, leases: Leases) -> None:
        self._path, self._staging, self._layers, self._trash = path, staging, layers, trash
        self._leases = leases
        os.makedirs(path, 0o711, exist_ok=True)
        self._empty = f"{path}/.empty"      # overlayfs needs a lower directory, also for images without layers
        os.makedirs(self._empty, 0o755, exist_ok=True)

    def prepare(self, key: str, chain_id: Digest | None, *, volatile: bool = False, quota: int = 0) -> list[Mount]:
        if not _KEY.fullmatch(key):
            raise InvalidParameter(f"invalid snapshot key {key!r}")
        with self._leases.using(*([chain_id] if chain_id else [])):
            return self._prepare(key, chain_id, volatile=volatile and not quota, quota=quota)

    def _prepare(self, key: str, chain_id: Digest | None, *, volatile: bool, quota: int) -> list[Mount]:
        stack = self._layers.stack(chain_id)
        aside = f"{self._staging}/{secrets.token_hex(8)}"
        mounts = self._mounts(key, stack, volatile=volatile, quota=bool(quota))
        if quota:
            bounded.check_usable()
        with storage_errors("prepare container's file system"):
            try:
                self._make(aside, stack[0].path if stack else self._empty, chain_id, volatile=volatile)
                if quota:
                    bounded.make(aside, quota)
                try:
                    os.rename(aside, f"{self._path}/{key}")
                except OSError as error:
                    if not os.path.lexists(f"{self._path}/{key}"):
                        raise
                    raise Conflict(f"snapshot {key} already exists") from error
            finally:
                self._trash.throw(aside)
        return mounts

    def preview(self, chain_id: Digest | None) -> list[Mount]:
        return self._mounts("new", self._layers.stack(chain_id), volatile=False, quota=False)

    def mounts(self, key: str) -> list[Mount]:
        stack = self._layers.stack(self.chain_id(key))
        self._layers.verify(stack)
        return self._mounts(key, stack, volatile=self._volatile(key), quota=self.quota(key) is not None)

    def quota(self, key: str) -> Quota | None:
        size = bounded.size(f"{self._path}/{key}")
        return {"image": f"{self._path}/{key}/{bounded.IMAGE}", "size": size} if size else None

    @contextmanager
    def view(self, key: str) -> Iterator[int]:
        chain_id = self.chain_id(key)
        if self.quota(key):
            with self._lowers(chain_id) as lowers, storage_errors("read container's file system"):
                fd = bounded.overlay(f"{self._path}/{key}", self._staging,
                                     lambda root: overlay([f"{root}/upper", *lowers], self._staging))
            try:
                yield fd
            finally:
                os.close(fd)
        else:
            with self._lowers(chain_id) as lowers, merged([f"{self._path}/{key}/fs", *lowers], self._staging) as fd:
                yield fd

    @contextmanager
    def edit(self, key: str) -> Iterator[int]:
        chain_id, own = self.chain_id(key), f"{self._path}/{key}"
        more = [*_OPTIONS, *(["volatile"] if self._volatile(key) else [])]
        with self._lowers(chain_id) as lowers, storage_errors("open container's file system"):
            if self.quota(key):
                fd = bounded.overlay(own, self._staging, lambda root: _writable(
                    lowers, [f"upperdir={root}/upper", f"workdir={root}/work", *more]))
            else:
                fd = _writable(lowers, [f"upperdir={own}/fs", f"workdir={own}/work", *more])
        try:
            yield fd
        finally:
            os.close(fd)

    @contextmanager
    def view_image(self, chain_id: Digest | None) -> Iterator[int]:
        with self._lowers(chain_id) as lowers, merged(lowers, self._staging) as fd:
            yield fd

    def chain_id(self, key: str) -> Digest | None:
        try:
            if not _KEY.fullmatch(key):
                raise FileNotFoundError
            found = os.readlink(f"{self._path}/{key}/chain")
        except FileNotFoundError:
            raise NoSuchContent(f"snapshot {key} not found") from None
        return None if found == _NONE else Digest(found)

    def usage(self, key: str) -> Usage:
        with self._open_upper(key) as upper:
            return tree.usage(upper)

    def diff(self, key: str) -> list[Change]:
        with self._layers.opened(self._layers.stack(self.chain_id(key))) as lowers, self._open_upper(key) as upper:
            return tree.changes(upper, lowers)

    def export(self, key: str, sink: Sink) -> None:
        with self.view(key) as root:
            writer = TarWriter(sink)
            tree.export(root, writer)
            writer.close()

    def commit(self, key: str, sink: Sink, leave_out: Collection[bytes] = ()) -> None:
        with self._open_upper(key) as upper:
            writer = TarWriter(sink)
            tree.layer(upper, writer, leave_out)
            writer.close()

    def remove(self, key: str) -> bool:
        return bool(_KEY.fullmatch(key)) and self._trash.throw(f"{self._path}/{key}")

    def chains(self) -> dict[str, Digest | None]:
        found = {}
        for key in os.listdir(self._path):
            try:
                found[key] = self.chain_id(key)
            except NoSuchContent:
                continue
        return found

    def stand_on(self, key: str, chain_id: Digest | None) -> None:
        with storage_errors("mend container's file system"), suppress(FileExistsError):
            os.symlink(chain_id or _NONE, f"{self._path}/{key}/chain")

    def problem(self, key: str) -> str | None:
        own = f"{self._path}/{key}"
        if not os.path.isdir(own):
            return "its file system is gone"
        if not os.path.lexists(f"{own}/chain"):
            return "what its file system stands on is not known any more"
        parts = (bounded.IMAGE,) if self.quota(key) else ("fs", "work")
        lost = [name for name in parts if not os.path.exists(f"{own}/{name}")]
        return f"its file system's {lost[0]} is gone" if lost else None

    # -- below ---------------------------------------------------------------------------------------

    def _make(self, aside: str, top: str, chain_id: Digest | None, *, volatile: bool) -> None:
        os.mkdir(aside, 0o711)
        os.mkdir(f"{aside}/fs", 0o755)
        os.mkdir(f"{aside}/work", 0o711)
        # The merged root directory has the upper one's attributes: take over the image's.
        found = os.stat(top)
        if (found.st_uid, found.st_gid) != (os.geteuid(), os.getegid()):
            os.chown(f"{aside}/fs", found.st_uid, found.st_gid)
        os.chmod(f"{aside}/fs", stat.S_IMODE(found.st_mode))
        os.symlink(chain_id or _NONE, f"{aside}/chain")
        if volatile:
            os.symlink(_NONE, f"{aside}/volatile")

    @contextmanager
    def _lowers(self, chain_id: Digest | None) -> Iterator[list[str]]:
        with self._layers.opened(self._layers.stack(chain_id)) as roots:
            yield roots or [self._empty]

    def _mounts(self, key: str, stack: list[Layer], *, volatile: bool, quota: bool) -> list[Mount]:
        own = f"{self._path}/{key}"
        upper, work = (f"{bounded.MOUNTED}/upper", f"{bounded.MOUNTED}/work") if quota else (f"{own}/fs", f"{own}/work")
        lowers = [layer.path for layer in stack] or [self._empty]
        options = [f"lowerdir={':'.join(lowers)}", f"upperdir={upper}", f"workdir={work}", *_OPTIONS]
        if volatile:
            options.append("volatile")
        if len(",".join(options)) > MAX_OPTIONS:
            raise InvalidParameter(f"max depth exceeded: {len(lowers)} layers don't fit into one overlay mount")
        images: list[Mount] = [
            {"type": "erofs", "source": layer.image, "options": ["ro"], "destination": layer.path}
            for layer in stack if layer.image]
        return [*images, {"type": "overlay", "source": "overlay", "options": options}]

    def _volatile(self, key: str) -> bool:
        """Whether it is; then the mark goes by which overlayfs refuses a second mount, as the first may have lost
        data."""
        volatile = os.path.lexists(f"{self._path}/{key}/volatile")
        if volatile:
            remove_tree(f"{self._path}/{key}/work/work/incompat")
        return volatile

    @contextmanager
    def _open_upper(self, key: str) -> Iterator[int]:
        self.chain_id(key)
        with ExitStack() as stack:
            own = f"{self._path}/{key}"
            if self.quota(key):
                with storage_errors("open container's file system"):
                    own = stack.enter_context(bounded.opened(own))
            fd = os.open(f"{own}/upper" if self.quota(key) else f"{own}/fs", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            stack.callback(os.close, fd)
            yield fd


def _writable(lowers: list[str], more: list[str]) -> int:
    try:
        return mount.detached("overlay", [*(f"lowerdir+={root}" for root in lowers), *more])
    except OSError:     # before Linux 6.5
        return mount.detached("overlay", [f"lowerdir={':'.join(lowers)}", *more])
