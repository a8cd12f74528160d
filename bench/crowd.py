"""Many containers: a list of 100 that have ended, 200 that run at once, the figures of 100 as they change."""

from __future__ import annotations

import os
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from engines import Bench, Engine, Failed, family, processes

OBEYS = ("sh", "-c", "trap 'exit 0' TERM; while :; do sleep 98765 & wait; done")  # process 1 has no default action
_TICK = os.sysconf("SC_CLK_TCK")
SECONDS = 10


def _many(engine: Engine, names: list[str], *words: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: engine.time("run", "-d", "--name", name, "--network", "none", "busybox", *words),
                      names))


def stopped(bench: Bench, results: Any, engine: Engine, repetitions: int) -> None:
    """`ps -a` with 100 stopped containers there."""
    names = [f"stopped-{number}" for number in range(100)]
    try:
        _many(engine, names, "true")
        for _ in range(repetitions):
            results.add("ps -a, 100 stopped, ms", engine.name, engine.time("ps", "-a"))
    finally:
        engine.remove(*names)


def crowd(bench: Bench, results: Any, engine: Engine, _: int) -> None:
    """200 at once: started 8 at a time, listed, stopped and removed by one command each."""
    names = [f"crowd-{number}" for number in range(200)]
    marks = [time.perf_counter()]
    try:
        _many(engine, names, *OBEYS)
        marks.append(time.perf_counter())
        running = engine.output("ps", "-q").count(b"\n")
        marks.append(time.perf_counter())
        if running < len(names):
            raise Failed(f"{engine.name}: {running} of {len(names)} run")
        engine.time("stop", *names)
        marks.append(time.perf_counter())
    finally:
        engine.remove(*names)
    marks.append(time.perf_counter())
    for index, step in enumerate(("started", "listed", "stopped", "removed")):
        results.add(f"200 containers {step}, s", engine.name, marks[index + 1] - marks[index])
    results.add("200 containers, all told, s", engine.name, marks[-1] - marks[0])


def figures(bench: Bench, results: Any, engine: Engine, _: int) -> None:
    """What `stats` of 100 running containers takes: per cent of one core, client, daemon and helpers together."""
    server = engine if engine.daemon else bench.engines[0]  # the other client of ours
    names = [f"figures-{number}" for number in range(100)]
    try:
        _many(engine, names, "sleep", "98765")
        time.sleep(2)
        with engine.popen("stats", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as client:
            time.sleep(3)
            before, begun = _cpu(server, client.pid), time.perf_counter()
            time.sleep(SECONDS)
            used, passed = _cpu(server, client.pid) - before, time.perf_counter() - begun
            client.terminate()
        results.add("stats of 100 containers, % of a core", engine.name, used / passed * 100)
    finally:
        engine.remove(*names)


def _cpu(server: Engine, client: int) -> float:
    """Seconds of CPU time of the client, of the daemon's processes and of all helpers."""
    helpers = {pid for pid, (name, _) in processes().items() if server.helpers and name.startswith(server.helpers)}
    return sum(map(_seconds, family(client, ()) | family(server.daemon or 0, server.helpers) | helpers))


def _seconds(pid: int) -> float:
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICK
