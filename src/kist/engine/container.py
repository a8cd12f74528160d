"""One container as the engine holds it: its record, and what lives only as long as this server."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from kist.engine import names, states
from kist.engine.records import ContainerRecord
from kist.errors import Conflict, NotFound

if TYPE_CHECKING:
    from kist.engine.execs import Exec
    from kist.engine.network.model import Endpoint
    from kist.launcher.client import AttachRequest, MonitorLink

PARKED_MOST = 64  # attaches that wait for a start


class Container:
    """`lock` guards every change of state. `stopped` is done when the present run has ended for good (the policy
    does not start it again), `removed` when it is gone; both are replaced or shared, never set twice."""

    __slots__ = ("endpoint", "execs", "health_task", "kept", "last_delay", "link", "lock", "parked", "record",
                 "removed", "restart_timer", "run_ended", "spec_ready", "stopped")

    def __init__(self, record: ContainerRecord) -> None:
        loop = asyncio.get_running_loop()
        self.record = record
        self.lock = asyncio.Lock()
        self.link: MonitorLink | None = None
        self.endpoint: Endpoint | None = None
        self.parked: list[AttachRequest] = []
        self.execs: dict[str, Exec] = {}
        self.health_task: asyncio.Task[None] | None = None
        self.restart_timer: asyncio.TimerHandle | None = None
        self.last_delay = 0.0
        self.kept = 0  # > 0 while a restart by hand must not let --rm take it away
        self.spec_ready = False
        self.run_ended: asyncio.Future[None] = loop.create_future()
        self.stopped: asyncio.Future[None] = loop.create_future()
        self.removed: asyncio.Future[None] = loop.create_future()

    @property
    def id(self) -> str:
        return self.record.id

    @property
    def name(self) -> str:
        return self.record.name

    @property
    def state(self) -> str:
        return self.record.state

    @property
    def alive(self) -> bool:
        return self.record.state in states.ALIVE

    @property
    def tty(self) -> bool:
        return bool(self.record.config.get("Tty"))

    def check(self, action: str) -> None:
        """Raise Docker's refusal unless `action` may be done now."""
        states.check(action, self.record.state, id=self.id, name=self.name)

    def monitor(self, action: str) -> MonitorLink:
        """The link of a running container, for an action that needs one."""
        self.check(action)
        if self.link is None:
            raise Conflict(f"container {self.id} is not running")
        return self.link

    def attributes(self, **more: str) -> dict[str, str]:
        """The actor's attributes in events."""
        return {**(self.record.config.get("Labels") or {}), "image": self.record.image, "name": self.name, **more}

    def begin_run(self) -> None:
        loop = asyncio.get_running_loop()
        if self.run_ended.done():
            self.run_ended = loop.create_future()
        if self.stopped.done():
            self.stopped = loop.create_future()

    def next_end(self) -> asyncio.Future[None]:
        """The end of the present run, or of the next one."""
        if self.stopped.done():
            self.stopped = asyncio.get_running_loop().create_future()
        return self.stopped

    def end_run(self, *, for_good: bool) -> None:
        """Wake who waits for the end; `for_good` when the policy does not start it again."""
        if not self.run_ended.done():
            self.run_ended.set_result(None)
        if for_good and not self.stopped.done():
            self.stopped.set_result(None)

    def cancel_restart(self) -> None:
        if self.restart_timer is not None:
            self.restart_timer.cancel()
            self.restart_timer = None

    def park(self, attach: AttachRequest) -> None:
        """Keep a client's connection until start; it belongs to this container from now on."""
        if len(self.parked) >= PARKED_MOST:
            os.close(attach.fd)
            raise Conflict(f"too many clients wait for container {self.id} to start")
        self.parked.append(attach)

    def take_parked(self) -> list[AttachRequest]:
        taken, self.parked = self.parked, []
        return taken

    def drop_parked(self) -> None:
        """Close the waiting clients: their start will not come."""
        close_attaches(self.take_parked())


def close_attaches(attaches: list[AttachRequest]) -> None:
    for attach in attaches:
        os.close(attach.fd)


class Register:
    """All containers by id and name. Names are reserved before anything else is made."""

    def __init__(self) -> None:
        self.by_id: dict[str, Container] = {}
        self.linking: dict[str, Container] = {}  # those that were made with links: a start looks at them, not at all
        self._ids: dict[str, str] = {}

    def get(self, ref: str) -> Container:
        container = self.by_id.get(names.resolve_id(ref, self.by_id, self._ids))
        if container is None:  # a name that is reserved by a create which is still under way
            raise NotFound(f"No such container: {ref}")
        return container

    def find(self, ref: str) -> Container | None:
        try:
            return self.get(ref)
        except NotFound:
            return None

    def taken(self, name: str) -> bool:
        return name in self._ids

    def reserve(self, name: str, container_id: str) -> None:
        owner = self._ids.setdefault(name, container_id)
        if owner != container_id:
            raise Conflict(f'Conflict. The container name "/{name}" is already in use by container "{owner}". '
                           "You have to remove (or rename) that container to be able to reuse that name.")

    def release(self, name: str, container_id: str) -> None:
        if self._ids.get(name) == container_id:
            del self._ids[name]

    def add(self, container: Container) -> None:
        self.by_id[container.id] = container
        if container.record.host["Links"]:
            self.linking[container.id] = container
        self._ids[container.name] = container.id

    def discard(self, container: Container) -> None:
        self.by_id.pop(container.id, None)
        self.linking.pop(container.id, None)
        self.release(container.name, container.id)

    def all(self) -> list[Container]:
        return list(self.by_id.values())


