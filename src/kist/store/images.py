"""Images and their names.

An image's id is the digest of its configuration, as Docker's. Names (*refs*) are full references, by tag
(``docker.io/library/busybox:latest``) or by digest (``docker.io/library/busybox@sha256:…``); an image may
have many, or none. An image that is here has its manifest and configuration in the content store and its
layers unpacked; the compressed layers stay too, so that it can be pushed again under the same digests.
"""

from __future__ import annotations

import sqlite3
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from kist.errors import Conflict, InvalidParameter, KistError, NotFound
from kist.oci import digest as digests
from kist.oci import image as configs
from kist.oci import manifest as manifests
from kist.oci import reference
from kist.oci.digest import Digest
from kist.oci.image import ImageConfig
from kist.oci.manifest import Manifest
from kist.store.content import ContentStore
from kist.store.db import Database
from kist.store.errors import NoSuchContent
from kist.store.layers import Layers

_HEX = frozenset("0123456789abcdef")


class ManifestTarget(NamedTuple):
    """What a pull found: the `manifest` that was chosen, and `target`, what the name itself led to (an index,
    or the same manifest)."""

    manifest: Digest
    target: Digest | None = None


@dataclass(frozen=True)
class Image:
    """One image; `names` are full references, tags and digests; times in seconds since the epoch."""

    id: Digest
    target: Digest
    manifest: Digest
    manifest_type: str
    chain_id: Digest | None
    platform: str
    created: str
    size: int
    source: str
    stored: float
    used: float
    names: list[str] = field(default_factory=list)

    @property
    def tags(self) -> list[str]:
        """Familiar names with tags (``RepoTags``)."""
        return [reference.familiar(name) for name in self.names if "@" not in name]

    @property
    def digests(self) -> list[str]:
        """Familiar names with digests (``RepoDigests``)."""
        return [reference.familiar(name) for name in self.names if "@" in name]

    @property
    def created_seconds(self) -> int:
        """`created` in seconds since the epoch, 0 if it isn't a time."""
        try:
            return int(datetime.fromisoformat(self.created).timestamp())
        except ValueError:
            return 0


