"""``ps [--format table|json] ID [PS-OPTIONS…]``: the container's processes, with the host's pids."""

from __future__ import annotations

import os

from kist.runtime import jsons
from kist.runtime.cli.common import one
from kist.runtime.cli.options import STRING, Option, Usage, parse
from kist.runtime.errors import RuntimeFailure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from kist.runtime.cli.log import Log
    from kist.runtime.cli.options import Parsed


def main(options: Parsed, words: list[str], log: Log) -> int:
    own = parse({"format": Option("f", STRING)}, words)
    form = own.string("format") or "table"
    if form not in ("table", "json"):
        raise Usage(f"invalid format option {form!r}")
    container = one(options, own.rest[:1])
    container.may("ps")
    pids = sorted(container.cgroup().pids())
    if form == "json":
        print(jsons.dumps(pids))
        return 0
    return _table(pids, own.rest[1:] or ["-ef"], options.environment)


def _table(pids: list[int], arguments: list[str], environment: dict[str, str]) -> int:
    """The lines of ps(1) whose PID column is one of ours."""
    read_end, write_end = os.pipe()
    try:
        child = os.posix_spawnp("ps", ["ps", *arguments], environment, file_actions=[
            (os.POSIX_SPAWN_DUP2, write_end, 1), (os.POSIX_SPAWN_CLOSE, read_end)])
    except FileNotFoundError:
        raise RuntimeFailure("ps is not installed (Debian: apt install procps)") from None
    os.close(write_end)
    with os.fdopen(read_end, encoding="utf-8", errors="replace") as output:
        lines = output.read().splitlines()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status or not lines or "PID" not in lines[0].split():
        raise RuntimeFailure("ps: its output has no column PID")
    column = lines[0].split().index("PID")
    print(lines[0])
    for line in lines[1:]:
        fields = line.split()
        if len(fields) > column and fields[column].isdigit() and int(fields[column]) in pids:
            print(line)
    return 0
