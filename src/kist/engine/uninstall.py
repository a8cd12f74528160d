"""`kist server --uninstall`: takes away what a server leaves on a machine when it ends, containers and data included.

::

    kernel          bridges, the relay's pair, packet filter tables, sysctls as they were, control groups
    <run>, <data>   what is in RUN and DATA below; what else lies there is somebody else's, and stays

Nothing is touched while a container runs, or while something is mounted below: it would be emptied through the mount.
"""

from __future__ import annotations

import glob
import os
import re
import shutil
from contextlib import suppress

from kist.engine.config import Config
from kist.engine.network.networks import Networks
from kist.errors import Conflict
from kist.launcher.client import LaunchError, MonitorLink

CGROUPS = "/sys/fs/cgroup"
_CONTAINER = re.compile("[0-9a-f]{64}")
DATA = ("containers", "containers.trash", "content", "engine-id", "engine.db", "engine.db-shm", "engine.db-wal",
        "events.log", "events.log.1", "layers", "networks", "seccomp", "server.log", "snapshots", "staging", "store.db",
        "store.db-shm", "store.db-wal", "store.lock", "trash", "volumes", "volumes.new")
RUN = ("containers", "dns.lock", "dns.log", "dns.sock", "docker-init", "images", "kist.sock", "kistd.lock",
       "launcher.log", "network.json", "root", "server.log", "server.pid")


async def uninstall(config: Config) -> list[str]:
    """What had to stay: paths. The caller holds the run directory's lock. Raises Conflict, before anything is done."""
    await _refuse_while_used(config)
    networks = Networks(data=config.data, run=config.run, bridge=config.bridge, table=config.nft_table,
                        subnet=config.subnet)
    try:
        await networks.open()
    finally:
        await networks.close(remove=True)
    kept = _remove_groups(config.cgroup_parent)
    return kept + _remove(config.data, DATA) + _remove(config.run, RUN)


async def _refuse_while_used(config: Config) -> None:
    running = [name for name in _entries(config.containers_run_dir) if await _runs(config, name)]
    if running:
        raise Conflict(f"containers are running, first {running[0][:12]}: remove them while a server is there "
                       "(kist rm -f $(kist ps -aq))")
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:  # proc_pid_mountinfo(5): … mount point …, spaces as \040
            place = re.sub(r"\\(\d{3})", lambda code: chr(int(code[1], 8)), line.split()[4])
            if place.startswith((f"{config.data}/", f"{config.run}/")):
                raise Conflict(f"{place} is mounted: unmount it first")


async def _runs(config: Config, name: str) -> bool:
    try:
        (await MonitorLink.connect(os.path.join(config.containers_run_dir, name))).close()
    except (OSError, LaunchError):
        return False
    return True


def _remove_groups(parent: str) -> list[str]:
    """Of every hierarchy containers' groups below the parent, and that if it is empty then: it may be one that others
    use, too (`cgroup-parent = "/"`), and an empty group of theirs is none of ours."""
    places = [f"{CGROUPS}{parent}"]
    if not os.path.exists(f"{CGROUPS}/cgroup.controllers"):  # version 1: one below each hierarchy's mount
        places += glob.glob(f"{CGROUPS}/*{parent}")
    for place in places:
        ours = [os.path.join(place, name) for name in _entries(place) if _CONTAINER.fullmatch(name)]
        for folder in [below for group in ours for below, _, _ in os.walk(group, topdown=False)] + [place]:
            with suppress(OSError):
                os.rmdir(folder)
    return [place for place in places if os.path.isdir(place)]


def _remove(base: str, names: tuple[str, ...]) -> list[str]:
    for name in names:
        path = os.path.join(base, name)
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            with suppress(FileNotFoundError):
                os.unlink(path)
    left = [os.path.join(base, name) for name in _entries(base)]
    if not left:
        with suppress(OSError):  # not there, or a disk of its own is mounted there
            os.rmdir(base)
    return left


def _entries(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []
