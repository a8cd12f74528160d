"""What the engine does while a container is made: the program runs after it, or not at all."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest

from kist.launcher.client import Launcher, LaunchError, StartRequest, read_exit
from support.monitors import House, soon


def made(request: StartRequest) -> int | None:
    """The pid of the container's first process, once there is one."""
    try:
        return int(json.loads(Path(request.run_dir, "state.json").read_text())["pid"])
    except (FileNotFoundError, ValueError):
        return None


def nothing_left(house: House, request: StartRequest) -> bool:
    return house.cgroups() == [] and os.listdir(request.run_dir) == ["config.json"]


async def test_the_program_runs_after_what_is_done_meanwhile(house: House) -> None:
    request, seen, go = house.request("sleep", "100"), asyncio.Event(), asyncio.Event()

    async def meanwhile() -> None:
        await soon(lambda: made(request) is not None)
        seen.set()
        await go.wait()

    starting = asyncio.ensure_future(house.begin(request, meanwhile()))
    await seen.wait()
    await asyncio.sleep(0.2)  # it would run by now, were it not held
    assert Path(f"/proc/{made(request)}/comm").read_text() != "sleep\n"
    assert not starting.done()
    go.set()
    link = await starting
    assert Path(f"/proc/{link.pid}/comm").read_text() == "sleep\n"


async def test_what_fails_meanwhile_is_the_starts_failure(house: House) -> None:
    request = house.request("sleep", "100")

    async def meanwhile() -> None:
        await soon(lambda: made(request) is not None)
        raise ZeroDivisionError("no wires")

    with pytest.raises(ZeroDivisionError, match="no wires"):
        await house.begin(request, meanwhile())
    assert nothing_left(house, request)
    assert read_exit(request.data_dir) is None  # it never ran


async def test_what_fails_at_once_lets_no_program_run(house: House) -> None:
    request = house.request("sh", "-c", "echo it ran")

    async def meanwhile() -> None:
        raise ZeroDivisionError("no wires")

    with pytest.raises(ZeroDivisionError, match="no wires"):
        await house.begin(request, meanwhile())
    assert nothing_left(house, request)
    assert Path(request.log["path"]).read_bytes() == b""


async def test_a_container_that_can_not_be_made_ends_what_is_done_meanwhile(house: House) -> None:
    request, ended = house.request("sleep", "100"), asyncio.Event()
    config = Path(request.run_dir, "config.json")
    config.write_text(config.read_text().replace('"source": "tmpfs"', '"source": "/nowhere"')
                      .replace('"type": "tmpfs"', '"type": "nosuchfilesystem"'))

    async def meanwhile() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    with pytest.raises(LaunchError, match=r"nosuchfilesystem|ENODEV"):
        await house.begin(request, meanwhile())
    assert ended.is_set()
    assert nothing_left(house, request)


async def test_a_start_that_is_given_up_lets_no_program_run(house: House) -> None:
    request = house.request("sh", "-c", "echo it ran")
    starting = asyncio.ensure_future(house.begin(request, asyncio.sleep(100)))
    await soon(lambda: made(request) is not None)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    await soon(lambda: nothing_left(house, request))
    assert Path(request.log["path"]).read_bytes() == b""


async def test_a_server_that_dies_in_the_midst_leaves_no_container(house: House, tmp_path: Path) -> None:
    """The next one is told, in the place where it looks for how a container ended."""
    request = house.request("sh", "-c", "echo it ran")
    server = os.fork()
    if server == 0:
        try:
            asyncio.run(_start_and_wait(request, tmp_path))
        finally:
            os._exit(1)
    await soon(lambda: made(request) is not None)
    os.kill(server, 9)
    os.waitpid(server, 0)
    await soon(lambda: read_exit(request.data_dir) is not None)
    end = read_exit(request.data_dir)
    assert end is not None
    assert nothing_left(house, request)
    assert "the server gave up before the container's program ran" in end.error
    assert Path(request.log["path"]).read_bytes() == b""


async def _start_and_wait(request: StartRequest, place: Path) -> None:
    launcher = await Launcher.spawn(seccomp_cache=str(place), log=str(place / "launcher.log"))
    await launcher.start(request, asyncio.sleep(100))
