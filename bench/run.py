"""Every figure, on this machine, now: `make bench`, or `bench/run.py [--reps N] [--only NAME,…] [--json FILE]`.

Engines take turns within each repetition, in a new order each time, so that whatever else the machine does
falls on all alike. Shown: median [lowest .. highest]. Times are wall milliseconds of the client process
unless the name says otherwise. Peers are measured where `peers_setup.sh` (or anything that leaves the same
pid files below $PEERS) has brought them up.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import crowd
import hub
import images
import networks
import streams
from engines import MARK, Bench, Engine, Failed, family, processes, pss

# Kist's stock of idle monitors belongs to the idle server; a peer's helpers belong to its containers.
_NOT_IDLE: dict[str, tuple[str, ...]] = {"kist": ()}


class Results:
    """metric → engine → values."""

    def __init__(self) -> None:
        self.values: dict[str, dict[str, list[float]]] = {}

    def add(self, metric: str, engine: str, value: float) -> None:
        self.values.setdefault(metric, {}).setdefault(engine, []).append(round(value, 3))

    def table(self, engines: list[str]) -> str:
        rows = [["", *engines]]
        for metric, by_engine in self.values.items():
            rows.append([metric, *(_cell(by_engine.get(name, [])) for name in engines)])
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |" for row in rows]
        lines.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
        return "\n".join(lines)


def _cell(values: list[float]) -> str:
    if not values:
        return "–"
    if len(values) == 1:
        return f"{values[0]:.1f}"
    return f"{statistics.median(values):.1f} [{min(values):.1f} .. {max(values):.1f}]"


def turns(engines: list[Engine], reps: int, one: Callable[[Engine, int], None]) -> None:
    """one(engine, repetition) for each engine in a new order; an engine that fails is left out, and said."""
    dead: set[str] = set()
    for repetition in range(reps):
        for engine in random.sample(engines, len(engines)):
            if engine.name in dead:
                continue
            try:
                one(engine, repetition)
            except Failed as error:
                print(f"left out: {error}", file=sys.stderr)
                dead.add(engine.name)


def server(bench: Bench, results: Results, reps: int) -> None:
    """Start to ready (the first answer), and idle memory of server and launcher."""
    for _ in range(reps):
        bench.daemon.process.terminate()
        bench.daemon.process.wait()
        begun = time.perf_counter()
        bench.daemon.start()
        results.add("server: start to ready ms", "kist", (time.perf_counter() - begun) * 1000)
    bench.engines[0].daemon = bench.daemon.process.pid
    time.sleep(3)
    for engine in bench.engines:
        if engine.daemon:
            total = sum(map(pss, family(engine.daemon, _NOT_IDLE.get(engine.name, engine.helpers))))
            results.add("server: idle PSS MiB", engine.name, total / 1024)


def latency(bench: Bench, results: Results, reps: int) -> None:
    """What a user waits for at the prompt."""
    def one(engine: Engine, repetition: int) -> None:
        results.add("run --rm busybox true", engine.name, engine.time("run", "--rm", "busybox", "true"))
        results.add("run --rm --network none busybox true", engine.name,
                    engine.time("run", "--rm", "--network", "none", "busybox", "true"))
        name = f"bench-{repetition}"
        results.add("run -d busybox sleep", engine.name,
                    engine.time("run", "-d", "--name", name, "busybox", "sleep", MARK))
        results.add("exec true", engine.name, engine.time("exec", name, "true"))
        results.add("rm -f of a running one", engine.name, engine.remove(name))

    turns(bench.engines, 1, lambda e, _: (e.time("run", "--rm", "busybox", "true"), None)[1])
    turns(bench.engines, reps, one)


def api(bench: Bench, results: Results, reps: int) -> None:
    """create + start + wait by a client whose connection is open."""
    engines = [e for e in bench.engines if e.socket_path]

    def one(engine: Engine, _: int) -> None:
        connection = engine.api()
        connection.call("GET", "/version")
        for network, label in (("default", "default network"), ("none", "no network")):
            for step, took in connection.cycle(network).items():
                results.add(f"API {step}, {label}", engine.name, took)

    turns(engines, 1, lambda e, _: (e.api().cycle("none"), None)[1])
    turns(engines, reps, one)


def _helpers(engine: Engine) -> int:
    """PSS in KiB of all an engine's helper processes (a stock of idle ones counts before as after)."""
    return sum(pss(p) for p, (name, _) in processes().items() if engine.helpers and name.startswith(engine.helpers))


