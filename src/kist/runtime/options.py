"""The words of a mount's ``options`` (runtime-spec 1.2, config.md#mounts), as a table.

Each word sets or clears a mount attribute, for one mount or (``r…``) for the whole tree below, or chooses
the propagation, or is a flag of the file system, or is for the file system's own driver (all that is unknown).
"""

from __future__ import annotations

from kist.linux import mount as m

# word → (attributes set, attributes cleared)
ATTRIBUTES = {
    "ro": (m.MOUNT_ATTR_RDONLY, 0), "rw": (0, m.MOUNT_ATTR_RDONLY),
    "nosuid": (m.MOUNT_ATTR_NOSUID, 0), "suid": (0, m.MOUNT_ATTR_NOSUID),
    "nodev": (m.MOUNT_ATTR_NODEV, 0), "dev": (0, m.MOUNT_ATTR_NODEV),
    "noexec": (m.MOUNT_ATTR_NOEXEC, 0), "exec": (0, m.MOUNT_ATTR_NOEXEC),
    "nodiratime": (m.MOUNT_ATTR_NODIRATIME, 0), "diratime": (0, m.MOUNT_ATTR_NODIRATIME),
    "relatime": (m.MOUNT_ATTR_RELATIME, m.MOUNT_ATTR__ATIME), "norelatime": (0, 0),
    "noatime": (m.MOUNT_ATTR_NOATIME, m.MOUNT_ATTR__ATIME), "atime": (0, m.MOUNT_ATTR__ATIME),
    "strictatime": (m.MOUNT_ATTR_STRICTATIME, m.MOUNT_ATTR__ATIME), "nostrictatime": (0, m.MOUNT_ATTR__ATIME),
    "nosymfollow": (m.MOUNT_ATTR_NOSYMFOLLOW, 0), "symfollow": (0, m.MOUNT_ATTR_NOSYMFOLLOW),
}
PROPAGATION = {
    "shared": (m.MS_SHARED, False), "rshared": (m.MS_SHARED, True),
    "slave": (m.MS_SLAVE, False), "rslave": (m.MS_SLAVE, True),
    "private": (m.MS_PRIVATE, False), "rprivate": (m.MS_PRIVATE, True),
    "unbindable": (m.MS_UNBINDABLE, False), "runbindable": (m.MS_UNBINDABLE, True),
}
# Flags of the superblock: fsconfig(2) takes them as words; the opposite is the default.
SUPERBLOCK = {"sync", "dirsync", "mand", "lazytime", "iversion", "silent"}
DEFAULTS = {"defaults", "async", "nomand", "nolazytime", "noiversion", "loud", "remount"}


class Options:
    """One mount's options, sorted out."""

    __slots__ = ("bind", "clear", "copy_up", "data", "idmap", "propagation", "rec_clear", "rec_set", "recursive",
                 "set", "tree_idmap")

    def __init__(self) -> None:
        self.set = self.clear = self.rec_set = self.rec_clear = 0
        self.bind = self.recursive = self.idmap = self.tree_idmap = self.copy_up = False
        self.propagation: list[tuple[int, bool]] = []
        self.data: list[str] = []


def parse(words: list[str]) -> Options:
    options = Options()
    for word in words:
        if word in ATTRIBUTES:
            options.set, options.clear = _merge(options.set, options.clear, ATTRIBUTES[word])
        elif word[:1] == "r" and word[1:] in ATTRIBUTES:
            options.rec_set, options.rec_clear = _merge(options.rec_set, options.rec_clear, ATTRIBUTES[word[1:]])
        elif word in PROPAGATION:
            options.propagation.append(PROPAGATION[word])
        elif word in ("bind", "rbind"):
            options.bind, options.recursive = True, word == "rbind"
        elif word in ("idmap", "ridmap"):
            options.idmap, options.tree_idmap = True, word == "ridmap"
        elif word == "tmpcopyup":
            options.copy_up = True
        elif word and word not in DEFAULTS:  # Podman asks for "", too
            options.data.append(word)
    return options


def _merge(set_bits: int, clear_bits: int, change: tuple[int, int]) -> tuple[int, int]:
    """A later word wins over an earlier one."""
    on, off = change
    return set_bits & ~off | on, clear_bits & ~on | off


def known_words() -> list[str]:
    """For `features`."""
    words = set(ATTRIBUTES) | {"r" + word for word in ATTRIBUTES} | set(PROPAGATION) | SUPERBLOCK | DEFAULTS
    return sorted(words | {"bind", "rbind", "idmap", "ridmap", "tmpcopyup"})
