"""The options of the `local` volume driver, and what is mounted for them.

::

    (none)                  a directory
    size=1G                 quota.img beside it: a file system of that size, mounted while the volume is used
    type=…,o=…,device=…     what mount(8) would do with them: bind, tmpfs, nfs, cifs, a disk

`check` and `plan` are pure; the rest blocks.
"""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple

from kist.engine.config import parse_size
from kist.errors import EngineFailure, InvalidParameter
from kist.linux import ext4
from kist.linux import mount as m

OPTIONS = ("type", "o", "device", "size")
_NEEDS = {"device": ("type",), "type": ("device",), "o": ("device", "type")}
# mount(8)'s words for mount(2)'s flags: word → (flag, whether it sets or clears it). All others go to the file system.
_FLAGS: dict[str, tuple[int, bool]] = {
    "defaults": (0, True), "ro": (m.MS_RDONLY, True), "rw": (m.MS_RDONLY, False),
    "suid": (m.MS_NOSUID, False), "nosuid": (m.MS_NOSUID, True), "dev": (m.MS_NODEV, False),
    "nodev": (m.MS_NODEV, True), "exec": (m.MS_NOEXEC, False), "noexec": (m.MS_NOEXEC, True),
    "sync": (m.MS_SYNCHRONOUS, True), "async": (m.MS_SYNCHRONOUS, False), "dirsync": (m.MS_DIRSYNC, True),
    "remount": (m.MS_REMOUNT, True), "mand": (m.MS_MANDLOCK, True), "nomand": (m.MS_MANDLOCK, False),
    "atime": (m.MS_NOATIME, False), "noatime": (m.MS_NOATIME, True), "diratime": (m.MS_NODIRATIME, False),
    "nodiratime": (m.MS_NODIRATIME, True), "relatime": (m.MS_RELATIME, True), "norelatime": (m.MS_RELATIME, False),
    "strictatime": (m.MS_STRICTATIME, True), "nostrictatime": (m.MS_STRICTATIME, False),
    "bind": (m.MS_BIND, True), "rbind": (m.MS_BIND | m.MS_REC, True),
    "private": (m.MS_PRIVATE, True), "rprivate": (m.MS_PRIVATE | m.MS_REC, True),
    "shared": (m.MS_SHARED, True), "rshared": (m.MS_SHARED | m.MS_REC, True),
    "slave": (m.MS_SLAVE, True), "rslave": (m.MS_SLAVE | m.MS_REC, True),
    "unbindable": (m.MS_UNBINDABLE, True), "runbindable": (m.MS_UNBINDABLE | m.MS_REC, True),
}
_PROPAGATION = m.MS_PRIVATE | m.MS_SHARED | m.MS_SLAVE | m.MS_UNBINDABLE
_NETWORKED = ("nfs", "nfs4", "cifs", "smb3")
_BY_DEVICE = ("cifs", "smb3")  # the server's name is the device's: //server/share
_SECRET = ("pass=", "passwd=", "password=", "password2=")


class Plan(NamedTuple):
    """The arguments of mount(2), and the propagation that a second call sets."""

    source: str
    fstype: str
    flags: int
    data: str
    propagation: int = 0


def check(name: str, options: Mapping[str, str]) -> None:
    """Raises InvalidParameter, in the words of Docker's driver."""
    for option in options:
        if option not in OPTIONS:
            raise InvalidParameter(f'create {name}: invalid option: "{option}"')
    for option, needed in _NEEDS.items():
        for other in needed if option in options else ():
            if other not in options:
                raise InvalidParameter(f'create {name}: missing required option: "{other}"')
    if "size" in options:
        if "type" in options:
            raise InvalidParameter(f"create {name}: size is for a volume of its own, not for one with a type "
                                   "(for a tmpfs: o=size=…)")
        if 0 < _size(name, options) < ext4.LEAST:
            raise InvalidParameter(f"create {name}: a quota is at least {ext4.LEAST >> 20}m")


def _size(name: str, options: Mapping[str, str]) -> int:
    try:
        return parse_size(options["size"])
    except InvalidParameter:
        raise InvalidParameter(f"create {name}: invalid size: '{options['size']}'") from None


def quota(options: Mapping[str, str] | None) -> int:
    """Bytes that may be in it, 0: no bound of its own."""
    return parse_size(options["size"]) if options and "size" in options else 0


def is_mounted_for_use(options: Mapping[str, str] | None) -> bool:
    return is_elsewhere(options) or quota(options) > 0


def is_elsewhere(options: Mapping[str, str] | None) -> bool:
    """What it holds doesn't lie in its directory: a bind, tmpfs, nfs … Empty words ask for nothing (as Docker)."""
    return bool(options) and bool((options or {}).get("type") or (options or {}).get("device"))


def plan(options: Mapping[str, str]) -> Plan:
    """What to ask of mount(2) for type, o and device; a host name after ``addr=`` is still to be looked up."""
    flags, data = 0, []
    for word in options.get("o", "").split(","):
        bit, sets = _FLAGS.get(word, (-1, False))
        if bit >= 0:
            flags = flags | bit if sets else flags & ~bit
        elif word:
            data.append(word)
    propagation = flags & (_PROPAGATION | m.MS_REC) if flags & _PROPAGATION else 0
    flags &= ~_PROPAGATION
    if propagation & m.MS_REC and not flags & m.MS_BIND:
        flags &= ~m.MS_REC
    return Plan(options["device"], options["type"], flags, ",".join(data), propagation)


