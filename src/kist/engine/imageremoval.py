"""Removing images: names first, an image with its last one; never one that something uses.

moby, daemon/images/image_delete.go and image_prune.go, says what goes, in which order, and which words are said.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

from kist.api.options import Filters
from kist.engine import selection
from kist.engine.container import Container
from kist.engine.imageevents import ImageEvents, Labels
from kist.engine.parts import Parts
from kist.engine.views import images as views
from kist.errors import Conflict, NotFound
from kist.oci import reference
from kist.oci.digest import Digest
from kist.oci.image import ImageConfig
from kist.store import images as stored
from kist.store.layers import Layer

Json = dict[str, Any]
Rows = list[Json]
Texts = list[str]


class ImageRemoval:
    def __init__(self, parts: Parts, events: ImageEvents, changing: threading.Lock, *,
                 layers: Callable[[stored.Image], list[Layer]],
                 config: Callable[[stored.Image], ImageConfig | None]) -> None:
        """`changing`: held by whoever changes names. `layers` and `config`: of an image that may be gone by now."""
        self._parts = parts
        self._events = events
        self._changing = changing
        self._layers_or_none = layers
        self._config_or_none = config

    async def remove(self, name: str, *, force: bool = False, prune: bool = True) -> Rows:
        """Untag, and delete what has no name left (Docker's rules for ids, names and containers in the way).

        `prune` changes nothing: there are no images here that are kept only as another one's parents.
        """
        def work() -> tuple[Digest, Labels, Rows]:
            with self._changing:
                image = self._parts.store.images.resolve(name).id
                return image, self._events.labels(image), self._remove(name, force=force)

        image, labels, rows = await asyncio.to_thread(work)
        self._events.removed(image, labels, rows)
        return rows

    def _remove(self, name: str, *, force: bool) -> Rows:
        """moby, daemon/images/image_delete.go: a name goes first, and the image with its last one."""
        image = self._parts.store.images.resolve(name)
        named = not (image.id.startswith(name) or image.id.removeprefix("sha256:").startswith(name))
        rows: Rows = []
        if named:
            user = next(self._users_of(image), None)
            if user and not force and _one_name(image):
                raise Conflict(f'conflict: unable to remove repository reference "{name}" (must force) - container '
                               f"{user.id[:12]} is using its referenced image {image.id[7:19]}")
            image = self._untag(_names_to_remove(image, name), image, rows)
            if image.names:
                return rows
        conflict = self._conflict(image, force=force)
        if conflict and named:
            return rows  # the name is gone, and the image stays without one
        if conflict:
            raise Conflict(f"conflict: unable to delete {image.id[7:19]} {conflict}")
        self._delete(self._untag(image.names, image, rows), rows)
        return rows

    def _untag(self, names: Texts, image: stored.Image, rows: Rows) -> stored.Image:
        for one in names:
            image = self._parts.store.images.untag(one)
            rows.append({"Untagged": reference.familiar(one)})
        return image

    def _delete(self, image: stored.Image, rows: Rows) -> None:
        layers = [layer.chain_id for layer in self._layers_or_none(image)]
        if not self._parts.store.images.delete_nameless(image.id):
            return  # a pull, a load or a commit has just named it again
        rows.append({"Deleted": image.id})
        rows += [{"Deleted": layer} for layer in layers if not self._parts.store.layers.has(layer)]

    def _conflict(self, image: stored.Image, *, force: bool) -> str:
        """What is in the way of deleting the image, "" if nothing is."""
        users = list(self._users_of(image))
        for container in users:
            if container.alive:
                return f"(cannot be forced) - image is being used by running container {container.id[:12]}"
        if force:
            return ""
        if not _one_name(image):
            return "(must be forced) - image is referenced in multiple repositories"
        return f"(must be forced) - image is being used by stopped container {users[0].id[:12]}" if users else ""

    def _users_of(self, image: stored.Image) -> Iterator[Container]:
        return (container for container in self._parts.register.all() if image.id in container.record.image_ids)

    async def prune(self, filters: Filters) -> Json:
        """Images that nothing uses: without any name, or (dangling=false) all of them."""
        selection.check(filters, frozenset({"dangling", "label", "label!", "until"}))
        for value in filters.get("until", ()):
            views.until(value)  # also where there is no image to compare with
        everything = any(value.lower() in ("false", "0") for value in filters.get("dangling", ()))
        rest = {name: values for name, values in filters.items() if name != "dangling"}

        def work() -> tuple[list[tuple[Digest, Labels, Rows]], int]:
            before = self._parts.store.size()
            removed: list[tuple[Digest, Labels, Rows]] = []
            for image in self._parts.store.images.list():
                config = self._config_or_none(image)
                if (image.tags and not everything) or config is None or not views.matches(image, config, rest):
                    continue
                with self._changing:
                    if (rows := self._prune(image)):
                        removed.append((image.id, config.run.labels or {}, rows))
            return removed, max(0, before - self._parts.store.size())

        removed, freed = await asyncio.to_thread(work)
        for image, labels, rows in removed:
            self._events.removed(image, labels, rows)
        self._parts.events.publish("image", "prune", "", {"reclaimed": str(freed)})
        return {"ImagesDeleted": [row for *_, rows in removed for row in rows] or None, "SpaceReclaimed": freed}

    def _prune(self, image: stored.Image) -> Rows:
        """Remove it if it is as it was when it was looked at: not gone, not named again, not in use by now."""
        try:
            if self._parts.store.images.get(image.id).names != image.names or any(self._users_of(image)):
                return []
            return self._remove(image.id, force=True)
        except (Conflict, NotFound):
            return []


def _names_to_remove(image: stored.Image, name: str) -> list[str]:
    """A tag takes the digests of its repository along when it is the last tag there."""
    wanted = reference.parse(name)
    full = str(wanted.with_digest(wanted.digest)) if wanted.digest else str(wanted.with_default_tag())
    tags = [one for one in image.names if "@" not in one and reference.parse_full(one).name == wanted.name]
    if "@" in full or tags != [full]:
        return [full]
    return [full, *(one for one in image.names if "@" in one and reference.parse_full(one).name == wanted.name)]


def _one_name(image: stored.Image) -> bool:
    """At most one tag, and digests in its repository only (moby's isSingleReference)."""
    tags = [one for one in image.names if "@" not in one]
    return len(tags) <= 1 and len({reference.parse_full(one).name for one in image.names}) <= 1
