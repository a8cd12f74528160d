"""`kist system check`: is everything still what it was when it was stored, and can it be mended?

Contents are hashed again. Each layer is unpacked once more from its blob and compared with the files in
use, file by file; with *repair* the fresh copy takes the place of a damaged or lost one. A content that is damaged
can't be mended from here: it is removed, and with it the images that need it, unless a container does; pulling
them again brings them back. Records that lead nowhere go.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from kist.errors import KistError
from kist.oci import digest as digests
from kist.oci.chainid import chain_ids
from kist.oci.digest import Digest
from kist.store import erofs
from kist.store.compress import decompress
from kist.store.difference import difference
from kist.store.errors import NoSuchContent, StorageFailure
from kist.store.images import Image
from kist.store.layers import Layer
from kist.store.store import Store

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
    found = list(_check_records(store, repair))
    with store.lease():
        bad: set[Digest] = set()
        found += _check_contents(store, repair, bad, report)
        found += _check_images(store, repair, report)
        found += _check_stacks(store, repair)
        found += _check_layers(store, repair, busy, bad, report)
        found += _check_snapshots(store, report)
    return found


def _check_records(store: Store, repair: bool) -> Iterator[Finding]:
    if (problem := store.broken_records()) is not None:
        yield Finding("records", problem)
    for name in store.images.dangling_names():
        if repair:
            store.images.drop_name(name)
        yield Finding(f"name {name}", "its image is gone", repair)


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
    for path in store.content.strays():
        if repair:
            store.content.drop_stray(path)
        yield Finding(f"file {path}", "doesn't belong there", repair)


def _check_images(store: Store, repair: bool, report: Report) -> Iterator[Finding]:
    in_use = {chain for chain in store.snapshots.chains().values() if chain is not None}
    for image in store.images.list():
        report(f"image {image.id}")
        problem = _missing(store, image)
        if problem is None:
            continue
        # A container's layers stay anyway; but its image would be gone from under its name.
        mended = repair and (_stack_again(store, image) or image.chain_id not in in_use)
        if mended and _missing(store, image):
            store.images.delete(image.id)
        yield Finding(f"image {(image.tags or [image.id])[0]}", problem, mended)


def _missing(store: Store, image: Image) -> str | None:
    for digest in store.images.contents(image):
        if not store.content.has(digest):
            return f"content {digest} is missing"
    try:
        chains = chain_ids(store.images.config(image.id).diff_ids)
    except KistError:
        return None     # its content is damaged: told of already
    return next((f"layer {chain} is missing" for chain in chains if not store.layers.has(chain)), None)


def _stack_again(store: Store, image: Image) -> bool:
    """Unpack those of the image's layers that are on record no more; whether it is whole now."""
    try:
        parent: Digest | None = None
        diff_ids = store.images.config(image.id).diff_ids
        for blob, diff_id in zip(store.images.manifest(image.id).layers, diff_ids, strict=True):
            with store.content.open(blob.digest) as file:
                parent = store.layers.apply(decompress(file), diff_id, parent)
    except (KistError, ValueError):
        return False
    return _missing(store, image) is None


def _check_stacks(store: Store, repair: bool) -> Iterator[Finding]:
    """Layers that stand on one that is on record no more: nothing can use them."""
    known = {layer.chain_id: layer for layer in store.layers.list()}
    held = set(store.snapshots.chains().values()) | {image.chain_id for image in store.images.list()}
    # The uppermost first: a layer can't go before those that stand on it.
    for layer in sorted(known.values(), key=lambda layer: -len(_below(layer, known))):
        stack = _below(layer, known)
        if stack[-1].parent is not None:
            above = [one.chain_id for one in known.values() if layer in _below(one, known)]
            mended = repair and held.isdisjoint(above) and bool(store.layers.forget(layer.chain_id))
            yield Finding(f"layer {layer.chain_id}", f"the layer {stack[-1].parent} below it is missing", mended)


def _below(layer: Layer, known: Mapping[Digest, Layer]) -> list[Layer]:
    """The layer and those below it, the uppermost first, as far as they are on record."""
    stack = [layer]
    while (parent := stack[-1].parent) is not None and parent in known:
        stack.append(known[parent])
    return stack


def _check_layers(store: Store, repair: bool, busy: frozenset[str], bad: set[Digest],
                  report: Report) -> Iterator[Finding]:
    blobs = _blobs(store)
    chains = store.snapshots.chains()
    known = {layer.chain_id: layer for layer in store.layers.list()}
    tops = [known[chain] for key in busy if (chain := chains.get(key)) is not None and chain in known]
    held = {layer.chain_id for top in tops for layer in _below(top, known)}
    # The lowest first: an upper one may have been made with a look at those below.
    for layer in sorted(known.values(), key=lambda layer: len(_below(layer, known))):
        report(f"layer {layer.chain_id}")
        if _below(layer, known)[-1].parent is not None:
            continue    # told of above
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
        try:
            store.layers.stack(chain)
        except NoSuchContent:
            yield Finding(f"snapshot {key}", f"layer {chain} is missing, or one below it")


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