def resolved(found: Plan) -> Plan:
    """For a network's file system: the kernel wants the server's address (mount.nfs(8), mount.cifs(8) look it up,
    mount(2) not). Raises EngineFailure."""
    if found.fstype not in _NETWORKED:
        return found
    words = found.data.split(",")
    named = [word for word in words if word.startswith("addr=") and word != "addr="]
    if named:
        words = [f"addr={_address(word[5:])}" if word in named else word for word in words]
        return found._replace(data=",".join(words))
    server, slash, share = found.source.removeprefix("//").partition("/")
    if found.fstype in _BY_DEVICE and found.source.startswith("//") and server:
        return found._replace(source=f"//{_address(server)}{slash}{share}")
    return found


def _address(name: str) -> str:
    """The first of version 4 if there is one, whatever the resolver prefers (as Go's ResolveIPAddr, for Docker)."""
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
        return str(min(found, key=lambda one: one[0] != socket.AF_INET)[4][0])
    except (OSError, UnicodeError) as error:  # a label of a name that is too long can't be encoded
        unknown = not isinstance(error, socket.gaierror) or error.errno == socket.EAI_NONAME
        why = "no such host" if unknown else str(getattr(error, "strerror", error)).lower()
        raise EngineFailure(f"error resolving passed in network volume address: lookup {name}: {why}") from None


def mount(path: str, image: str, options: Mapping[str, str]) -> None:
    """Mount the volume on its directory. Raises EngineFailure, in Docker's words."""
    if quota(options):
        try:
            tree = ext4.mounted(image)
            try:
                m.mount_setattr(tree, propagation=m.MS_PRIVATE)
                _drop_lost_and_found(tree)
                m.move_mount(tree, m.AT_FDCWD, path)
            finally:
                os.close(tree)
        except OSError as error:
            raise EngineFailure(f"error while mounting volume '{path}': {image}: {error.strerror}") from error
        return
    try:
        asked = resolved(plan(options))
    except EngineFailure as error:
        raise EngineFailure(f"error while mounting volume '{path}': {error.message}") from None
    try:
        _mount(path, asked)
    except OSError as error:
        raise EngineFailure(f"error while mounting volume '{path}': failed to mount local volume: mount "
                            f"{_words(asked, path)}: {(error.strerror or '').lower()}") from error


def _drop_lost_and_found(tree: int) -> None:
    """The directory that mkfs.ext4(8) makes, and e2fsck(8) anew: a new volume is empty, a copy no more than its
    original."""
    with suppress(OSError):  # not there, or it holds something
        info = os.stat("lost+found", dir_fd=tree, follow_symlinks=False)
        if (info.st_uid, info.st_gid, info.st_mode) == (0, 0, stat.S_IFDIR | 0o700):
            os.rmdir("lost+found", dir_fd=tree)


def _mount(path: str, asked: Plan) -> None:
    """A bind's own flags, and every propagation, need a call of their own (mount(2), "Remounting")."""
    m.mount_waiting(asked.source, path, asked.fstype, asked.flags, asked.data or None)
    try:
        if asked.flags & m.MS_BIND and asked.flags & ~(m.MS_BIND | m.MS_REC):
            m.mount_waiting("", path, None, asked.flags & ~m.MS_REC | m.MS_REMOUNT, None)
        # What is mounted on the host must not carry on into every peer of it.
        m.mount_waiting("", path, None, asked.propagation or m.MS_PRIVATE, None)
    except OSError:
        m.umount2(path, m.MNT_DETACH)
        raise


def _words(asked: Plan, path: str) -> str:
    found = f"{asked.source}:{path}"
    if asked.flags:
        found += f", flags: {asked.flags:#x}"
    if asked.data:
        shown = [f"{word.partition('=')[0]}=********" if word.startswith(_SECRET) else word
                 for word in asked.data.split(",")]
        found += f", data: {','.join(shown)}"
    return found


def unmount(path: str) -> None:
    """Take off what is mounted there, all of it; nothing if nothing is."""
    while is_mount(path):
        m.umount2(path, m.MNT_DETACH | m.UMOUNT_NOFOLLOW)


def is_mount(path: str) -> bool:
    """By the kernel's list: a bind mount of the same disk doesn't show in st_dev."""
    wanted = path.replace("\\", "\\134").replace(" ", "\\040").replace("\t", "\\011").replace("\n", "\\012")
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        return any(line.split(" ", 5)[4] == wanted for line in file)


def make_image(image: str, options: Mapping[str, str], name: str) -> None:
    try:
        ext4.make(image, quota(options))
    except ext4.MissingProgram as error:
        raise InvalidParameter(f"create {name}: quota size requested but no quota support: {error.strerror}") from None
    except OSError as error:
        raise EngineFailure(f"create {name}: {error.strerror}") from error
