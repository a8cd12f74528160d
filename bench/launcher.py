"""The launcher by itself: `bench/launcher.py [--reps N]`: starts, execs, streams, log and memory, as root.

Containers are busybox on a plain directory with Docker's seccomp profile; no network. Median [lowest] of the
repetitions, in milliseconds unless the name says otherwise. "create" and "start" are the runtime's own part of a
start, done in this process; what a start takes above them is the launcher's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from kist.launcher.client import Launcher, StartRequest
from kist.launcher.server import STOCK
from kist.linux import namespaces, seccomp_profile
from kist.runtime.create import create
from kist.runtime.seccomp import compile_cached
from support.monitors import Client, House, make_rootfs, process, soon


def blank_network() -> int:
    """A network namespace that is ready, as the engine keeps them."""
    done: list[int] = []

    def make() -> None:  # in a thread: the namespace is left with it
        namespaces.unshare(namespaces.CLONE_NEWNET)
        done.append(os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC))

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    return done[0]


def show(name: str, values: list[float], unit: str = "ms") -> None:
    print(f"{name:34} {statistics.median(values):9.2f} [{min(values):.2f}] {unit}")


class Timer:
    """``with Timer(list):`` appends milliseconds."""

    def __init__(self, values: list[float]) -> None:
        self.values = values

    def __enter__(self) -> None:
        self.started = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.values.append((time.perf_counter() - self.started) * 1000)


class Workshop(House):
    """Containers with Docker's seccomp profile."""

    def prepare(self, *args: str) -> StartRequest:
        request = self.request(*args)
        config = Path(request.bundle_dir) / "config.json"
        spec = json.loads(config.read_text())
        spec["linux"]["seccomp"] = PROFILE
        config.write_text(json.dumps(spec))
        return request


PROFILE = seccomp_profile.default_profile([], os.uname().machine, os.uname().release)


async def starts(shop: Workshop, reps: int) -> None:
    for ready in (True, False):
        begin: list[float] = []
        whole: list[float] = []
        for _ in range(reps):
            request = shop.prepare("true")
            request.netns_fd = blank_network() if ready else None
            with Timer(whole):
                with Timer(begin):
                    link = await shop.begin(request)
                await link.exited
            if request.netns_fd is not None:
                os.close(request.netns_fd)
            await asyncio.sleep(0.02)
        show("start (until exec)" if ready else "the same, with a new network namespace", begin)
        show("start + exit + clean-up", whole)
    creating: list[float] = []
    starting: list[float] = []
    for _ in range(reps):
        request = shop.prepare("true")
        spec = json.loads((Path(request.bundle_dir) / "config.json").read_text())
        program = compile_cached(PROFILE, str(shop.place))
        with Timer(creating):
            created = create(spec, container_id=request.id, bundle=request.bundle_dir, stdio=None, seccomp=program)
        with Timer(starting):
            created.start()
        created.abort()
    show("  the runtime's create", creating)
    show("  the runtime's start", starting)
    together: list[float] = []
    requests = [shop.prepare("true") for _ in range(20)]
    with Timer(together):
        links = await asyncio.gather(*map(shop.begin, requests))
        await asyncio.gather(*(link.exited for link in links))
    show("each of 20 at once", [together[0] / 20])


async def execs(shop: Workshop, reps: int) -> None:
    link = await shop.begin(shop.prepare("sleep", "1000"))
    running: list[float] = []
    whole: list[float] = []
    for number in range(reps):
        ended = asyncio.get_running_loop().create_future()
        link.on_exec_exit = lambda exec_id, status, ended=ended: ended.set_result(status)  # type: ignore[misc]
        with Timer(whole):
            with Timer(running):
                await link.exec(f"e{number}", process("true"))
            await ended
        await asyncio.sleep(0.01)
    show("exec (until exec)", running)
    show("exec + exit", whole)


async def streams(shop: Workshop) -> None:
    lines: list[float] = []
    for _ in range(3):
        request = shop.prepare("seq", "1", "200000")
        request.log |= {"max_size": 20 << 20}
        with Timer(lines):
            await (await shop.begin(request)).exited
    show("a container that writes 200,000 lines", lines)
    for driver in ("none", "json-file"):
        output: list[float] = []
        with Timer(output):
            link, client = await shop.attached("dd", "if=/dev/zero", "bs=1M", "count=1024", stdin=False, driver=driver)
            got = await _drain(client)
            await link.exited
        assert got == 1 << 30
        show(f"1 GiB out, log {driver}", [got / output[0] / 1000], "MB/s")
    link, client = await shop.attached("dd", "of=/dev/null", "bs=1M", driver="none")
    block = bytes(1 << 20)
    entering: list[float] = []
    with Timer(entering):
        for _ in range(1024):
            await client.send(block)
        client.end_input()
        await link.exited
    client.sock.close()
    show("1 GiB in", [(1 << 30) / entering[0] / 1000], "MB/s")


async def _drain(client: Client) -> int:
    """The number of bytes of output (frames' headers left out) until the end."""
    total = 0
    loop = asyncio.get_running_loop()
    buffer = bytearray(1 << 20)
    from kist.api.frames import FrameDecoder

    decoder = FrameDecoder()
    while size := await loop.sock_recv_into(client.sock, buffer):
        for stream, data in decoder.feed(memoryview(buffer)[:size]):
            total += len(data) if stream == 1 else 0
    client.sock.close()
    return total


async def memory(shop: Workshop) -> None:
    links = [await shop.begin(shop.prepare("sleep", "1000")) for _ in range(20)]
    await asyncio.sleep(0.5)
    idle = Path(f"/proc/{shop.launcher.pid}/task/{shop.launcher.pid}/children").read_text().split()
    for name, pids in (("launcher", [shop.launcher.pid]), ("monitor", [link.monitor_pid for link in links]),
                       ("idle monitor", [int(pid) for pid in idle if int(pid) not in
                                         {link.monitor_pid for link in links}])):
        figures = [_memory(pid) for pid in pids]
        show(f"{name}: private", [float(private) for private, _ in figures], "KiB")
        show(f"{name}: PSS", [float(shared) for _, shared in figures], "KiB")


def _memory(pid: int) -> tuple[int, int]:
    words = Path(f"/proc/{pid}/smaps_rollup").read_text().split()
    return int(words[words.index("Private_Dirty:") + 1]), int(words[words.index("Pss:") + 1])


async def main(reps: int) -> None:
    with tempfile.TemporaryDirectory(prefix="kist-bench-") as name:
        place = Path(name)
        (place / "rootfs").mkdir()
        ready: list[float] = []
        with Timer(ready):
            launcher = await Launcher.spawn(seccomp_cache=name, log=f"{name}/launcher.log")
            children = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children")
            await soon(lambda: len(children.read_text().split()) >= STOCK)
        show("launcher ready", ready)
        shop = Workshop(place, make_rootfs(place / "rootfs"), launcher)
        try:
            await starts(shop, reps)
            await execs(shop, reps)
            await streams(shop)
            await memory(shop)
        finally:
            await shop.close()
        print((place / "launcher.log").read_text(), end="")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reps", type=int, default=40)
    asyncio.run(main(parser.parse_args().reps))