def _everything(engine: Engine) -> int:
    """PSS in KiB of the helpers and of the daemon's own processes."""
    return _helpers(engine) + sum(pss(p) for p in family(engine.daemon or 0, engine.helpers))


def batch(bench: Bench, results: Results, reps: int) -> None:
    """20 containers, and what each costs in helper memory."""
    def one(engine: Engine, repetition: int) -> None:
        for parallel in (1, 8):
            names = [f"batch-{repetition}-{parallel}-{i}" for i in range(20)]
            before, all_before = _helpers(engine), _everything(engine)
            begun = time.perf_counter()
            with ThreadPoolExecutor(parallel) as pool:
                list(pool.map(lambda n: engine.time("run", "-d", "--name", n, "busybox", "sleep", MARK), names))
            took = (time.perf_counter() - begun) * 1000 / 20
            how = "one by one" if parallel == 1 else "8 at a time"
            results.add(f"20 containers {how}, each", engine.name, took)
            if parallel == 1 and engine.helpers:
                time.sleep(1)
                results.add("helper memory per container, PSS KiB", engine.name, (_helpers(engine) - before) / 20)
                # Forks share pages with what they were forked from: only the whole tells what a container adds.
                results.add("growth of helpers and daemon per container, PSS KiB", engine.name,
                            (_everything(engine) - all_before) / 20)
            results.add("rm -f of 20 running, each", engine.name, engine.remove(*names) / 20)

    turns(bench.engines, reps, one)


def image_life(bench: Bench, results: Results, reps: int) -> None:
    """Pull, first run, push, rmi; the list of many."""
    own = [e for e in bench.engines if "→" not in e.name]
    turns(own, 1, lambda engine, repetition: images.listing(bench, results, engine, repetition))
    if images.there():
        with images.of_erofs(bench) as more:
            bench.engines += more
            turns(own + more, reps, lambda engine, repetition: images.cycle(bench, results, engine, repetition))


def logs_and_pipes(bench: Bench, results: Results, reps: int) -> None:
    """Logs written and read, a gigabyte each way."""
    turns(bench.engines, reps, lambda engine, repetition: streams.log(bench, results, engine, repetition))
    turns(bench.engines, max(1, reps // 2), lambda e, repetition: streams.pipes(bench, results, e, repetition))


def crowds(bench: Bench, results: Results, reps: int) -> None:
    """Many containers: listed, all at once, counted."""
    turns(bench.engines, 1, lambda engine, _: crowd.stopped(bench, results, engine, 5 * reps))
    turns(bench.engines, 1, lambda engine, repetition: crowd.crowd(bench, results, engine, repetition))
    turns([e for e in bench.engines if e.daemon or e.name.startswith("docker")], 1,
          lambda engine, repetition: crowd.figures(bench, results, engine, repetition))


def registry(bench: Bench, results: Results, reps: int) -> None:
    """The Hub: a large blob in and out, and many pulls at once."""
    for repetition in range(reps):
        hub.cycle(bench, results, repetition)


MEASURES: dict[str, tuple[Callable[[Bench, Results, int], None], int]] = {
    "server": (server, 5),
    "latency": (latency, 15),
    "api": (api, 15),
    "batch": (batch, 3),
    "images": (image_life, 3),
    "hub": (registry, 3),
    "network": (networks.network, 9),
    "bridge": (networks.crowd, 1),
    "streams": (logs_and_pipes, 5),
    "crowd": (crowds, 2),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(MEASURES), help="which measures (default: %(default)s)")
    parser.add_argument("--reps", type=int, default=0, help="repetitions (default: each measure's own)")
    parser.add_argument("--engines", default="", help="only engines whose names begin so (comma-separated)")
    parser.add_argument("--json", type=Path, help="write the raw values here, too")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started is removed then, too
    results, bench = Results(), Bench()
    try:
        if args.engines:
            wanted = tuple(args.engines.split(","))
            bench.engines = [e for e in bench.engines if e.name.startswith(wanted)]
        for name in args.only.split(","):
            measure, reps = MEASURES[name]
            measure(bench, results, args.reps or reps)
    finally:
        bench.close()
    print(results.table([e.name for e in bench.engines]))
    if args.json:
        args.json.write_text(json.dumps(results.values, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
