"""File systems of bounded size, each in a sparse file of the host's: made, checked, attached to a loop device, mounted.

    file on any file system ── loop device ── ext4 ── a mount that no namespace shows, until somebody moves it into one

A loop device lets go of its file when its last user is gone, however that ended (LO_FLAGS_AUTOCLEAR): nothing is left
to clean up. Two devices for one file would be two file systems that don't know of each other, so whoever comes second
takes the first one's, and the kernel gives both the same file system. A lock on the file decides who is first.

There is no journal: it would take its part of the size and write everything twice. After a power cut the file system
says that it wasn't unmounted, and is checked before the next mount.

Sources: linux/loop.h, Documentation/filesystems/ext4/super.rst (Linux 6.1).
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct

from kist.linux import mount

LOOP_CTL_GET_FREE, LOOP_CONFIGURE, LOOP_GET_STATUS64 = 0x4C82, 0x4C0A, 0x4C05
LO_FLAGS_AUTOCLEAR = 4
PACKAGE = "e2fsprogs"
LEAST = 4 << 20  # bytes: what mkfs.ext4 makes something useful of
_FEATURES = ("-O", "^has_journal,^resize_inode", "-m", "0", "-i", "8192", "-E", "lazy_itable_init=1,nodiscard")
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_STATE, _CLEAN, _ERRORS = 1024 + 58, 1, 2  # s_state of the superblock
_INFO_SIZE, _INFO_FLAGS = 232, 52  # struct loop_info64
_BUSY = (errno.EBUSY, errno.ENXIO)


class MissingProgram(OSError):
    """A program of the package `PACKAGE` isn't there."""


def make(path: str, size: int, tree: str = "") -> None:
    """The file at ``path``, complete or not there at all; ``size`` bytes fit into it, beside what it needs for itself.

    ``tree``: a directory whose contents it begins with (mke2fs(8), -d).
    """
    staging = f"{path}.new"
    fd = os.open(staging, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.ftruncate(fd, size + size // 20 + (1 << 18))  # the inode tables, bitmaps and descriptors
    finally:
        os.close(fd)
    try:
        run("mkfs.ext4", "-q", "-F", *_FEATURES, *(["-d", tree] if tree else []), staging)
        os.replace(staging, path)
    except BaseException:
        os.unlink(staging)
        raise


def run(program: str, *arguments: str, good: int = 0) -> None:
    """Run a program of e2fsprogs; statuses above ``good`` raise OSError(EIO) with its last line."""
    reader, writer = os.pipe()
    try:
        try:
            pid = os.posix_spawn(_find(program), [program, *arguments], {"PATH": _PATH}, file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0), (os.POSIX_SPAWN_DUP2, writer, 1),
                (os.POSIX_SPAWN_DUP2, writer, 2)])
        finally:
            os.close(writer)
        said = b""
        while chunk := os.read(reader, 65536):
            said += chunk
    finally:
        os.close(reader)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if not 0 <= status <= good:
        lines = said.decode(errors="replace").strip().splitlines()
        raise OSError(errno.EIO, f"{program}: {lines[-1] if lines else f'status {status}'}", arguments[-1])


def usable() -> bool:
    """Whether the programs are there."""
    try:
        return bool(_find("mkfs.ext4") and _find("e2fsck"))
    except MissingProgram:
        return False


def _find(program: str) -> str:
    for directory in _PATH.split(":"):
        if os.access(f"{directory}/{program}", os.X_OK):
            return f"{directory}/{program}"
    raise MissingProgram(errno.ENOENT, f"{program} is missing (package {PACKAGE})")


def mounted(path: str) -> int:
    """A descriptor of the file system in the file at ``path``: a detached mount, writable."""
    guard = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(guard, fcntl.LOCK_EX)
        loop = _attached(guard)
        if loop is None:
            _mend(path)
            loop = _attach(path)
        try:
            return mount.detached("ext4", [f"source={os.readlink(f'/proc/self/fd/{loop}')}", "discard",
                                           "noinit_itable"])
        finally:
            os.close(loop)
    finally:
        os.close(guard)


def _mend(path: str) -> None:
    """By the word of its superblock: the file of a machine that lost power is checked, what can be mended is."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        state = int.from_bytes(os.pread(fd, 2, _STATE), "little")
    finally:
        os.close(fd)
    if state & (_CLEAN | _ERRORS) != _CLEAN:
        run("e2fsck", "-f", "-y", path, good=1)  # 1: errors, corrected


def _attached(image: int) -> int | None:
    """The loop device that has the file already. It stays while we hold it open."""
    wanted = os.fstat(image)
    for name in os.listdir("/sys/block"):
        if not name.startswith("loop") or not os.path.exists(f"/sys/block/{name}/loop"):
            continue
        try:
            loop = _open_loop(int(name.removeprefix("loop")))
        except OSError as error:
            if error.errno in _BUSY:  # it is just letting go
                continue
            raise
        if _file_of(loop) == (wanted.st_dev, wanted.st_ino):
            return loop
        os.close(loop)
    return None


def _file_of(loop: int) -> tuple[int, int] | None:
    try:
        info = fcntl.ioctl(loop, LOOP_GET_STATUS64, bytes(_INFO_SIZE))
    except OSError:  # ENXIO: it has none
        return None
    device, inode = struct.unpack_from("=QQ", info)
    # the kernel's way of writing a device number (linux/kdev_t.h, new_encode_dev)
    return os.makedev(device >> 8 & 0xFFF, device & 0xFF | device >> 12 & 0xFFF00), inode


def _attach(path: str) -> int:
    """A loop device for the file. Another process may take the number that was free a moment ago: then the next
    one is tried."""
    image = os.open(path, os.O_RDWR | os.O_CLOEXEC)  # not the locked one: the device keeps it open
    control = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)
    try:
        for _ in range(64):
            loop = _open_loop(fcntl.ioctl(control, LOOP_CTL_GET_FREE))
            info = bytearray(_INFO_SIZE)
            struct.pack_into("=I", info, _INFO_FLAGS, LO_FLAGS_AUTOCLEAR)
            try:  # struct loop_config: fd, block_size, info, reserved
                fcntl.ioctl(loop, LOOP_CONFIGURE, struct.pack("=II", image, 0) + bytes(info) + bytes(64))
                return loop
            except OSError as error:
                os.close(loop)
                if error.errno not in _BUSY:
                    raise
        raise OSError(errno.EBUSY, "no loop device is free", path)
    finally:
        os.close(control)
        os.close(image)


def _open_loop(number: int) -> int:
    path = f"/dev/loop{number}"
    try:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:  # a /dev that is no devtmpfs: make the node
        os.mknod(path, 0o060600, os.makedev(7, number))
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)
