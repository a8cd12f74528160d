"""``explain [--json] ID``: what the kernel was asked for, step by step, and what is the case now."""

from __future__ import annotations

from kist.runtime.cli.common import one, show
from kist.runtime.cli.options import FLAG, Option, parse
from kist.runtime.explain import explain_plan, explain_running
from kist.runtime.state import STOPPED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from kist.runtime.cli.log import Log
    from kist.runtime.cli.options import Parsed


def main(options: Parsed, words: list[str], log: Log) -> int:
    own = parse({"json": Option("", FLAG)}, words)
    container = one(options, own.rest)
    told = {"plan": explain_plan(container.spec(), container.id, container.record["bundle"])}
    if container.status() != STOPPED:
        told["now"] = explain_running(container.pid, container.cgroup())
    if own.flag("json"):
        show(told)
    else:
        print(as_text(told))
    return 0


def as_text(told: dict[str, Any]) -> str:
    lines = ["What was asked of the kernel, in order:"]
    for number, step in enumerate(told["plan"]["steps"], 1):
        lines += [f"{number:3}. {step['step']}", f"     {step['syscall']}: {step['why']}"]
    now = told.get("now")
    if now is None:
        return "\n".join(lines)
    lines += ["", f"What is the case now (process {now['pid']}):", "  namespaces"]
    lines += [f"    {entry['type']:8} {entry['inode']}  {entry['why']}" for entry in now["namespaces"]]
    lines.append("  control group")
    for entry in now["cgroup"]:
        use = f"  now {entry['use']}" if entry["use"] else ""
        lines.append(f"    {entry['file']} = {entry['limit'].replace(chr(10), '; ')}{use}")
    lines.append("  mounts")
    lines += [f"    {entry['on']}  {entry['type']} ({entry['flags']})" for entry in now["mounts"]]
    lines.append(f"  capabilities  {' '.join(now['capabilities']['CapEff']) or 'none'}")
    lines.append(f"  seccomp mode {now['seccomp']['mode']}, filters {now['seccomp']['filters']}")
    return "\n".join(lines)
