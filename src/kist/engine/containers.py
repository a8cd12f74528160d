"""Containers, as the API speaks of them: look one up, let the room that knows do it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from kist.api import bodies, names
from kist.api.options import AttachOptions, Filters, LogOptions
from kist.engine import attach, detachkeys, files, links, logdrivers, logs, selection, states, stats, times
from kist.engine.container import Container
from kist.engine.create import Create
from kist.engine.execs import Execs
from kist.engine.explain import Explain
from kist.engine.health import Health
from kist.engine.images import Images
from kist.engine.lifecycle import Lifecycle
from kist.engine.parts import Parts
from kist.engine.records import ContainerRecord
from kist.engine.remove import Remove
from kist.engine.start import Start
from kist.engine.top import top
from kist.engine.update import Update
from kist.engine.views import containers as views
from kist.engine.views.images import graph
from kist.engine.volumes.mounts import VolumeMounts
from kist.errors import Conflict, EngineFailure, InvalidParameter, NotFound, NotSupported
from kist.launcher.client import LaunchError
from kist.oci.digest import Digest
from kist.store.errors import NoSuchContent

Json = dict[str, Any]
Rows = list[Json]
Records = list[ContainerRecord]
Texts = list[str]
T = TypeVar("T")


class Containers:
    def __init__(self, parts: Parts, images: Images, volumes: VolumeMounts, execs: Execs) -> None:
        self._parts = parts
        self._images = images
        self._execs = execs
        self._hold = lambda container, undo: volumes.hold(container.record, undo)
        start = Start(parts, volumes)
        health = Health(parts)
        health.probe = execs.probe
        self.remover = Remove(parts, volumes, execs)
        self.lifecycle = Lifecycle(parts, start, health, volumes, self.remover.auto)
        self._create = Create(parts, images, volumes, start)
        self._explain = Explain(parts, images, volumes, self._create)
        self._update = Update(parts, volumes)

    def get(self, id: str) -> Container:
        return self._parts.register.get(id)

    async def _whole(self, work: Coroutine[Any, Any, T]) -> T:
        """A change of state is carried out to its end, also when the client that asked for it hangs up."""
        return await asyncio.shield(asyncio.ensure_future(work))

    # Changes

    async def create(self, name: str, body: bodies.ContainerCreate, *, platform: str = "",
                     writable_below: bool = False) -> Json:
        """`writable_below`: what is mounted below a read-only mount is left as it is, unless the request says otherwise
        (API before v1.44)."""
        return await self._whole(self._create.run(name, body, platform, writable_below=writable_below))

    async def start(self, id: str) -> None:
        await self._whole(self.lifecycle.start(self.get(id)))

    async def stop(self, id: str, timeout: int | None = None, signal: str | None = None) -> None:
        container = self.get(id)
        with _about("cannot stop container", id):
            await self._whole(self.lifecycle.stop(container, timeout, signal))

    async def restart(self, id: str, timeout: int | None = None, signal: str | None = None) -> None:
        container = self.get(id)
        with _about("Cannot restart container", id):
            await self._whole(self.lifecycle.restart(container, timeout, signal))

    async def kill(self, id: str, signal: str) -> None:
        with _about("cannot kill container", id):
            await self._whole(self.lifecycle.kill(self.get(id), signal))

    async def pause(self, id: str) -> None:
        await self._whole(self.lifecycle.pause(self.get(id)))

    async def unpause(self, id: str) -> None:
        await self._whole(self.lifecycle.unpause(self.get(id)))

    async def remove(self, id: str, *, force: bool = False, volumes: bool = False) -> None:
        await self._whole(self.remover.run(self.get(id), self.lifecycle, force=force, volumes=volumes))

    async def unlink(self, name: str) -> None:
        """Take a legacy link (`web/alias`) from the container that has it; what it was told at its start stays."""
        container, left = links.unlink(name, self._parts.register)
        async with container.lock:
            container.record.host["Links"] = left
            container.spec_ready = False
            await self._parts.records.save(container.record)

    async def rename(self, id: str, name: str) -> None:
        container = self.get(id)
        container.check("rename")
        old = container.name
        with _about("Error when allocating new name"):
            try:
                name = names.container(name)
            except InvalidParameter as error:
                raise InvalidParameter(error.message.replace("(", "(/", 1)) from None
        if name == old:
            raise InvalidParameter("Renaming a container with the same name as its current name")
        async with container.lock:
            with _about("Error when allocating new name"):
                self._parts.register.reserve(name, container.id)
            container.record.name = name
            try:
                await self._parts.records.save(container.record)
            except BaseException:
                container.record.name = old
                self._parts.register.release(name, container.id)
                raise
            self._parts.register.release(old, container.id)
        self._parts.events.publish("container", "rename", container.id, container.attributes(oldName=f"/{old}"))

    async def update(self, id: str, body: bodies.ContainerUpdate) -> Json:
        """`Kist` is answered when it was asked for: what changes, and whether the container was restarted for it."""
        container = self.get(id)
        answer = await self._whole(self._update.run(container, body))
        if body.Kist and body.Kist.RestartNow and container.record.pending and not body.Kist.DryRun:
            await self.restart(id)
            answer["Kist"]["Restarted"] = True
        return answer

    async def resize(self, id: str, height: int, width: int) -> None:
        container = self.get(id)
        link = container.monitor("resize")
        if not container.tty:
            return  # as containerd: there is nothing to resize
        try:
            await link.resize(None, height, width)
        except (LaunchError, OSError) as error:
            raise EngineFailure(f"cannot resize container {container.id}: {error}") from None
        self._parts.events.publish("container", "resize", container.id,
                                   container.attributes(height=str(height), width=str(width)))

    async def prune(self, filters: Filters) -> Json:
        """Remove everything that doesn't run."""
        selection.check(filters, frozenset({"label", "label!", "until"}))
        bounds = selection.until(filters)
        gone: Texts = []
        freed = 0
        for record in self._select({name: values for name, values in filters.items() if name != "until"}):
            if record.state not in (states.CREATED, states.EXITED, states.DEAD) \
                    or any(record.created >= bound for bound in bounds):
                continue
            size = await self._size_changed(record.id)
            try:
                await self.remove(record.id)
            except Conflict:
                continue
            gone.append(record.id)
            freed += size
        self._parts.events.publish("container", "prune", "", {"reclaimed": str(freed)})
        return {"ContainersDeleted": gone or None, "SpaceReclaimed": freed}

    # Views

    async def list(self, *, all: bool = False, limit: int = 0, size: bool = False,
                   filters: Filters | None = None) -> Rows:
        wanted = filters or {}
        selection.check(wanted)
        found = self._select(wanted)
        if not (all or limit or wanted.get("status") or wanted.get("exited") or wanted.get("since")
                or wanted.get("before")):
            found = [record for record in found if record.state in states.COUNTED_AS_RUNNING]
        found.sort(key=lambda record: record.created, reverse=True)
        now = times.now()
        rows = []
        linked = links.names(self._parts.register)
        shown = found[:limit or None]
        meant = await asyncio.to_thread(self._images.meant, {record.image for record in shown}) if shown else {}
        for record in shown:
            rows.append(views.summary(record, now, await self._sizes(record) if size else None))
            rows[-1]["Names"] += linked.get(record.id, ())
            if meant.get(record.image) != record.image_id:  # the name is gone, or another image's (moby, list.go)
                rows[-1]["Image"] = record.image_id
        return rows

    def _select(self, filters: Filters) -> Records:
        return selection.select((container.record for container in self._parts.register.all()), filters,
                                find=lambda ref: self.get(ref).record, image_ids=self._images.ids_for)

    async def inspect(self, id: str, *, size: bool = False) -> Json:
        container = self.get(id)
        record = container.record
        found = views.inspect(record, data_dir=self._parts.places.data_dir(record.id),
                              exec_ids=[found.id for found in container.execs.values() if found.running],
                              graph=await asyncio.to_thread(self._graph, record),
                              sizes=await self._sizes(record) if size else None)
        found["HostConfig"]["Links"] = links.shown(record, self._parts.register)
        if record.pid and found["GraphDriver"]["Data"]:
            found["GraphDriver"]["Data"]["MergedDir"] = f"/proc/{record.pid}/root"  # mounted for it alone
        return found

    def _graph(self, record: ContainerRecord) -> Json:
        snapshots = self._parts.store.snapshots
        try:
            options = dict(option.partition("=")[::2] for option in snapshots.mounts(record.id)[-1]["options"])
            quota = snapshots.quota(record.id)
        except NoSuchContent:
            return {}
        if quota is not None:  # no directories of the host's
            return {"LowerDir": options["lowerdir"], "Image": quota["image"], "Size": str(quota["size"])}
        lowers = list(reversed(options["lowerdir"].split(":")))
        return graph(lowers, options["upperdir"], options["workdir"])

    async def _sizes(self, record: ContainerRecord) -> tuple[int, int]:
        changed = await self._size_changed(record.id)
        return changed, changed + await asyncio.to_thread(self._size_of_layers, record.chain_id)

    def _size_of_layers(self, chain_id: str) -> int:
        try:
            return sum(layer.size for layer in self._parts.store.layers.stack(Digest(chain_id) if chain_id else None))
        except NoSuchContent:
            return 0

    async def _size_changed(self, container_id: str) -> int:
        try:
            return (await asyncio.to_thread(self._parts.store.snapshots.usage, container_id)).size
        except (NoSuchContent, OSError):
            return 0

    async def top(self, id: str, ps_args: str) -> Json:
        container = self.get(id)
        link = container.monitor("top")
        try:
            pids = await link.pids()
        except (LaunchError, OSError) as error:
            raise EngineFailure(f"cannot list the processes of container {container.id}: {error}") from None
        self._parts.events.publish("container", "top", container.id, container.attributes())
        return await asyncio.to_thread(top, pids, ps_args)

    async def explain(self, id: str) -> Json:
        return await self._explain.container(self.get(id))

    async def explain_image(self, name: str) -> Json:
        return await self._explain.image(name)

    async def changes(self, id: str) -> Rows:
        return await files.changes(self._parts, self.get(id))

    # Streams

    async def attachable(self, id: str, detach_keys: str) -> bool:
        container = self.get(id)
        detachkeys.parse(detach_keys)
        container.check("attach")
        return container.tty

    async def attach(self, id: str, options: AttachOptions, fd: int, preread: bytes) -> None:
        await attach.attach(self._parts, id, options, fd, preread)

    async def wait(self, id: str, condition: str) -> Awaitable[Json]:
        """Registered when this returns; the answer comes with the end (or the removal)."""
        container = self.get(id)
        if condition == "removed":
            ended = container.removed
        elif condition == "next-exit" or container.state in states.COUNTED_AS_RUNNING:
            ended = container.next_end()
        else:
            ended = asyncio.get_running_loop().create_future()
            ended.set_result(None)
        return self._outcome(container, ended)

    async def _outcome(self, container: Container, ended: asyncio.Future[None]) -> Json:
        await asyncio.shield(ended)
        return {"StatusCode": container.record.exit_code}

    async def logs(self, id: str, options: LogOptions) -> tuple[bool, AsyncIterator[bytes]]:
        container = self.get(id)
        kept = logdrivers.kept(container.record.host["LogConfig"])
        if kept is None:
            raise NotSupported("configured logging driver does not support reading")
        wanted = logs.Wanted(
            stdout=options.stdout, stderr=options.stderr, since=options.since or 0, until=options.until or 0,
            tail=options.tail, timestamps=options.timestamps, details=options.details, framed=not container.tty)
        follow = options.follow and container.state in states.COUNTED_AS_RUNNING
        ended = container.stopped if follow else None
        path = self._parts.places.log_path(container.record)
        return container.tty, logs.read_log(path, wanted, driver=kept["Type"], ended=ended)

    async def stats(self, id: str, *, stream: bool, one_shot: bool) -> AsyncIterator[Json]:
        return stats.samples(self._parts, self.get(id), stream=stream, one_shot=one_shot)

    # Files

    async def export(self, id: str) -> AsyncIterator[bytes]:
        return await files.export(self._parts, self.get(id))

    async def archive_stat(self, id: str, path: str) -> Json:
        return await files.stat(self._parts, self.get(id), path, self._hold)

    async def archive_get(self, id: str, path: str) -> tuple[Json, AsyncIterator[bytes]]:
        return await files.get(self._parts, self.get(id), path, self._hold)

    async def archive_put(self, id: str, path: str, chunks: AsyncIterator[bytes], *,
                          no_overwrite_dir_non_dir: bool, copy_uid_gid: bool) -> None:
        await files.put(self._parts, self.get(id), path, chunks, no_overwrite_dir_non_dir=no_overwrite_dir_non_dir,
                        copy_uid_gid=copy_uid_gid, hold=self._hold)


@contextmanager
def _about(*words: str) -> Iterator[None]:
    """Docker says what it was at when it refuses."""
    try:
        yield
    except (Conflict, InvalidParameter, NotFound) as error:
        raise type(error)(": ".join([*words, error.message])) from None
