"""At the server's start, once it is known what runs: what a killed one left is taken over, finished or cleared."""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import AsyncExitStack, suppress

import msgspec

from kist.engine import times
from kist.engine.container import Container
from kist.engine.parts import Parts
from kist.engine.records import VolumeRecord
from kist.engine.volumes import driver
from kist.engine.volumes.mounts import VolumeMounts
from kist.engine.volumes.table import VolumeTable
from kist.errors import KistError

log = logging.getLogger(__name__)


async def recover(parts: Parts, table: VolumeTable, mounts: VolumeMounts) -> None:
    for container in parts.register.all():
        if container.alive:
            await _adopt(container, mounts)
    await asyncio.to_thread(table.use.settle, table.all())
    await table.content.recover()
    for record in [record for record in table.all() if record.removing]:
        await table.delete(record)
    for record in await asyncio.to_thread(_unknown, parts, table):
        log.warning("volume %s was not on record: taken up again", record.name)
        await table.add(record)
    await asyncio.to_thread(_mend, table)


async def _adopt(container: Container, mounts: VolumeMounts) -> None:
    """What is mounted for it is held on."""
    async with AsyncExitStack() as undo:
        try:
            await mounts.hold(container.record, undo)
        except KistError as error:
            log.error("volumes of container %s: %s", container.id, error)
        undo.pop_all()


def _unknown(parts: Parts, table: VolumeTable) -> list[VolumeRecord]:
    """Directories without a record: an empty one goes, one that holds something is a volume (never data lost)."""
    found = []
    for name in set(os.listdir(parts.config.volumes_dir)) - {record.name for record in table.all()}:
        home = table.use.home(name)
        try:
            with open(f"{home}/volume.json", "rb") as file:
                record = msgspec.json.decode(file.read(), type=VolumeRecord)
        except (OSError, msgspec.MsgspecError):
            record = VolumeRecord(name=name, created=times.now())
        holds = os.path.isdir(f"{home}/_data") and os.listdir(f"{home}/_data")
        if holds or os.path.exists(f"{home}/volume.json"):
            record.name = name
            found.append(record)
        elif os.path.isdir(home):
            parts.places.trash.throw(home)
    return found


def _mend(table: VolumeTable) -> None:
    """A copy-up that was cut short is undone: at once, or when the volume is mounted. Where somebody runs, what is
    there stays."""
    for record in table.all():
        os.makedirs(table.path(record.name), 0o755, exist_ok=True)
        if table.running(record.name):
            with suppress(FileNotFoundError):
                os.unlink(table.use.filling(record.name))
        elif not driver.is_mounted_for_use(record.options):
            table.use.undo_filling(record)
