"""The EROFS format, as far as a layer needs it (Linux, fs/erofs/erofs_fs.h; Documentation/filesystems/erofs.rst).

A tar's data begins at multiples of 512 bytes, and blocks of an EROFS image may be as small: so the layer's tar lies
in the image as it came, and the inodes behind it point into it. Nothing is copied, nothing is compressed.

    0      1024   4096                  meta                                      end (a multiple of 4096)
    ┌──────┬──────┬─────────────────────┬──────────────────┬──────────────────────┐
    │      │ super│ the tar; then files │ inodes, each 64  │ directories, long    │
    │      │ block│ copied from below   │ + attributes     │ links                │
    └──────┴──────┴─────────────────────┴──────────────────┴──────────────────────┘

    inode:  format u16 · attribute words u16 · mode u16 · – u16 · size u64 · block or device u32 · number u32
            · uid u32 · gid u32 · mtime s64 · nanoseconds u32 · links u32 · – 16 bytes; its number is its place / 32
    directory block:  (inode u64 · offset of the name u16 · type u8 · – u8) per name, then the names, sorted
    attributes:  name filter u32 · shared u8 · – 7 bytes, then (length u8 · prefix u8 · value's length u16 · name ·
            value) each, padded to 4

What is small (directories, links) follows its inode at once, if both lie in one block.
"""

from __future__ import annotations

import stat
import struct
from typing import BinaryIO

from kist.store.errors import InvalidLayer

BLOCK = 512
PAGE = 4096
#: Where the tar begins.
DATA = PAGE
_SUPER = struct.Struct("<IIIBBHQQIIII16s16sIHHHBBIQB23x")
_SUPER_OFFSET = 1024
_MAGIC = 0xE0F5E1E2
_INODE = struct.Struct("<HHHHQIIIIqII16x")
_DIRENT = struct.Struct("<QHBB")
_SLOT = 32              # inodes are numbered by their place in units of this
_FIRST = 64             # the root's place: its number has 16 bits
_EXTENDED = 1           # the 64-byte form of inodes
_PLAIN, _INLINE = 0 << 1, 2 << 1
_ATTRIBUTES_HEADER = struct.Struct("<IB7x")
_ATTRIBUTE = struct.Struct("<BBH")
_PREFIXES = (("user.", 1), ("system.posix_acl_access", 2), ("system.posix_acl_default", 3), ("trusted.", 4),
             ("security.", 6))
#: Most bytes of extended attributes that one file may have (XATTR_LIST_MAX is as large).
MAX_ATTRIBUTES = 64 << 10
_TYPES = {stat.S_IFREG: 1, stat.S_IFDIR: 2, stat.S_IFCHR: 3, stat.S_IFBLK: 4, stat.S_IFIFO: 5, stat.S_IFLNK: 7}


class Node:
    """An inode: `mode` with the type, `mtime` in nanoseconds. Of a regular file `offset` and `size` are where its
    bytes lie in the image. `children` and `parent` are a directory's, `target` a link's."""

    __slots__ = ("children", "gid", "implied", "links", "mode", "mtime", "number", "offset", "parent", "place", "rdev",
                 "size", "target", "uid", "xattrs")

    def __init__(self, mode: int, uid: int = 0, gid: int = 0, mtime: int = 0) -> None:
        self.mode, self.uid, self.gid, self.mtime = mode, uid, gid, mtime
        self.size = self.offset = self.rdev = self.place = self.number = 0
        self.links = 1
        self.target = b""
        self.xattrs: dict[str, bytes] = {}
        self.children: dict[bytes, Node] = {}
        self.parent = self
        self.implied = False

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.mode)

    @property
    def is_link(self) -> bool:
        return stat.S_ISLNK(self.mode)

    @property
    def is_whiteout(self) -> bool:
        return stat.S_ISCHR(self.mode) and self.rdev == 0


