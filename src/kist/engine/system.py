"""The machine and the server as `docker info`, `version` and `system df` show them."""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Callable
from typing import Any

from kist.api import bodies
from kist.engine import hostconfig, states, times
from kist.engine.containers import Containers
from kist.engine.images import Images
from kist.engine.parts import Parts
from kist.engine.volumes.volumes import Volumes
from kist.errors import InvalidParameter
from kist.linux import ext4
from kist.oci import platform as platforms
from kist.registry.settings import without_password
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
        parts, host, config = self._parts, self._parts.host, self._parts.config
        counted = [container.state for container in parts.register.all()]
        running = sum(state in (states.RUNNING, states.RESTARTING) for state in counted)
        paused = counted.count(states.PAUSED)
        images = await asyncio.to_thread(parts.store.images.list)
        verity = await asyncio.to_thread(parts.store.verity)
        return {
            "ID": f"kist-{host.name}",
            "Containers": len(counted),
            "ContainersRunning": running,
            "ContainersPaused": paused,
            "ContainersStopped": len(counted) - running - paused,
            "Images": len(images),
            "Driver": "overlay2",
            "DriverStatus": [["Backing Filesystem", "overlay"], ["Native Overlay Diff", "true"],
                             ["fs-verity", verity],
                             ["Size Limit", "any file system" if ext4.usable() else
                              f"none: package {ext4.PACKAGE} is missing"]],
            "Plugins": {"Volume": ["local"], "Network": ["bridge", "host", "ipvlan", "macvlan", "null"],
                        "Authorization": None, "Log": ["json-file", "none"]},
            **dict.fromkeys(("MemoryLimit", "SwapLimit", "CpuCfsPeriod", "CpuCfsQuota", "CPUShares", "CPUSet",
                             "PidsLimit", "IPv4Forwarding", "OomKillDisable"), True),
            "Debug": config.debug,
            "NFd": 0,
            "NGoroutines": 0,
            "SystemTime": times.rfc3339(times.now()),
            "LoggingDriver": config.log_driver,
            "CgroupDriver": "cgroupfs",
            "CgroupVersion": str(host.cgroup_version),
            "NEventsListener": parts.events.listeners,
            "KernelVersion": host.release,
            "OperatingSystem": host.os_name,
            "OSVersion": host.os_version,
            "OSType": "linux",
            "Architecture": host.machine,
            "IndexServerAddress": "https://index.docker.io/v1/",
            "RegistryConfig": self._registries(),
            "NCPU": host.limits.cpus,
            "MemTotal": host.memory,
            "GenericResources": None,
            "DockerRootDir": config.data,
            "HttpProxy": without_password(config.http_proxy),
            "HttpsProxy": without_password(config.https_proxy),
            "NoProxy": config.no_proxy,
            "Name": host.name,
            "Labels": [],
            "ExperimentalBuild": False,
            "ServerVersion": VERSION,
            "Runtimes": {name: {"path": name} for name in hostconfig.RUNTIMES},
            "DefaultRuntime": hostconfig.RUNTIMES[0],
            "Swarm": {"NodeID": "", "NodeAddr": "", "LocalNodeState": "inactive", "ControlAvailable": False,
                      "Error": "", "RemoteManagers": None},
            "LiveRestoreEnabled": True,
            "Isolation": "",
            "InitBinary": "docker-init",
            "ContainerdCommit": {"ID": ""},
            "RuncCommit": {"ID": ""},
            "InitCommit": {"ID": ""},
            "SecurityOptions": ["name=seccomp,profile=builtin",
                                *(["name=cgroupns"]), *(["name=apparmor"] if host.apparmor else [])],
            "Warnings": list(await parts.networks.warnings()),
        }

    def _registries(self) -> Json:
        configs: Json = {}
        for name, settings in self._parts.config.registries.items():
            configs[name] = {"Name": name, "Mirrors": list(settings.mirrors), "Secure": not settings.insecure,
                             "Official": name == "docker.io"}
        configs.setdefault("docker.io", {"Name": "docker.io", "Mirrors": [], "Secure": True, "Official": True})
        return {"IndexConfigs": configs, "InsecureRegistryCIDRs": ["::1/128", "127.0.0.0/8"],
                "Mirrors": configs["docker.io"]["Mirrors"]}

    async def df(self, types: list[str]) -> Json:
        for name in types:
            if name not in DF_TYPES:
                raise InvalidParameter(f"unknown object type: {name}")
        wanted = set(types) or DF_TYPES
        found: Json = {"LayersSize": 0, "Images": None, "Containers": None, "Volumes": None, "BuildCache": None}
        if "image" in wanted:
            found["Images"] = await self._images.list(shared_size=True)
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
