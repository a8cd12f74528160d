"""Many containers, one after the other and at once, and SIGKILL at any moment: nothing is left of them."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
from pathlib import Path

from kist.launcher.client import LaunchError, StartRequest
from kist.launcher.server import STOCK
from support.monitors import House, soon

CYCLES = 200
AT_ONCE = 60
KILLS = 16


def children(pid: int) -> set[int]:
    try:
        return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))
    except OSError:
        return set()


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


async def life(house: House, request: StartRequest) -> int:
    link = await house.begin(request)
    status = (await link.exited).status
    link.close()
    house.links.remove(link)
    assert os.listdir(request.run_dir) == ["config.json"]
    assert sorted(os.listdir(request.data_dir)) == ["exit.json", "json.log"]
    for place in (request.run_dir, request.data_dir):
        shutil.rmtree(place)
    return status


async def test_cycles_leak_nothing(house: House) -> None:
    launcher = house.launcher.pid
    await soon(lambda: len(children(launcher)) == STOCK)
    first = children(launcher)
    assert await life(house, house.request("true")) == 0
    # One that has left the stock is a child for a moment longer, and its descriptor has gone already.
    await soon(lambda: len(children(launcher) - first) == len(children(launcher)) == STOCK)
    before = descriptors(launcher), descriptors(os.getpid())
    for _ in range(CYCLES // 10):
        requests = [house.request("sh", "-c", f"echo {n}; exit {n}") for n in range(10)]
        assert await asyncio.gather(*(life(house, request) for request in requests)) == list(range(10))
    await soon(lambda: len(children(launcher)) == STOCK)
    await soon(lambda: descriptors(launcher) <= before[0] and descriptors(os.getpid()) <= before[1])
    assert house.cgroups() == []


async def test_many_live_at_once(house: House) -> None:
    links = await asyncio.gather(*(house.start("sleep", "1000") for _ in range(AT_ONCE)))
    assert len({link.pid for link in links}) == len({path.name for path in house.cgroups()}) == AT_ONCE
    await asyncio.gather(*(link.kill(signal.SIGKILL) for link in links))
    assert {(await link.exited).status for link in links} == {137}
    await soon(lambda: len(children(house.launcher.pid)) == STOCK)
    assert house.cgroups() == []


async def test_monitors_and_creators_killed_at_any_moment_leave_nothing(house: House) -> None:
    """Whoever dies, the start ends (in an error, or the container was there and is lost), and nothing stays."""
    chance = random.Random(4)
    for number in range(KILLS):
        await soon(lambda: children(house.launcher.pid))
        monitor = min(children(house.launcher.pid))
        task = asyncio.ensure_future(house.start("sleep", "1000"))
        await asyncio.sleep(chance.random() * 0.02)
        victims = children(monitor) if number % 2 else {monitor}
        for pid in victims:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        try:
            link = await asyncio.wait_for(task, 20)
        except LaunchError:
            continue
        if not link.exited.done():
            try:
                await link.kill(signal.SIGKILL)
            except OSError:
                pass  # it is gone already, and the container with it
        await asyncio.wait_for(link.exited, 20)
    await soon(lambda: house.cgroups() == [])
    assert len(children(house.launcher.pid)) >= STOCK


async def test_a_launcher_killed_at_any_moment_loses_no_container(house: House) -> None:
    """The request that was on its way is served or fails in words; the next start has a new launcher."""
    chance = random.Random(5)
    for _ in range(KILLS // 2):
        task = asyncio.ensure_future(house.start("sleep", "1000"))
        await asyncio.sleep(chance.random() * 0.02)
        os.kill(house.launcher.pid, signal.SIGKILL)
        try:
            link = await asyncio.wait_for(task, 20)
        except LaunchError:
            link = await asyncio.wait_for(house.start("sleep", "1000"), 20)
        assert await link.pids() == [link.pid]
        await link.kill(signal.SIGKILL)
        assert (await asyncio.wait_for(link.exited, 20)).status == 137
    await soon(lambda: house.cgroups() == [])