def finish(file: BinaryIO, root: Node, uuid: bytes) -> None:
    """Make *file*, which holds the data up to its end, an image of *root*'s tree; *uuid* are 16 bytes."""
    meta = _align(file.seek(0, 2), PAGE)
    nodes = _in_order(root)
    shapes, size = _places(nodes)
    file.seek(meta)
    file.write(bytes(_FIRST))
    blocks: list[bytes] = []
    at, behind = _FIRST, meta + size
    for node, (attributes, length, inline) in zip(nodes, shapes, strict=True):
        body = _body(node)
        place = behind
        if body and not inline:
            blocks.append(body.ljust(_align(len(body), BLOCK), b"\0"))
            behind += len(blocks[-1])
        written = _inode(node, attributes, length, inline, place) + (body if inline else b"")
        file.write(bytes(node.place - at) + written)
        at = node.place + len(written)
    file.write(bytes(size - at))
    file.writelines(blocks)
    end = _align(behind, PAGE)
    file.truncate(end)
    file.seek(_SUPER_OFFSET)
    file.write(_SUPER.pack(_MAGIC, 0, 0, BLOCK.bit_length() - 1, 0, root.place // _SLOT, len(nodes), 0, 0, end // BLOCK,
                           meta // BLOCK, 0, uuid, b"", 0, 0, 0, 0, 0, 0, 0, 0, 0))


def _align(number: int, to: int) -> int:
    return -(-number // to) * to


def _in_order(root: Node) -> list[Node]:
    """Every inode once, the root first, the files of a directory beside each other."""
    found, waiting = [root], [root]
    root.number = 1
    seen: set[int] = set()
    while waiting:
        directory = waiting.pop()
        directory.links = 2
        for name in sorted(directory.children):
            node = directory.children[name]
            if node.is_directory:
                directory.links += 1
                waiting.append(node)
            elif node.links > 1:
                if id(node) in seen:
                    continue
                seen.add(id(node))
            found.append(node)
            node.number = len(found)
    return found


_Shape = tuple[bytes, int, bool]    # attributes; the length of what isn't in the tar; whether it follows the inode


def _places(nodes: list[Node]) -> tuple[list[_Shape], int]:
    """Give each inode its place behind the metadata's start; the length of them all."""
    shapes: list[_Shape] = []
    at = _FIRST
    for node in nodes:
        attributes = encode_attributes(node.xattrs) if node.xattrs else b""
        length = _length(node)
        whole = _INODE.size + len(attributes) + length
        inline = bool(length) and whole <= BLOCK
        # An inode lies in one block, and so does what follows it.
        if at % BLOCK + (whole if inline else _INODE.size) > BLOCK:
            at = _align(at, BLOCK)
        node.place = at
        at = _align(at + _INODE.size + len(attributes) + (length if inline else 0), _SLOT)
        shapes.append((attributes, length, inline))
    return shapes, _align(at, BLOCK)


def _inode(node: Node, attributes: bytes, length: int, inline: bool, place: int) -> bytes:
    seconds, nanoseconds = divmod(node.mtime, 1_000_000_000)
    kind = stat.S_IFMT(node.mode)
    where = 0
    if kind == stat.S_IFREG:
        where, length = node.offset // BLOCK, node.size
    elif kind in (stat.S_IFCHR, stat.S_IFBLK):
        where = node.rdev
    elif not inline:
        where = place // BLOCK
    words = (len(attributes) - _ATTRIBUTES_HEADER.size) // 4 + 1 if attributes else 0
    return _INODE.pack(_EXTENDED | (_INLINE if inline else _PLAIN), words, node.mode, 0, length, where, node.number,
                       node.uid, node.gid, seconds, nanoseconds, node.links) + attributes


def encode_rdev(major: int, minor: int) -> int:
    """As new_encode_dev() has it (include/linux/kdev_t.h)."""
    return minor & 0xFF | major << 8 | (minor & ~0xFF) << 12


def encode_attributes(xattrs: dict[str, bytes]) -> bytes:
    """Raises `InvalidLayer` for what the format or Linux doesn't take."""
    found = [_ATTRIBUTES_HEADER.pack(0, 0)]
    total = 0
    for key, value in sorted(xattrs.items()):
        prefix, number = next((prefix, number) for prefix, number in _PREFIXES if key.startswith(prefix))
        name = key[len(prefix):].encode("utf-8", "surrogateescape")
        total += _ATTRIBUTE.size + len(name) + len(value) + 3
        if len(name) > 255 - len(prefix) or total > MAX_ATTRIBUTES:
            raise InvalidLayer(f"extended attribute {key[:100]!r}: too large")
        packed = _ATTRIBUTE.pack(len(name), number, len(value)) + name + value
        found.append(packed.ljust(_align(len(packed), 4), b"\0"))
    return b"".join(found)


def _length(node: Node) -> int:
    if node.is_link:
        return len(node.target)
    if not node.is_directory:
        return 0
    blocks = _split(node)
    return BLOCK * (len(blocks) - 1) + sum(_DIRENT.size + len(name) for name in blocks[-1])


def _body(node: Node) -> bytes:
    if not node.is_directory:
        return node.target
    blocks = [_directory_block(node, names) for names in _split(node)]
    return b"".join(block.ljust(BLOCK, b"\0") for block in blocks[:-1]) + blocks[-1]


def _split(directory: Node) -> list[list[bytes]]:
    """A directory's names, sorted, as many to a block as fit."""
    blocks: list[list[bytes]] = [[]]
    used = 0
    for name in sorted([b".", b"..", *directory.children]):
        need = _DIRENT.size + len(name)
        if used + need > BLOCK:
            blocks.append([])
            used = 0
        blocks[-1].append(name)
        used += need
    return blocks


def _directory_block(directory: Node, names: list[bytes]) -> bytes:
    offset = _DIRENT.size * len(names)
    entries = []
    for name in names:
        node = directory.children.get(name) or (directory if name == b"." else directory.parent)
        entries.append(_DIRENT.pack(node.place // _SLOT, offset, _TYPES[stat.S_IFMT(node.mode)], 0))
        offset += len(name)
    return b"".join(entries) + b"".join(names)

