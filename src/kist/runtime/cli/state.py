"""``state ID``: the specification's state, as JSON."""

from __future__ import annotations

from kist.runtime.cli.common import one, show
from kist.runtime.cli.options import parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from kist.runtime.cli.log import Log
    from kist.runtime.cli.options import Parsed


def main(options: Parsed, words: list[str], log: Log) -> int:
    container = one(options, parse({}, words).rest)
    show({**container.state(), "rootfs": container.record.get("rootfs", ""),
          "created": created(container.record.get("created", 0.0))})
    return 0


def created(when: float) -> str:
    import time

    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(when)) + f".{int(when % 1 * 1e9):09d}Z"
