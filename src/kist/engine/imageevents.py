"""Events about images, as moby tells them (daemon/images/image_events.go): with the image's labels while it is there.

    pull, push       the reference that was asked for; its name
    tag              the image's id; the name it got
    untag, delete,   the image's id; once more as its name
    load, save, import
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from kist.engine.events import Events
from kist.errors import KistError
from kist.oci.digest import Digest
from kist.oci.reference import Reference
from kist.store.images import Images

Labels = Mapping[str, str]


class ImageEvents:
    def __init__(self, images: Images, events: Events) -> None:
        self._images = images
        self._events = events

    def labels(self, image: Digest) -> Labels:
        """Blocking. None for an image that is gone."""
        try:
            return self._images.config(image).run.labels or {}
        except (KistError, OSError):
            return {}

    async def tell(self, action: str, image: str, *, name: str = "") -> None:
        """About the image of that id; `name` is the id, too, unless it is told."""
        labels = await asyncio.to_thread(self.labels, Digest(image))
        self._events.publish("image", action, image, {**labels, "name": name or image})

    async def moved(self, action: str, wanted: Reference) -> None:
        """It came from a registry or went there."""
        labels = await asyncio.to_thread(self._labels_of, str(wanted.with_default_tag()))
        self._events.publish("image", action, wanted.familiar, {**labels, "name": wanted.familiar_name})

    def _labels_of(self, name: str) -> Labels:
        try:
            return self.labels(self._images.resolve(name).id)
        except KistError:
            return {}

    def removed(self, image: Digest, labels: Labels, rows: list[dict[str, str]]) -> None:
        """What a removal did, by the rows of its answer (layers that went along are no event)."""
        for row in rows:
            if "Untagged" in row:
                self._events.publish("image", "untag", image, {**labels, "name": image})
            elif row.get("Deleted") == image:
                self._events.publish("image", "delete", image, {"name": image})
