"""The engine as a whole: opens everything in order, closes it in the reverse one.

Containers run in their monitors: closing the engine, or killing it, does them no harm.
"""

from __future__ import annotations

import asyncio
import resource
from contextlib import AsyncExitStack

from kist.engine.apparmor import AppArmor
from kist.engine.background import Background
from kist.engine.config import Config
from kist.engine.container import Register
from kist.engine.containers import Containers
from kist.engine.eventlog import EventLog
from kist.engine.events import Events
from kist.engine.execs import Execs
from kist.engine.host import Host
from kist.engine.images import Images
from kist.engine.network.ipam import DEFAULT_POOLS
from kist.engine.network.networks import Networks
from kist.engine.networkapi import NetworkApi
from kist.engine.parts import Parts
from kist.engine.places import Places
from kist.engine.records import Records
from kist.engine.recovery import Recovery
from kist.engine.system import System
from kist.engine.volumes.volumes import Volumes
from kist.launcher.client import Launcher
from kist.store.store import Store


class Engine:
    """`start` it before anything else is used."""

    containers: Containers
    execs: Execs
    images: Images
    networks: NetworkApi
    volumes: Volumes
    events: Events
    system: System

    def __init__(self, config: Config) -> None:
        self._config = config
        self._stack = AsyncExitStack()

    @classmethod
    async def open(cls, config: Config) -> Engine:
        engine = cls(config)
        await engine.start()
        return engine

    async def start(self) -> None:
        """Everything that still runs is found again when this returns."""
        async with AsyncExitStack() as stack:
            parts = await self._open(stack)
            self.events = parts.events
            self.volumes = Volumes(parts)
            self.images = Images(parts)
            self.execs = Execs(parts)
            self.containers = Containers(parts, self.images, self.volumes.mounts, self.execs)
            self.networks = NetworkApi(parts)
            self.system = System(parts, self.containers, self.images, self.volumes)
            recovery = Recovery(parts, self.containers.lifecycle, self.containers.remover, self.execs)
            await recovery.run()
            await self.volumes.recover()
            await parts.networks.ready()
            recovery.start_by_policy()
            self.images.housekeeping.start()
            self._stack = stack.pop_all()

    async def close(self) -> None:
        await self._stack.aclose()

    async def _open(self, stack: AsyncExitStack) -> Parts:
        """The launcher first: it warms up while the rest opens."""
        config = self._config
        places = await asyncio.to_thread(Places, config)
        stack.callback(places.trash.close)
        launcher = await Launcher.spawn(seccomp_cache=config.seccomp_cache, log=places.log_of_launcher)
        stack.push_async_callback(launcher.close)
        apparmor = AppArmor()
        apparmor.begin()
        stack.push_async_callback(apparmor.ready)
        _allow_many_files()
        networks = Networks(data=config.data, run=config.run, bridge=config.bridge, table=config.nft_table,
                            subnet=config.subnet, pools=config.pools or DEFAULT_POOLS,
                            respect_host_firewall=not config.ports_bypass_input_rules, ipv6=config.ipv6,
                            subnet6=config.subnet6, icc=config.icc)
        stack.push_async_callback(networks.close)
        opening = asyncio.ensure_future(networks.open())
        try:
            store = await asyncio.to_thread(Store.open, config.data, config.storage_driver)
            stack.callback(store.close)
            records = await asyncio.to_thread(Records, f"{config.data}/engine.db")
            stack.callback(records.close)
            host = await asyncio.to_thread(Host.read)
        finally:
            await asyncio.wait({opening})
        opening.result()
        events = Events(EventLog(f"{config.data}/events.log"))
        background, register = Background(), Register()
        stack.callback(events.close)
        stack.push_async_callback(background.close)
        stack.callback(_let_go, register)
        return Parts(config=config, host=host, places=places, records=records, register=register, events=events,
                     background=background, store=store, networks=networks, launcher=launcher, apparmor=apparmor)


def _allow_many_files() -> None:
    """A container costs the server some descriptors (its namespace, its monitor, one per published port), and the
    soft limit is 1024 on many machines. Behind the launcher's start: containers get what the server was given."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _let_go(register: Register) -> None:
    """Leave the monitors alone; close what waited for a start."""
    for container in register.all():
        container.cancel_restart()
        container.drop_parked()
        if container.link is not None:
            container.link.close()
