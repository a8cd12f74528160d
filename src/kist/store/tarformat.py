"""The tar format: one 512-byte header per entry, then its data, padded to 512 (POSIX.1-2017 pax; GNU tar).

    offset  0      100   108   116   124    136     148   156  157      257    265    297    329   337   345    500
            ┌──────┬─────┬─────┬─────┬──────┬───────┬─────┬────┬────────┬──────┬──────┬──────┬─────┬─────┬──────┐
            │ name │mode │ uid │ gid │ size │ mtime │ sum │type│linkname│magic │uname │gname │major│minor│prefix│
            └──────┴─────┴─────┴─────┴──────┴───────┴─────┴────┴────────┴──────┴──────┴──────┴─────┴─────┴──────┘
    Numbers are octal text, or big-endian binary with the first bit set (GNU). Two blocks of zeros end it.

What doesn't fit comes in an entry before the real one:

    type x: pax records       "27 path=…\\n"  (length in decimal, key, value)   only for the next entry
    type g: global records    as x; ignored here as in Docker
    type L, K (GNU)           the data is the next entry's name, link name

Files with holes are in `tarsparse`.
"""

from __future__ import annotations

BLOCK = 512
ZEROS = bytes(BLOCK)

REGULAR, HARDLINK, SYMLINK, CHARDEV, BLOCKDEV, DIRECTORY, FIFO = b"0", b"1", b"2", b"3", b"4", b"5", b"6"
CONTIGUOUS, OLD_REGULAR = b"7", b"\0"
PAX, PAX_GLOBAL, GNU_LONGNAME, GNU_LONGLINK = b"x", b"g", b"L", b"K"
GNU_SPARSE = b"S"

MAGIC_POSIX = b"ustar\x0000"
MAGIC_GNU = b"ustar  \0"

XATTR_PREFIX = b"SCHILY.xattr."

#: The largest pax or long-name entry that is read, in bytes (Go's archive/tar has the same bound).
MAX_SPECIAL = 1 << 20


class Entry:
    """One file of an archive. Names are bytes as they came, neither cleaned nor checked.

    `type` is one of the constants above with `OLD_REGULAR` and `CONTIGUOUS` folded into `REGULAR`;
    `size` is in bytes and 0 for all but regular files; `mtime` is in nanoseconds since the epoch. With `sparse` the
    data that the archive has is that of these pieces, (offset, length), alone.
    """

    __slots__ = ("gid", "linkname", "major", "minor", "mode", "mtime", "name", "size", "sparse", "type", "uid",
                 "xattrs")

    def __init__(self, name: bytes, type: bytes = REGULAR, *, mode: int = 0o644, uid: int = 0, gid: int = 0,
                 size: int = 0, mtime: int = 0, linkname: bytes = b"", major: int = 0, minor: int = 0,
                 xattrs: dict[str, bytes] | None = None) -> None:
        self.name, self.type, self.mode, self.uid, self.gid = name, type, mode, uid, gid
        self.size, self.mtime, self.linkname = size, mtime, linkname
        self.major, self.minor, self.xattrs = major, minor, xattrs or {}
        self.sparse: list[tuple[int, int]] | None = None

    @property
    def stored(self) -> int:
        """Bytes of data in the archive."""
        return self.size if self.sparse is None else sum(length for _, length in self.sparse)

    def __repr__(self) -> str:
        return f"Entry({show(self.name)!r}, {self.type!r}, mode={self.mode:o}, size={self.size})"


def show(name: bytes) -> str:
    """*name* for a message: control characters escaped, bounded."""
    text = name[:200].decode("utf-8", "backslashreplace")
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return f"{shown}…" if len(name) > 200 else shown
