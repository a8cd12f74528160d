"""openat2(2) (Linux 5.6), and `Root`: work inside a root file system by descriptor.

The content of a root file system is hostile: any component of any path may be a link that points out of
it. `RESOLVE_IN_ROOT` lets the kernel resolve a path as if the root's descriptor were "/": "..", absolute
links and races included. `RESOLVE_NO_MAGICLINKS` refuses the links of procfs, which jump anywhere.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct

from kist.linux.libc import SYS_openat2, syscall

RESOLVE_NO_XDEV = 0x01
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10

_IN_ROOT = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS
_MAX_LINKS = 40
_DIRECTORY = os.O_PATH | os.O_DIRECTORY


def openat2(dirfd: int, path: str, flags: int, mode: int = 0, resolve: int = 0) -> int:
    """EAGAIN (a rename raced with the look-up of "..") is tried again a few times."""
    how = struct.pack("=QQQ", flags | os.O_CLOEXEC, mode, resolve)
    raw = os.fsencode(path)
    for attempt in range(32):
        try:
            return syscall(SYS_openat2, dirfd, raw, how, ctypes.c_size_t(len(how)), path=path)
        except OSError as error:
            if error.errno != errno.EAGAIN or attempt == 31:
                raise
    raise AssertionError


def chmod_node(name: str | bytes, mode: int, dir_fd: int) -> None:
    """chmod(2) of what goes by that name in the directory, but never of what a link there leads to, also when the
    name becomes a link meanwhile (fchmodat2(2) came with Linux 6.6 only). Raises OSError(ELOOP) for a link."""
    fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
    try:
        if stat.S_ISLNK(os.fstat(fd).st_mode):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), name)
        os.chmod(f"/proc/self/fd/{fd}", mode)
    finally:
        os.close(fd)


def open_regular(name: str | bytes, dir_fd: int) -> int:
    """As `Root.open_regular`, for a name in a directory; a link is not followed."""
    return _reopened(os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd), name)


def _reopened(found: int, path: str | bytes) -> int:
    """Look first, then open: a container may make nodes of any device, and no control group keeps us from opening them,
    be it a watchdog that resets the machine. Takes the O_PATH descriptor ``found``."""
    try:
        if not stat.S_ISREG(os.fstat(found).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", path)
        return os.open(f"/proc/self/fd/{found}", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(found)


class Root:
    """A directory that is "/" for every path given to it. Paths may be absolute or relative to it.

    Links are followed inside of the root, as chroot(2) would, except for the last component where a
    method says so. The object owns its descriptor: `close` it, or use it as a context manager.
    """

    __slots__ = ("fd",)

    def __init__(self, fd: int) -> None:
        self.fd = fd

    @classmethod
    def at(cls, path: str) -> Root:
        return cls(os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))

    def __enter__(self) -> Root:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def open(self, path: str, flags: int = os.O_RDONLY, mode: int = 0) -> int:
        """A descriptor of what ``path`` resolves to."""
        return openat2(self.fd, path, flags, mode, _IN_ROOT)

    def resolve(self, path: str, *, follow: bool = True) -> int:
        """An O_PATH descriptor; with ``follow=False`` a link as last component is opened itself."""
        return openat2(self.fd, path, os.O_PATH | (0 if follow else os.O_NOFOLLOW), 0, _IN_ROOT)

    def stat(self, path: str, *, follow: bool = True) -> os.stat_result:
        fd = self.resolve(path, follow=follow)
        try:
            return os.fstat(fd)
        finally:
            os.close(fd)

    def exists(self, path: str) -> bool:
        try:
            os.close(self.resolve(path))
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                return False
            raise
        return True

    def mkdirs(self, path: str, mode: int = 0o755) -> int:
        """Make the directories of ``path`` that are missing; return an O_PATH descriptor of the last."""
        try:
            return self.open(path, _DIRECTORY)
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise
        return self._walk([part for part in path.split("/") if part not in ("", ".")], mode)

    def _walk(self, parts: list[str], mode: int) -> int:
        """Component by component, always from the root, so that links can be followed inside of it. A link
        to a directory that is missing is replaced by the link's own path, then walked again."""
        done = ""
        links = 0
        while parts:
            part = parts.pop(0)
            if part == "..":
                done = done.rpartition("/")[0]
                continue
            step = f"{done}/{part}"
            try:
                os.close(self.open(step, _DIRECTORY))
            except OSError as error:
                if error.errno != errno.ENOENT:
                    raise
                target = self._dangling(step)
                if target is not None:
                    links += 1
                    if links > _MAX_LINKS:
                        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), step) from None
                    parts[:0] = [p for p in target.split("/") if p not in ("", ".")]
                    done = "" if target.startswith("/") else done
                    continue
                parent = self.open(done or "/", _DIRECTORY)
                try:
                    os.mkdir(part, mode, dir_fd=parent)
                except FileExistsError:
                    pass
                finally:
                    os.close(parent)
            done = step
        return self.open(done or "/", _DIRECTORY)

    def _dangling(self, path: str) -> str | None:
        """The target of ``path`` if that is a link (which leads nowhere yet)."""
        try:
            fd = self.resolve(path, follow=False)
        except FileNotFoundError:
            return None
        try:
            return os.readlink("", dir_fd=fd)
        except OSError:
            return None
        finally:
            os.close(fd)

    def parent(self, path: str, *, make: bool = False) -> tuple[int, str]:
        """(descriptor of the parent directory, last name): for calls that make or remove a name."""
        head, _, name = path.rstrip("/").rpartition("/")
        if name in ("", ".", ".."):
            raise OSError(errno.EINVAL, "no last name", path)
        return (self.mkdirs(head or "/") if make else self.open(head or "/", _DIRECTORY)), name

    def create_file(self, path: str, mode: int = 0o644) -> int:
        """An O_PATH descriptor of the file at ``path``, made empty (with its directories) if missing."""
        try:
            return self.resolve(path)
        except FileNotFoundError:
            pass
        parent, name = self.parent(path, make=True)
        try:
            flags = os.O_CREAT | os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
            os.close(openat2(parent, name, flags, mode, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS))
        finally:
            os.close(parent)
        return self.resolve(path)

    def symlink(self, target: str, path: str) -> None:
        parent, name = self.parent(path)
        try:
            os.symlink(target, name, dir_fd=parent)
        finally:
            os.close(parent)

    def mknod(self, path: str, mode: int, device: int = 0) -> None:
        parent, name = self.parent(path)
        try:
            os.mknod(name, mode, device, dir_fd=parent)
        finally:
            os.close(parent)

    def open_regular(self, path: str) -> int:
        """A descriptor for reading a regular file; anything else: EINVAL, and it isn't opened."""
        return _reopened(self.resolve(path), path)

    def read(self, path: str, limit: int = 1 << 20) -> bytes:
        """The content of a regular file. Over ``limit`` bytes: EFBIG; not a regular file: EINVAL."""
        fd = self.open_regular(path)
        try:
            chunks, size = [], 0
            while chunk := os.read(fd, min(65536, limit + 1 - size)):
                chunks.append(chunk)
                size += len(chunk)
                if size > limit:
                    raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), path)
            return b"".join(chunks)
        finally:
            os.close(fd)
