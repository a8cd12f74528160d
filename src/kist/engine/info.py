"""`docker info`: the machine and the server, each field read or counted (Engine API v1.51, SystemInfo)."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import Sequence
from typing import Any

from kist.engine import hostconfig, logdrivers, states, times
from kist.engine.controls import Controls
from kist.engine.parts import Parts
from kist.linux import ext4
from kist.linux.statfs import kind_of
from kist.registry.settings import without_password
from kist.version import VERSION

Json = dict[str, Any]
NETWORK_DRIVERS = ["bridge", "host", "ipvlan", "macvlan", "null"]
# Docker's clients know the store of directories by this name.
DRIVERS = {"overlay": "overlay2"}


async def info(parts: Parts) -> Json:
    config, host = parts.config, parts.host
    await parts.apparmor.ready()
    images = await asyncio.to_thread(parts.store.images.list)
    read = await asyncio.to_thread(_from_disk, parts)
    return {
        **_counted(parts), "Images": len(images), **read,
        "Plugins": {"Volume": ["local"], "Network": NETWORK_DRIVERS, "Authorization": None,
                    "Log": sorted(logdrivers.DRIVERS - {"none"})},
        "Debug": config.debug,
        "NGoroutines": len(asyncio.all_tasks()),
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
        "RegistryConfig": registries(parts),
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
        **{key: {"ID": ""} for key in ("ContainerdCommit", "RuncCommit", "InitCommit")},
        "SecurityOptions": ["name=seccomp,profile=builtin", "name=cgroupns",
                            *(["name=apparmor"] if parts.apparmor.enabled else [])],
        **_pools(config.pools),
        "CDISpecDirs": [],
        "Warnings": [*read["Warnings"], *filter(None, [parts.apparmor.warning]),
                     *await parts.networks.warnings()] or None,
    }


def _pools(pools: Sequence[tuple[str, int]]) -> Json:
    return {"DefaultAddressPools": [{"Base": base, "Size": size} for base, size in pools]} if pools else {}


def _counted(parts: Parts) -> Json:
    found = [container.state for container in parts.register.all()]
    running, paused = sum(state in (states.RUNNING, states.RESTARTING) for state in found), found.count(states.PAUSED)
    return {"Containers": len(found), "ContainersRunning": running, "ContainersPaused": paused,
            "ContainersStopped": len(found) - running - paused}


def _from_disk(parts: Parts) -> Json:
    config, can = parts.config, Controls.read()
    quota = "any file system" if ext4.usable() else f"none: package {ext4.PACKAGE} is missing"
    return {
        "ID": _identity(config.data),
        "Driver": DRIVERS.get(config.storage_driver, config.storage_driver),
        "DriverStatus": [["Backing Filesystem", kind_of(config.data)], ["Native Overlay Diff", "true"],
                         ["fs-verity", parts.store.verity()], ["Size Limit", quota]],
        "MemoryLimit": can.memory, "SwapLimit": can.swap, "OomKillDisable": can.oom_kill_disable,
        "CpuCfsPeriod": can.cpu_quota, "CpuCfsQuota": can.cpu_quota, "CPUShares": can.cpu_shares,
        "CPUSet": can.cpuset, "PidsLimit": can.pids,
        "IPv4Forwarding": _forwarding(),
        "NFd": len(os.listdir("/proc/self/fd")) - 1,  # without the one that looks
        "Warnings": can.warnings(version=parts.host.cgroup_version),
    }


def _identity(data: str) -> str:
    """Of this store, made once: tools tell engines apart by it."""
    path = f"{data}/engine-id"
    try:
        with open(path, encoding="ascii") as file:
            return str(uuid.UUID(file.read().strip()))
    except (FileNotFoundError, ValueError):
        pass
    made = str(uuid.uuid4())
    staging = f"{path}.new"
    with open(staging, "w", encoding="ascii") as file:
        file.write(made + "\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(staging, path)
    return made


def _forwarding() -> bool:
    try:
        with open("/proc/sys/net/ipv4/ip_forward", encoding="ascii") as file:
            return file.read().strip() == "1"
    except FileNotFoundError:
        return False


def registries(parts: Parts) -> Json:
    configs: Json = {}
    for name, settings in parts.config.registries.items():
        configs[name] = {"Name": name, "Mirrors": list(settings.mirrors), "Secure": not settings.insecure,
                         "Official": name == "docker.io"}
    configs.setdefault("docker.io", {"Name": "docker.io", "Mirrors": [], "Secure": True, "Official": True})
    return {"IndexConfigs": configs, "InsecureRegistryCIDRs": ["::1/128", "127.0.0.0/8"],
            "Mirrors": configs["docker.io"]["Mirrors"]}
