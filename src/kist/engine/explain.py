"""`kist explain`: what the kernel was asked for to make a container, and what is the case now; for an image, what a run
of it would do. The runtime knows (`runtime/explain.py`); this says what to ask it about.

::

    {"kind": "container", "id", "name", "image", "state", "command", "plan": …, "now": … or null}
    {"kind": "image", "id", "names", "size", "config": …, "layers": […], "plan": …, "now": null}

`plan` of a container that runs is of the very configuration that it was started with.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

import msgspec

from kist.api import bodies
from kist.engine import names
from kist.engine.container import Container
from kist.engine.parts import Parts
from kist.engine.prepare import Prepare
from kist.errors import EngineFailure
from kist.launcher.client import explain
from kist.oci.digest import Digest

if TYPE_CHECKING:
    from kist.engine.create import Create
    from kist.engine.images import Image, Images
    from kist.engine.volumes.mounts import VolumeMounts

Json = dict[str, Any]
_CONFIG = {"user": "User", "directory": "WorkingDir", "env": "Env", "entrypoint": "Entrypoint", "cmd": "Cmd",
           "ports": "ExposedPorts", "volumes": "Volumes", "health": "Healthcheck", "stop_signal": "StopSignal"}
# What stands for the command of an image that has none.
NO_COMMAND = "COMMAND"


class Explain:
    def __init__(self, parts: Parts, images: Images, volumes: VolumeMounts, create: Create) -> None:
        self._parts = parts
        self._images = images
        self._volumes = volumes
        self._create = create
        self._prepare = Prepare(parts)

    async def container(self, container: Container) -> Json:
        record = container.record
        spec = await asyncio.to_thread(self._spec, container)
        told = await self._ask(spec, container, record.pid if container.alive else 0)
        return {"kind": "container", "id": record.id, "name": record.name, "image": record.image,
                "state": record.state, "command": [record.path, *record.args], **told}

    async def image(self, name: str) -> Json:
        image = await self._images.resolve(name)
        shown, history = await self._images.inspect(name), await self._images.history(name)
        plain = bodies.ContainerCreate(Image=name)
        if not (image.config.run.entrypoint or image.config.run.cmd):
            plain.Cmd = [NO_COMMAND]
        draft = self._create.draft(names.new_id(), plain, image)
        for mount in draft.record.mounts:
            mount.source = mount.source or self._volumes.path(mount.name)
        spec = await asyncio.to_thread(self._draft_spec, draft, image)
        config = {ours: shown["Config"].get(theirs) for ours, theirs in _CONFIG.items()}
        layers = await asyncio.to_thread(self._parts.store.layers.stack, Digest(image.chain) if image.chain else None)
        made = [step for step in reversed(history) if step["Size"]]
        return {"kind": "image", "id": image.id, "names": shown["RepoTags"], "size": shown["Size"], "config": config,
                "layers": [{"diff_id": layer.diff_id, "size": layer.size, "made_by": step.get("CreatedBy") or ""}
                           for layer, step in _matched(list(reversed(layers)), made)],
                **await self._ask(spec, draft, 0)}

    async def _ask(self, spec: Json, container: Container, pid: int) -> Json:
        try:
            return await asyncio.to_thread(explain, spec, container.id, self._parts.places.run_dir(container.id), pid)
        except ValueError as error:
            raise EngineFailure(f"cannot explain container {container.id}: {error}") from None

    def _spec(self, container: Container) -> Json:
        if container.alive:
            path = os.path.join(self._parts.places.run_dir(container.id), "config.json")
            with open(path, "rb") as file:
                found: Json = msgspec.json.decode(file.read())
            return found
        return self._prepare.compile(container, self._prepare.root(container))

    def _draft_spec(self, draft: Container, image: Image) -> Json:
        rootfs = [dict(mount) for mount in self._parts.store.snapshots.preview(image.chain)]
        return self._prepare.compile(draft, (rootfs, None))


def _matched(layers: list[Any], steps: list[Json]) -> list[tuple[Any, Json]]:
    """A history without as many steps that have a size can't be matched."""
    return list(zip(layers, steps if len(steps) == len(layers) else [{}] * len(layers), strict=True))
