"""SIGKILL for the server, the launcher and the monitor: no container is harmed, and none is left unsupervised."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from kist.launcher.client import Launcher, MonitorLink, StartRequest, read_exit
from kist.launcher.server import STOCK
from support.monitors import CGROUPS, PARENT, Client, House, alive, process, remove_orphans, soon

SERVER = """
import asyncio, json, sys
sys.path.insert(0, sys.argv[1])
from kist.launcher.client import Launcher, StartRequest
async def main():
    place = sys.argv[2]
    launcher = await Launcher.spawn(seccomp_cache=place, log=place + "/launcher.log")
    for request in map(json.loads, sys.argv[3:]):
        link = await launcher.start(StartRequest(**request))
        print(launcher.pid, link.pid, flush=True)
    if len(sys.argv) > 3:
        await link.exec("lost", {"args": ["sh", "-c", "sleep 0.5; exit 6"], "cwd": "/", "env": ["PATH=/bin"],
                                 "user": {"uid": 0, "gid": 0}})
        print("exec", flush=True)
    await asyncio.sleep(1000)
asyncio.run(main())
"""


def a_server(house: House, *requests: StartRequest) -> subprocess.Popen[str]:
    source = str(Path(__file__).parents[3] / "src")
    return subprocess.Popen(
        [sys.executable, "-c", SERVER, source, str(house.place), *(json.dumps(vars(r)) for r in requests)],
        stdout=subprocess.PIPE, text=True)


async def test_a_container_outlives_its_server(house: House) -> None:
    request = house.request("sh", "-c", "read x; echo got $x; exit 4", open_stdin=True)
    server = a_server(house, request)
    assert server.stdout
    launcher, pid = map(int, (await asyncio.to_thread(server.stdout.readline)).split())
    assert await asyncio.to_thread(server.stdout.readline) == "exec\n"
    server.kill()
    server.wait()
    server.stdout.close()
    await soon(lambda: not alive(launcher))
    assert alive(pid)
    await asyncio.sleep(0.6)  # the exec ends while nobody is there

    link = await MonitorLink.connect(request.run_dir)
    house.links.append(link)
    assert (link.pid, link.unseen, link.execs) == (pid, {"lost": 6}, {})
    await link.pids()  # the monitor has read up to here
    again = await MonitorLink.connect(request.run_dir)
    assert again.unseen == {}
    again.close()
    exec_client, attach = Client.make(stdin=False)
    await link.exec("e", process("echo", "exec works"), attach)
    assert (await exec_client.rest())[1] == b"exec works\n"
    client, attach = Client.make()
    await link.attach(attach)
    await client.send(b"it\n")
    assert (await client.rest())[1] == b"got it\n"
    assert (await link.exited).status == 4


async def test_an_end_without_a_server_is_recorded(house: House) -> None:
    request = house.request("sh", "-c", "sleep 1; echo done; exit 42")
    server = a_server(house, request)
    assert server.stdout
    _, pid = map(int, (await asyncio.to_thread(server.stdout.readline)).split())
    server.kill()
    server.wait()
    server.stdout.close()
    await soon(lambda: read_exit(request.data_dir))
    outcome = read_exit(request.data_dir)
    assert outcome
    assert outcome.status == 42
    assert not alive(pid)
    assert os.listdir(request.run_dir) == ["config.json"]
    assert b"done" in Path(request.log["path"]).read_bytes()
    assert house.cgroups() == []


def _settled(house: House, request: StartRequest) -> bool:
    """Running, or nothing is left but, at most, the name of the socket that the killed server made for a monitor which
    never heard of it: the next start puts its own there (launcher/ends.py)."""
    left = set(os.listdir(request.run_dir))
    group = [path for path in house.cgroups() if path.name == request.id]
    return "state.json" in left or (left <= {"config.json", "monitor.sock"} and not group)


async def test_servers_killed_in_the_middle_of_starting(house: House) -> None:
    """Wherever the SIGKILL hits: a container is either running under a monitor, or nothing of it is there."""
    for delay in (0.0, 0.005, 0.01, 0.02, 0.03, 0.05, 0.08):
        requests = [house.request("sleep", "100") for _ in range(6)]
        server = a_server(house, *requests)
        assert server.stdout
        await asyncio.to_thread(server.stdout.readline)
        await asyncio.sleep(delay)
        server.kill()
        server.wait()
        server.stdout.close()
        await asyncio.sleep(0.3)
        for request in requests:
            state = Path(request.run_dir) / "state.json"
            await soon(functools.partial(_settled, house, request))
            if not state.exists():
                continue
            link = await MonitorLink.connect(request.run_dir)
            house.links.append(link)
            assert json.loads(state.read_text())["pid"] == link.pid
            await link.kill(9)
            assert (await asyncio.wait_for(link.exited, 10)).status == 137


async def test_a_killed_launcher_is_replaced(house: House) -> None:
    link = await house.start("sleep", "100")
    first = house.launcher.pid
    os.kill(first, signal.SIGKILL)
    await soon(lambda: not alive(first))
    client, attach = Client.make(stdin=False)
    await link.exec("e", process("echo", "well"), attach)
    assert (await client.rest())[1] == b"well\n"
    other = await house.start("sh", "-c", "exit 2")
    assert (await other.exited).status == 2
    assert house.launcher.pid != first


async def test_a_killed_monitor_takes_its_container_along(house: House) -> None:
    request = house.request("sh", "-c", "sleep 100 & sleep 100")
    link = await house.begin(request)
    os.kill(link.monitor_pid, signal.SIGKILL)
    outcome = await asyncio.wait_for(link.exited, 10)
    assert outcome.lost
    assert outcome.status == 137
    await soon(lambda: not alive(link.pid))
    assert house.cgroups() == []
    assert os.listdir(request.run_dir) == ["config.json"]


async def test_idle_monitors_leave_with_their_launcher(place: Path) -> None:
    launcher = await Launcher.spawn(seccomp_cache=str(place), log=str(place / "launcher.log"))
    children = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children")
    await soon(lambda: len(children.read_text().split()) >= STOCK)
    idle = [int(pid) for pid in children.read_text().split()]
    os.kill(idle[0], signal.SIGKILL)
    await soon(lambda: len(set(children.read_text().split()) - {str(idle[0])}) >= STOCK)
    idle = [int(pid) for pid in children.read_text().split()]
    os.kill(launcher.pid, signal.SIGKILL)
    await soon(lambda: not any(map(alive, idle)))
    await launcher.close()


async def test_a_killed_idle_creator_takes_its_monitor_along_and_both_are_replaced(house: House) -> None:
    def children(pid: int) -> list[int]:
        try:
            return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        except OSError:
            return []

    def pairs() -> dict[int, list[int]]:
        return {monitor: children(monitor) for monitor in children(house.launcher.pid)}

    await soon(lambda: len(pairs()) == STOCK and all(map(len, pairs().values())))
    ((monitor, (creator,)),) = pairs().items()
    os.kill(creator, signal.SIGKILL)
    await soon(lambda: monitor not in pairs() and len(pairs()) == STOCK)
    link = await house.start("sh", "-c", "exit 3")
    assert (await link.exited).status == 3


async def test_the_groups_of_a_killed_test_process_go_with_the_next_one(house: House) -> None:
    """The tests' own, known by their names."""
    sleeper = subprocess.Popen(["sleep", "100"])
    gone = subprocess.Popen(["true"])
    gone.wait()
    hierarchy = next(path for path in (CGROUPS / "pids", CGROUPS) if (path / "cgroup.procs").exists())
    left = hierarchy / f"{PARENT}{gone.pid}-left/container"
    left.mkdir(parents=True)
    (left / "cgroup.procs").write_text(str(sleeper.pid))
    living = await house.start("sleep", "100")
    remove_orphans()
    assert not left.parent.exists()
    assert sleeper.wait(10) == -signal.SIGKILL
    assert await living.pids()
