"""A container's life under its monitor: start, exit status, log, and nothing left behind."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from kist.launcher.client import LaunchError, MonitorLink, StartRequest
from support.monitors import Client, House, alive, soon


def log_of(request: StartRequest) -> list[tuple[str, str]]:
    lines = Path(request.log["path"]).read_bytes().split(b"\n")[:-1]
    return [(record["stream"], record["log"]) for record in map(json.loads, lines)]


async def test_a_container_runs_and_leaves_nothing_but_its_log_and_status(house: House) -> None:
    request = house.request("sh", "-c", "echo out; echo err >&2; exit 3")
    link = await house.begin(request)
    outcome = await asyncio.wait_for(link.exited, 10)
    assert (outcome.status, outcome.oom, outcome.signalled, outcome.lost) == (3, False, False, False)
    assert sorted(log_of(request)) == [("stderr", "err\n"), ("stdout", "out\n")]
    written = json.loads((Path(request.data_dir) / "exit.json").read_text())
    assert written["status"] == 3
    assert written["finished_at"] == outcome.finished_at >= link.started_at
    assert os.listdir(request.run_dir) == ["config.json"]
    assert house.cgroups() == []
    await soon(lambda: not alive(link.monitor_pid))


async def test_the_interpreter_is_out_of_the_containers_reach(house: House) -> None:
    """CVE-2019-5736 in the engine: a container whose program is /proc/self/exe runs the interpreter that made it, and
    could later overwrite it. Guard: launcher and monitors run it from a read-only mount (linux/sealed.py)."""
    link = await house.start("sleep", "100")
    for pid in (house.launcher.pid, link.monitor_pid):
        assert os.statvfs(f"/proc/{pid}/exe").f_flag & os.ST_RDONLY
    await link.kill(signal.SIGKILL)
    await asyncio.wait_for(link.exited, 10)


async def test_a_running_container_can_be_found(house: House) -> None:
    request = house.request("sleep", "100")
    link = await house.begin(request)
    state = json.loads((Path(request.run_dir) / "state.json").read_text())
    assert state["id"] == request.id
    assert state["pid"] == link.pid
    assert state["monitor_pid"] == link.monitor_pid
    assert Path(f"/proc/{link.pid}/comm").read_text() == "sleep\n"
    assert Path(f"/proc/{link.monitor_pid}/comm").read_text() == "kist-monitor\n"
    second = await MonitorLink.connect(request.run_dir)
    assert (second.id, second.pid, second.started_at) == (link.id, link.pid, link.started_at)
    await second.kill(signal.SIGTERM)  # the first process of a pid namespace ignores what it doesn't handle
    await second.kill(signal.SIGKILL)
    outcomes = await asyncio.gather(link.exited, second.exited)
    assert [(o.status, o.signalled) for o in outcomes] == [(137, True), (137, True)]
    second.close()


@pytest.mark.parametrize(("args", "kind", "words"), [
    (["nosuch"], "not found", "executable file not found in $PATH"),
    (["/bin/nosuch"], "not found", "no such file or directory"),
    (["/etc/text"], "not executable", "permission denied"),
    (["/etc"], "not executable", "/etc"),
])
async def test_a_program_that_can_not_be_executed(house: House, args: list[str], kind: str, words: str) -> None:
    client, attach = Client.make()
    request = house.request(*args, attaches=[attach])
    with pytest.raises(LaunchError, match=words.replace("$", r"\$")) as caught:
        await house.begin(request)
    assert caught.value.kind == kind
    assert args[0] in str(caught.value)
    assert await client.rest() == {1: b"", 2: b""}
    await _nothing_left(house, request)


async def test_a_step_that_fails_is_named(house: House) -> None:
    request = house.request("true")
    config = Path(request.bundle_dir) / "config.json"
    spec = json.loads(config.read_text())
    spec["mounts"].append({"destination": "/mnt", "type": "nosuchfs", "source": "none"})
    config.write_text(json.dumps(spec))
    with pytest.raises(LaunchError, match="nosuchfs") as caught:
        await house.begin(request)
    assert caught.value.kind == "other"
    await _nothing_left(house, request)


@pytest.mark.parametrize("break_it", ["no bundle", "no json", "no run dir", "no log"])
async def test_a_request_that_can_not_be_served(house: House, break_it: str) -> None:
    request = house.request("true")
    match break_it:
        case "no bundle":
            request.bundle_dir += "/nowhere"
        case "no json":
            (Path(request.bundle_dir) / "config.json").write_text("{")
        case "no run dir":
            request.run_dir += "/nowhere"
        case "no log":
            request.log["path"] += "/nowhere"
    with pytest.raises(LaunchError):
        await house.begin(request)
    assert house.cgroups() == []


async def _nothing_left(house: House, request: StartRequest) -> None:
    assert house.cgroups() == []
    assert os.listdir(request.run_dir) == ["config.json"]
    assert not (Path(request.data_dir) / "exit.json").exists()


async def test_the_log_is_rotated(house: House) -> None:
    request = house.request("seq", "100000")
    request.log |= {"max_size": 500_000, "max_file": 2}
    link = await house.begin(request)
    await asyncio.wait_for(link.exited, 20)
    names = sorted(name for name in os.listdir(request.data_dir) if name.startswith("json.log"))
    assert names == ["json.log", "json.log.1"]
    assert log_of(request)[-1] == ("stdout", "100000\n")


async def test_no_log(house: House) -> None:
    link, client = await house.attached("echo", "hi", driver="none")
    assert (await client.rest())[1] == b"hi\n"
    await link.exited


async def test_pause_and_resume(house: House) -> None:
    link, client = await house.attached("sh", "-c", "while read x; do echo got $x; done")
    await client.send(b"1\n")
    await client.receive(b"got 1\n")
    await link.pause()
    await client.send(b"2\n")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.get_running_loop().sock_recv(client.sock, 100), 0.2)
    await link.resume()
    await client.receive(b"got 2\n")
    await link.pause()
    await link.kill(signal.SIGKILL)
    assert (await asyncio.wait_for(link.exited, 10)).status == 137


async def test_pids_stats_and_update(house: House) -> None:
    link = await house.start("sh", "-c", "sleep 100 & wait")
    await soon(lambda: len(Path(f"/proc/{link.pid}/task/{link.pid}/children").read_text().split()) == 1)
    pids = await link.pids()
    assert link.pid in pids
    assert len(pids) == 2
    assert isinstance(await link.stats(), dict)
    await link.update({"memory": {"limit": 64 << 20}, "pids": {"limit": 50}})
    group = Path(f"/sys/fs/cgroup/memory{house.parent}/{link.id}/memory.limit_in_bytes")
    if group.exists():
        assert int(group.read_text()) == 64 << 20
    else:
        assert int(Path(f"/sys/fs/cgroup{house.parent}/{link.id}/memory.max").read_text()) == 64 << 20


async def test_out_of_memory_is_reported(house: House) -> None:
    link = await house.start("sh", "-c", "tail -c 1000000000 /dev/zero; exit $?",
                             resources={"memory": {"limit": 16 << 20, "swap": 16 << 20}})
    outcome = await asyncio.wait_for(link.exited, 30)
    assert outcome.oom
    assert outcome.status == 137


async def test_many_at_once(house: House) -> None:
    links = await asyncio.gather(*(house.start("sh", "-c", f"exit {n}") for n in range(24)))
    outcomes: list[Any] = await asyncio.gather(*(link.exited for link in links))
    assert [outcome.status for outcome in outcomes] == list(range(24))


async def test_requests_after_the_end_are_refused(house: House) -> None:
    link = await house.start("true")
    await link.exited
    with pytest.raises(ConnectionError):
        await link.pids()
    client, attach = Client.make()
    with pytest.raises(ConnectionError):
        await link.attach(attach)
    assert await client.rest() == {1: b"", 2: b""}


async def test_a_monitor_keeps_little_memory_to_itself(house: House) -> None:
    """Python touches 0.3 MB by the fork alone; a monitor that made its container itself would have 3 MB."""
    link = await house.start("sleep", "100")
    await soon(lambda: len(_children(link.monitor_pid)) == 1)  # the creator has left
    rollup = Path(f"/proc/{link.monitor_pid}/smaps_rollup").read_text()
    private = int(next(line for line in rollup.splitlines() if line.startswith("Private_Dirty")).split()[1])
    assert 100 < private < 800, f"{private} kB"


def _children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
