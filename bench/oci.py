"""The runtime as a command: `bench/oci.py [--reps N]`, as root: `run` of `true`, `exec` of `true`, each verb alone.

crun and runc take turns with it where the peers are up (bench/engines.py): a worker of ours joins their mount
namespace once and starts them from there, so that nothing but the runtime is in the figure. Wall milliseconds from
start to exit of the command, median [lowest .. highest]. The container is a bundle with `kist-runtime spec`'s
configuration and busybox.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engines import PEERS, Failed, _recorded
from run import Results

from kist.linux.namespaces import setns
from kist.runtime.cli.spec import example

BIN = Path(sys.executable).parent
SHELL = Path("/bin/busybox").read_bytes()


class Runtime:
    """One runtime with a bundle and a state directory of its own."""

    def __init__(self, command: list[str]) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="kist-bench-oci-"))
        self.command = [*command, "--root", str(self.folder / "state")]
        (self.folder / "rootfs/bin").mkdir(parents=True)
        (self.folder / "rootfs/bin/busybox").write_bytes(SHELL)
        (self.folder / "rootfs/bin/busybox").chmod(0o755)
        for name in ("true", "sleep"):
            (self.folder / "rootfs/bin" / name).symlink_to("busybox")
        self.bundle(["true"])

    def bundle(self, args: list[str]) -> None:
        config: dict[str, Any] = example()
        config["process"].update(terminal=False, args=args)
        (self.folder / "config.json").write_text(json.dumps(config))

    def time(self, *words: str) -> float:
        begun = time.perf_counter()
        done = subprocess.run([*self.command, *words], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, cwd=self.folder, check=False)
        took = (time.perf_counter() - begun) * 1000
        if done.returncode:
            raise Failed(f"{self.command[0]} {' '.join(words)}: status {done.returncode}")
        return took

    def once(self) -> dict[str, float]:
        """One repetition: metric → milliseconds."""
        name = f"bench-{os.getpid()}"
        figures = {"run true": self.time("run", name)}
        self.bundle(["sleep", "60"])
        try:
            figures["create"] = self.time("create", name)
            figures["start"] = self.time("start", name)
            figures["state"] = self.time("state", name)
            figures["exec true"] = self.time("exec", name, "true")
            figures["kill"] = self.time("kill", name, "KILL")
        finally:
            figures["delete --force"] = self.time("delete", "--force", name)
            self.bundle(["true"])
        return figures

    def close(self) -> None:
        shutil.rmtree(self.folder)


class Worker:
    """A process that measures one runtime, in the mount namespace of ``holder`` if there is one."""

    def __init__(self, command: list[str], holder: int | None) -> None:
        ask_read, self._ask = os.pipe()
        self._answer, answer_write = os.pipe()
        self.pid = os.fork()
        if self.pid:
            os.close(ask_read)
            os.close(answer_write)
            return
        os.close(self._ask)
        status = 1
        try:
            if holder is not None:
                setns(os.open(f"/proc/{holder}/ns/mnt", os.O_RDONLY))
                os.chdir("/")
            runtime = Runtime(command)
            while os.read(ask_read, 1) == b"1":
                try:
                    os.write(answer_write, json.dumps(runtime.once()).encode() + b"\n")
                except Failed as error:
                    os.write(answer_write, json.dumps(str(error)).encode() + b"\n")
            runtime.close()
            status = 0
        finally:
            os._exit(status)

    def once(self) -> dict[str, float]:
        os.write(self._ask, b"1")
        answer = json.loads(os.read(self._answer, 4096))
        if isinstance(answer, str):
            raise Failed(answer)
        return dict(answer)

    def close(self) -> None:
        os.write(self._ask, b"0")  # closing it would not do: the workers after this one have it, too
        os.close(self._ask)
        os.waitpid(self.pid, 0)


def workers() -> dict[str, Callable[[], Worker]]:
    found: dict[str, Callable[[], Worker]] = {
        "kist-runtime": lambda: Worker([str(BIN / "kist-runtime")], None),
        "kist oci": lambda: Worker([str(BIN / "kist"), "oci"], None)}
    holder = _recorded(PEERS / "run/ns.pid")
    if holder is not None:
        found["crun"] = lambda: Worker(["/usr/bin/crun"], holder)
        found["runc"] = lambda: Worker(["/usr/sbin/runc"], holder)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reps", type=int, default=30)
    parser.add_argument("--only", default="", help="only this runtime")
    args = parser.parse_args()
    # Orphans of `create` become this process' children, as they become conmon's.
    results = Results()
    made = {name: make() for name, make in workers().items() if args.only in ("", name)}
    try:
        for worker in made.values():
            worker.once()
        for _ in range(args.reps):
            for name in random.sample(list(made), len(made)):
                for metric, took in made[name].once().items():
                    results.add(f"{metric} ms", name, took)
    finally:
        for worker in made.values():
            worker.close()
    print(results.table(list(made)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