class Images:
    """The images of a store."""

    def __init__(self, db: Database, content: ContentStore, layers: Layers,
                 removed: Callable[[Image, Sequence[Digest]], None], touch: Callable[..., None]) -> None:
        self._db, self._content, self._layers = db, content, layers
        self._removed, self._touch = removed, touch

    # -- reading -------------------------------------------------------------------------------------

    def list(self) -> list[Image]:
        """All images, the newest first."""
        names = defaultdict(list)
        for row in self._db.rows("SELECT name, image FROM refs ORDER BY name"):
            names[row["image"]].append(row["name"])
        found = [_image(row, names[row["id"]]) for row in self._db.rows("SELECT * FROM images")]
        return sorted(found, key=lambda image: (-image.created_seconds, image.id))

    def get(self, id: Digest) -> Image:
        """The image of that id; raises `NotFound`."""
        row = self._db.row("SELECT * FROM images WHERE id = ?", id)
        if row is None:
            raise NotFound(f"No such image: {id}")
        names = [found["name"] for found in self._db.rows("SELECT name FROM refs WHERE image = ? ORDER BY name", id)]
        return _image(row, names)

    def has(self, id: Digest) -> bool:
        return self._db.row("SELECT 1 FROM images WHERE id = ?", id) is not None

    def names(self) -> Sequence[str]:
        """All full references, in order."""
        return [row["name"] for row in self._db.rows("SELECT name FROM refs ORDER BY name")]

    def any_on(self, chain_id: Digest) -> bool:
        """Whether an image has exactly these layers."""
        return self._db.row("SELECT 1 FROM images WHERE chain_id = ?", chain_id) is not None

    def resolve(self, text: str) -> Image:
        """The image that a user means by *text*: a name, an id, or the beginning of an id.

        A name wins over the beginning of an id, as in Docker. Raises `NotFound`, `InvalidParameter`.
        """
        id = self._by_name(text) or self._by_id(text)
        if id is None:
            raise NotFound(f"No such image: {_shown(text)}")
        return self.get(id)

    def config(self, id: Digest) -> ImageConfig:
        """The image's configuration."""
        return configs.parse(self._content.read(id, configs.MAX_CONFIG))

    def manifest(self, id: Digest) -> Manifest:
        """The image's manifest."""
        return self.manifest_of(self.get(id))

    def manifest_of(self, image: Image) -> Manifest:
        """Its manifest, be the image on record any more or not."""
        return self._read_manifest(image.manifest, image.manifest_type)

    # -- changing ------------------------------------------------------------------------------------

    def put(self, name: str | None, target: ManifestTarget, *, also: Sequence[str] = (), source: str = "",
            media_type: str | None = None) -> Image:
        """Record the image of a manifest whose content and layers are all here, and name it, in one step.

        *name* and those of *also* are full references; another image that had one loses it. Without *source* the
        image keeps the one that it has. Raises `NoSuchContent` if anything of the image is missing.
        """
        manifest = self._read_manifest(target.manifest, media_type)
        id = manifest.config.digest
        config = self.config(id)
        chain = config.chain_id
        layers = self._layers.stack(chain)
        if len(manifest.layers) != len(layers):
            raise configs.InvalidImage(f"invalid image: {len(manifest.layers)} layers in the manifest, "
                                       f"{len(layers)} in the config")
        for blob in manifest.layers:
            if not self._content.has(blob.digest):
                raise NoSuchContent(f"content {blob.digest} not found")
        now = time.time()
        with self._db.transaction():
            self._db.run(
                "INSERT INTO images VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET "
                "target = excluded.target, manifest = excluded.manifest, "
                "manifest_type = excluded.manifest_type, used = excluded.used, "
                "source = iif(excluded.source = '', source, excluded.source)",
                id, target.target or target.manifest, target.manifest, manifest.media_type, chain,
                str(config.platform), config.created or "", sum(layer.size for layer in layers), source, now, now)
            for one in (*([name] if name else []), *also):
                self._set_name(one, id)
            found = self.get(id)    # before anybody can take it away again
        self._touch(target.manifest, *([target.target] if target.target else []), *([chain] if chain else []),
                    *(blob.digest for blob in manifest.blobs))
        return found

    def tag(self, name: str, id: Digest) -> None:
        """Let *name* (a full reference with tag or digest) mean image *id*; raises `NotFound`."""
        with self._db.transaction():
            if self._db.row("SELECT 1 FROM images WHERE id = ?", id) is None:
                raise NotFound(f"No such image: {id}")
            self._set_name(name, id)

    def untag(self, name: str) -> Image:
        """Take *name* away; the image (as it is without it) stays, be it without any name."""
        with self._db.transaction():
            row = self._db.row("SELECT image FROM refs WHERE name = ?", name)
            if row is None:
                raise NotFound(f"No such image: {_shown(name)}")
            self._db.run("DELETE FROM refs WHERE name = ?", name)
        return self.get(Digest(row["image"]))

    def dangling_names(self) -> Sequence[str]:
        """Names of images that aren't on record: no statement of ours leaves such; a damaged file may."""
        rows = self._db.rows("SELECT name FROM refs WHERE image NOT IN (SELECT id FROM images)")
        return [row["name"] for row in rows]

    def drop_name(self, name: str) -> None:
        """Take a name away, whatever it means."""
        self._db.run("DELETE FROM refs WHERE name = ?", name)

    def delete(self, id: Digest) -> Image:
        """Remove the image with all of its names, and what only it needed. Containers keep their layers."""
        image = self.get(id)
        contents = self.contents(image)     # while its record still protects them
        self._db.run("DELETE FROM images WHERE id = ?", id)
        self._removed(image, contents)
        return image

    def delete_nameless(self, id: Digest) -> bool:
        """`delete`, but only while the image has no name; whether it is gone."""
        try:
            image = self.get(id)
        except NotFound:
            return True
        contents = self.contents(image)
        if not self._db.run("DELETE FROM images WHERE id = ? AND id NOT IN (SELECT image FROM refs)", id):
            return not self.has(id)
        self._removed(image, contents)
        return True

    def contents(self, image: Image) -> Sequence[Digest]:
        """Every content that the image needs, as far as its manifest is there and whole."""
        found = dict.fromkeys([image.target, image.manifest, image.id])
        try:
            manifest = self._read_manifest(image.manifest, image.manifest_type)
        except KistError:
            return list(found)
        return list(found | dict.fromkeys(blob.digest for blob in manifest.blobs))

    def touch(self, id: Digest, when: float | None = None) -> None:
        """The image was used just now, or *when* (the least recently used go first when the store gets full)."""
        self._db.run("UPDATE images SET used = ? WHERE id = ?", when or time.time(), id)

    # -- below ---------------------------------------------------------------------------------------

    def _set_name(self, name: str, id: Digest) -> None:
        parsed = reference.parse_full(name)
        if parsed.name_only or (parsed.tag and parsed.digest):
            raise InvalidParameter(f"{name}: a name in the store has a tag or a digest")
        self._db.run("INSERT INTO refs VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET image = excluded.image",
                     name, id)

    def _by_name(self, text: str) -> Digest | None:
        try:
            found = reference.parse_any(text)
        except InvalidParameter:
            if set(text.removeprefix("sha256:")) <= _HEX and text:
                return None
            raise
        if isinstance(found, str):
            return None
        found = found.with_default_tag()
        if found.tag and found.digest:
            found = found.with_digest(found.digest)
        row = self._db.row("SELECT image FROM refs WHERE name = ?", str(found))
        return Digest(row["image"]) if row else None

    def _by_id(self, text: str) -> Digest | None:
        prefix = text.removeprefix("sha256:")
        if not prefix or len(prefix) > 64 or not set(prefix) <= _HEX:
            return None
        rows = self._db.rows("SELECT id FROM images WHERE id >= ? AND id < ? LIMIT 2", f"sha256:{prefix}",
                             f"sha256:{prefix}g")
        if len(rows) > 1:
            raise Conflict(f"multiple IDs found with provided prefix: {prefix}")
        return Digest(rows[0]["id"]) if rows else None

    def _read_manifest(self, digest: Digest, media_type: str | None) -> Manifest:
        found = manifests.parse(self._content.read(digest, manifests.MAX_MANIFEST), media_type)
        if not isinstance(found, Manifest):
            raise manifests.InvalidManifest(f"{digest} is an index, not an image")
        return found


def _image(row: sqlite3.Row, names: list[str]) -> Image:
    values = {key: row[key] for key in row.keys()}  # noqa: SIM118 - a Row iterates over its values
    return Image(**values, names=names)


def _shown(text: str) -> str:
    """As Docker shows a name that it can't find: with its tag."""
    if digests.is_digest(text):
        return text
    try:
        return reference.parse_tagged(text).familiar
    except InvalidParameter:
        return text
