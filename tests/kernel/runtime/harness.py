"""Runs containers as the launcher does: in a small process of one thread, started with ``-I -S``.

Standard input is a JSON job, standard output a JSON report:

    job     {"src", "spec", "id", "bundle", "execs": [process…], "netns": path?, "stdin": text?, "leak": true?,
             "null": true? (standard input is the machine's null device)}
    report  {"status", "stdout", "stderr"} or {"error", "kind", "errno"}; "execs": the same for each

With execs the container is killed after the last of them; what its own process wrote is reported then.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys


def drain(fds: dict[int, str]) -> dict[str, bytes]:
    got = dict.fromkeys(fds.values(), b"")
    open_fds = dict(fds)
    while open_fds:
        for fd in select.select(list(open_fds), [], [])[0]:
            try:
                chunk = os.read(fd, 65536)
            except OSError:  # EIO: the terminal's other end is closed
                chunk = b""
            if not chunk:
                del open_fds[fd]
                os.close(fd)
            else:
                got[fds[fd]] += chunk
    return got


class Streams:
    def __init__(self, stdin: str | None, *, null: bool) -> None:
        from kist.runtime.create import Stdio

        read_in, self.stdin = os.pipe()
        if null:
            os.close(read_in)
            read_in = os.open("/dev/null", os.O_RDONLY)
        self.stdout, write_out = os.pipe()
        self.stderr, write_err = os.pipe()
        self.theirs = (read_in, write_out, write_err)
        self.stdio = Stdio(*self.theirs)
        self.text = stdin

    def started(self) -> None:
        for fd in self.theirs:
            os.close(fd)
        if self.text:
            os.write(self.stdin, self.text.encode())
        os.close(self.stdin)

    def drain(self, console: int | None) -> dict[str, bytes]:
        fds = {self.stdout: "stdout", self.stderr: "stderr"}
        if console is not None:
            fds[console] = "console"
        return drain(fds)


def failure(error: Exception) -> dict[str, object]:
    return {"error": str(error), "kind": getattr(error, "kind", type(error).__name__),
            "errno": getattr(error, "errno", None)}


def result(streams: Streams, console: int | None, pid: int) -> dict[str, object]:
    got = {name: data.decode(errors="replace") for name, data in streams.drain(console).items()}
    _pid, status = os.waitpid(pid, 0)
    return {"status": os.waitstatus_to_exitcode(status), **got}


def run(job: dict[str, object]) -> dict[str, object]:
    from kist.runtime.create import create
    from kist.runtime.errors import RuntimeFailure
    from kist.runtime.exec import exec_process

    spec: dict[str, object] = job["spec"]  # type: ignore[assignment]
    if job.get("leak"):  # what a careless caller leaves open, and inheritable
        os.set_inheritable(os.open("/", os.O_RDONLY), True)
    netns = os.open(str(job["netns"]), os.O_RDONLY) if job.get("netns") else None
    streams = Streams(job.get("stdin"), null=bool(job.get("null")))  # type: ignore[arg-type]
    try:
        created = create(spec, container_id=str(job["id"]), bundle=str(job["bundle"]), stdio=streams.stdio,
                         netns_fd=netns)
        created.start()
    except RuntimeFailure as error:
        return failure(error)
    streams.started()
    try:
        execs = []
        for process in job.get("execs") or []:  # type: ignore[attr-defined]
            inner = Streams(None, null=bool(job.get("null")))
            try:
                execed = exec_process(created.pid, process, spec, stdio=inner.stdio, cgroup=created.cgroup)
            except RuntimeFailure as error:
                inner.started()
                execs.append(failure(error))
                continue
            inner.started()
            execs.append(result(inner, execed.console, execed.pid))
        stats = created.cgroup.stats() if job.get("stats") else None
        if job.get("execs") or job.get("stats"):
            os.kill(created.pid, signal.SIGKILL)
        report = result(streams, created.console, created.pid)
        oom = created.cgroup.oom_kills()
    finally:
        created.destroy()
    return {**report, "execs": execs, "stats": stats, "oom": oom, "cgroup": created.cgroup.paths()}


if __name__ == "__main__":
    sys.path.insert(0, sys.argv[1])
    json.dump(run(json.load(sys.stdin)), sys.stdout)
