"""Streams: a log that is written and read, and a gigabyte through pipes in both directions.

"Writes" is `run -d` of a container that prints the lines, and `wait` for its end: the lines are in the log then.
"""

from __future__ import annotations

import subprocess
import time
from typing import Any

from engines import MARK, Bench, Engine, Failed

LINES = 200_000
LINE = "a log line of about sixty characters, as services write them"
GIGABYTE = 1 << 30
PIECE = 1 << 20


def log(bench: Bench, results: Any, engine: Engine, repetition: int) -> None:
    """200,000 lines into a log, and out of it."""
    name = f"lines-{repetition}"
    program = ("sh", "-c", f"yes '{LINE}' | head -n {LINES}")
    try:
        begun = time.perf_counter()
        engine.time("run", "-d", "--name", name, "--network", "none", "busybox", *program)
        engine.time("wait", name)
        results.add("a container writes 200,000 lines, ms", engine.name, (time.perf_counter() - begun) * 1000)
        results.add("logs of 200,000 lines, ms", engine.name, engine.time("logs", name))
        shown = engine.output("logs", name).count(b"\n")
        if shown != LINES:
            raise Failed(f"{engine.name}: logs shows {shown} lines of {LINES}")
    finally:
        engine.remove(name)


def pipes(bench: Bench, results: Any, engine: Engine, repetition: int) -> None:
    """Megabytes a second, from and to a process beside the client."""
    out = ("head", "-c", str(GIGABYTE), "/dev/zero")
    into = ("sh", "-c", "wc -c >/dev/null")
    plain = ("run", "--rm", "-i", "--network", "none", "--log-driver", "none", "busybox")
    name = f"pipes-{repetition}"
    engine.time("run", "-d", "--name", name, "--network", "none", "busybox", "sleep", MARK)
    try:
        for label, words in (("run -i", plain), ("exec -i", ("exec", "-i", name))):
            results.add(f"1 GiB out of {label}, MB/s", engine.name, _read(engine, *words, *out))
            results.add(f"1 GiB into {label}, MB/s", engine.name, _write(engine, *words, *into))
    finally:
        engine.remove(name)


def _read(engine: Engine, *words: str) -> float:
    begun = time.perf_counter()
    with engine.popen(*words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        total = 0
        while piece := process.stdout.read1(PIECE):  # type: ignore[attr-defined]
            total += len(piece)
    if total != GIGABYTE or process.returncode:
        raise Failed(f"{engine.name} {' '.join(words)}: {total} bytes, status {process.returncode}")
    return total / (time.perf_counter() - begun) / 1e6


def _write(engine: Engine, *words: str) -> float:
    piece = bytes(PIECE)
    begun = time.perf_counter()
    with engine.popen(*words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        assert process.stdin is not None
        for _ in range(GIGABYTE // PIECE):
            process.stdin.write(piece)
        process.stdin.close()
    if process.returncode:
        raise Failed(f"{engine.name} {' '.join(words)}: status {process.returncode}")
    return GIGABYTE / (time.perf_counter() - begun) / 1e6
