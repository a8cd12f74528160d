"""`kist system check`: is everything still what it was when it was stored, and can it be mended?

Contents are hashed again. Each layer is unpacked once more from its blob and compared with the files in
use, file by file; with *repair* the fresh copy takes the place of a damaged one. A content that is damaged
can't be mended from here: it is removed, and with it the images that need it, unless a container does; pulling
them again brings them back.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from itertools import zip_longest
from typing import NamedTuple

from kist.errors import KistError
from kist.oci import digest as digests
from kist.oci.chainid import chain_ids
from kist.oci.digest import Digest
from kist.store import erofs
from kist.store.compress import decompress
from kist.store.errors import NoSuchContent, StorageFailure
from kist.store.layers import Layer
from kist.store.store import Store
from kist.store.tree import Node, walk

_CHUNK = 1 << 20


class Finding(NamedTuple):
    """One thing that is wrong: with what, in which way, and whether it was mended."""

    what: str
    problem: str
    repaired: bool = False


#: Told of each thing before it is looked at.
Report = Callable[[str], object]


def check(store: Store, *, repair: bool = False, busy: frozenset[str] = frozenset(),
          report: Report = lambda _what: None) -> list[Finding]:
    """Look at everything; *busy* are the snapshots of running containers, whose layers are left alone."""
    found: list[Finding] = []
    if (problem := store.broken_records()) is not None:
        found.append(Finding("records", problem))
    with store.lease():
        bad: set[Digest] = set()
        found += _check_contents(store, repair, bad, report)
        found += _check_images(store, repair, report)
        found += _check_layers(store, repair, busy, bad, report)
        found += _check_snapshots(store, report)
    return found


def _check_contents(store: Store, repair: bool, bad: set[Digest], report: Report) -> Iterator[Finding]:
    """What is damaged is added to *bad*."""
    for digest in store.content.list():
        report(f"content {digest}")
        hashed = digests.hasher(digest)
        try:
            with store.content.open(digest) as file:
                while piece := file.read(_CHUNK):
                    hashed.update(piece)
        except NoSuchContent:
            continue    # removed meanwhile
        except OSError as error:
            problem = f"can't be read: {error.strerror}"
        else:
            if digests.from_hash(hashed) == digest:
                continue
            problem = "the bytes are damaged"
        bad.add(digest)
        if repair:
            store.content.delete(digest)
        yield Finding(f"content {digest}", problem, repair)


def _check_images(store: Store, repair: bool, report: Report) -> Iterator[Finding]:
    in_use = {chain for chain in store.snapshots.chains().values() if chain is not None}
    for image in store.images.list():
        report(f"image {image.id}")
        missing = [digest for digest in store.images.contents(image) if not store.content.has(digest)]
        if not missing:
            continue
        # A container's layers stay anyway; but its image would be gone from under its name.
        mend = repair and image.chain_id not in in_use
        if mend:
            store.images.delete(image.id)
        yield Finding(f"image {(image.tags or [image.id])[0]}", f"content {missing[0]} is missing", mend)


def _check_layers(store: Store, repair: bool, busy: frozenset[str], bad: set[Digest],
                  report: Report) -> Iterator[Finding]:
    blobs = _blobs(store)
    chains = store.snapshots.chains()
    held = {layer.chain_id for key in busy if key in chains for layer in store.layers.stack(chains[key])}
    # The lowest first: an upper one may have been made with a look at those below.
    for layer in sorted(store.layers.list(), key=lambda layer: len(store.layers.stack(layer.chain_id))):
        report(f"layer {layer.chain_id}")
        blob = blobs.get(layer.chain_id)
        problem: str | None = None
        mended = False
        if layer.parent in bad:
            bad.add(layer.chain_id)     # what it should look like can't be told
        elif blob is None or blob in bad or not store.content.has(blob):
            if not _is_there(layer):
                problem = "its files are gone, and so is the content to make them from"
        else:
            problem, mended = _mend(store, layer, blob, repair and layer.chain_id not in held)
        if problem:
            if not mended:
                bad.add(layer.chain_id)
            yield Finding(f"layer {layer.chain_id}", problem, mended)


def _check_snapshots(store: Store, report: Report) -> Iterator[Finding]:
    for key, chain in store.snapshots.chains().items():
        report(f"snapshot {key}")
        if chain is not None and not store.layers.has(chain):
            yield Finding(f"snapshot {key}", f"layer {chain} is missing")


def _blobs(store: Store) -> dict[Digest, Digest]:
    """The content that each layer was unpacked from."""
    found: dict[Digest, Digest] = {}
    for image in store.images.list():
        try:
            config, manifest = store.images.config(image.id), store.images.manifest(image.id)
        except KistError:
            continue
        found |= zip(chain_ids(config.diff_ids), (blob.digest for blob in manifest.layers), strict=False)
    return found


def _mend(store: Store, layer: Layer, blob: Digest, repair: bool) -> tuple[str | None, bool]:
    """What is wrong with a layer's files, and whether that was mended."""
    try:
        return _compare(store, layer, blob, repair)
    except KistError as error:
        return f"can't be unpacked again: {error}", False


