"""The network's figures: published ports on loopback, what the default network costs a start, names, a crowd.

Redis is the server (its own `redis-benchmark` the client): the same program on the host and in a container, whose
image is that program and its libraries and nothing else.
"""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from engines import MARK, Bench, Engine, Failed

from support.hub import free_port
from support.processes import ENVIRONMENT, PYTHON, end

IMAGE, NAME, NETWORK = "bench-redis:latest", "bench-server", "bench-net"
SERVER = "/usr/bin/redis-server"
OPTIONS = ("--save", "", "--appendonly", "no", "--protected-mode", "no", "--bind", "0.0.0.0")
LOADS = {  # what is measured: redis-benchmark's options
    "requests/s": ("-n", "150000", "-c", "32", "-d", "64"),
    "bytes/s": ("-n", "6000", "-c", "4", "-d", "1000000"),
    "new connections/s": ("-n", "20000", "-c", "8", "-d", "64", "-k", "0"),
}
CROWD, SHOWN, CROWDED = 500, 20, "10.251.0.0/22"
ASKER = Path(__file__).with_name("asker.py")


def network(bench: Bench, results: Any, reps: int) -> None:
    """Published ports, names, and the default network's part of `run`."""
    engines = [engine for engine in bench.engines if "→" not in engine.name]
    _each(engines, lambda engine: _import(engine, _image(bench.folder)))
    loopback(engines, results, max(reps // 3, 1))
    for engine in engines:
        _left_out(lambda engine=engine: names(engine, results, max(reps // 3, 1)))
    for _ in range(reps):
        for engine in engines:
            _left_out(lambda engine=engine: added(engine, results))
    _each(engines, lambda engine: engine.time("rmi", "-f", IMAGE))


def _import(engine: Engine, archive: Path) -> None:
    with archive.open("rb") as file:  # by stdin: an engine may live in another root
        engine.time("import", "-", IMAGE, stdin=file.fileno())


def _each(engines: list[Engine], work: Any) -> None:
    for engine in engines:
        _left_out(lambda engine=engine: work(engine))


def _left_out(work: Any) -> None:
    try:
        work()
    except Failed as error:
        print(f"left out: {error}", file=sys.stderr)


def _image(folder: Path) -> Path:
    """The program and what it is linked to, as a tar archive."""
    path = folder / "redis.tar"
    if not path.exists():
        linked = subprocess.run(["ldd", SERVER], capture_output=True, text=True, check=True).stdout
        with tarfile.open(path, "w", dereference=True) as archive:
            for name in [SERVER, *re.findall(r"(/\S+) \(0x", linked)]:
                archive.add(name, name.lstrip("/"))
    return path


# -- published ports --------------------------------------------------------------------------------------------


def loopback(engines: list[Engine], results: Any, reps: int) -> None:
    """The same server, called at 127.0.0.1: in each engine's container behind a published port, and without one."""
    for _ in range(reps):
        with _on_host() as port:
            base = {what: _load(port, what) for what in LOADS}
        for engine in engines:
            with suppress(Failed), _in_container(engine) as port:
                for what in LOADS:
                    results.add(f"published port on loopback, {what}, % of no container", engine.name,
                                100 * _load(port, what) / base[what])


@contextmanager
def _on_host() -> Iterator[int]:
    port = free_port()
    process = subprocess.Popen([SERVER, "--port", str(port), *OPTIONS], stdout=subprocess.DEVNULL, env=ENVIRONMENT)
    try:
        _wait(port)
        yield port
    finally:
        end(process)


@contextmanager
def _in_container(engine: Engine) -> Iterator[int]:
    port = free_port()
    engine.time("run", "-d", "--name", NAME, "-p", f"127.0.0.1:{port}:6379", IMAGE, SERVER, *OPTIONS)
    try:
        _wait(port)
        yield port
    finally:
        engine.remove(NAME)


def _wait(port: int) -> None:
    deadline = time.monotonic() + 15
    while subprocess.run(["redis-cli", "-p", str(port), "ping"], capture_output=True, check=False).stdout != b"PONG\n":
        if time.monotonic() > deadline:
            raise Failed(f"no server at port {port}")
        time.sleep(0.05)


def _load(port: int, what: str) -> float:
    """GETs per second (of the value that a SET has put there)."""
    done = subprocess.run(["redis-benchmark", "-h", "127.0.0.1", "-p", str(port), "-t", "set,get", "--csv",
                           *LOADS[what]], capture_output=True, text=True, check=False)
    found = re.search(r'^"GET","([0-9.]+)"', done.stdout, re.MULTILINE)
    if found is None:
        raise Failed(f"redis-benchmark: {done.stdout}{done.stderr}")
    return float(found[1])


# -- starts -----------------------------------------------------------------------------------------------------


def added(engine: Engine, results: Any) -> None:
    """What `run` takes longer on the default network than without one."""
    took = {name: engine.time("run", "--rm", "--network", name, "busybox", "true") for name in ("none", "bridge")}
    results.add("default network adds to run, ms", engine.name, took["bridge"] - took["none"])


def crowd(bench: Bench, results: Any, _: int) -> None:
    """500 containers on one bridge with 1,000 published ports: how the last ones start, compared to the first."""
    engine = bench.engines[0]
    connection = engine.api()
    ids, took = [], []
    connection.call("POST", "/networks/create", {"Name": NETWORK, "IPAM": {"Config": [{"Subnet": CROWDED}]}})
    try:
        for number in range(CROWD):
            ports = {f"{80 + one}/tcp": [{"HostPort": str(20000 + 2 * number + one)}] for one in (0, 1)}
            host = {"PortBindings": ports, "NetworkMode": NETWORK}
            body = {"Image": "busybox", "Cmd": ["sleep", MARK], "HostConfig": host,
                    "ExposedPorts": {port: {} for port in ports}}
            cid = str(connection.call("POST", "/containers/create", body)["Id"])
            ids.append(cid)
            begun = time.perf_counter()
            connection.call("POST", f"/containers/{cid}/start")
            took.append((time.perf_counter() - begun) * 1000)
    finally:
        for cid in ids:
            connection.call("DELETE", f"/containers/{cid}?force=1")
        connection.call("DELETE", f"/networks/{NETWORK}")
    # The very first ones find everything cold.
    first, last = took[SHOWN : 2 * SHOWN], took[-SHOWN:]
    for label, values in (("first", first), ("last", last)):
        for value in values:
            results.add(f"start with 2 published ports, the {label} {SHOWN} of {CROWD}, ms", engine.name, value)
    results.add("last by first, %", engine.name, 100 * statistics.median(last) / statistics.median(first))


# -- names ------------------------------------------------------------------------------------------------------


def names(engine: Engine, results: Any, reps: int) -> None:
    """Answers that one container gets about its neighbours' names."""
    engine.time("network", "create", NETWORK)
    try:
        engine.time("run", "-d", "--name", NAME, "--network", NETWORK, "busybox", "sleep", MARK)
        try:
            for _ in range(reps):
                _ask(engine, results)
        finally:
            engine.remove(NAME)
    finally:
        engine.time("network", "rm", NETWORK)


def _ask(engine: Engine, results: Any) -> None:
    pid = subprocess.run([*engine.command, "inspect", "-f", "{{.State.Pid}}", NAME], env=engine.env, check=True,
                         capture_output=True, text=True).stdout.strip()
    resolver = re.search(r"^nameserver (\S+)", Path(f"/proc/{pid}/root/etc/resolv.conf").read_text(), re.MULTILINE)
    if resolver is None:
        raise Failed(f"{engine.name}: no resolver")
    inside = ["nsenter", f"--net=/proc/{pid}/ns/net", PYTHON, "-I", "-S"]
    done = subprocess.run([*inside, str(ASKER), resolver[1], NAME, "2"], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(f"{engine.name}: {done.stderr.strip()}")
    rate, median, most = map(float, done.stdout.split())
    results.add("name service, answers/s for one container", engine.name, rate)
    results.add("name service, one answer, ms", engine.name, median)
    results.add("name service, 99 of 100 answers within, ms", engine.name, most)
