"""Where volumes lie, and who uses them: what is mounted for a volume is so from its first user to its last.

::

    <data>/volumes/<name>/_data       what containers see; a mount while the volume's options ask for one
    <data>/volumes/<name>/quota.img   of a volume with a size: its file system
    <data>/volumes/<name>/filling     there while the image's content is copied in; found later, that was cut short
    <data>/volumes.new/<random>/      a volume that is being made; the same files
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager

from kist.engine.records import VolumeRecord
from kist.engine.volumes import driver
from kist.errors import Conflict
from kist.store.trash import remove_tree

Users = set[str]


class Claim:
    """Containers that are being made, and want the volume; one at a time fills it."""

    def __init__(self) -> None:
        self.users: Users = set()
        self.filling = asyncio.Lock()


class VolumeUse:
    """For the event loop's thread. A user is a container's id, or a word of the engine's own."""

    def __init__(self, data: str, volumes_dir: str) -> None:
        self._base = volumes_dir
        self.staging = os.path.join(data, "volumes.new")
        os.makedirs(self.staging, 0o700, exist_ok=True)
        self._users: dict[str, Users] = {}
        self._claims: dict[str, Claim] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._closed: dict[str, str] = {}  # volumes that nobody may use now → why

    def home(self, name: str) -> str:
        return os.path.join(self._base, name)

    def data(self, name: str) -> str:
        return os.path.join(self._base, name, "_data")

    def image(self, name: str) -> str:
        return os.path.join(self._base, name, "quota.img")

    def filling(self, name: str) -> str:
        return os.path.join(self._base, name, "filling")

    def users(self, name: str) -> Users:
        return self._users.get(name, set())

    @contextmanager
    def claimed(self, names: Iterable[str], user: str) -> Iterator[None]:
        """None of them goes, nor is exchanged, before the container that is being made is on record with them."""
        wanted = set(names)
        for name in wanted:
            self.check_open(name)
        for name in wanted:
            self._claims.setdefault(name, Claim()).users.add(user)
        try:
            yield
        finally:
            for name in wanted:
                claim = self._claims[name]
                claim.users.discard(user)
                if not claim.users:
                    del self._claims[name]

    def claim(self, name: str) -> Claim:
        """Of a volume that the caller has claimed."""
        return self._claims[name]

    def claimants(self, name: str) -> Users:
        return self._claims[name].users if name in self._claims else set()

    def check_open(self, name: str) -> None:
        if name in self._closed:
            raise Conflict(f"volume {name} is being {self._closed[name]}")

    @contextmanager
    def closed(self, name: str, why: str) -> Iterator[None]:
        """Nobody begins to use it meanwhile."""
        self.check_open(name)
        if self.users(name) or self.claimants(name):
            raise Conflict(f"volume is in use: {name}")
        self._closed[name] = why
        try:
            yield
        finally:
            del self._closed[name]

    async def hold(self, record: VolumeRecord, user: str) -> None:
        """Mount it if this is its first user; raises EngineFailure. A mount that a former server made is taken over."""
        async with self._locks.setdefault(record.name, asyncio.Lock()):
            users = self._users.setdefault(record.name, set())
            if not users and driver.is_mounted_for_use(record.options):
                await asyncio.to_thread(self._mount, record)
            users.add(user)

    async def release(self, record: VolumeRecord, user: str) -> None:
        """Unmount it if this was its last user."""
        async with self._locks.setdefault(record.name, asyncio.Lock()):
            users = self._users.get(record.name, set())
            if user not in users:
                return
            users.discard(user)
            if not users:
                self._users.pop(record.name, None)
                if driver.is_mounted_for_use(record.options):
                    await asyncio.to_thread(driver.unmount, self.data(record.name))

    @asynccontextmanager
    async def using(self, record: VolumeRecord) -> AsyncIterator[str]:
        """Its directory with what belongs there; the volume can't be removed meanwhile."""
        user = f"server {secrets.token_hex(4)}"
        await self.hold(record, user)
        try:
            yield self.data(record.name)
        finally:
            await asyncio.shield(self.release(record, user))

    def _mount(self, record: VolumeRecord) -> None:
        path = self.data(record.name)
        if record.options and not driver.is_mount(path):
            driver.mount(path, self.image(record.name), record.options)
            self.undo_filling(record)

    def undo_filling(self, record: VolumeRecord) -> None:
        """A copy-up that was cut short is undone, for who comes next to do it anew. Where the volume lies elsewhere,
        somebody else may have put files there meanwhile: nothing is deleted. Blocking."""
        marker = self.filling(record.name)
        if os.path.exists(marker):
            if not driver.is_elsewhere(record.options):
                _empty(self.data(record.name))
            os.unlink(marker)

    # At the server's start. Blocking.

    def settle(self, records: Iterable[VolumeRecord]) -> None:
        """Unmount what nobody uses any more: the server that would have done it was killed."""
        for record in records:
            if driver.is_mounted_for_use(record.options) and not self._users.get(record.name):
                driver.unmount(self.data(record.name))


def _empty(path: str) -> None:
    """Everything in the directory goes."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        for name in os.listdir(fd):
            remove_tree(name, dir_fd=fd)
    finally:
        os.close(fd)
