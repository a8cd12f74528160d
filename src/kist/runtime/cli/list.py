"""``list [--format table|json] [--quiet]``: all containers below the state's root."""

from __future__ import annotations

from kist.runtime import jsons
from kist.runtime.cli.common import none_left, root
from kist.runtime.cli.options import FLAG, STRING, Option, Usage, parse
from kist.runtime.cli.state import created
from kist.runtime.state import STOPPED, Container, all_containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from kist.runtime.cli.log import Log
    from kist.runtime.cli.options import Parsed


def main(options: Parsed, words: list[str], log: Log) -> int:
    own = parse({"format": Option("f", STRING), "quiet": Option("q", FLAG)}, words)
    none_left(own)
    form = own.string("format") or "table"
    if form not in ("table", "json"):
        raise Usage(f"invalid format option {form!r}")
    entries = [_entry(container) for container in all_containers(root(options))]
    if own.flag("quiet"):
        print("".join(f"{entry['id']}\n" for entry in entries), end="")
    elif form == "json":
        print(jsons.dumps(entries))
    else:
        _table(entries)
    return 0


def _entry(container: Container) -> dict[str, Any]:
    status = container.status()
    return {"ociVersion": "1.2.0", "id": container.id, "pid": 0 if status == STOPPED else container.pid,
            "status": status, "bundle": container.record.get("bundle", ""),
            "rootfs": container.record.get("rootfs", ""),
            "created": created(container.record.get("created", 0.0)), "owner": "root"}


def _table(entries: list[dict[str, Any]]) -> None:
    columns = ("id", "pid", "status", "bundle", "created", "owner")
    rows = [[name.upper() for name in columns], *([str(entry[name]) for name in columns] for entry in entries)]
    widths = [max(12, *(len(row[index]) + 1 for row in rows)) for index in range(len(columns))]
    for row in rows:
        print("".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip())
