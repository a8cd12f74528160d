"""The machine and the server as `docker info`, `version` and `system df` show them."""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Callable
from typing import Any

from kist.api import bodies
from kist.engine import times
from kist.engine.containers import Containers
from kist.engine.images import Images
from kist.engine.info import info
from kist.engine.parts import Parts
from kist.engine.volumes.volumes import Volumes
from kist.errors import InvalidParameter
from kist.oci import platform as platforms
from kist.version import API_VERSION, MIN_API_VERSION, VERSION

Json = dict[str, Any]
DF_TYPES = frozenset({"container", "image", "volume", "build-cache"})


class System:
    def __init__(self, parts: Parts, containers: Containers, images: Images, volumes: Volumes) -> None:
        self._parts = parts
        self._containers = containers
        self._images = images
        self._volumes = volumes
        self._started = times.now()

    async def version(self) -> Json:
        host = self._parts.host
        details = {"ApiVersion": API_VERSION, "Arch": self._arch, "BuildTime": "", "Experimental": "false",
                   "GitCommit": "", "GoVersion": "", "KernelVersion": host.release, "MinAPIVersion": MIN_API_VERSION,
                   "Os": "linux", "PythonVersion": platform.python_version()}
        return {
            "Platform": {"Name": "Kist"},
            "Components": [{"Name": "Engine", "Version": VERSION, "Details": details}],
            "Version": VERSION,
            "ApiVersion": API_VERSION,
            "MinAPIVersion": MIN_API_VERSION,
            "GitCommit": "",
            "GoVersion": "",
            "Os": "linux",
            "Arch": self._arch,
            "KernelVersion": host.release,
            "BuildTime": "",
        }

    @property
    def _arch(self) -> str:
        return platforms.from_uname("Linux", self._parts.host.machine).architecture

    async def info(self) -> Json:
        return await info(self._parts)

    async def df(self, types: list[str]) -> Json:
        for name in types:
            if name not in DF_TYPES:
                raise InvalidParameter(f"unknown object type: {name}")
        wanted = set(types) or DF_TYPES
        found: Json = {"LayersSize": 0, "Images": None, "Containers": None, "Volumes": None, "BuildCache": None}
        if "image" in wanted:
            found["Images"] = await self._images.list(shared_size=True, counted=True)
            found["LayersSize"] = await asyncio.to_thread(
                lambda: sum(layer.size for layer in self._parts.store.layers.list()))
        if "container" in wanted:
            found["Containers"] = await self._containers.list(all=True, size=True)
        if "volume" in wanted:
            found["Volumes"] = await self._volumes.usage()
        if "build-cache" in wanted:
            found["BuildCache"] = []
        return found

    async def check(self, *, repair: bool, progress: Callable[[Json], None]) -> None:
        """Reads everything in the store again; the last message has what was found."""
        count = 0

        def looking(what: str) -> None:
            nonlocal count
            count += 1
            progress({"status": f"Checking {what}", "progressDetail": {}, "id": "check"})

        found = await self._images.housekeeping.check(repair=repair, report=looking)
        await asyncio.sleep(0)  # the reports of the thread come first
        rows = [{"What": one.what, "Problem": one.problem, "Repaired": one.repaired} for one in found]
        verity = await asyncio.to_thread(self._parts.store.verity)
        progress({"status": "Checked", "aux": {"Checked": count, "Findings": rows, "Verity": verity}})

    async def auth(self, auth: bodies.AuthConfig) -> Json:
        return await self._images.login(auth)
