"""What happens to a container between create and remove: start, stop, kill, pause, its end, its restarts.

Each change of state is made under the container's lock; waiting for an end is done without it, so that `kill`
works while a `stop` waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from kist.engine import restarts, signals, states, times
from kist.engine.container import Container
from kist.engine.health import Health
from kist.engine.logpress import LogPress
from kist.engine.parts import Parts
from kist.engine.start import Start, publish_networks
from kist.errors import EngineFailure, InvalidParameter, KistError, NotModified
from kist.launcher.client import LaunchError

if TYPE_CHECKING:
    from kist.engine.volumes.mounts import VolumeMounts
    from kist.launcher.client import Exit, MonitorLink

UNSENT_PATIENCE = 2  # seconds between a stop signal that Linux doesn't have, and SIGKILL
KILL_PATIENCE = 10.0  # seconds that the kernel may take to end a killed process


class Lifecycle:
    """`on_gone` removes a container that was started with --rm, once it has ended."""

    def __init__(self, parts: Parts, start: Start, health: Health, volumes: VolumeMounts,
                 on_gone: Callable[[Container], Awaitable[None]]) -> None:
        self._parts = parts
        self._start = start
        self._health = health
        self._volumes = volumes
        self._on_gone = on_gone
        self._press = LogPress(parts)
        health.on_failure = self.unhealthy

    # Start

    async def start(self, container: Container) -> None:
        async with container.lock:
            container.check("start")
            container.last_delay = 0.0
            container.record.restart_count = 0
            try:
                await self._begin(container)
            except KistError:
                container.end_run(for_good=True)
                self._remove_if_asked(container)
                raise

    async def _begin(self, container: Container) -> None:
        await self._start.run(container)
        self._publish(container, "start")
        self.watch(container)

    def recovered(self, container: Container) -> None:
        """A new server knows a container that doesn't run."""
        self._press.rotated(container)

    def watch(self, container: Container, *, adopted: bool = False) -> None:
        """From now on the end of the present run is seen, and its health looked at."""
        link = container.link
        assert link is not None
        link.on_rotated = lambda: self._press.rotated(container)
        self._press.rotated(container)
        link.exited.add_done_callback(lambda future: self._notice(container, link, future))
        self._health.watch(container, adopted=adopted)

    # End

    def _notice(self, container: Container, link: MonitorLink, future: asyncio.Future[Exit]) -> None:
        if not future.cancelled():
            self._parts.background.spawn(self._ended(container, link, future), f"end of {container.id[:12]}")

    async def _ended(self, container: Container, link: MonitorLink, future: asyncio.Future[Exit]) -> None:
        async with container.lock:
            if container.link is not link:
                return
            end = future.result()
            container.link = None
            await self.ended(container, status=end.status, oom=end.oom,
                             finished_at=int(end.finished_at * 1e9) or times.now())

    async def ended(self, container: Container, *, status: int, oom: bool, finished_at: int) -> None:
        """The run is over: record it, give the network back, and start again if the policy says so."""
        record = container.record
        self._health.forget(container)
        record.exit_code, record.oom_killed, record.finished_at = status, oom, finished_at
        record.state, record.pid = states.EXITED, 0
        decision = self._decide(container)
        if decision is not None:
            record.state = states.RESTARTING
        if oom:
            self._publish(container, "oom")
        self._publish(container, "die", exitCode=str(status),
                      execDuration=str(max(0, finished_at - record.started_at) // 1_000_000_000))
        for mount in record.mounts:
            if mount.type == "volume":
                self._parts.events.publish("volume", "unmount", mount.name,
                                           {"container": container.id, "driver": mount.driver})
        self._parts.records.save(record)
        for running in container.execs.values():
            running.container_ended()
        self._release(container)
        if record.mounts:
            await self._volumes.release(record)
        if record.host["IpcMode"] == "shareable":
            await asyncio.to_thread(self._parts.places.unmount_shm, container.id)
        container.end_run(for_good=decision is None)
        if decision is not None:
            self._restart_after(container, decision.delay)
        else:
            self._remove_if_asked(container)

    def _release(self, container: Container) -> None:
        endpoint = container.endpoint
        if endpoint is not None:
            container.endpoint = container.record.endpoint = None
            publish_networks(self._parts.events, "disconnect", container.id, endpoint)
            # Addresses and ports are free at once; nobody needs to wait for the packet filter, whose changes are
            # made one after the other.
            self._parts.background.spawn(self._parts.networks.release(container.id),
                                         f"network of {container.id[:12]}")

    def _remove_if_asked(self, container: Container) -> None:
        if container.record.host["AutoRemove"] and not container.kept:
            self._parts.background.spawn(self._gone(container), f"removal of {container.id[:12]}")

    async def _gone(self, container: Container) -> None:
        await self._on_gone(container)

    # Restarts by policy

    def _decide(self, container: Container) -> restarts.Decision | None:
        record = container.record
        ran = (record.finished_at - record.started_at) / 1e9
        policy = {"Name": "always"} if record.restart_wanted else record.host["RestartPolicy"]
        decision = restarts.decide(
            policy, exit_code=record.exit_code, restart_count=record.restart_count,
            stopped_by_user=record.stopped_by_user, ran_seconds=ran, last_delay=container.last_delay)
        container.last_delay = decision.delay if decision else 0.0
        return decision

    def _restart_after(self, container: Container, delay: float) -> None:
        container.restart_timer = asyncio.get_running_loop().call_later(
            delay, lambda: self._parts.background.spawn(self.start_again(container),
                                                        f"restart of {container.id[:12]}"))

    async def start_again(self, container: Container) -> None:
        """The policy's start. One that fails counts as a run that ended with the failure's status."""
        async with container.lock:
            container.restart_timer = None
            if container.state != states.RESTARTING:
                return
            container.record.restart_count += 1
            try:
                await self._begin(container)
            except KistError:
                status = container.record.exit_code
                container.record.started_at = container.record.finished_at = times.now()
                await self.ended(container, status=status, oom=False, finished_at=times.now())

    # Stop, kill, restart

    async def stop(self, container: Container, timeout: int | None, signal: str | None) -> None:
        """StopSignal, wait, SIGKILL. A negative timeout waits without end."""
        container.check("stop")
        number = signals.parse_signal(signal or container.record.config.get("StopSignal") or "SIGTERM")
        if container.state == states.RESTARTING and await self._stop_restarting(container):
            return
        container.check("stop")
        self._by_user(container)
        await self._end_run(container, number, timeout)
        self._publish(container, "stop")

    async def _end_run(self, container: Container, number: int, timeout: int | None) -> None:
        ended = container.run_ended
        if signals.is_known(number):
            await self._signal(container, number)
        else:  # a stop signal may be any number (moby: containerStop)
            timeout = UNSENT_PATIENCE
        if container.state == states.PAUSED:
            await self.unpause(container)
        if not await _done_within(ended, self._patience(container, timeout)):
            await self._kill_hard(container)

    async def _stop_restarting(self, container: Container) -> bool:
        """Whether it was caught while it waited; else it runs by now."""
        async with container.lock:
            if container.state != states.RESTARTING:
                return False
            container.cancel_restart()
            container.record.state, container.record.stopped_by_user = states.EXITED, True
            self._parts.records.save(container.record)
            container.end_run(for_good=True)
        self._publish(container, "stop")
        return True

    def _by_user(self, container: Container) -> None:
        """On record at once: a server that dies now must not start it again."""
        container.record.stopped_by_user = True
        self._parts.records.save(container.record)

    def _patience(self, container: Container, timeout: int | None) -> float | None:
        seconds = timeout if timeout is not None else container.record.config.get("StopTimeout")
        if seconds is None:
            seconds = self._parts.config.stop_timeout
        return None if seconds < 0 else float(seconds)

    async def kill(self, container: Container, signal: str) -> None:
        number = signals.parse_signal(signal)
        if not signals.is_known(number):
            raise InvalidParameter(f"the linux daemon does not support signal {number}")
        container.monitor("kill")
        if number in (signals.NUMBERS["KILL"], signals.parse_signal(
                container.record.config.get("StopSignal") or "SIGTERM")):
            # By hand: a policy must not bring it back (moby: Kill sets HasBeenManuallyStopped).
            self._by_user(container)
        ended = container.run_ended
        await self._signal(container, number)
        if number == signals.NUMBERS["KILL"]:
            await _done_within(ended, KILL_PATIENCE)

    async def kill_and_wait(self, container: Container) -> None:
        """SIGKILL; returns when the run has ended. Raises when the kernel doesn't let go of it."""
        container.record.stopped_by_user = True
        await self._kill_hard(container)

    async def _kill_hard(self, container: Container) -> None:
        if not container.alive:
            return
        ended = container.run_ended
        await self._signal(container, signals.NUMBERS["KILL"])
        if not await _done_within(ended, KILL_PATIENCE):
            raise EngineFailure(f"cannot stop container: {container.id}: tried to kill container, but did not "
                                "receive an exit event")

    async def restart(self, container: Container, timeout: int | None, signal: str | None) -> None:
        container.check("restart")
        container.kept += 1
        try:
            try:
                await self.stop(container, timeout, signal)
            except NotModified:
                pass
            await self.start(container)
        finally:
            container.kept -= 1
            if not container.alive:
                self._remove_if_asked(container)
        self._publish(container, "restart")

    # Health

    async def unhealthy(self, container: Container) -> None:
        """`--health-on-failure`. `stop` is a stop as by hand, which policies respect; after `kill` the policy decides;
        `restart` doesn't ask it, and is on record first: also a new server carries it out."""
        record = container.record
        action = record.host["HealthOnFailure"]
        if not container.alive:
            return
        if action == "stop":
            await self.stop(container, None, None)
        elif action == "kill":
            await self._kill_hard(container)
        elif action == "restart":
            record.restart_wanted = True
            await self._parts.records.save(record)
            await self._end_run(container, signals.parse_signal(record.config.get("StopSignal") or "SIGTERM"), None)

    async def _signal(self, container: Container, number: int) -> None:
        link = container.link
        if link is None:
            return
        try:
            await link.kill(number)
        except (OSError, LaunchError) as error:
            if container.alive and not link.exited.done():
                raise EngineFailure(f"cannot kill container: {container.id}: {error}") from None
        self._publish(container, "kill", signal=str(number))

    # Pause

    async def pause(self, container: Container) -> None:
        async with container.lock:
            await self._ask(container.monitor("pause").pause(), "pause", container)
            container.record.state = states.PAUSED
            self._parts.records.save(container.record)
        self._publish(container, "pause")

    async def unpause(self, container: Container) -> None:
        async with container.lock:
            await self._ask(container.monitor("unpause").resume(), "unpause", container)
            container.record.state = states.RUNNING
            self._parts.records.save(container.record)
        self._publish(container, "unpause")

    @staticmethod
    async def _ask(request: Awaitable[None], what: str, container: Container) -> None:
        try:
            await request
        except (OSError, LaunchError) as error:
            raise EngineFailure(f"cannot {what} container {container.id}: {error}") from None

    def _publish(self, container: Container, action: str, **attributes: str) -> None:
        self._parts.events.publish("container", action, container.id, container.attributes(**attributes))


async def _done_within(future: asyncio.Future[None], seconds: float | None) -> bool:
    done, _ = await asyncio.wait({future}, timeout=seconds)
    return bool(done)