def _compare(store: Store, layer: Layer, blob: Digest, repair: bool) -> tuple[str | None, bool]:
    with store.content.open(blob) as file, store.layers.stage(decompress(file), layer.diff_id) as staged:
        store.layers.finish(staged, layer.parent)
        with erofs.opened([staged.path]) as [wanted]:
            problem = _damage(store, layer, wanted)
        if problem and repair:
            store.layers.restore(staged, layer)
        elif repair and layer.image and layer.verity is None:
            store.layers.seal(layer)    # stored where, or when, there was no fs-verity
        return problem, bool(problem and repair)


def _is_there(layer: Layer) -> bool:
    return os.path.isdir(layer.path)


def _damage(store: Store, layer: Layer, wanted: str) -> str | None:
    if not _is_there(layer):
        return "its files are gone"
    try:
        with store.layers.opened([layer]) as [root]:
            return difference(wanted, root)
    except (StorageFailure, OSError) as error:
        return f"can't be read: {error}"


def difference(wanted: str, found: str) -> str | None:
    """The first difference between two trees, in words; None if they are equal."""
    one = os.open(wanted, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    two = os.open(found, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for a, b in zip_longest(walk(one), walk(two)):
            if b is None or (a is not None and a.path < b.path):
                return f"/{os.fsdecode(a.path)} is missing"
            if a is None or a.path != b.path:
                return f"/{os.fsdecode(b.path)} doesn't belong there"
            if (problem := _differ(a, b)) is not None:
                return f"/{os.fsdecode(a.path)}: {problem}"
    finally:
        os.close(one)
        os.close(two)
    return None


_SAME = {"st_mode": "mode or type", "st_uid": "owner", "st_gid": "group", "st_rdev": "device number"}


def _differ(a: Node, b: Node) -> str | None:
    for field, words in _SAME.items():
        if getattr(a.stat, field) != getattr(b.stat, field):
            return f"another {words}"
    if stat.S_ISLNK(a.stat.st_mode):
        links = [os.readlink(node.name, dir_fd=node.directory) for node in (a, b)]
        return None if links[0] == links[1] else "another target"
    if not stat.S_ISREG(a.stat.st_mode):
        return None
    if a.stat.st_size != b.stat.st_size:
        return "another size"
    try:
        return None if _same_bytes(a, b) else "other bytes"
    except OSError as error:
        return f"can't be read: {error.strerror}"


def _same_bytes(a: Node, b: Node) -> bool:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    one = os.open(a.name, flags, dir_fd=a.directory)
    try:
        two = os.open(b.name, flags, dir_fd=b.directory)
        try:
            while piece := os.read(one, _CHUNK):
                if os.read(two, _CHUNK) != piece:
                    return False
            return True
        finally:
            os.close(two)
    finally:
        os.close(one)
