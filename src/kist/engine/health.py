"""Healthchecks: a command in the container every interval, and what its results make of the container.

::

    starting ──success──▶ healthy ⇄ unhealthy         (retries failures in a row; during the start period
        └──── retries failures ────▶ unhealthy         failures don't count)

Nothing but a timer exists between two checks.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from kist.engine import states, times
from kist.engine.container import Container
from kist.engine.parts import Parts
from kist.engine.records import Health as HealthRecord
from kist.engine.records import HealthResult
from kist.errors import KistError

Json = dict[str, Any]
Probe = Callable[[Container, list[str], float, int], Awaitable[tuple[int, bytes]]]
SECOND = 1_000_000_000
INTERVAL, TIMEOUT, RETRIES, START_INTERVAL = 30 * SECOND, 30 * SECOND, 3, 5 * SECOND
KEPT_RESULTS = 5
MAX_OUTPUT = 4096


def command(config: Json) -> list[str] | None:
    """The probe's words, None without a healthcheck (``NONE`` takes an image's away)."""
    test = (config.get("Healthcheck") or {}).get("Test") or []
    if not test or test[0] == "NONE":
        return None
    if test[0] == "CMD-SHELL":
        shell = config.get("Shell") or ["/bin/sh", "-c"]
        return [*shell, *test[1:]]
    return list(test[1:] if test[0] == "CMD" else test)


def judge(health: HealthRecord, result: HealthResult, *, retries: int, in_start_period: bool) -> HealthRecord:
    """The state after one more result. Pure."""
    log = [*health.log, result][-KEPT_RESULTS:]
    if result.exit_code == 0:
        return HealthRecord(status="healthy", failing_streak=0, log=log)
    if in_start_period and health.status == "starting":
        return HealthRecord(status="starting", failing_streak=health.failing_streak, log=log)
    streak = health.failing_streak + 1
    return HealthRecord(status="unhealthy" if streak >= retries else health.status, failing_streak=streak, log=log)


class Health:
    """`probe` runs a command in a container: (container, words, timeout in s, output limit) → (status, output)."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self.probe: Probe | None = None
        self.on_failure: Callable[[Container], Coroutine[Any, Any, None]] | None = None

    def watch(self, container: Container, *, adopted: bool = False) -> None:
        """The container has started, or was found running: then it is as well as it was."""
        words = command(container.record.config)
        if words is None or self.probe is None:
            container.record.health = None
            return
        if container.record.health is None or not adopted:
            container.record.health = HealthRecord()
        self.forget(container)
        container.health_task = self._parts.background.spawn(self._run(container, words),
                                                             f"health of {container.id[:12]}")

    def forget(self, container: Container) -> None:
        """The container has ended."""
        if container.health_task is not None:
            container.health_task.cancel()
            container.health_task = None

    async def _run(self, container: Container, words: list[str]) -> None:
        settings: Json = container.record.config["Healthcheck"]
        started = times.now()
        period = settings.get("StartPeriod") or 0
        while container.alive and container.record.health is not None:
            starting = container.record.health.status == "starting" and times.now() - started < period
            await asyncio.sleep(_pause(settings, starting=starting) / SECOND)
            if container.state != states.RUNNING:
                continue
            result = await self._check(container, words, (settings.get("Timeout") or TIMEOUT) / SECOND)
            health = container.record.health
            if health is None or not container.alive:
                return
            after = judge(health, result, retries=settings.get("Retries") or RETRIES,
                          in_start_period=times.now() - started < period)
            container.record.health = after
            if after.status != health.status:
                self._parts.events.publish("container", f"health_status: {after.status}", container.id,
                                           container.attributes())
                self._parts.records.save(container.record)
            if result.exit_code and after.status == "unhealthy":
                await self._act(container)

    async def _act(self, container: Container) -> None:
        """Carried out to its end, though it ends the run and with it this watch. One that fails, or is lost with the
        server, is done again after the next check."""
        if self.on_failure is not None and container.record.host.get("HealthOnFailure"):
            acting = self._parts.background.spawn(self.on_failure(container), f"failed health of {container.id[:12]}")
            await asyncio.wait({acting})

    async def _check(self, container: Container, words: list[str], timeout: float) -> HealthResult:
        assert self.probe is not None
        start = times.now()
        try:
            status, output = await self.probe(container, words, timeout, MAX_OUTPUT)
            text = output.decode("utf-8", "replace")
        except TimeoutError:
            status, text = -1, f"Health check exceeded timeout ({timeout:g}s)"
        except KistError as error:
            status, text = 126, error.message
        return HealthResult(start=start, end=times.now(), exit_code=status, output=text)


def _pause(settings: Json, *, starting: bool) -> int:
    if starting and (settings.get("StartPeriod") or 0) > 0:
        return int(settings.get("StartInterval") or START_INTERVAL)
    return int(settings.get("Interval") or INTERVAL)


async def read_output(sock: socket.socket, limit: int) -> bytes:
    """What a probe writes, bounded, until it closes its end."""
    loop = asyncio.get_running_loop()
    found = bytearray()
    while data := await loop.sock_recv(sock, 65536):
        found += data[: max(0, limit - len(found))]
    return bytes(found)


def socket_pair() -> tuple[socket.socket, int]:
    """(ours, the descriptor that is given away)."""
    ours, theirs = socket.socketpair()
    ours.settimeout(0)
    theirs.settimeout(0)
    return ours, theirs.detach()
